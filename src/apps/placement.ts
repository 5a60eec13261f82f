/**
 * Placement: which agents get the instances that wait.
 *
 * Purpose: pure; offers and requests in, places out. What finds no place waits, and `explain` says why for each agent.
 * Invariants: an instance is placed only where resources, ports, addresses, runtime and all constraints allow it, given
 * everything placed before it.
 * Review notes: instances are spread: the agent with the fewest of the app first, then the zone with the fewest, then the
 * least loaded. Within a zone only what is given to an agent changes its place, so each zone has a queue, whose ranks are
 * never stale, and the heads of the queues are compared. Of the agents that have none of the app, which the book has in
 * order, only one at a time is in its zone's queue: the next follows when it is taken out. That makes a placement cost a
 * few comparisons instead of a look at all agents.
 */
import type { Random } from '../base/random.ts';
import type { NodeId } from '../model/names.ts';
import type { RejectReason } from '../model/deployment.ts';
import { allows, dependsOnInstances, describeConstraint, fieldOf, isGroupBy } from './constraints.ts';
import type { Demand } from './demand.ts';
import { Heap } from './heap.ts';
import { isLessLoaded, type OfferBook } from './offer-book.ts';
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
export function place(request: PlacementRequest, book: OfferBook, random: Random): readonly Place[] {
  const spread = new Spread(request, book);
  const candidates = new Candidates(request, book, spread);
  const places: Place[] = [];
  const taken = new Set<Offer>();
  // Allowed again, perhaps, when other groups have grown.
  let later: Offer[] = [];
  while (places.length < request.count) {
    const offer = candidates.pop();
    if (offer === undefined) break;
    if (offer.rejection(request.demand) !== undefined) continue;
    if (spread.objection(offer) !== undefined) {
      if (spread.isGrouped) later.push(offer);
      continue;
    }
    places.push({ node: offer.agent.node, hostPorts: offer.take(request.demand, random) });
    taken.add(offer);
    spread.add(offer);
    candidates.push(offer);
    for (const each of later) candidates.push(each);
    later = [];
  }
  book.refile(taken);
  return places;
}

export interface Explanation {
  readonly node: NodeId;
  readonly host: string;
  readonly reason: RejectReason;
  readonly message: string;
}

/** Why one more instance has no place, agent by agent; empty where there is one. */
export function explain(request: PlacementRequest, book: OfferBook): readonly Explanation[] {
  const spread = new Spread(request, book);
  return Array.from(book.all()).flatMap((offer) => {
    const why = offer.rejection(request.demand) ?? spread.objection(offer);
    if (why === undefined) return [];
    const { node, name } = offer.agent;
    return [{ node, host: name, reason: why.reason, message: `${name} ${why.message}` }];
  });
}

interface Candidate {
  readonly offer: Offer;
  /** Instances of the app. */
  readonly onAgent: number;
  /** It stands for those of its zone that are not in the queue yet. */
  readonly isFirstOfRest: boolean;
}

function isBefore(a: Candidate, b: Candidate): boolean {
  return a.onAgent === b.onAgent ? isLessLoaded(a.offer, b.offer) : a.onAgent < b.onAgent;
}

/** The agents that may get an instance of one app. */
class Candidates {
  readonly #spread: Spread;
  readonly #zones = new Map<string | undefined, ZoneQueue>();

  constructor({ existing }: PlacementRequest, book: OfferBook, spread: Spread) {
    this.#spread = spread;
    const isFresh = (offer: Offer) => !existing.has(offer.agent.node) && spread.isPossible(offer);
    for (const [zone, offers] of book.zones()) this.#zones.set(zone, new ZoneQueue(offers, isFresh));
    for (const node of existing.keys()) {
      const offer = book.get(node);
      if (offer !== undefined && spread.isPossible(offer)) this.push(offer);
    }
  }

  push(offer: Offer): void {
    this.#zones.get(offer.zone)?.push(offer, this.#spread.onAgent(offer));
  }

  /** Takes out the one that leads. */
  pop(): Offer | undefined {
    let best: ZoneQueue | undefined;
    for (const zone of this.#zones.values()) if (this.#leads(zone.head, best?.head)) best = zone;
    return best?.pop();
  }

  #leads(one: Candidate | undefined, other: Candidate | undefined): boolean {
    if (one === undefined || other === undefined) return one !== undefined;
    if (one.onAgent !== other.onAgent) return one.onAgent < other.onAgent;
    const more = this.#spread.inZone(one.offer.zone) - this.#spread.inZone(other.offer.zone);
    return more === 0 ? isLessLoaded(one.offer, other.offer) : more < 0;
  }
}

/** The candidates of one zone, the one that leads on top. */
class ZoneQueue {
  readonly #heap = new Heap(isBefore);
  readonly #rest: Iterator<Offer>;
  readonly #isFresh: (offer: Offer) => boolean;

  /** `isFresh` tells which of the zone's offers are candidates that have none of the app. */
  constructor(offers: readonly Offer[], isFresh: (offer: Offer) => boolean) {
    this.#rest = offers.values();
    this.#isFresh = isFresh;
    this.#follow();
  }

  get head(): Candidate | undefined {
    return this.#heap.peek();
  }

  push(offer: Offer, onAgent: number): void {
    this.#heap.push({ offer, onAgent, isFirstOfRest: false });
  }

  pop(): Offer | undefined {
    const top = this.#heap.pop();
    if (top?.isFirstOfRest === true) this.#follow();
    return top?.offer;
  }

  #follow(): void {
    for (let next = this.#rest.next(); next.done !== true; next = this.#rest.next()) {
      if (!this.#isFresh(next.value)) continue;
      this.#heap.push({ offer: next.value, onAgent: 0, isFirstOfRest: true });
      return;
    }
  }
}

/** Where the instances of one app are, and what its constraints say of one more. */
class Spread {
  readonly #demand: Demand;
  readonly #onAgent: Map<NodeId, number>;
  readonly #inZone = new Map<string, number>();
  readonly #book: OfferBook;
  /** By constrained field: instances by value. */
  readonly #counts = new Map<string, Map<string, number>>();
  readonly isGrouped: boolean;

  constructor({ demand, existing }: PlacementRequest, book: OfferBook) {
    this.#demand = demand;
    this.#book = book;
    this.#onAgent = new Map(existing);
    this.isGrouped = demand.constraints.some(isGroupBy);
    for (const [field = ''] of demand.constraints.filter(dependsOnInstances))
      this.#counts.set(field, new Map());
    for (const [node, count] of existing) {
      const offer = book.get(node);
      if (offer !== undefined) this.#count(offer, count);
    }
  }

  add(offer: Offer): void {
    const { node } = offer.agent;
    this.#onAgent.set(node, this.onAgent(offer) + 1);
    this.#count(offer, 1);
  }

  onAgent(offer: Offer): number {
    return this.#onAgent.get(offer.agent.node) ?? 0;
  }

  /** Those without a zone are no zone of their own: none counts as there. */
  inZone(zone: string | undefined): number {
    return zone === undefined ? 0 : (this.#inZone.get(zone) ?? 0);
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
      values: this.#book.valuesOf(field),
      wanted: this.#demand.wanted,
    }));
  }

  #count(offer: Offer, count: number): void {
    if (offer.zone !== undefined) this.#inZone.set(offer.zone, this.inZone(offer.zone) + count);
    for (const [field, counts] of this.#counts) {
      const value = fieldOf(offer, field);
      if (value !== undefined) counts.set(value, (counts.get(value) ?? 0) + count);
    }
  }
}
