import { describe, expect, test } from 'vitest';
import { ip } from '../base/ip.ts';
import { validateNetwork } from '../model/network-validation.ts';
import type { NetworkConfig } from '../model/overlay.ts';
import { BlockPool, type Wishes } from './blocks.ts';
import { renderOverlays, vtepMac, type Grant } from './grant.ts';

const all: Wishes = { allocate_subnet: true, mesos_bridge: true, docker_bridge: true };
const overlays = {
  dcos: { name: 'dcos', subnet: '9.0.0.0/8', prefix: 24, enabled: true },
  dcos6: { name: 'dcos6', subnet6: 'fd01:b::/64', prefix6: 80, enabled: true },
};
const network = (change: Partial<NetworkConfig> = {}) =>
  validateNetwork({
    vtep_subnet: '44.128.0.0/20',
    vtep_mac_oui: '70:B3:D5:00:00:00',
    overlays: [overlays.dcos],
    ...change,
  });

function granted(pool: BlockPool, wishes = all, held?: Grant): Grant {
  const allocation = pool.allocate(wishes, held);
  if (!allocation.ok) throw new Error('nothing was given');
  return allocation.grant;
}

const subnets = (grant: Grant) => grant.overlays.map(({ subnet, subnet6 }) => String(subnet ?? subnet6));

describe('allocation as the reference writes it', () => {
  test('gives the documented first and second agent', () => {
    const space = network({ vtep_subnet6: 'fd01:a::/64', vtep_mtu: 1500 });
    const pool = new BlockPool(space);
    expect(renderOverlays(space, granted(pool))).toEqual([
      {
        info: overlays.dcos,
        subnet: '9.0.0.0/24',
        mesos_bridge: { name: 'm-dcos', ip: '9.0.0.0/25' },
        docker_bridge: { name: 'd-dcos', ip: '9.0.0.128/25' },
        backend: {
          vxlan: {
            vni: 1024,
            vtep_name: 'vtep1024',
            vtep_ip: '44.128.0.1/20',
            vtep_ip6: 'fd01:a::1/64',
            vtep_mac: '70:b3:d5:80:00:01',
            vtep_mtu: 1500,
          },
        },
      },
    ]);
    const second = granted(pool);
    expect([String(second.vtepIp), second.vtepMac, ...subnets(second)]).toEqual([
      '44.128.0.2/20',
      '70:b3:d5:80:00:02',
      '9.0.1.0/24',
    ]);
  });

  test('gives the test vectors of other spaces, IPv6 by plain arithmetic', () => {
    const pool = new BlockPool(
      network({
        vtep_subnet6: 'fd03::/64',
        overlays: [
          {
            name: 'a',
            subnet: '192.168.0.0/16',
            prefix: 24,
            subnet6: 'fd02::/64',
            prefix6: 80,
            enabled: true,
          },
          { name: 'b', subnet: '11.0.0.0/8', prefix: 24, enabled: true },
        ],
      }),
    );
    const first = granted(pool);
    expect(String(first.vtepIp6)).toBe('fd03::1/64');
    expect(subnets(first)).toEqual(['192.168.0.0/24', '11.0.0.0/24']);
    expect(String(first.overlays[0]?.subnet6)).toBe('fd02::/80');
    for (let i = 1; i < 256; i++) granted(pool);
    const late = pool.allocate(all);
    expect(late).toMatchObject({ ok: true, shortages: [{ family: 4, overlay: 'a' }] });
    expect(late.ok && String(late.grant.vtepIp6)).toBe('fd03::101/64');
  });

  test('counts IPv6 blocks on past a carry', () => {
    const pool = new BlockPool(network({ overlays: [overlays.dcos6] }));
    const grants = Array.from({ length: 258 }, () => granted(pool));
    expect([1, 256, 257].map((i) => String(grants[i]?.overlays[0]?.subnet6))).toEqual([
      'fd01:b:0:0:1::/80',
      'fd01:b:0:0:100::/80',
      'fd01:b:0:0:101::/80',
    ]);
  });

  test('makes the MAC from the OUI and the low 24 bits', () => {
    expect(vtepMac('70:b3:d5', ip('44.128.0.1'))).toBe('70:b3:d5:80:00:01');
    expect(vtepMac('70:b3:d5', ip('10.1.255.254'))).toBe('70:b3:d5:01:ff:fe');
  });

  test('keeps the halves where they are when only one bridge is wanted', () => {
    const space = network();
    const grant = granted(new BlockPool(space), { ...all, mesos_bridge: false });
    const [overlay] = renderOverlays(space, grant);
    expect(overlay?.mesos_bridge).toBeUndefined();
    expect(overlay?.docker_bridge?.ip).toBe('9.0.0.128/25');
  });

  test('gives a gateway info and backend, no subnet and no bridges', () => {
    const space = network();
    const grant = granted(new BlockPool(space), { ...all, allocate_subnet: false });
    expect(Object.keys(renderOverlays(space, grant)[0] ?? {})).toEqual(['info', 'backend']);
  });

  test('gives nothing new in a disabled overlay', () => {
    const pool = new BlockPool(network({ overlays: [overlays.dcos, { ...overlays.dcos6, enabled: false }] }));
    expect(subnets(granted(pool))).toEqual(['9.0.0.0/24']);
  });
});

describe('a node that registers again', () => {
  test('gets the same grant, unchanged even when its wishes changed', () => {
    const pool = new BlockPool(network());
    const grant = granted(pool);
    expect(pool.allocate({ ...all, docker_bridge: false }, grant)).toEqual({
      ok: true,
      grant,
      changed: false,
      shortages: [],
    });
  });

  test('gets added overlays and a missing IPv6 VTEP address beside what it holds', () => {
    const before = granted(new BlockPool(network()));
    const pool = new BlockPool(
      network({ vtep_subnet6: 'fd01:a::/64', overlays: [overlays.dcos6, overlays.dcos] }),
    );
    expect(pool.reserve(before)).toEqual([]);
    const after = granted(pool, all, before);
    expect(String(after.vtepIp)).toBe(String(before.vtepIp));
    expect(String(after.vtepIp6)).toBe('fd01:a::1/64');
    expect(subnets(after)).toEqual(['9.0.0.0/24', 'fd01:b::/80']);
  });

  test('gets the family that its overlay has gained, unless it is a mere gateway', () => {
    const both = { ...overlays.dcos, subnet6: 'fd01:b::/64', prefix6: 80 };
    const old = new BlockPool(network());
    const [holder, gateway] = [granted(old), granted(old, { ...all, allocate_subnet: false })];
    const pool = new BlockPool(network({ overlays: [both] }));
    for (const grant of [holder, gateway]) expect(pool.reserve(grant)).toEqual([]);
    expect(String(granted(pool, all, holder).overlays[0]?.subnet6)).toBe('fd01:b::/80');
    expect(pool.allocate(all, gateway)).toMatchObject({ changed: false });
  });

  test('keeps its block in an overlay that has been disabled', () => {
    const grant = granted(new BlockPool(network()));
    const pool = new BlockPool(network({ overlays: [{ ...overlays.dcos, enabled: false }] }));
    expect(pool.reserve(grant)).toEqual([]);
    expect(subnets(granted(pool, all, grant))).toEqual(['9.0.0.0/24']);
  });
});

describe('exhaustion', () => {
  test('refuses a new node when no VTEP address is left, and takes nothing', () => {
    const pool = new BlockPool(network({ vtep_subnet: '44.128.0.0/30' }));
    granted(pool);
    granted(pool);
    const before = pool.usage('dcos');
    expect(pool.allocate(all)).toEqual({ ok: false, shortages: [{ family: 4 }] });
    expect(pool.usage('dcos')).toEqual(before);
  });

  test('gives the IPv4 VTEP address back when there is no IPv6 one', () => {
    const pool = new BlockPool(network({ vtep_subnet6: 'fd01:a::/126' }));
    const grants = [granted(pool), granted(pool), granted(pool)];
    expect(pool.allocate(all)).toEqual({ ok: false, shortages: [{ family: 6 }] });
    expect(pool.usage().held).toBe(3);
    pool.release(grants[1] as Grant);
    expect(String(granted(pool).vtepIp)).toBe('44.128.0.2/20');
  });

  test('leaves a full overlay out, gives its other family back, and gives the other overlays', () => {
    const tight = { name: 'tight', subnet: '10.0.0.0/22', prefix: 24, subnet6: 'fd02::/79', prefix6: 80 };
    const pool = new BlockPool(network({ overlays: [{ ...tight, enabled: true }, overlays.dcos] }));
    const [first] = [granted(pool), granted(pool)];
    const third = pool.allocate(all);
    expect(third).toMatchObject({ ok: true, shortages: [{ family: 6, overlay: 'tight' }] });
    expect(third.ok && subnets(third.grant)).toEqual(['9.0.2.0/24']);
    pool.release(first as Grant);
    // The IPv4 block that the third had to give back is not lost: the lowest of both families comes next.
    expect(granted(pool).overlays.map(({ subnet, subnet6 }) => [String(subnet), String(subnet6)])).toEqual([
      ['10.0.0.0/24', 'fd02::/80'],
      ['9.0.0.0/24', 'undefined'],
    ]);
  });

  test('gives the last VTEP address but neither network nor broadcast', () => {
    const pool = new BlockPool(network({ vtep_subnet: '44.128.0.0/29' }));
    const given = Array.from({ length: 6 }, () => String(granted(pool).vtepIp));
    expect(given).toEqual([1, 2, 3, 4, 5, 6].map((i) => `44.128.0.${i}/29`));
    expect(pool.allocate(all).ok).toBe(false);
  });
});

describe('recovery', () => {
  const grant = granted(new BlockPool(network()));

  test.each<[string, Partial<NetworkConfig>, object]>([
    ['an overlay that vanished', { overlays: [overlays.dcos6] }, { overlay: 'dcos', reason: 'vanished' }],
    [
      'another subnet',
      { overlays: [{ ...overlays.dcos, subnet: '10.0.0.0/8' }] },
      { overlay: 'dcos', reason: 'outside' },
    ],
    [
      'another prefix',
      { overlays: [{ ...overlays.dcos, prefix: 25 }] },
      { overlay: 'dcos', reason: 'outside' },
    ],
    ['another VTEP network', { vtep_subnet: '44.129.0.0/20' }, { what: '44.128.0.1/32', reason: 'outside' }],
    ['a VTEP network of another size', { vtep_subnet: '44.128.0.0/21' }, { reason: 'outside' }],
  ])('reports %s and reserves nothing', (_, change, misfit) => {
    const pool = new BlockPool(network(change));
    expect(pool.reserve(grant)).toMatchObject([misfit]);
    expect(pool.usage().held + pool.usage('dcos').held).toBe(0);
  });

  test('accepts an overlay that grew around its blocks', () => {
    const small = granted(new BlockPool(network({ overlays: [{ ...overlays.dcos, subnet: '9.0.0.0/16' }] })));
    expect(new BlockPool(network()).reserve(small)).toEqual([]);
  });

  test('reports a block with two holders', () => {
    const pool = new BlockPool(network());
    pool.reserve(grant);
    expect(pool.reserve(grant).map(({ reason }) => reason)).toEqual(['taken', 'taken']);
    expect(pool.usage('dcos').held).toBe(1);
  });
});
