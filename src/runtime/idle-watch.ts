/**
 * Gives up work that stands still; work that moves may take as long as it likes.
 *
 * Invariant: what is counted is looks at which nothing had changed, not time: a host that was stopped for a while has not
 * stood still.
 */
import type { Clock, Timer } from '../base/clock.ts';

/** In the limit. */
const LOOKS = 6;

export class IdleWatch {
  readonly limitMs: number;
  readonly #clock: Clock;
  readonly #abort = new AbortController();
  #timer: Timer | undefined;

  constructor(components: { readonly clock: Clock }, init: { readonly limitMs: number }) {
    this.#clock = components.clock;
    this.limitMs = init.limitMs;
  }

  /** Aborted when nothing has moved for as long as the limit. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** `mark` is another one whenever something has moved; `undefined` = something else holds it up. */
  start(mark: () => string | undefined): void {
    this.#look(mark, mark(), 0);
  }

  stop(): void {
    this.#timer?.cancel();
  }

  #look(mark: () => string | undefined, last: string | undefined, unchanged: number): void {
    this.#timer = this.#clock.after(this.limitMs / LOOKS, () => {
      const now = mark();
      const count = now === undefined || now !== last ? 0 : unchanged + 1;
      if (count < LOOKS) this.#look(mark, now, count);
      else this.#abort.abort(new Error(`nothing has moved for ${this.limitMs} ms`));
    });
  }
}
