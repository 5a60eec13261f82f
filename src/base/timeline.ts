/**
 * Actions in order of virtual time, then of arrangement: what makes a run repeatable.
 *
 * A heap with four branches, its keys apart from what they stand for: simulations arrange and run millions of actions,
 * and finding the next one is to read a few lines of memory, not an object each. A cancelled one stays in the heap until
 * its time, and costs nothing but its place.
 */

export interface Timer {
  /** Forgets the timer; harmless when it has fired. */
  cancel(): void;
}

class Entry implements Timer {
  action: (() => void) | undefined;

  constructor(action: () => void) {
    this.action = action;
  }

  cancel(): void {
    this.action = undefined;
  }
}

const BRANCHES = 4;
const FIRST_CAPACITY = 64;

export class Timeline {
  readonly #entries: Entry[] = [];
  /** Of each entry when it is due, and its order of arrangement. */
  #keys = new Float64Array(2 * FIRST_CAPACITY);
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
    return this.#entries.length;
  }

  after(delayMs: number, action: () => void): Timer {
    const entry = new Entry(action);
    this.#rise(entry, this.#now + Math.max(0, delayMs), this.#nextOrder++);
    return entry;
  }

  /** Moves time to the next action due at `untilMs` or before, and runs it; false, and time stays, when none is. */
  runNext(untilMs: number): boolean {
    for (let next = this.#entries[0]; next !== undefined; next = this.#entries[0]) {
      const at = this.#keys[0] as number;
      if (at > untilMs) return false;
      this.#dropFirst();
      const { action } = next;
      if (action === undefined) continue;
      this.#now = Math.max(this.#now, at);
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

  #rise(entry: Entry, dueAt: number, order: number): void {
    let at = this.#entries.length;
    this.#entries.push(entry);
    if (2 * at >= this.#keys.length) this.#grow();
    while (at > 0) {
      const above = Math.floor((at - 1) / BRANCHES);
      if (!this.#isAfter(above, dueAt, order)) break;
      this.#move(above, at);
      at = above;
    }
    this.#put(at, entry, dueAt, order);
  }

  #dropFirst(): void {
    const entry = this.#entries.pop() as Entry;
    const { length } = this.#entries;
    if (length === 0) return;
    const dueAt = this.#keys[2 * length] as number;
    const order = this.#keys[2 * length + 1] as number;
    let at = 0;
    for (;;) {
      const child = this.#firstBelow(at);
      if (child < 0 || this.#isAfter(child, dueAt, order)) break;
      this.#move(child, at);
      at = child;
    }
    this.#put(at, entry, dueAt, order);
  }

  /** The branch that is due first; -1 = there is none. */
  #firstBelow(at: number): number {
    const from = BRANCHES * at + 1;
    const end = Math.min(from + BRANCHES, this.#entries.length);
    if (from >= end) return -1;
    let first = from;
    for (let i = from + 1; i < end; i++)
      if (this.#isAfter(first, this.#keys[2 * i] as number, this.#keys[2 * i + 1] as number)) first = i;
    return first;
  }

  #isAfter(at: number, dueAt: number, order: number): boolean {
    const own = this.#keys[2 * at] as number;
    return own > dueAt || (own === dueAt && (this.#keys[2 * at + 1] as number) > order);
  }

  #move(from: number, to: number): void {
    const keys = this.#keys;
    this.#put(to, this.#entries[from] as Entry, keys[2 * from] as number, keys[2 * from + 1] as number);
  }

  #put(at: number, entry: Entry, dueAt: number, order: number): void {
    this.#entries[at] = entry;
    this.#keys[2 * at] = dueAt;
    this.#keys[2 * at + 1] = order;
  }

  #grow(): void {
    const grown = new Float64Array(2 * this.#keys.length);
    grown.set(this.#keys);
    this.#keys = grown;
  }
}
