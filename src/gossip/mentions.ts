/**
 * What is to be mentioned to links, and since when: most of it comes to them from others in the next moment.
 *
 * Mentions go many at once, so the last of them are fresh. A fresh one makes a link ask for what is on its way to it, and
 * push twice from then on, until the second push is called off again: half of what a thousand nodes said while some of
 * them stalled.
 * Invariants: bounded; in order of time.
 */
import { Waiting } from './waiting.ts';

export class Mentions<Item> {
  readonly #waiting: Waiting<Item>;
  readonly #since = new Map<Item, number>();

  /** Beyond `most` items, further ones are not taken. */
  constructor(most: number) {
    this.#waiting = new Waiting(most);
  }

  get size(): number {
    return this.#waiting.size;
  }

  /** Over all links. */
  get depth(): number {
    return this.#waiting.depth;
  }

  /** An item that is held is a newer one of that name now. */
  add(item: Item, links: number, now: number): void {
    if (links === 0) return;
    this.#waiting.add(item, links);
    this.#since.delete(item);
    if (this.#waiting.has(item)) this.#since.set(item, now);
  }

  /** These links need not be told. */
  remove(item: Item, links: number): void {
    this.#waiting.remove(item, links);
    if (!this.#waiting.has(item)) this.#since.delete(item);
  }

  /** Links to which nothing is to be told any more. */
  drop(links: number): void {
    for (const item of this.#since.keys()) this.remove(item, links);
  }

  /** Takes out what waits for `links` since `until` or before. */
  takeRipe(links: number, until: number): Waiting<Item> {
    const ripe = new Waiting<Item>(Infinity);
    for (const [item, since] of this.#since) {
      if (since > until) break;
      ripe.add(item, this.#waiting.linksOf(item) & links);
    }
    for (const item of ripe.items()) this.remove(item, links);
    return ripe;
  }
}
