/**
 * The offers of all agents in one round, which all apps of the round are placed from.
 *
 * Purpose: what is the same for every app is found once: the least loaded agents of each zone, the values of a field.
 * Invariant: each zone's offers are in order of load. Who takes from offers refiles them, once he reads no list any more.
 * Review notes: an app has instances on few agents, so it finds its places by looking at the first of each zone's list;
 * ordering all agents anew for each app was most of the cost of a large round.
 */
import type { NodeId } from '../model/names.ts';
import { fieldOf } from './constraints.ts';
import type { Offer } from './offers.ts';

export function isLessLoaded(a: Offer, b: Offer): boolean {
  return a.load === b.load ? a.index < b.index : a.load < b.load;
}

export class OfferBook {
  readonly #byNode: ReadonlyMap<NodeId, Offer>;
  /** Those without a zone are together, too. */
  readonly #byZone = new Map<string | undefined, Offer[]>();
  readonly #values = new Map<string, ReadonlySet<string>>();

  constructor(offers: readonly Offer[]) {
    this.#byNode = new Map(offers.map((offer) => [offer.agent.node, offer]));
    for (const offer of offers) this.#zoneOf(offer).push(offer);
    for (const list of this.#byZone.values()) list.sort((a, b) => (isLessLoaded(a, b) ? -1 : 1));
  }

  get size(): number {
    return this.#byNode.size;
  }

  get(node: NodeId): Offer | undefined {
    return this.#byNode.get(node);
  }

  /** In the order of the agents. */
  all(): Iterable<Offer> {
    return this.#byNode.values();
  }

  /** By zone, the least loaded first. */
  zones(): Iterable<readonly [zone: string | undefined, offers: readonly Offer[]]> {
    return this.#byZone;
  }

  /** Every value of the field among the agents. */
  valuesOf(field: string): ReadonlySet<string> {
    const known = this.#values.get(field);
    if (known !== undefined) return known;
    const values = new Set<string>();
    for (const offer of this.all()) {
      const value = fieldOf(offer, field);
      if (value !== undefined) values.add(value);
    }
    this.#values.set(field, values);
    return values;
  }

  /** Their loads are others: puts them where they belong now. All are taken out first: what stays must be in order. */
  refile(offers: Iterable<Offer>): void {
    for (const offer of offers) {
      const list = this.#zoneOf(offer);
      list.splice(list.indexOf(offer), 1);
    }
    for (const offer of offers) insert(this.#zoneOf(offer), offer);
  }

  #zoneOf({ zone }: Offer): Offer[] {
    const known = this.#byZone.get(zone);
    if (known !== undefined) return known;
    const list: Offer[] = [];
    this.#byZone.set(zone, list);
    return list;
  }
}

function insert(list: Offer[], offer: Offer): void {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (isLessLoaded(list[middle] as Offer, offer)) low = middle + 1;
    else high = middle;
  }
  list.splice(low, 0, offer);
}
