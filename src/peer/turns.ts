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

interface Waiting {
  readonly who: TakesTurns;
  /** Nothing is left: it waits only to be read again. */
  readonly isDone: boolean;
}

export class Turns {
  readonly #clock: Clock;
  readonly #waiting: Waiting[] = [];
  /** When the share of this turn of the event loop ends; `undefined` = nothing was taken in it yet. */
  #endMs: number | undefined;
  #scheduled = false;

  constructor(components: { readonly clock: Clock }) {
    this.#clock = components.clock;
  }

  /** Frames have come: they are taken now, or as soon as it is their turn. */
  begin(who: TakesTurns): void {
    // Somebody waits already: nobody passes them by.
    const isDone = this.#waiting.length === 0 && this.#isInTime() && this.#take(who);
    // One turn of the event loop brings what came in dozens of reads, each of which begins anew.
    if (isDone && this.#isInTime()) return;
    who.pause();
    this.#waiting.push({ who, isDone });
    this.#schedule();
  }

  #next(): void {
    this.#scheduled = false;
    this.#endMs = undefined;
    const first = this.#waiting.shift();
    if (first === undefined) return;
    const isDone = first.isDone || (this.#isInTime() && this.#take(first.who));
    if (isDone) first.who.resume();
    else this.#waiting.push({ who: first.who, isDone });
    this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled || this.#waiting.length === 0) return;
    this.#scheduled = true;
    setImmediate(() => this.#next());
  }

  #isInTime(): boolean {
    const nowMs = this.#clock.nowMs();
    if (this.#endMs === undefined) {
      this.#endMs = nowMs + TURN_MS;
      setImmediate(() => (this.#endMs = undefined));
    }
    return nowMs < this.#endMs;
  }

  /** True when nothing is left. */
  #take(who: TakesTurns): boolean {
    while (who.takeOne()) if (!this.#isInTime()) return false;
    return true;
  }
}
