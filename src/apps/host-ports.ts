/** The host ports of one agent: what it offers less what tasks have. Both protocols of a number go together. */
import type { Random } from '../base/random.ts';
import { randomBelow } from '../base/random.ts';

type Range = readonly [first: number, last: number];

export class HostPorts {
  readonly #ranges: readonly Range[];
  readonly #size: number;
  readonly #taken = new Set<number>();
  #free: number;

  constructor(ranges: readonly Range[]) {
    this.#ranges = ranges;
    this.#size = ranges.reduce((size, [first, last]) => size + Math.max(0, last - first + 1), 0);
    this.#free = this.#size;
  }

  /** How many are free. */
  get free(): number {
    return this.#free;
  }

  isOffered(port: number): boolean {
    return this.#ranges.some(([first, last]) => port >= first && port <= last);
  }

  isFree(port: number): boolean {
    return this.isOffered(port) && !this.#taken.has(port);
  }

  take(port: number): void {
    if (this.isFree(port)) this.#free -= 1;
    this.#taken.add(port);
  }

  /** Takes a free port, any of them alike; `undefined` = none is left. */
  takeAny(random: Random): number | undefined {
    if (this.#free <= 0) return undefined;
    const start = randomBelow(random, this.#size);
    for (let step = 0; step < this.#size; step++) {
      const port = this.#at((start + step) % this.#size);
      if (this.#taken.has(port)) continue;
      this.take(port);
      return port;
    }
    return undefined;
  }

  #at(index: number): number {
    let rest = index;
    for (const [first, last] of this.#ranges) {
      const size = last - first + 1;
      if (rest < size) return first + rest;
      rest -= size;
    }
    throw new RangeError(`No port at ${index} of ${this.#size}`);
  }
}
