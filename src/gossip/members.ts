/**
 * Whom to talk to.
 *
 * Purpose: keeps TARGET_PEERS connections to random nodes out of the contacts and everyone known by record. To be
 * replaced by partial views with a failure detector; nothing else knows how peers are chosen.
 * Invariants: never more than MAX_PEERS; one attempt per address at a time, with exponential, randomised back-off;
 * while alone, contacts go first; now and then a further random node is dialled and another link given up, so that two
 * halves of a cluster, each content with its own, find each other again.
 */
import type { Random } from '../base/random.ts';
import { randomBelow } from '../base/random.ts';
import type { NodeId } from '../model/names.ts';

export const TARGET_PEERS = 7;
export const MAX_PEERS = 21;
const FIRST_BACKOFF_MS = 250;
/** Short: after a partition the halves should find each other soon, and an attempt costs one packet. */
const MAX_BACKOFF_MS = 5_000;
/** A wrong cluster does not become the right one soon. */
const REFUSED_BACKOFF_MS = 120_000;
const REFRESH_MS = 10_000;
const MAX_CONTACTS = 1_024;

/** `host:port`, `[v6]:port` for IPv6. */
export type AddressText = string;

interface Attempts {
  failures: number;
  notBefore: number;
  isDialling: boolean;
}

/** The established links, as far as the choice of peers is concerned. */
export interface LinkView {
  readonly connection: number;
  readonly node: NodeId;
  readonly address: AddressText;
  readonly isDialled: boolean;
}

export class Members {
  readonly #random: Random;
  readonly #contacts = new Set<AddressText>();
  readonly #nodes = new Map<NodeId, AddressText>();
  readonly #attempts = new Map<AddressText, Attempts>();
  /** Addresses that turned out to be our own. */
  readonly #own = new Set<AddressText>();
  #refreshAt = 0;

  constructor(components: { readonly random: Random }) {
    this.#random = components.random;
  }

  addContacts(addresses: readonly AddressText[]): void {
    for (const address of addresses) if (this.#contacts.size < MAX_CONTACTS) this.#contacts.add(address);
  }

  learn(node: NodeId, address: AddressText): void {
    this.#nodes.set(node, address);
  }

  forget(node: NodeId): void {
    const address = this.#nodes.get(node);
    this.#nodes.delete(node);
    if (address !== undefined && !this.#contacts.has(address)) this.#attempts.delete(address);
  }

  nodes(): Iterable<readonly [NodeId, AddressText]> {
    return this.#nodes;
  }

  address(node: NodeId): AddressText | undefined {
    return this.#nodes.get(node);
  }

  /** How often in a row the address was dialled in vain. */
  failures(address: AddressText): number {
    return this.#attempts.get(address)?.failures ?? 0;
  }

  isOwn(address: AddressText): void {
    this.#own.add(address);
  }

  connected(address: AddressText): void {
    const attempts = this.#of(address);
    attempts.isDialling = false;
    attempts.failures = 0;
  }

  /** Dialling failed or the link is gone; `wasPeer`: the other side was there and had said hello. */
  failed(address: AddressText, now: number, wasPeer = false): void {
    const attempts = this.#of(address);
    attempts.isDialling = false;
    attempts.failures = wasPeer ? 1 : attempts.failures + 1;
    attempts.notBefore = Math.max(
      attempts.notBefore,
      now + backoffMs(attempts.failures, this.#random.next()),
    );
  }

  refused(address: AddressText, now: number): void {
    this.#of(address).notBefore = now + REFUSED_BACKOFF_MS;
  }

  /** The addresses to dial now; they count as being dialled until `connected` or `failed`. */
  dial(links: readonly LinkView[], now: number): AddressText[] {
    const dialling = Array.from(this.#attempts.values()).filter((each) => each.isDialling).length;
    const wanted = TARGET_PEERS - links.length - dialling + this.#refresh(links, now);
    if (wanted <= 0) return [];
    const chosen = this.#candidates(links, now).slice(0, wanted);
    for (const address of chosen) this.#of(address).isDialling = true;
    return chosen;
  }

  /** The link to give up now that `latest` is there. */
  surplus(links: readonly LinkView[], latest: number): number | undefined {
    const others = links.filter((link) => link.connection !== latest);
    const isOurs = links.some((link) => link.connection === latest && link.isDialled);
    const candidates =
      links.length > MAX_PEERS
        ? others
        : links.length > TARGET_PEERS && isOurs
          ? others.filter((link) => link.isDialled)
          : [];
    return candidates[randomBelow(this.#random, candidates.length)]?.connection;
  }

  /** One more than the target, when it is time for it. */
  #refresh(links: readonly LinkView[], now: number): number {
    if (now < this.#refreshAt) return 0;
    this.#refreshAt = now + REFRESH_MS * (0.5 + this.#random.next());
    return links.length >= TARGET_PEERS ? links.length - TARGET_PEERS + 1 : 1;
  }

  #candidates(links: readonly LinkView[], now: number): AddressText[] {
    const nodes = new Set(links.map((link) => link.node));
    const taken = new Set(links.map((link) => link.address));
    const fit = (address: AddressText): boolean => {
      const attempts = this.#attempts.get(address);
      if (this.#own.has(address) || taken.has(address)) return false;
      return attempts === undefined || (!attempts.isDialling && attempts.notBefore <= now);
    };
    const known: AddressText[] = [];
    for (const [node, address] of this.#nodes)
      if (nodes.has(node)) taken.add(address);
      else if (!this.#contacts.has(address)) known.push(address);
    const contacts = this.#shuffle(Array.from(this.#contacts).filter(fit));
    const others = this.#shuffle(known.filter(fit));
    return links.length === 0 ? [...contacts, ...others] : this.#shuffle([...contacts, ...others]);
  }

  #shuffle<T>(items: T[]): T[] {
    for (let i = items.length - 1; i > 0; i--) {
      const j = randomBelow(this.#random, i + 1);
      [items[i], items[j]] = [items[j] as T, items[i] as T];
    }
    return items;
  }

  #of(address: AddressText): Attempts {
    let attempts = this.#attempts.get(address);
    if (attempts === undefined) {
      attempts = { failures: 0, notBefore: 0, isDialling: false };
      this.#attempts.set(address, attempts);
    }
    return attempts;
  }
}

/** Doubles with each failure; `chance` in [0, 1) spreads nodes that failed together over half of it. */
export function backoffMs(failures: number, chance: number): number {
  const full = Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** Math.min(failures, 20));
  return full * (0.5 + chance / 2);
}
