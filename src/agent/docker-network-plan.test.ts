import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { prefix } from '../base/ip.ts';
import type { AgentOverlay } from '../model/overlay.ts';
import type { DockerNetwork, DockerNetworkSpec } from '../runtime/types.ts';
import {
  dockerNetworkPlan,
  dockerNetworkWish,
  networkInTheWay,
  type DockerNetworkPlan,
  type DockerNetworkWish,
} from './docker-network-plan.ts';

const debian = { version: '20.10.24+dfsg1', apiVersion: '1.41' };
const modern = { version: '28.2.2', apiVersion: '1.50' };
const dcos: DockerNetworkWish = {
  name: 'dcos',
  subnets: [prefix('9.0.0.128/25'), prefix('fd01:b::8000:0:0:0/81')],
  mtu: 1450,
};
const dcos6: DockerNetworkWish = { name: 'dcos6', subnets: [prefix('fd01:b::8000:0:0:0/81')], mtu: 1450 };

/** What Docker shows of a network created to this plan. */
function created(plan: DockerNetworkPlan): DockerNetwork {
  if (plan.do !== 'create' && plan.do !== 'recreate') throw new Error(`nothing to create: ${plan.do}`);
  const { name, subnets, enableIpv6, options, labels } = plan.spec;
  return {
    id: '1',
    name,
    driver: 'bridge',
    internal: false,
    enableIpv6,
    subnets,
    options,
    labels,
    attachments: [],
  };
}

const ours = created(dockerNetworkPlan(dcos, undefined, debian));
const attachment = { container: 'c', name: 'c', endpoint: 'e', mac: undefined, addresses: [] };

describe('networkInTheWay', () => {
  const { spec } = dockerNetworkPlan(dcos, undefined, debian) as { readonly spec: DockerNetworkSpec };
  const other = { ...ours, name: 'other', subnets: [prefix('10.77.0.0/24')], options: {} };

  test('names the one with the same addresses, or with the bridge', () => {
    expect(networkInTheWay(spec, [ours, other])).toBeUndefined();
    expect(networkInTheWay(spec, [{ ...other, subnets: dcos.subnets }])).toContain('network "other" has');
    expect(networkInTheWay(spec, [{ ...other, options: spec.options }])).toBe(
      'Cannot make Docker network "dcos" on bridge d-dcos: Docker network "other" has it: remove that with "docker network rm other", then the overlay\'s is made',
    );
  });
});

describe('dockerNetworkPlan', () => {
  test('creates what the reference asks for', () => {
    expect(dockerNetworkPlan(dcos, undefined, debian)).toEqual({
      do: 'create',
      spec: {
        name: 'dcos',
        subnets: dcos.subnets,
        enableIpv4: true,
        enableIpv6: true,
        options: {
          'com.docker.network.bridge.name': 'd-dcos',
          'com.docker.network.bridge.enable_ip_masquerade': 'false',
          'com.docker.network.driver.mtu': '1450',
        },
        labels: { portolan: 'dcos' },
      },
    });
  });

  test('what it created fits, for every wish', () => {
    const wishes = fc.record({
      name: fc.stringMatching(/^[a-z][a-z0-9]{0,12}$/),
      subnets: fc.subarray([...dcos.subnets], { minLength: 1 }),
      mtu: fc.integer({ min: 552, max: 9000 }),
    });
    fc.assert(
      fc.property(wishes, (wish) => {
        const network = created(dockerNetworkPlan(wish, undefined, modern));
        expect(dockerNetworkPlan(wish, network, modern)).toEqual({ do: 'keep' });
      }),
    );
  });

  test("adopts a fitting network that a person made, with that person's further options", () => {
    const options = { ...ours.options, 'com.docker.network.bridge.default_bridge': 'false' };
    expect(dockerNetworkPlan(dcos, { ...ours, labels: {}, options }, debian)).toEqual({ do: 'keep' });
  });

  test.each<[string, Partial<DockerNetwork>, string]>([
    ['driver', { driver: 'macvlan' }, 'driver is macvlan, not bridge'],
    ['isolation from the world', { internal: true }, 'internal is true, not false'],
    [
      'subnet',
      { subnets: [prefix('9.0.1.128/25')] },
      'subnet is 9.0.1.128/25, not 9.0.0.128/25 fd01:b:0:0:8000::/81',
    ],
    ['IPv6', { enableIpv6: false }, 'IPv6 is false, not true'],
    [
      'device name',
      { options: { ...ours.options, 'com.docker.network.bridge.name': 'br0' } },
      'com.docker.network.bridge.name is br0, not d-dcos',
    ],
    [
      'masquerading',
      {
        options: {
          'com.docker.network.bridge.name': 'd-dcos',
          'com.docker.network.driver.mtu': '1450',
        },
      },
      'enable_ip_masquerade is not set, not false',
    ],
    [
      'MTU',
      { options: { ...ours.options, 'com.docker.network.driver.mtu': '1500' } },
      'com.docker.network.driver.mtu is 1500, not 1450',
    ],
  ])('names a wrong %s and the remedy', (_what, change, says) => {
    const plan = dockerNetworkPlan(dcos, { ...ours, labels: {}, ...change }, debian);
    expect(plan).toMatchObject({ do: 'refuse', message: expect.stringContaining(says) });
    expect(plan).toMatchObject({ message: expect.stringContaining('"docker network rm dcos"') });
  });

  test('makes its own network anew while nobody uses it, and refuses when somebody does', () => {
    const moved = { ...dcos, subnets: [prefix('9.0.7.128/25')] };
    expect(dockerNetworkPlan(moved, ours, debian)).toMatchObject({ do: 'recreate' });
    expect(dockerNetworkPlan(moved, { ...ours, attachments: [attachment] }, debian).do).toBe('refuse');
  });

  test('keeps its own network while somebody uses it and only the MTU is another by now', () => {
    const wider = { ...dcos, mtu: 1400 };
    expect(dockerNetworkPlan(wider, ours, debian)).toMatchObject({
      do: 'recreate',
      differs: ['com.docker.network.driver.mtu is 1450, not 1400'],
    });
    expect(dockerNetworkPlan(wider, { ...ours, attachments: [attachment] }, debian)).toEqual({
      do: 'keep',
      remark:
        'com.docker.network.driver.mtu is 1450, not 1400: it is made anew when no container is on it any more',
    });
    expect(dockerNetworkPlan(wider, { ...ours, labels: { portolan: 'other' } }, debian).do).toBe('refuse');
  });

  test('an overlay without IPv4 is offered only to a Docker that can do without', () => {
    const plan = dockerNetworkPlan(dcos6, undefined, debian);
    expect(plan).toMatchObject({ do: 'unsupported', message: expect.stringContaining('20.10.24') });
    expect(dockerNetworkPlan(dcos6, undefined, modern)).toMatchObject({
      do: 'create',
      spec: { enableIpv4: false, enableIpv6: true },
    });
  });
});

describe('dockerNetworkWish', () => {
  const overlay = {
    info: { name: 'dcos', enabled: true },
    docker_bridge: { name: 'd-dcos', ip: '9.0.0.128/25', ip6: 'fd01:b::8000:0:0:0/81' },
    backend: {
      vxlan: {
        vni: 1024,
        vtep_name: 'vtep1024',
        vtep_ip: '44.128.0.1/20',
        vtep_mac: '70:b3:d5:80:00:01',
      },
    },
  } satisfies AgentOverlay;

  test('takes the Docker halves of the block, IPv6 only when enabled', () => {
    const families = (enableIpv6: boolean): readonly string[] | undefined =>
      dockerNetworkWish(overlay, { mtu: 1450, enableIpv6 })?.subnets.map(String);
    expect(families(true)).toEqual(['9.0.0.128/25', 'fd01:b:0:0:8000::/81']);
    expect(families(false)).toEqual(['9.0.0.128/25']);
  });

  test('is nothing without a Docker bridge, or when only IPv6 is left and that is off', () => {
    const { docker_bridge: bridge, ...none } = overlay;
    expect(dockerNetworkWish(none, { mtu: 1450, enableIpv6: true })).toBeUndefined();
    const only6 = { ...none, docker_bridge: { name: bridge.name, ip6: bridge.ip6 } };
    expect(dockerNetworkWish(only6, { mtu: 1450, enableIpv6: false })).toBeUndefined();
  });
});
