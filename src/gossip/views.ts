/**
 * Whom a node could talk to: the passive view, and the addresses that were tried in vain.
 *
 * Sizes are those of HyParView as Lashup used it: 42 spare peers, six for each place in an active view of 7.
 */
import { randomBelow, type Random } from '../base/random.ts';
import type { NodeId } from '../model/names.ts';
import type { PeerRow } from './codec.ts';
import type { AddressText } from './links.ts';

export const PASSIVE_VIEW = 42;
const FIRST_BACKOFF_MS = 250;
/** Short: after a partition the halves should find each other soon, and an attempt costs one packet. */
const MAX_BACKOFF_MS = 5_000;
/** A wrong cluster does not become the right one soon. */
const REFUSED_BACKOFF_MS = 120_000;
const MAX_ATTEMPTS_KEPT = 4_096;
/** Joins that a full node takes in, per second. */
const JOINS_PER_SECOND = 25;

/** Spare peers, at most PASSIVE_VIEW; a new one takes the place of a random one. */
export class PassiveView {
  readonly #random: Random;
  readonly #peers = new Map<NodeId, AddressText>();
  /** It differs from what was last on disk. */
  isDirty = false;

  constructor(random: Random) {
    this.#random = random;
  }

  add(node: NodeId, address: AddressText): void {
    if (this.#peers.get(node) === address) return;
    if (!this.#peers.has(node) && this.#peers.size >= PASSIVE_VIEW) {
      const victim = Array.from(this.#peers.keys())[randomBelow(this.#random, this.#peers.size)];
      if (victim !== undefined) this.#peers.delete(victim);
    }
    this.#peers.set(node, address);
    this.isDirty = true;
  }

  delete(node: NodeId): void {
    if (this.#peers.delete(node)) this.isDirty = true;
  }

  clear(): void {
    this.#peers.clear();
    this.isDirty = true;
  }

  entries(): PeerRow[] {
    return Array.from(this.#peers);
  }

  /** Up to `count` of them, in random order. */
  sample(count: number): (readonly [NodeId, AddressText])[] {
    return shuffled(this.#random, Array.from(this.#peers)).slice(0, count);
  }
}

interface Attempt {
  failures: number;
  notBefore: number;
  isDialling: boolean;
}

/** One attempt per address at a time, with exponential, randomised back-off. */
export class Attempts {
  readonly #random: Random;
  readonly #attempts = new Map<AddressText, Attempt>();
  #dialling = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  get dialling(): number {
    return this.#dialling;
  }

  /** Addresses that are remembered. */
  get size(): number {
    return this.#attempts.size;
  }

  isFit(address: AddressText, now: number): boolean {
    const attempt = this.#attempts.get(address);
    return attempt === undefined || (!attempt.isDialling && attempt.notBefore <= now);
  }

  begin(address: AddressText): void {
    const attempt = this.#of(address);
    if (!attempt.isDialling) this.#dialling++;
    attempt.isDialling = true;
  }

  succeeded(address: AddressText): void {
    this.#end(address).failures = 0;
  }

  failed(address: AddressText, now: number): void {
    const attempt = this.#end(address);
    attempt.failures++;
    const backoff = backoffMs(attempt.failures, this.#random.next());
    attempt.notBefore = Math.max(attempt.notBefore, now + backoff);
  }

  /** It answered, but not in a way that makes sense to ask again before long. */
  refused(address: AddressText, now: number): void {
    this.#end(address).notBefore = now + REFUSED_BACKOFF_MS;
  }

  /** That is this node itself. */
  never(address: AddressText): void {
    this.#end(address).notBefore = Infinity;
  }

  #end(address: AddressText): Attempt {
    const attempt = this.#of(address);
    if (attempt.isDialling) this.#dialling--;
    attempt.isDialling = false;
    return attempt;
  }

  #of(address: AddressText): Attempt {
    let attempt = this.#attempts.get(address);
    if (attempt === undefined) {
      if (this.#attempts.size >= MAX_ATTEMPTS_KEPT) this.#forget();
      attempt = { failures: 0, notBefore: 0, isDialling: false };
      this.#attempts.set(address, attempt);
    }
    return attempt;
  }

  /** The oldest that is not under way. */
  #forget(): void {
    for (const [address, { isDialling, notBefore }] of this.#attempts)
      if (!isDialling && notBefore < Infinity) {
        this.#attempts.delete(address);
        return;
      }
  }
}

/** Lets JOINS_PER_SECOND through, evenly after a burst of as many. */
export class JoinThrottle {
  #tokens = JOINS_PER_SECOND;
  #at = 0;

  take(now: number): boolean {
    this.#tokens = Math.min(JOINS_PER_SECOND, this.#tokens + ((now - this.#at) / 1_000) * JOINS_PER_SECOND);
    this.#at = now;
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }
}

/** Doubles with each failure; `chance` in [0, 1) spreads nodes that failed together over half of it. */
export function backoffMs(failures: number, chance: number): number {
  const full = Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** Math.min(failures, 20));
  return full * (0.5 + chance / 2);
}

/** The same items in random order. */
export function shuffled<T>(random: Random, items: readonly T[]): T[] {
  const order = Array.from(items);
  for (let i = order.length - 1; i > 0; i--) {
    const j = randomBelow(random, i + 1);
    [order[i], order[j]] = [order[j] as T, order[i] as T];
  }
  return order;
}
