/**
 * When a node judges nobody, since the fault is more probably its own.
 *
 * One that could not run first takes in what has piled up: who died and came back meanwhile is not accused. One that hears
 * nobody at all looks for another neighbour first: it is more likely that all of its few were cut off, or that it has
 * just started, than that everybody is gone.
 * Invariants: patience ends. Who waited in vain hides everybody, and return is never held up by a new wait.
 */

/** Missing more than this, at once or piece by piece, a node has something to take in. */
const BACKLOG_LAG_MS = 250;
/** What was missed longer ago has been taken in. */
const RECENT_MS = 500;
const BACKLOG_MS = 250;
const MAX_BACKLOG_MS = 1_000;
/** Without a neighbour. */
const ALONE_MS = 1_000;
/** After the first neighbour is there, time for its rows to come. */
const ACQUAINTED_MS = 1_000;

export class Patience {
  #backlogUntil = 0;
  #backlogSince = 0;
  #missedMs = 0;
  #missedAt = -Infinity;
  #aloneUntil = 0;
  #isAlone = true;

  /** Nobody is judged before. */
  get until(): number {
    return Math.max(this.#backlogUntil, this.#aloneUntil);
  }

  started(now: number): void {
    this.#aloneUntil = now + ALONE_MS;
  }

  /** After `lagMs` without running. */
  woke(lagMs: number, now: number): void {
    if (lagMs === 0) return;
    this.#missedMs = lagMs + (now - lagMs - this.#missedAt < RECENT_MS ? this.#missedMs : 0);
    this.#missedAt = now;
    if (this.#missedMs < BACKLOG_LAG_MS) return;
    if (now > this.#backlogUntil) this.#backlogSince = now;
    this.#backlogUntil = Math.min(now + BACKLOG_MS, this.#backlogSince + MAX_BACKLOG_MS);
  }

  /** So many are heard now. */
  neighbours(count: number, now: number): void {
    const isAlone = count === 0;
    if (isAlone === this.#isAlone) return;
    this.#isAlone = isAlone;
    if (isAlone) this.#aloneUntil = now + ALONE_MS;
    else if (now < this.#aloneUntil) this.#aloneUntil = now + ACQUAINTED_MS;
  }
}
