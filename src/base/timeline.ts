/**
 * Actions in order of virtual time, then of arrangement: what makes a run repeatable.
 *
 * A binary heap: simulations arrange and run millions of actions. A cancelled one stays in the heap until its time, and
 * costs nothing but its place.
 */

export interface Timer {
  /** Forgets the timer; harmless when it has fired. */
  cancel(): void;
}

class Entry implements Timer {
  readonly at: number;
  readonly order: number;
  action: (() => void) | undefined;

  constructor(at: number, order: number, action: () => void) {
    this.at = at;
    this.order = order;
    this.action = action;
  }

  cancel(): void {
    this.action = undefined;
  }

  isBefore(other: Entry): boolean {
    return this.at < other.at || (this.at === other.at && this.order < other.order);
  }
}

export class Timeline {
  readonly #heap: Entry[] = [];
  #nextOrder = 0;
  #now: number;
  /** Actions run so far. */
  ran = 0;

  constructor(startMs = 0) {
    this.#now = startMs;
  }

  nowMs(): number {
    return this.#now;
  }

  /** Actions that wait, cancelled ones included. */
  get size(): number {
    return this.#heap.length;
  }

  after(delayMs: number, action: () => void): Timer {
    const entry = new Entry(this.#now + Math.max(0, delayMs), this.#nextOrder++, action);
    this.#rise(entry);
    return entry;
  }

  /** Moves time to the next action due at `untilMs` or before, and runs it; false, and time stays, when none is. */
  runNext(untilMs: number): boolean {
    for (let next = this.#heap[0]; next !== undefined && next.at <= untilMs; next = this.#heap[0]) {
      this.#dropFirst();
      const { action } = next;
      if (action === undefined) continue;
      this.#now = Math.max(this.#now, next.at);
      this.ran++;
      action();
      return true;
    }
    return false;
  }

  /** Runs what is due, then moves time to `untilMs`. */
  runUntil(untilMs: number): void {
    while (this.runNext(untilMs));
    this.#now = Math.max(this.#now, untilMs);
  }

  #rise(entry: Entry): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(entry);
    while (at > 0) {
      const above = (at - 1) >> 1;
      const parent = heap[above] as Entry;
      if (!entry.isBefore(parent)) break;
      heap[at] = parent;
      at = above;
    }
    heap[at] = entry;
  }

  #dropFirst(): void {
    const heap = this.#heap;
    const entry = heap.pop() as Entry;
    const { length } = heap;
    if (length === 0) return;
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      if (below >= length) break;
      if (below + 1 < length && (heap[below + 1] as Entry).isBefore(heap[below] as Entry)) below++;
      const child = heap[below] as Entry;
      if (!child.isBefore(entry)) break;
      heap[at] = child;
      at = below;
    }
    heap[at] = entry;
  }
}
