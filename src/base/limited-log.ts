/**
 * Warnings that somebody else can cause: each is written at once, and its repetitions counted instead.
 *
 * Memory is bounded: beyond MAX_SUBJECTS different ones within a period, further ones share one line.
 */
import type { Clock } from './clock.ts';
import type { Log, LogFields } from './log.ts';

const PERIOD_MS = 60_000;
const MAX_SUBJECTS = 256;
const OTHERS = '';

interface Subject {
  readonly loggedAt: number;
  repeated: number;
}

export class LimitedLog {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #subjects = new Map<string, Subject>();

  constructor(components: { readonly clock: Clock; readonly log: Log }) {
    this.#clock = components.clock;
    this.#log = components.log;
  }

  /** `subject` says what is the same warning: once a minute each, with `repeated` since the last. */
  warn(subject: string, message: string, fields: LogFields): void {
    const now = this.#clock.nowMs();
    const known = this.#subjects.has(subject) || this.#subjects.size < MAX_SUBJECTS || this.#forget(now);
    const name = known ? subject : OTHERS;
    const before = this.#subjects.get(name);
    if (before !== undefined && now - before.loggedAt < PERIOD_MS) {
      before.repeated += 1;
      return;
    }
    this.#subjects.set(name, { loggedAt: now, repeated: 0 });
    const repeated = before?.repeated ?? 0;
    this.#log.warn(message, repeated === 0 ? fields : { ...fields, repeated });
  }

  /** True when that made room. */
  #forget(now: number): boolean {
    for (const [subject, { loggedAt }] of this.#subjects)
      if (now - loggedAt >= PERIOD_MS) this.#subjects.delete(subject);
    return this.#subjects.size < MAX_SUBJECTS;
  }
}
