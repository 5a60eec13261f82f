/**
 * The same as waiting.ts and mentions.ts for rows, which are numbered: bits in an array by number, where maps would be
 * searched and changed six times for each row. While nodes come and go rows are most of what is told.
 * Invariants: those of waiting.ts and mentions.ts.
 */
import { countOf, splitBy, Waiting } from './waiting.ts';

const FIRST_CAPACITY = 16;
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

export class RowMentions {
  #links = new Int32Array(FIRST_CAPACITY);
  #since = new Float64Array(FIRST_CAPACITY);
  /** In order of time; an item that was added again is there anew, and its former place is void. */
  #queue: { readonly item: number; readonly at: number }[] = [];
  #size = 0;
  readonly #most: number;

  constructor(most: number) {
    this.#most = most;
  }

  get size(): number {
    return this.#size;
  }

  get depth(): number {
    let depth = 0;
    for (const each of this.#queue) if (this.#holds(each)) depth += countOf(this.#links[each.item] as number);
    return depth;
  }

  /** An item that is held is a newer one of that name now. */
  add(item: number, links: number, now: number): void {
    if (links === 0) return;
    if (item >= this.#links.length) {
      this.#links = grown(this.#links, item);
      this.#since = grown(this.#since, item);
    }
    const before = this.#links[item] as number;
    if (before === 0 && this.#size >= this.#most) return;
    if (before === 0) this.#size++;
    this.#links[item] = before | links;
    if (before !== 0 && this.#since[item] === now) return;
    this.#since[item] = now;
    if (this.#queue.length > 2 * this.#most) this.#queue = this.#queue.filter((each) => this.#holds(each));
    this.#queue.push({ item, at: now });
  }

  /** These links need not be told. */
  remove(item: number, links: number): void {
    const before = this.#links[item] ?? 0;
    if ((before & links) === 0) return;
    this.#links[item] = before & ~links;
    if ((before & ~links) === 0) this.#forget(item);
  }

  /** Links to which nothing is to be told any more. */
  drop(links: number): void {
    for (const { item } of this.#queue) this.remove(item, links);
  }

  /** Takes out what waits for `links` since `until` or before. */
  takeRipe(links: number, until: number): Waiting<number> {
    const ripe = new Waiting<number>(Infinity);
    const rest: { readonly item: number; readonly at: number }[] = [];
    for (const each of this.#queue) {
      if (!this.#holds(each)) continue;
      if (each.at <= until) {
        ripe.add(each.item, (this.#links[each.item] as number) & links);
        this.remove(each.item, links);
      }
      if (this.#holds(each)) rest.push(each);
    }
    this.#queue = rest;
    return ripe;
  }

  #holds({ item, at }: { readonly item: number; readonly at: number }): boolean {
    return this.#since[item] === at && this.#links[item] !== 0;
  }

  #forget(item: number): void {
    this.#size--;
    this.#since[item] = 0;
  }
}

/** A copy with a place for `item`. */
function grown<T extends Int32Array | Float64Array>(from: T, item: number): T {
  const length = Math.max(item + 1, 2 * from.length);
  const copy = (from instanceof Int32Array ? new Int32Array(length) : new Float64Array(length)) as T;
  copy.set(from);
  return copy;
}
