/**
 * When to reconcile: one round at a time, triggers coalesced, a sweep as the backstop.
 *
 * Invariants: a round asked for while one runs begins after it, once, also when its timer rings before its time, as Node's
 * do by up to some milliseconds; a caller of `settle` gets a round that began after its call. Rounds that somebody else's changes cause are spaced by the cost of a round, so that a quarrel with
 * another program never takes more than a fifth of a processor.
 */
import { PortolanError } from '../base/errors.ts';
import type { Clock, Timer } from '../base/clock.ts';

/** A burst of changes (a flush, a device gone) arrives within this. */
const GATHER_MS = 20;
const SPACING_FACTOR = 4;
const SPACING_MAX_MS = 500;
const RETRY_FIRST_MS = 1_000;
/** The reason of a round that nobody asked for. */
export const SWEEP = 'sweep';

export interface RoundsInit<Report> {
  readonly sweepMs: number;
  /** Until the next sweep, asked after each round. Absent = `sweepMs`: every round is as good as a sweep. */
  untilSweepMs?(): number;
  /** Performs one round; never rejects. `failed` asks for another try soon. */
  run(reason: string): Promise<{ readonly report: Report; readonly failed: boolean }>;
}

export class Rounds<Report> {
  readonly #clock: Clock;
  readonly #init: RoundsInit<Report>;
  #timer: { readonly timer: Timer; readonly at: number } | undefined;
  #running: Promise<void> | undefined;
  /** The timer has rung while a round was running. */
  #isDue = false;
  #reason: string | undefined;
  #waiting: { resolve(report: Report): void; reject(error: Error): void }[] = [];
  #retryMs = RETRY_FIRST_MS;
  #lastEnd = 0;
  #lastCost = 0;
  #stopped = true;

  constructor(components: { readonly clock: Clock }, init: RoundsInit<Report>) {
    this.#clock = components.clock;
    this.#init = init;
  }

  start(): void {
    this.#stopped = false;
    this.#request('start', 0);
  }

  /** Something is to be done that we know of: as soon as the running round is over. */
  now(reason: string): void {
    this.#request(reason, 0);
  }

  /** Somebody else has changed something: soon, together with what else changes within `gatherMs`. */
  soon(reason: string, gatherMs = GATHER_MS): void {
    const spacing = Math.min(this.#lastCost * SPACING_FACTOR, SPACING_MAX_MS);
    const earliest = this.#lastEnd + spacing - this.#clock.nowMs();
    this.#request(reason, Math.max(gatherMs, earliest));
  }

  later(reason: string, delayMs: number): void {
    this.#request(reason, delayMs);
  }

  /** The report of a round that begins after this call. */
  settle(): Promise<Report> {
    if (this.#stopped) return Promise.reject(stoppedError());
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#request('settle', 0);
    });
  }

  /** Resolves when no round runs any more. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.timer.cancel();
    this.#timer = undefined;
    await this.#running;
    this.#isDue = false;
    for (const { reject } of this.#waiting.splice(0)) reject(stoppedError());
  }

  #request(reason: string, delayMs: number): void {
    // What is due begins after the running round, and serves whoever asks meanwhile.
    if (this.#stopped || this.#isDue) return;
    const at = this.#clock.nowMs() + delayMs;
    if (this.#timer !== undefined) {
      if (this.#timer.at <= at) return;
      this.#timer.timer.cancel();
    }
    this.#reason = reason;
    this.#timer = { at, timer: this.#clock.after(delayMs, () => this.#begin()) };
  }

  #begin(): void {
    this.#timer?.timer.cancel();
    this.#timer = undefined;
    this.#isDue = this.#running !== undefined;
    if (this.#isDue || this.#stopped) return;
    this.#running = this.#run(this.#reason ?? SWEEP);
  }

  async #run(reason: string): Promise<void> {
    const begun = this.#clock.nowMs();
    const waiting = this.#waiting.splice(0);
    const { report, failed } = await this.#init.run(reason);
    this.#lastEnd = this.#clock.nowMs();
    this.#lastCost = this.#lastEnd - begun;
    this.#running = undefined;
    for (const { resolve } of waiting) resolve(report);
    this.#next(failed);
  }

  #next(failed: boolean): void {
    if (this.#stopped) return;
    if (this.#isDue || (this.#timer !== undefined && this.#timer.at <= this.#clock.nowMs())) {
      this.#begin();
      return;
    }
    const { sweepMs } = this.#init;
    const untilSweepMs = this.#init.untilSweepMs?.() ?? sweepMs;
    const delayMs = failed ? Math.min(this.#retryMs, sweepMs) : untilSweepMs;
    this.#retryMs = failed ? this.#retryMs * 2 : RETRY_FIRST_MS;
    if (this.#timer === undefined) this.#request(failed ? 'retry' : SWEEP, delayMs);
  }
}

function stoppedError(): PortolanError {
  return new PortolanError('unavailable', 'Cannot reconcile: the agent is stopping', {
    remedy: 'try again when it has started',
  });
}
