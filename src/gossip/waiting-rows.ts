/**
 * The same as waiting.ts for rows, which are numbered: bits in an array by number, where maps would be searched and
 * changed six times for each row. While nodes come and go rows are most of what is told.
 * Invariants: those of waiting.ts.
 */
import { countOf, splitBy } from './waiting.ts';

export const FIRST_CAPACITY = 16;
/** Beside the bits of the links: the item is in the queue. */
const QUEUED = 1 << 31;

export class WaitingRows {
  #links = new Int32Array(FIRST_CAPACITY);
  /** In the order they came, some of them for no link any more. */
  #queue: number[] = [];
  #size = 0;
  readonly #most: number;

  /** Beyond `most` items, further ones are not taken. */
  constructor(most: number) {
    this.#most = most;
  }

  get size(): number {
    return this.#size;
  }

  /** Over all links. */
  get depth(): number {
    return this.#queue.reduce((sum, item) => sum + countOf(this.#linksOf(item)), 0);
  }

  add(item: number, links: number): void {
    if (links === 0) return;
    if (item >= this.#links.length) this.#links = grown(this.#links, item);
    const before = this.#linksOf(item);
    if (before === 0 && this.#size >= this.#most) return;
    if (before === 0) this.#size++;
    if (this.#links[item] === 0) this.#queue.push(item);
    this.#links[item] = before | links | QUEUED;
  }

  /** These links need not be told. */
  remove(item: number, links: number): void {
    const before = this.#linksOf(item);
    if ((before & links) === 0) return;
    const rest = before & ~links;
    if (rest === 0) this.#size--;
    this.#links[item] = rest | QUEUED;
  }

  /** In the order they came. */
  of(links: number): number[] {
    return this.#queue.filter((item) => (this.#linksOf(item) & links) !== 0);
  }

  /** Links to which nothing is to be told any more. */
  drop(links: number): void {
    for (const item of this.#queue) this.remove(item, links);
  }

  clear(): void {
    for (const item of this.#queue) this.#links[item] = 0;
    this.#queue = [];
    this.#size = 0;
  }

  /** Splits `groups` of links until those of one group are told the same. */
  split(groups: readonly number[]): readonly number[] {
    return this.#queue.reduce((parts, item) => splitBy(parts, this.#linksOf(item)), groups);
  }

  #linksOf(item: number): number {
    return (this.#links[item] ?? 0) & ~QUEUED;
  }
}

/** A copy with a place for `item`. */
export function grown<T extends Int32Array | Float64Array>(from: T, item: number): T {
  const length = Math.max(item + 1, 2 * from.length);
  const copy = (from instanceof Int32Array ? new Int32Array(length) : new Float64Array(length)) as T;
  copy.set(from);
  return copy;
}
