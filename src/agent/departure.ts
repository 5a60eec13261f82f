/**
 * The end of a session by removal, put off while somebody waits to be told that this host has left.
 *
 * The record of the removal often comes before the master's answer, and with the session ends its API.
 */
import type { Clock } from '../base/clock.ts';

/** Time for the answer to be sent. */
const ANSWER_MS = 100;

export class Departure {
  readonly #clock: Clock;
  readonly #onRemoved: () => void;
  #leaving = 0;
  #isRemoved = false;

  constructor(components: { readonly clock: Clock }, init: { readonly onRemoved: () => void }) {
    this.#clock = components.clock;
    this.#onRemoved = init.onRemoved;
  }

  /** The cluster has removed this node. */
  readonly removed = (): void => {
    this.#isRemoved = true;
    if (this.#leaving === 0) this.#onRemoved();
  };

  /** Whoever called is told what `leave` comes to before anything ends. */
  async leave<T>(leave: () => Promise<T>): Promise<T> {
    this.#leaving++;
    try {
      const left = await leave();
      this.#isRemoved = true;
      return left;
    } finally {
      this.#clock.after(ANSWER_MS, () => {
        this.#leaving--;
        if (this.#leaving === 0 && this.#isRemoved) this.#onRemoved();
      });
    }
  }
}
