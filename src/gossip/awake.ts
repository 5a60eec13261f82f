/**
 * Time as far as this node was awake.
 *
 * Purpose: a node that was starved of its processor, or stopped, must not take its own absence for its peers' silence.
 * What passes beyond the moment a step was due is not counted, so that every peer gets that time again; for a while
 * after it, allowances are wider too (`strain`), as one starvation seldom comes alone. Lifeguard's lesson, without its
 * guessing: a core knows when it wanted to be woken.
 */

/** Ordinary jitter of timers. */
const TOLERANCE_MS = 50;
/** A lag of this much doubles the allowances. */
const STRAIN_LAG_MS = 500;
const MAX_STRAIN = 3;
const STRAIN_HALF_LIFE_MS = 5_000;

export class AwakeTime {
  #lagMs = 0;
  #lastAt: number | undefined;
  #strain = 0;

  /** Before each step: `dueAt` is when the core had asked to be woken. The time missed since the last one, ms. */
  observe(now: number, dueAt: number): number {
    const last = this.#lastAt ?? now;
    const lag = now - Math.max(last, Math.min(dueAt, now));
    this.#lastAt = now;
    if (this.#strain > 0) {
      this.#strain *= 2 ** ((last - now) / STRAIN_HALF_LIFE_MS);
      if (this.#strain < 0.05) this.#strain = 0;
    }
    if (lag <= TOLERANCE_MS) return 0;
    this.#lagMs += lag;
    this.#strain = Math.min(MAX_STRAIN, this.#strain + lag / STRAIN_LAG_MS);
    return lag;
  }

  /** Awake time of a moment. */
  at(now: number): number {
    return now - this.#lagMs;
  }

  /** The moment of an awake time, when nothing more is missed. */
  moment(awake: number): number {
    return awake + this.#lagMs;
  }

  /** 0 = punctual; allowances are multiplied by 1 + strain. */
  get strain(): number {
    return this.#strain;
  }

  /** Missed since the start, ms. */
  get lagMs(): number {
    return this.#lagMs;
  }
}
