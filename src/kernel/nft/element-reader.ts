/**
 * Elements of one dump, decoded part by part so that a large one lets the event loop run in between.
 *
 * The kernel continues each part of a dump of a hash set by skipping as many elements as it gave before (nft_set_hash.c,
 * nft_rhash_walk). When the table is rebuilt between two parts the order changes, and for every element missed another
 * comes twice: a dump with a key twice is therefore no answer. Interval sets are trees and do not suffer from it, but
 * their starts and ends can only be paired when all are there.
 */
import { decodeElements, type WireElement } from './elements.ts';
import type { NftElement, NftSet } from './types.ts';

export class ElementReader {
  readonly #set: NftSet;
  #keys = new Set<string>();
  #elements: NftElement[] = [];
  #intervals: WireElement[] = [];

  constructor(set: NftSet) {
    this.#set = set;
  }

  /** Forgets what was read: the dump begins anew. */
  restart(): void {
    this.#keys = new Set();
    this.#elements = [];
    this.#intervals = [];
  }

  read(part: readonly WireElement[]): void {
    if (this.#set.interval === true) {
      this.#intervals.push(...part);
      return;
    }
    for (const { key } of part) this.#keys.add(Buffer.from(key).toString('latin1'));
    this.#elements.push(...decodeElements(this.#set, part));
  }

  /** All elements, or `undefined` when the dump is no answer. */
  finish(): readonly NftElement[] | undefined {
    if (this.#set.interval === true) return decodeElements(this.#set, this.#intervals);
    return this.#keys.size === this.#elements.length ? this.#elements : undefined;
  }
}
