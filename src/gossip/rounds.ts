/**
 * When to compare with whom.
 *
 * With a random peer about every DIGEST_MS, at a beat; with every neighbour that was dialled, once; with all neighbours but the givers
 * when a comparison has brought more than can be mentioned (spread.ts), so that a healed partition is known everywhere at
 * network speed.
 */
import { randomBelow, type Random } from '../base/random.ts';
import type { Link, Links } from './links.ts';

export const DIGEST_MS = 2_000;
/** Repaired records gather this long before the other peers are asked to compare. */
const ANNOUNCE_MS = 30;

export class Rounds {
  readonly #random: Random;
  readonly #links: Links;
  /** Peers that need no call to compare: they sent us the repaired records. */
  readonly #repairedBy = new Set<number>();
  /** When `announce` has something to do. */
  announceAt = Infinity;
  #digestAt = 0;
  /** Rounds opened since the start. */
  opened = 0;

  constructor(random: Random, links: Links) {
    this.#random = random;
    this.#links = links;
  }

  /** True when a round with `link` is to be opened now: there is none under way. */
  begin(link: Link, now: number): boolean {
    if (this.#links.isComparing(link, now)) return false;
    link.roundSince = now;
    this.opened++;
    return true;
  }

  /** The link to go on with: the same when the round was cut short, else one never compared with. */
  end(link: Link, more: boolean, now: number): Link | undefined {
    link.roundSince = undefined;
    link.isCompared = true;
    return more ? link : this.#links.nextToCompare(now);
  }

  repaired(connection: number, now: number): void {
    this.#repairedBy.add(connection);
    this.announceAt = Math.min(this.announceAt, now + ANNOUNCE_MS * (1 + this.#random.next()));
  }

  /** The links to compare with because of what came in repair. */
  announce(): Link[] {
    this.announceAt = Infinity;
    const others = this.#links.neighbours().filter((link) => !this.#repairedBy.has(link.connection));
    this.#repairedBy.clear();
    return others;
  }

  /** At each beat: the link whose turn it is, every DIGEST_MS. */
  regular(now: number): Link | undefined {
    if (now < this.#digestAt) return undefined;
    this.#digestAt = now + DIGEST_MS * (0.75 + this.#random.next() / 2);
    const neighbours = this.#links.neighbours();
    return neighbours[randomBelow(this.#random, neighbours.length)];
  }
}
