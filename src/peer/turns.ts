/**
 * Frames are taken in turns: however many come at once, timers and other sockets have their share of the event loop.
 *
 * A new host is told tens of thousands of signed records, each of which takes a seventh of a millisecond to verify.
 * Invariants: a connection's frames keep their order; what is left over waits while its socket is not read, so that the
 * kernels hold the sender back; those who wait take turns.
 */
import type { Clock } from '../base/clock.ts';

/** The frame under way is finished: how much that may be is the sender's to limit (gossip/paging.ts). */
const TURN_MS = 4;

export interface TakesTurns {
  /** Takes one frame; false when there is none left. */
  takeOne(): boolean;
  /** Takes no more from its socket until `resume`. */
  pause(): void;
  resume(): void;
}

export class Turns {
  readonly #clock: Clock;
  readonly #waiting: TakesTurns[] = [];

  constructor(components: { readonly clock: Clock }) {
    this.#clock = components.clock;
  }

  /** Frames have come: they are taken now, or as soon as it is their turn. */
  begin(who: TakesTurns): void {
    // Somebody waits already: nobody passes them by.
    if (this.#waiting.length === 0 && this.#take(who)) return;
    who.pause();
    this.#wait(who);
  }

  #wait(who: TakesTurns): void {
    this.#waiting.push(who);
    if (this.#waiting.length === 1) setImmediate(() => this.#next());
  }

  #next(): void {
    const who = this.#waiting[0];
    if (who === undefined) return;
    const isDone = this.#take(who);
    this.#waiting.shift();
    if (isDone) who.resume();
    else this.#waiting.push(who);
    if (this.#waiting.length > 0) setImmediate(() => this.#next());
  }

  /** True when nothing is left. */
  #take(who: TakesTurns): boolean {
    const end = this.#clock.nowMs() + TURN_MS;
    while (who.takeOne()) if (this.#clock.nowMs() >= end) return false;
    return true;
  }
}
