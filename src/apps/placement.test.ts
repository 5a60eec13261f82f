import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { seededRandom } from '../base/random.ts';
import type { App } from '../model/app.ts';
import type { NodeId } from '../model/names.ts';
import type { ResourcesRecord } from '../model/task.ts';
import { demandOf } from './demand.ts';
import { testAgents, testApp } from './fake.ts';
import { OfferBook } from './offer-book.ts';
import { Offer, type SchedulerAgent } from './offers.ts';
import { explain, place } from './placement.ts';

const random = seededRandom(4);
const offersOf = (agents: readonly SchedulerAgent[]) =>
  new OfferBook(agents.map((agent, i) => new Offer(agent, i)));

/** The names of the agents that the instances come to, in order, and why no more do. */
function placed(change: Partial<App>, agents: readonly SchedulerAgent[], existing: readonly string[] = []) {
  const app = testApp({ id: '/web', ...change });
  const counts = new Map<NodeId, number>();
  for (const { node, name } of agents) counts.set(node, existing.filter((each) => each === name).length);
  for (const [node, count] of counts) if (count === 0) counts.delete(node);
  const offers = offersOf(agents);
  const request = { demand: demandOf(app), count: app.instances, existing: counts };
  const places = place(request, offers, random);
  const nameOf = new Map(agents.map(({ node, name }) => [node, name]));
  const now = new Map(counts);
  for (const { node } of places) now.set(node, (now.get(node) ?? 0) + 1);
  return {
    hosts: places.map(({ node }) => nameOf.get(node)),
    ports: places.map(({ hostPorts }) => hostPorts),
    why: explain({ ...request, existing: now }, offers).map(({ message }) => message),
  };
}

describe('place()', () => {
  it('spreads instances over agents, then over zones, and takes the least loaded', () => {
    const zones = ['a', 'a', 'b'];
    const agents = testAgents(3, (i) => ({ zone: zones[i]!, cpus: [8, 4, 2][i]! }));
    expect(new Set(placed({ instances: 6 }, agents).hosts.slice(0, 3)).size).toBe(3);
    expect(placed({ instances: 2 }, agents).hosts).toContain('agent3');
    expect(placed({ instances: 1 }, agents, ['agent1', 'agent3']).hosts).toEqual(['agent2']);
  });

  it.each<[string, Partial<App>, Partial<ResourcesRecord>, string]>([
    ['cpus', { cpus: 3 }, { cpus: 2 }, 'agent1 has 2 cpus free, 3 are wanted'],
    ['memory', { mem: 100 }, { mem_mib: 64 }, 'agent1 has 64 MiB of memory free, 100 are wanted'],
    ['disk', { disk: 100 }, { disk_mib: 64 }, 'agent1 has 64 MiB of disk free, 100 are wanted'],
    ['gpus', { gpus: 1 }, {}, 'agent1 has 0 gpus free, 1 are wanted'],
    ['role', { acceptedResourceRoles: ['public'] }, {}, 'agent1 has role *, wanted is public'],
    ['role of the agent', {}, { attributes: { role: 'public' } }, 'agent1 has role public, wanted is *'],
    [
      'runtime',
      { container: { type: 'DOCKER', volumes: [], portMappings: [] } },
      { runtimes: ['mesos'] },
      'agent1 cannot run docker containers',
    ],
    [
      'addresses',
      {},
      { task_addresses: { dcos: { mesos: 0, docker: 9 } } },
      'agent1 has no free address in dcos',
    ],
    [
      'network',
      { networks: [{ mode: 'container', name: 'other' }] },
      {},
      'agent1 has no block of network other',
    ],
    [
      'constraint',
      { constraints: [['rack', 'LIKE', 'r[12]']] },
      { attributes: { rack: 'r3' } },
      'agent1 does not satisfy the constraint rack LIKE r[12]',
    ],
  ])('says what is missing: %s', (_what, change, resources, message) => {
    const { hosts, why } = placed(
      change,
      testAgents(1, () => resources),
    );
    expect(hosts).toEqual([]);
    expect(why).toEqual([message]);
  });

  it('leaves agents alone that are unreachable or drained', () => {
    const [one, two] = testAgents(2) as [SchedulerAgent, SchedulerAgent];
    const { hosts, why } = placed({}, [
      { ...one, isReachable: false },
      { ...two, isDrained: true },
    ]);
    expect(hosts).toEqual([]);
    expect(why).toEqual(['agent1 is unreachable', 'agent2 is drained for maintenance']);
  });

  it('gives host ports once each, the required ones only where they are free', () => {
    const host = { networks: [{ mode: 'host' as const }], container: undefined };
    const definition = { protocol: 'tcp' as const, labels: {} };
    const agents = testAgents(1, () => ({ ports: [[31_000, 31_001]] }));
    const any = placed({ ...host, instances: 3, portDefinitions: [{ ...definition, port: 80 }] }, agents);
    expect(any.ports.flat().sort((a, b) => (a ?? 0) - (b ?? 0))).toEqual([31_000, 31_001]);
    expect(any.why).toEqual(['agent1 has 0 host ports free, 1 are wanted']);
    const required = { ...host, requirePorts: true, instances: 2 };
    const taken = placed({ ...required, portDefinitions: [{ ...definition, port: 31_001 }] }, agents);
    expect(taken.ports).toEqual([[31_001]]);
    expect(taken.why).toEqual(['agent1 cannot give host port 31001: it is taken']);
    expect(placed({ ...required, portDefinitions: [{ ...definition, port: 80 }] }, agents).why).toEqual([
      'agent1 cannot give host port 80: it is not among those it offers',
    ]);
  });
});

describe('constraints', () => {
  const racks = ['r1', 'r1', 'r2', 'r2', 'r3', undefined];
  const agents = testAgents(6, (i) => ({
    attributes: { ...(racks[i] === undefined ? {} : { rack: racks[i] }), slots: '2.0001' },
  }));
  const spread = (instances: number, ...constraint: string[]) => {
    const { hosts } = placed({ instances, constraints: [constraint] }, agents);
    const counts = new Map<string, number>();
    for (const host of hosts) {
      const rack = racks[Number(host?.slice(5)) - 1] ?? 'none';
      counts.set(rack, (counts.get(rack) ?? 0) + 1);
    }
    return Object.fromEntries([...counts].sort(([a], [b]) => a.localeCompare(b)));
  };

  const sizes = (groups: Readonly<Record<string, number>>) => Object.values(groups).sort((a, b) => a - b);

  it('UNIQUE: each value at most once', () => {
    expect(spread(9, 'rack', 'UNIQUE')).toEqual({ r1: 1, r2: 1, r3: 1 });
    expect(placed({ instances: 9, constraints: [['hostname', 'UNIQUE']] }, agents).hosts).toHaveLength(6);
  });

  it('CLUSTER: all on the given value, or on that of the first', () => {
    expect(spread(5, 'rack', 'CLUSTER', 'r2')).toEqual({ r2: 5 });
    expect(Object.values(spread(5, 'rack', 'CLUSTER'))).toEqual([5]);
    expect(
      placed({ instances: 2, constraints: [['hostname', 'CLUSTER', '10.0.0.12']] }, agents).hosts,
    ).toEqual(['agent2', 'agent2']);
  });

  it('GROUP_BY: evenly over the number of groups given, or over all that there are', () => {
    expect(sizes(spread(7, 'rack', 'GROUP_BY', '3'))).toEqual([2, 2, 3]);
    expect(sizes(spread(6, 'rack', 'GROUP_BY', '2'))).toEqual([3, 3]);
    expect(sizes(spread(8, 'rack', 'GROUP_BY'))).toEqual([2, 3, 3]);
  });

  it('LIKE and UNLIKE: the whole value; without the attribute the one fails and the other passes', () => {
    expect(spread(6, 'rack', 'LIKE', 'r[13]')).toEqual({ r1: expect.any(Number), r3: expect.any(Number) });
    expect(spread(6, 'rack', 'LIKE', '[13]')).toEqual({});
    expect(Object.keys(spread(12, 'rack', 'UNLIKE', 'r[13]'))).toEqual(['none', 'r2']);
  });

  it('MAX_PER and IS', () => {
    expect(spread(9, 'rack', 'MAX_PER', '2')).toEqual({ r1: 2, r2: 2, r3: 2 });
    expect(spread(2, 'rack', 'IS', 'r3')).toEqual({ r3: 2 });
    expect(placed({ constraints: [['slots', 'IS', '2']] }, agents).hosts).toHaveLength(1);
    expect(placed({ constraints: [['slots', 'IS', '2.001']] }, agents).hosts).toHaveLength(0);
  });
});

describe('whatever is asked for', () => {
  it('no agent is given more than it has, and nothing waits that had a place', () => {
    const resources = fc.record({
      cpus: fc.integer({ min: 0, max: 4 }),
      addresses: fc.integer({ min: 0, max: 6 }),
      ports: fc.integer({ min: 0, max: 5 }),
    });
    const asked = fc.record({
      cpus: fc.constantFrom(0.1, 0.5, 1),
      instances: fc.integer({ min: 0, max: 30 }),
      hostPort: fc.constantFrom(undefined, 0),
    });
    fc.assert(
      fc.property(fc.array(resources, { maxLength: 5 }), asked, (offered, { cpus, instances, hostPort }) => {
        const agents = testAgents(offered.length, (i) => ({
          cpus: offered[i]!.cpus,
          ports: offered[i]!.ports === 0 ? [] : [[31_000, 30_999 + offered[i]!.ports]],
          task_addresses: { dcos: { mesos: offered[i]!.addresses, docker: 0 } },
        }));
        const mapping = { containerPort: 80, servicePort: 0, protocol: 'tcp' as const, labels: {} };
        const portMappings = [hostPort === undefined ? mapping : { ...mapping, hostPort }];
        const container = { type: 'MESOS' as const, volumes: [], portMappings };
        const { hosts } = placed({ cpus, instances, container }, agents);
        const room = offered.map((each) =>
          Math.min(
            Math.floor(each.cpus / cpus + 1e-6),
            each.addresses,
            hostPort === undefined ? Infinity : each.ports,
          ),
        );
        for (const [i, { name }] of agents.entries())
          expect(hosts.filter((host) => host === name).length).toBeLessThanOrEqual(room[i]!);
        expect(hosts).toHaveLength(
          Math.min(
            instances,
            room.reduce((sum, each) => sum + each, 0),
          ),
        );
      }),
      { numRuns: 300 },
    );
  });
});
