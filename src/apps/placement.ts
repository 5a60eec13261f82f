/**
 * Placement: which agents get the instances that wait.
 *
 * Purpose: pure; offers and requests in, places out. What finds no place waits, and `explain` says why for each agent.
 * Invariants: an instance is placed only where resources, ports, addresses, runtime and all constraints allow it, given
 * everything placed before it.
 * Review notes: instances are spread: the agent with the fewest of the app first, then the zone with the fewest, then the
 * least loaded. An agent's rank only falls as it is given more, so a heap of ranks may be stale: what comes up is ranked
 * anew and put back unless it still leads. That makes a placement cost a few comparisons instead of a look at all agents.
 */
import type { Random } from '../base/random.ts';
import type { NodeId } from '../model/names.ts';
import type { RejectReason } from '../model/deployment.ts';
import { allows, dependsOnInstances, describeConstraint, fieldOf, isGroupBy } from './constraints.ts';
import type { Demand } from './demand.ts';
import { Heap } from './heap.ts';
import type { Offer } from './offers.ts';

export interface PlacementRequest {
  readonly demand: Demand;
  /** Instances to place. */
  readonly count: number;
  /** Instances of the app by node, of any version. */
  readonly existing: ReadonlyMap<NodeId, number>;
}

export interface Place {
  readonly node: NodeId;
  /** In the order of the declared ports; `undefined` where none is needed. */
  readonly hostPorts: readonly (number | undefined)[];
}

/** Places as many as fit, taking what they need from the offers. */
export function place(
  request: PlacementRequest,
  offers: ReadonlyMap<NodeId, Offer>,
  random: Random,
): readonly Place[] {
  const spread = new Spread(request, offers);
  const places: Place[] = [];
  const candidates: Ranked[] = [];
  for (const offer of offers.values()) if (spread.isPossible(offer)) candidates.push(spread.rank(offer));
  const heap = new Heap(isBefore, candidates);
  // Allowed again, perhaps, when other groups have grown.
  let later: Ranked[] = [];
  while (places.length < request.count) {
    const top = heap.pop();
    if (top === undefined) break;
    const now = spread.rank(top.offer);
    const next = heap.peek();
    if (next !== undefined && isBefore(next, now)) {
      heap.push(now);
      continue;
    }
    if (top.offer.rejection(request.demand) !== undefined) continue;
    if (spread.objection(top.offer) !== undefined) {
      if (spread.isGrouped) later.push(now);
      continue;
    }
    const hostPorts = top.offer.take(request.demand, random);
    spread.add(top.offer);
    places.push({ node: top.offer.agent.node, hostPorts });
    heap.push(spread.rank(top.offer));
    for (const each of later) heap.push(each);
    later = [];
  }
  return places;
}

export interface Explanation {
  readonly node: NodeId;
  readonly host: string;
  readonly reason: RejectReason;
  readonly message: string;
}

/** Why one more instance has no place, agent by agent; empty where there is one. */
export function explain(
  request: PlacementRequest,
  offers: ReadonlyMap<NodeId, Offer>,
): readonly Explanation[] {
  const spread = new Spread(request, offers);
  return Array.from(offers.values()).flatMap((offer) => {
    const why = offer.rejection(request.demand) ?? spread.objection(offer);
    if (why === undefined) return [];
    const { node, name } = offer.agent;
    return [{ node, host: name, reason: why.reason, message: `${name} ${why.message}` }];
  });
}

interface Ranked {
  readonly offer: Offer;
  readonly onAgent: number;
  readonly inZone: number;
  readonly load: number;
}

function isBefore(a: Ranked, b: Ranked): boolean {
  if (a.onAgent !== b.onAgent) return a.onAgent < b.onAgent;
  if (a.inZone !== b.inZone) return a.inZone < b.inZone;
  if (a.load !== b.load) return a.load < b.load;
  return a.offer.index < b.offer.index;
}

/** Where the instances of one app are, and what its constraints say of one more. */
class Spread {
  readonly #demand: Demand;
  readonly #onAgent: Map<NodeId, number>;
  readonly #inZone = new Map<string, number>();
  /** By constrained field: instances by value, and the values that there are. */
  readonly #counts = new Map<string, Map<string, number>>();
  readonly #values = new Map<string, Set<string>>();
  readonly isGrouped: boolean;

  constructor({ demand, existing }: PlacementRequest, offers: ReadonlyMap<NodeId, Offer>) {
    this.#demand = demand;
    this.#onAgent = new Map(existing);
    this.isGrouped = demand.constraints.some(isGroupBy);
    for (const [field = ''] of demand.constraints.filter(dependsOnInstances)) {
      this.#counts.set(field, new Map());
      const values = Array.from(offers.values(), (offer) => fieldOf(offer, field));
      this.#values.set(field, new Set(values.filter((value) => value !== undefined)));
    }
    for (const [node, count] of existing) {
      const offer = offers.get(node);
      if (offer !== undefined) this.#count(offer, count);
    }
  }

  add(offer: Offer): void {
    const { node } = offer.agent;
    this.#onAgent.set(node, (this.#onAgent.get(node) ?? 0) + 1);
    this.#count(offer, 1);
  }

  rank(offer: Offer): Ranked {
    const inZone = offer.zone === undefined ? 0 : (this.#inZone.get(offer.zone) ?? 0);
    return { offer, onAgent: this.#onAgent.get(offer.agent.node) ?? 0, inZone, load: offer.load };
  }

  /** Whether it is worth looking at again while this app is placed: what only falls is enough. */
  isPossible(offer: Offer): boolean {
    if (offer.rejection(this.#demand) !== undefined) return false;
    return this.#demand.constraints.every(
      (constraint) => dependsOnInstances(constraint) || this.#allows(constraint, offer),
    );
  }

  objection(offer: Offer): { readonly reason: RejectReason; readonly message: string } | undefined {
    const broken = this.#demand.constraints.find((constraint) => !this.#allows(constraint, offer));
    if (broken === undefined) return undefined;
    return { reason: 'UnfulfilledConstraint', message: describeConstraint(broken) };
  }

  #allows(constraint: Demand['constraints'][number], offer: Offer): boolean {
    const field = constraint[0] ?? '';
    return allows(constraint, offer, () => ({
      counts: this.#counts.get(field) ?? new Map(),
      values: this.#values.get(field) ?? new Set(),
      wanted: this.#demand.wanted,
    }));
  }

  #count(offer: Offer, count: number): void {
    if (offer.zone !== undefined) this.#inZone.set(offer.zone, (this.#inZone.get(offer.zone) ?? 0) + count);
    for (const [field, counts] of this.#counts) {
      const value = fieldOf(offer, field);
      if (value !== undefined) counts.set(value, (counts.get(value) ?? 0) + count);
    }
  }
}
