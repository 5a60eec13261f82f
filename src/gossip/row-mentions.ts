/**
 * The same as mentions.ts for rows, which are numbered (waiting-rows.ts says what for).
 * Invariants: those of mentions.ts.
 */
import { countOf, Waiting } from './waiting.ts';
import { FIRST_CAPACITY, grown } from './waiting-rows.ts';

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
