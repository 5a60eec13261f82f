/**
 * What waits to be told to links: each item once, with a bit for every link that it is for.
 *
 * Most news is for all links but one, and goes to all of them in the same moment; a set for each link would hold it, and
 * have it added and taken away again, once for each.
 * Invariants: bounded; an item that is for no link is not held.
 */

/** Bits that a number has for links. */
export const MAX_LINKS = 31;

export class Waiting<Item> {
  readonly #links = new Map<Item, number>();
  readonly #most: number;

  /** Beyond `most` items, further ones are not taken. */
  constructor(most: number) {
    this.#most = most;
  }

  get size(): number {
    return this.#links.size;
  }

  /** Over all links. */
  get depth(): number {
    let depth = 0;
    for (const links of this.#links.values()) depth += countOf(links);
    return depth;
  }

  has(item: Item): boolean {
    return this.#links.has(item);
  }

  linksOf(item: Item): number {
    return this.#links.get(item) ?? 0;
  }

  items(): IterableIterator<Item> {
    return this.#links.keys();
  }

  add(item: Item, links: number): void {
    if (links === 0) return;
    const before = this.#links.get(item);
    if (before === undefined && this.#links.size >= this.#most) return;
    this.#links.set(item, (before ?? 0) | links);
  }

  /** These links need not be told. */
  remove(item: Item, links: number): void {
    const before = this.#links.get(item);
    if (before === undefined || (before & links) === 0) return;
    const rest = before & ~links;
    if (rest === 0) this.#links.delete(item);
    else this.#links.set(item, rest);
  }

  /** In the order they came. */
  of(links: number): Item[] {
    const items: Item[] = [];
    for (const [item, those] of this.#links) if ((those & links) !== 0) items.push(item);
    return items;
  }

  /** Links to which nothing is to be told any more. */
  drop(links: number): void {
    for (const item of this.#links.keys()) this.remove(item, links);
  }

  clear(): void {
    this.#links.clear();
  }

  /** Splits `groups` of links until those of one group are told the same. */
  split(groups: readonly number[]): readonly number[] {
    let parts = groups;
    for (const links of this.#links.values()) parts = splitBy(parts, links);
    return parts;
  }
}

/** Parts of `groups` in `links`, and out of them. */
export function splitBy(groups: readonly number[], links: number): readonly number[] {
  if (!groups.some((group) => (group & links) !== 0 && (group & ~links) !== 0)) return groups;
  return groups.flatMap((group) => [group & links, group & ~links]).filter((part) => part !== 0);
}

export function countOf(links: number): number {
  let count = 0;
  for (let rest = links; rest !== 0; rest &= rest - 1) count++;
  return count;
}
