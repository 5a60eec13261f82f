/**
 * What the kernel is known to hold without looking at it: what the last round left there, while nobody else has been
 * heard to touch it.
 *
 * Invariants: every doubt ends it, also one that comes while a round is under way; it never lasts much longer than
 * `sweepMs` after a look, since not everything is told by the kernel's notifications. The look has that much time to wait
 * for a pause between rounds: whoever waits for a change of the kernel does not wait for a look at all of it.
 */
import type { Inventory } from '../overlay/inventory.ts';

/** Of `sweepMs`. */
const GRACE = 0.1;

export class KnownKernel {
  readonly #sweepMs: number;
  #holds: Inventory | undefined;
  #lookedAt = 0;
  #isLookWanted = false;
  /** How many there have been. */
  #doubts = 0;

  constructor(init: { readonly sweepMs: number }) {
    this.#sweepMs = init.sweepMs;
  }

  /** `undefined` = it has to be looked at. */
  holds(nowMs: number): Inventory | undefined {
    const lasts = nowMs - this.#lookedAt < this.#sweepMs * (1 + GRACE);
    return lasts && !this.#isLookWanted ? this.#holds : undefined;
  }

  untilLookMs(nowMs: number): number {
    return Math.max(0, this.#lookedAt + this.#sweepMs - nowMs);
  }

  /** Somebody may have touched it. */
  doubt(): void {
    this.#doubts++;
    this.#holds = undefined;
  }

  /** The next round is to look. */
  wantLook(): void {
    this.#isLookWanted = true;
  }

  /** A look begins. Answers what `is` asks for when all is done that follows from it. */
  look(nowMs: number): number {
    this.#isLookWanted = false;
    this.#lookedAt = nowMs;
    this.#holds = undefined;
    return this.#doubts;
  }

  /** What has been performed leaves it so, if there was no doubt since. */
  is(inventory: Inventory, doubts: number): void {
    if (doubts === this.#doubts) this.#holds = inventory;
  }

  get doubts(): number {
    return this.#doubts;
  }
}
