import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { seededRandom, type Random } from '../base/random.ts';
import type { NodeId } from '../model/names.ts';
import { demandOf } from './demand.ts';
import { testAgents, testApp } from './fake.ts';
import { OfferBook } from './offer-book.ts';
import { Offer } from './offers.ts';
import { explain, place, type Place, type PlacementRequest } from './placement.ts';

/** What place() is to do, without any of its short cuts: every agent is looked at anew for every instance. */
function placeSlowly(request: PlacementRequest, offers: readonly Offer[], random: Random): readonly Place[] {
  const existing = new Map(request.existing);
  const places: Place[] = [];
  while (places.length < request.count) {
    const refusing = new Set(
      explain({ ...request, existing }, new OfferBook(offers)).map(({ node }) => node),
    );
    const inZone = (zone: string | undefined) =>
      zone === undefined
        ? 0
        : offers.reduce((n, { agent }) => {
            return n + (agent.resources.zone === zone ? (existing.get(agent.node) ?? 0) : 0);
          }, 0);
    const rank = (offer: Offer) => [
      existing.get(offer.agent.node) ?? 0,
      inZone(offer.zone),
      offer.load,
      offer.index,
    ];
    const [best] = offers
      .filter(({ agent }) => !refusing.has(agent.node))
      .map((offer) => ({ offer, rank: rank(offer) }))
      .sort((a, b) => compare(a.rank, b.rank));
    if (best === undefined) break;
    const { node } = best.offer.agent;
    places.push({ node, hostPorts: best.offer.take(request.demand, random) });
    existing.set(node, (existing.get(node) ?? 0) + 1);
  }
  return places;
}

function compare(a: readonly number[], b: readonly number[]): number {
  const at = a.findIndex((each, i) => each !== b[i]);
  return at < 0 ? 0 : a[at]! - b[at]!;
}

const oneOf = (...values: string[]) => fc.constantFrom(undefined, ...values);

const agent = fc.record({
  zone: oneOf('a', 'b', 'c'),
  rack: oneOf('r1', 'r2', 'r3', 'r4'),
  cpus: fc.constantFrom(0, 1, 2, 4),
  ports: fc.integer({ min: 1, max: 6 }),
  addresses: fc.integer({ min: 0, max: 12 }),
  isDrained: fc.boolean(),
});

const constraint = fc.constantFrom<readonly string[]>(
  ...[
    ['hostname', 'UNIQUE'],
    ['rack', 'UNIQUE'],
    ['rack', 'CLUSTER'],
    ['rack', 'CLUSTER', 'r2'],
  ],
  ...[
    ['@zone', 'GROUP_BY'],
    ['@zone', 'GROUP_BY', '2'],
    ['rack', 'GROUP_BY'],
    ['rack', 'GROUP_BY', '3'],
  ],
  ...[
    ['rack', 'LIKE', 'r[12]'],
    ['rack', 'UNLIKE', 'r1'],
    ['rack', 'MAX_PER', '2'],
    ['@zone', 'IS', 'b'],
  ],
);

const wish = fc.record({
  instances: fc.integer({ min: 0, max: 12 }),
  cpus: fc.constantFrom(0, 0.1, 0.5, 1),
  mem: fc.constantFrom(0, 32, 1024),
  hostPort: fc.constantFrom(undefined, 0, 31_001),
  constraints: fc.oneof(
    { weight: 2, arbitrary: fc.constant<(readonly string[])[]>([]) },
    { weight: 3, arbitrary: fc.array(constraint, { minLength: 1, maxLength: 2 }) },
  ),
  /** Instances that it has, by the agent's place in the list. */
  existing: fc.array(fc.integer({ min: 0, max: 11 }), { maxLength: 5 }),
});

describe('place()', () => {
  it('gives the apps of a round the same agents and ports as a look at every agent for each instance', () => {
    fc.assert(
      fc.property(
        fc.array(agent, { maxLength: 12 }),
        fc.array(wish, { minLength: 1, maxLength: 6 }),
        fc.integer(),
        (given, wishes, seed) => {
          const agents = testAgents(given.length, (i) => ({
            ...(given[i]!.zone === undefined ? {} : { zone: given[i]!.zone }),
            attributes: given[i]!.rack === undefined ? {} : { rack: given[i]!.rack },
            cpus: given[i]!.cpus,
            ports: [[31_000, 30_999 + given[i]!.ports]],
            task_addresses: { dcos: { mesos: given[i]!.addresses, docker: 0 } },
          })).map((each, i) => ({ ...each, isDrained: given[i]!.isDrained && i % 3 === 0 }));
          const offers = () => agents.map((each, i) => new Offer(each, i));
          const [book, slow] = [new OfferBook(offers()), offers()];
          const [random, sameRandom] = [seededRandom(seed), seededRandom(seed)];
          for (const [i, { instances, hostPort, existing, ...asked }] of wishes.entries()) {
            const counts = new Map<NodeId, number>();
            for (const at of existing) {
              const node = agents[at]?.node;
              if (node !== undefined) counts.set(node, (counts.get(node) ?? 0) + 1);
            }
            const mapping = { containerPort: 80, servicePort: 0, protocol: 'tcp' as const, labels: {} };
            const portMappings = [hostPort === undefined ? mapping : { ...mapping, hostPort }];
            const container = { type: 'MESOS' as const, volumes: [], portMappings };
            const constraints = asked.constraints.map((each) => [...each]);
            const app = testApp({ id: `/app${i}`, ...asked, instances, container, constraints });
            const request = { demand: demandOf(app), count: instances, existing: counts };
            expect(place(request, book, random)).toEqual(placeSlowly(request, slow, sameRandom));
          }
          expect(Array.from(book.all(), ({ load }) => load)).toEqual(slow.map(({ load }) => load));
        },
      ),
      { numRuns: 1000 },
    );
  });
});

describe('OfferBook', () => {
  it('is in order of load again once several offers together have given something', () => {
    const none = { mem: 0, disk: 0, gpus: 0, hostPorts: [], runtime: 'mesos' as const, addresses: [] };
    const rounds = fc.array(fc.uniqueArray(fc.integer({ min: 0, max: 7 })), { maxLength: 4 });
    fc.assert(
      fc.property(rounds, fc.integer(), (turns, seed) => {
        const random = seededRandom(seed);
        const offers = testAgents(8, () => ({ cpus: 100 })).map((each, i) => new Offer(each, i));
        const book = new OfferBook(offers);
        for (const turn of turns) {
          const taken = turn.map((i) => offers[i]!);
          for (const offer of taken) offer.hold({ ...none, cpus: Math.floor(random.next() * 10) });
          book.refile(taken);
          const [[, list] = [undefined, []]] = Array.from(book.zones());
          expect(list).toEqual(offers.toSorted((a, b) => a.load - b.load || a.index - b.index));
        }
      }),
    );
  });
});
