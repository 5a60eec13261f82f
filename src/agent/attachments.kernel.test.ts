/** ADD, DEL, CHECK, STATUS and GC on the real kernel, in namespaces of this test's own. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { CniResult } from '../cni/result.ts';
import { memoryJournal } from '../store/memory-journal.ts';
import { callCni, CniBed, leftNamespaces, MTU, type CniCall } from '../../test/support/cni-bed.ts';
import type { Attachments } from './attachments.ts';
import type { Answered } from './cni-answer.ts';

const NAMES = 'pcn-att';
let bed: CniBed;
let service: Attachments;
let disk: Map<string, string>;

beforeAll(async () => {
  bed = await CniBed.open(NAMES);
  restart();
});
afterAll(async () => {
  await bed.close();
  expect(leftNamespaces(NAMES)).toEqual([]);
});
afterEach(async () => {
  bed.notReady = undefined;
  bed.mtu = MTU;
  for (const { container, ifname, network } of service.list())
    await callCni(service, 'DEL', { container, ifname, network, netns: '' });
  expect(await bed.leftovers()).toEqual({ links: [], elements: [] });
});

function restart(fresh = true): void {
  if (fresh) disk = new Map();
  service = bed.service(memoryJournal(disk));
}

const call = (command: string, what: CniCall): Promise<Answered> => callCni(service, command, what);

async function add(what: CniCall): Promise<CniResult> {
  const answered = await call('ADD', what);
  expect(answered.stdout).not.toContain('"msg"');
  expect(answered.exitCode).toBe(0);
  return JSON.parse(answered.stdout) as CniResult;
}

async function refused(command: string, what: CniCall): Promise<string> {
  const answered = await call(command, what);
  expect(answered.exitCode).toBe(1);
  return `${answered.code}: ${answered.message}`;
}

describe('ADD', () => {
  test('gives the container an interface, an address, a default route and a way to its gateway', async () => {
    const container = bed.container();
    const result = await add({ container });
    expect(result.interfaces.map(({ name }) => name)).toEqual([
      'm-dcos',
      expect.stringMatching(/^pv/),
      'eth0',
    ]);
    expect(result.interfaces[2]).toMatchObject({ mtu: MTU, sandbox: `/run/netns/${container}` });
    expect(result.ips).toEqual([
      { address: expect.stringMatching(/^9\.0\.1\.\d+\/25$/) as string, gateway: '9.0.1.1', interface: 2 },
    ]);
    expect(result.routes).toEqual([
      { dst: '0.0.0.0/0', gw: '9.0.1.1' },
      { dst: '9.0.0.0/8', gw: '9.0.1.1' },
    ]);
    const shown = bed.inside(container, 'ip', 'address', 'show', 'eth0');
    expect(shown).toContain(result.ips[0]?.address);
    expect(shown).toContain(result.interfaces[2]?.mac);
    expect(shown).toContain(`mtu ${MTU}`);
    expect(bed.inside(container, 'ip', 'link', 'show', 'lo')).toContain('LOOPBACK,UP');
    bed.inside(container, 'busybox', 'ping', '-c1', '-W2', '9.0.1.1');
  });

  test('two containers reach one another, over IPv4 and IPv6', async () => {
    const [one, two] = [bed.container(), bed.container()];
    await add({ container: one, network: 'dual' });
    const result = await add({ container: two, network: 'dual' });
    expect(result.ips).toHaveLength(2);
    for (const { address } of result.ips)
      bed.inside(one, 'busybox', 'ping', '-c1', '-W2', address.split('/')[0] ?? '');
    expect(result.routes).toEqual([
      { dst: '0.0.0.0/0', gw: '9.192.1.1' },
      { dst: '::/0', gw: 'fd01:b::1:0:0:1' },
      { dst: '9.192.0.0/16', gw: '9.192.1.1' },
      { dst: 'fd01:b::/64', gw: 'fd01:b::1:0:0:1' },
    ]);
  });

  test('answers in every version of the specification', async () => {
    for (const version of ['0.1.0', '0.2.0', '0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0']) {
      const container = bed.container();
      const result = (await add({ container, version })) as unknown as Record<string, unknown>;
      expect(result['cniVersion']).toBe(version);
      expect(Object.hasOwn(result, 'ip4')).toBe(version < '0.3.0');
    }
  });

  test('honours the address, MAC, MTU and routes asked for', async () => {
    const container = bed.container();
    const result = await add({
      container,
      args: 'IP=9.0.1.77',
      config: {
        mtu: 1300,
        routes: [{ dst: '10.99.0.0/16' }],
        runtimeConfig: { mac: '0A:00:00:00:00:77' },
        dns: { nameservers: ['198.51.100.1'] },
      },
    });
    expect(result.ips[0]?.address).toBe('9.0.1.77/25');
    expect(result.dns).toEqual({ nameservers: ['198.51.100.1'] });
    expect(bed.inside(container, 'ip', 'link', 'show', 'eth0')).toMatch(/mtu 1300[\s\S]*0a:00:00:00:00:77/);
    expect(bed.inside(container, 'ip', 'route')).toContain('10.99.0.0/16 via 9.0.1.1');
  });

  test('refuses an address that is in use, naming the holder, and one of elsewhere', async () => {
    const [one, two] = [bed.container(), bed.container()];
    await add({ container: one, args: 'IP=9.0.1.77' });
    expect(await refused('ADD', { container: two, args: 'IP=9.0.1.77' })).toBe(
      `102: Address 9.0.1.77 is in use by container "${one}/eth0"`,
    );
    expect(await refused('ADD', { container: two, args: 'IP=10.0.0.1' })).toMatch(
      /^7: .*outside of 9.0.1.0\/25/,
    );
    expect(await refused('ADD', { container: two, args: 'IP=fd01::1' })).toMatch(/^7: .*has no place/);
  });

  test('refuses a network that is not ours and lists ours', async () => {
    const answered = await call('ADD', { container: bed.container(), network: 'other' });
    expect(JSON.parse(answered.stdout)).toMatchObject({
      code: 7,
      msg: 'Network "other" is no overlay of this host',
      details: 'it has "dcos", "dual"',
    });
  });

  test('refuses what is no namespace, and the own one of the host', async () => {
    const container = 'c1';
    expect(await refused('ADD', { container, netns: '/run/netns/pcn-none' })).toMatch(/^4: CNI_NETNS/);
    expect(await refused('ADD', { container, netns: '/etc/hostname' })).toMatch(/^4: CNI_NETNS/);
    expect(await refused('ADD', { container, netns: '/proc/self/ns/net' })).toMatch(/^4: .*host's own/);
  });

  test('refuses a second ADD of one interface and an interface that is there already', async () => {
    const container = bed.container();
    await add({ container });
    expect(await refused('ADD', { container })).toMatch(/^101: .*has "eth0" on network "dcos" already/);
    bed.inside(container, 'ip', 'link', 'add', 'eth9', 'type', 'bridge');
    expect(await refused('ADD', { container, ifname: 'eth9' })).toMatch(/^4: CNI_IFNAME "eth9"/);
    expect(service.list()).toHaveLength(1);
  });

  test('a second network leaves the default route of the first in force, and is reached by its own', async () => {
    const container = bed.container();
    await add({ container });
    const { routes } = await add({ container, ifname: 'eth1', network: 'dual' });
    expect(routes).toContainEqual({ dst: '9.192.0.0/16', gw: '9.192.1.1' });
    const way = (...to: string[]): string => bed.inside(container, 'ip', 'route', 'get', ...to);
    expect(way('9.192.7.7')).toContain('via 9.192.1.1 dev eth1 src 9.192.1.');
    expect(way('fd01:b::7:0:0:7')).toContain('dev eth1');
    expect(way('9.0.7.7')).toContain('dev eth0');
    expect(bed.inside(container, 'ip', '-4', 'route', 'get', '198.51.100.9')).toContain('dev eth0');
    expect(bed.inside(container, 'ip', 'route')).toContain('default via 9.192.1.1 dev eth1');
  });

  test('is reached by its own network also when somebody attaches another, whose default comes first', async () => {
    const container = bed.container();
    await add({ container });
    // As the reference plug-in `bridge` does.
    bed.inside(container, 'ip', 'link', 'add', 'eth1', 'type', 'bridge');
    bed.inside(container, 'ip', 'address', 'add', '10.88.0.2/16', 'dev', 'eth1');
    bed.inside(container, 'ip', 'link', 'set', 'eth1', 'up');
    bed.inside(container, 'ip', 'route', 'prepend', 'default', 'via', '10.88.0.1', 'dev', 'eth1');
    const way = (to: string): string => bed.inside(container, 'ip', 'route', 'get', to);
    expect(way('198.51.100.9')).toContain('dev eth1');
    expect(way('9.0.7.7')).toContain('via 9.0.1.1 dev eth0 src 9.0.1.');
  });

  test('a DEL after a refused ADD takes nothing from another network', async () => {
    const container = bed.container();
    await add({ container });
    expect((await call('DEL', { container, network: 'dual' })).exitCode).toBe(0);
    expect(service.list()).toHaveLength(1);
  });

  test('all addresses in use is an error that says so, and STATUS says it before', async () => {
    for (let i = 0; i < 5; i++) await add({ container: bed.container(), network: 'dual' });
    expect(await refused('STATUS', { container: '', netns: '', network: 'dual' })).toMatch(
      /^50: All addresses/,
    );
    expect(await refused('ADD', { container: bed.container(), network: 'dual' })).toMatch(
      /^104: All 5 addresses of 9.192.1.0\/29 are in use/,
    );
  });

  test('many at once get different addresses', async () => {
    const containers = Array.from({ length: 12 }, () => bed.container());
    const results = await Promise.all(containers.map((container) => add({ container })));
    expect(new Set(results.map(({ ips }) => ips[0]?.address)).size).toBe(12);
    await Promise.all(containers.map((container) => call('DEL', { container })));
    expect(service.list()).toEqual([]);
  });

  test('waits for the reconciler when bridge or table are not there', async () => {
    const rounds = bed.rounds;
    await bed.kernel.apply([{ do: 'link-delete', name: 'm-dcos' }]);
    await bed.kernel.nft.remove({ family: 'inet', name: 'portolan' });
    const portMappings = [{ hostPort: 31_080, containerPort: 80 }];
    await add({ container: bed.container(), config: { runtimeConfig: { portMappings } } });
    expect(bed.rounds).toBeGreaterThan(rounds);
    expect((await bed.leftovers()).elements).toEqual(['portMap4 6 31080']);
  });

  test('an overlay that is not ready is "try again", and 50 or 51 for STATUS', async () => {
    bed.notReady = { reason: 'no grant yet', limited: false };
    expect(await refused('ADD', { container: bed.container() })).toBe(
      '11: Overlay "dcos" is not ready: no grant yet',
    );
    expect(await refused('STATUS', { container: '', netns: '' })).toMatch(/^50: /);
    bed.notReady = { reason: 'the bridge is broken', limited: true };
    expect(await refused('STATUS', { container: '', netns: '' })).toMatch(/^51: /);
    bed.notReady = undefined;
    expect((await call('STATUS', { container: '', netns: '' })).exitCode).toBe(0);
  });

  test('labels, name and what Mesos said are kept with the endpoint', async () => {
    const network_info = { name: 'dcos', labels: { labels: [{ key: 'app', value: 'web' }] } };
    const container = bed.container();
    await add({
      container,
      args: 'K8S_POD_NAME=web-1',
      config: {
        args: { 'org.apache.mesos': { network_info }, cni: { labels: [{ key: 'rack', value: '3A' }] } },
      },
    });
    expect(service.list()).toEqual([
      expect.objectContaining({
        container,
        ifname: 'eth0',
        network: 'dcos',
        source: 'cni',
        name: 'web-1',
        labels: { app: 'web', rack: '3A' },
        network_info,
      }),
    ]);
  });
});

describe('the MTU of what is attached', () => {
  const mtuOf = (shown: string): string | undefined => / mtu (\d+) /.exec(shown)?.[1];

  test('follows the network under running containers, down and up, but never past what a configuration allows', async () => {
    const [plain, limited] = [bed.container(), bed.container()];
    const result = await add({ container: plain });
    const config = { mtu: 1300 };
    await add({ container: limited, config });
    const mtus = async (): Promise<readonly (string | undefined)[]> => {
      const links = await bed.kernel.links();
      const host = service.list().map(({ container, ifname }) => {
        const alias = `portolan:${container}/${ifname}`;
        return String(links.find((link) => link.alias === alias)?.mtu);
      });
      const inside = [plain, limited].map((container) =>
        mtuOf(bed.inside(container, 'ip', 'link', 'show', 'eth0')),
      );
      return [...host, ...inside];
    };
    for (const [mtu, expected] of [
      [1250, ['1250', '1250']],
      [1350, ['1350', '1300']],
      [MTU, [String(MTU), '1300']],
    ] as const) {
      bed.mtu = mtu;
      await service.fitMtus();
      expect(await mtus()).toEqual([...expected, ...expected]);
    }
    const prevResult = { ...result };
    expect((await call('CHECK', { container: plain, config: { prevResult } })).exitCode).toBe(0);
  });

  test('is left as it is when the container has gone', async () => {
    const container = bed.container();
    await add({ container });
    bed.removeContainer(container);
    bed.mtu = 1250;
    await service.fitMtus();
    expect(service.list()).toHaveLength(1);
  });
});

describe('DEL', () => {
  test('may come again, for nobody, without namespace and after the namespace is gone', async () => {
    const container = bed.container();
    await add({ container });
    bed.removeContainer(container);
    for (const what of [{ container }, { container, netns: '' }, { container: 'nobody', network: 'gone' }])
      expect(await call('DEL', what)).toMatchObject({ exitCode: 0, stdout: '' });
    expect(service.list()).toEqual([]);
  });

  test('works when somebody removed everything already', async () => {
    const container = bed.container();
    await add({
      container,
      config: { runtimeConfig: { portMappings: [{ hostPort: 31_085, containerPort: 80 }] } },
    });
    await bed.kernel.nft.remove({ family: 'inet', name: 'portolan' });
    bed.inside(container, 'ip', 'link', 'delete', 'eth0');
    expect((await call('DEL', { container })).exitCode).toBe(0);
    await bed.reconcile();
  });

  test('gives the address back, to be used again last', async () => {
    const container = bed.container();
    const first = await add({ container });
    await call('DEL', { container });
    restart(false);
    const second = await add({ container });
    expect(second.ips[0]?.address).not.toBe(first.ips[0]?.address);
  });
});

describe('CHECK', () => {
  const portMappings = [{ hostPort: 31_086, containerPort: 80 }];
  async function attached(): Promise<{ container: string; prevResult: CniResult }> {
    const container = bed.container();
    return { container, prevResult: await add({ container, config: { runtimeConfig: { portMappings } } }) };
  }
  const check = (container: string, prevResult: unknown): Promise<Answered> =>
    call('CHECK', { container, config: { prevResult, runtimeConfig: { portMappings } } });

  test('says nothing when all is well', async () => {
    const { container, prevResult } = await attached();
    expect(await check(container, prevResult)).toMatchObject({ exitCode: 0, stdout: '' });
  });

  const damages: readonly (readonly [string, string[], RegExp])[] = [
    ['the address', ['ip', 'address', 'flush', 'dev', 'eth0'], /address 9.0.1.\d+\/25 of "eth0" is missing/],
    ['the interface', ['ip', 'link', 'delete', 'eth0'], /interface "eth0" is missing/],
    ['its being up', ['ip', 'link', 'set', 'eth0', 'down'], /interface "eth0" is down/],
    ['its MTU', ['ip', 'link', 'set', 'eth0', 'mtu', '1200'], /has MTU 1200, not 1420/],
    ['the default route', ['ip', 'route', 'delete', 'default'], /route to 0.0.0.0\/0 via 9.0.1.1 is missing/],
  ];
  test.each(damages)('names %s when it is missing in the container', async (_what, command, message) => {
    const { container, prevResult } = await attached();
    bed.inside(container, ...command);
    const answered = await check(container, prevResult);
    expect(answered.code).toBe(105);
    expect(answered.message).toMatch(message);
  });

  test("names the host's end that is down or off its bridge, and the port mapping", async () => {
    const { container, prevResult } = await attached();
    const hostLink = prevResult.interfaces[1]?.name ?? '';
    await bed.kernel.apply([{ do: 'link-set', name: hostLink, settings: { up: false, master: null } }]);
    await bed.reconcile(); // Its table has no mappings.
    const { message } = await check(container, prevResult);
    expect(message).toContain(`"${hostLink}" is down`);
    expect(message).toContain(`"${hostLink}" is not on bridge "m-dcos"`);
    expect(message).toContain('port mapping portMap4');
  });

  test('allows a later plug-in to have taken a route away, and wants prevResult', async () => {
    const { container, prevResult } = await attached();
    bed.inside(container, 'ip', 'route', 'delete', 'default');
    expect((await check(container, { ...prevResult, routes: [] })).exitCode).toBe(0);
    expect((await check(container, undefined)).code).toBe(7);
  });

  test('compares with prevResult and the namespace', async () => {
    const { container, prevResult } = await attached();
    const other = { ...prevResult, ips: [{ address: '9.0.1.99/25' }] };
    expect((await check(container, other)).message).toContain('prevResult lacks address');
    const elsewhere = `/run/netns/${bed.container()}`;
    const answered = await call('CHECK', { container, netns: elsewhere, config: { prevResult } });
    expect(answered.message).toContain('is not the one that was attached');
    expect((await check('nobody', prevResult)).code).toBe(3);
  });
});

describe('GC', () => {
  test('removes what is not listed, of its network and its owner only', async () => {
    const containers = Array.from({ length: 4 }, () => bed.container());
    const [listed = '', unlisted = '', otherNetwork = '', otherOwner = ''] = containers;
    await add({ container: listed });
    await add({ container: unlisted });
    await add({ container: otherNetwork, network: 'dual' });
    await add({ container: otherOwner, config: { args: { portolan: { owner: 'native' } } } });
    const valid = [{ containerID: listed, ifname: 'eth0' }];
    const gc = await call('GC', { container: '', netns: '', config: { 'cni.dev/valid-attachments': valid } });
    expect(gc).toMatchObject({ exitCode: 0, stdout: '' });
    expect(service.list().map(({ container }) => container)).toEqual([listed, otherNetwork, otherOwner]);
    expect((await call('GC', { container: '', netns: '' })).code).toBe(7);
  });
});

describe('the sweep', () => {
  test('removes attachments whose namespace has gone, after a second look', async () => {
    const [gone, replaced, alive] = [bed.container(), bed.container(), bed.container()];
    for (const container of [gone, replaced, alive]) await add({ container });
    bed.removeContainer(gone);
    bed.removeContainer(replaced);
    bed.inside(alive, 'true');
    await service.sweep();
    expect(service.list()).toHaveLength(3);
    await service.sweep();
    expect(service.list().map(({ container }) => container)).toEqual([alive]);
  });

  test('after a reboot attachments go at once, unless their devices are there after all', async () => {
    const [gone, alive] = [bed.container(), bed.container()];
    for (const container of [gone, alive]) await add({ container });
    bed.removeContainer(gone);
    service = bed.service(memoryJournal(disk), { bootId: 'two' });
    await service.recover();
    expect(service.list().map(({ container }) => container)).toEqual([alive]);
  });

  test('an ADD for a namespace that took the place of a vanished one needs no DEL', async () => {
    const container = bed.container();
    await add({ container });
    const netns = `/run/netns/${bed.container()}`;
    bed.removeContainer(container);
    await add({ container, netns });
    expect(service.list()).toHaveLength(1);
  });
});
