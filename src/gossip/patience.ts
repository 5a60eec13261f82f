/**
 * When a node judges nobody, since the fault is more probably its own.
 *
 * One that could not run first takes in what has piled up: who died and came back meanwhile is not accused. One that hears
 * nobody at all looks for another neighbour first: it is more likely that all of its few were cut off, or that it has
 * just started, than that everybody is gone.
 * Invariants: patience ends. Who waited in vain hides everybody, and return is never held up by a new wait.
 */

/** What was missed longer ago has been taken in. */
const RECENT_MS = 500;
/** Time to take in what has piled up: as much as was missed, at once or piece by piece, but at most this. */
const BACKLOG_MS = 250;
const MAX_BACKLOG_MS = 1_000;
/**
 * Between bad news and its being believed. A node that was not needed for a while, and could not have run, is not late and
 * takes in a pile all the same, in which the news that somebody is back comes after the news that he is gone.
 */
const NEWS_MS = 25;
/** Without a neighbour. */
const ALONE_MS = 1_000;
/** After the first neighbour is there, time for its rows to come. */
const ACQUAINTED_MS = 1_000;

export class Patience {
  #backlogUntil = 0;
  #backlogSince = 0;
  #missedMs = 0;
  #missedAt = -Infinity;
  #newsUntil = 0;
  #aloneUntil = 0;
  #isAlone = true;

  /** Nobody is judged before. */
  get until(): number {
    return Math.max(this.#backlogUntil, this.#newsUntil, this.#aloneUntil);
  }

  started(now: number): void {
    this.#aloneUntil = now + ALONE_MS;
  }

  /** After `lagMs` without running. */
  woke(lagMs: number, now: number): void {
    if (lagMs === 0) return;
    this.#missedMs = lagMs + (now - lagMs - this.#missedAt < RECENT_MS ? this.#missedMs : 0);
    this.#missedAt = now;
    if (now > this.#backlogUntil) this.#backlogSince = now;
    const waitMs = Math.min(this.#missedMs, BACKLOG_MS);
    this.#backlogUntil = Math.min(now + waitMs, this.#backlogSince + MAX_BACKLOG_MS);
  }

  /** Somebody seems to be out of reach. */
  lost(now: number): void {
    if (now > this.#newsUntil) this.#newsUntil = now + NEWS_MS;
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
