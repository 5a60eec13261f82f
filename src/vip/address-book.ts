/**
 * The addresses of all names, kept up to date name by name.
 *
 * Purpose: what `assignAddresses` says of all names, at the price of the one that came or went and of the few that do
 * not have the address they want.
 * Invariants: equal to `assignAddresses` of the same names (its test says so), hence the same on every node.
 */
import type { IpAddress } from '../base/ip.ts';
import { wantedOffset, type VipRange } from './addresses.ts';

export class AddressBook {
  readonly #range: VipRange;
  readonly #size: bigint;
  /** Names by the offset they want, in order: the first has it. */
  readonly #wanting = new Map<bigint, string[]>();
  readonly #offsets = new Map<string, bigint>();
  /** Where those are that do not have what they want; `undefined`: all is taken. */
  #displaced = new Map<string, bigint | undefined>();

  constructor(range: VipRange) {
    this.#range = range;
    this.#size = range.max.value - range.min.value + 1n;
  }

  get(name: string): IpAddress | undefined {
    const wanted = this.#offsets.get(name);
    if (wanted === undefined) return undefined;
    const offset = this.#displaced.has(name) ? this.#displaced.get(name) : wanted;
    return offset === undefined ? undefined : this.#range.min.plus(offset);
  }

  /** Answers the names whose address is another than before, this one included. */
  add(name: string): readonly string[] {
    if (this.#offsets.has(name)) return [];
    const offset = wantedOffset(name, this.#range);
    this.#offsets.set(name, offset);
    const names = this.#wanting.get(offset) ?? [];
    this.#wanting.set(offset, [...names, name].sort());
    return this.#settle(name, names);
  }

  remove(name: string): readonly string[] {
    const offset = this.#offsets.get(name);
    if (offset === undefined) return [];
    this.#offsets.delete(name);
    const names = (this.#wanting.get(offset) ?? []).filter((each) => each !== name);
    if (names.length === 0) this.#wanting.delete(offset);
    else this.#wanting.set(offset, names);
    return this.#settle(name, names);
  }

  /** Places the displaced anew; `rivals` want the same as `name`. */
  #settle(name: string, rivals: readonly string[]): readonly string[] {
    const before = this.#displaced;
    this.#displaced = this.#place([...before.keys(), name, ...rivals]);
    const affected = new Set([name, ...rivals, ...before.keys(), ...this.#displaced.keys()]);
    return Array.from(affected).filter(
      (each) =>
        each === name ||
        before.has(each) !== this.#displaced.has(each) ||
        before.get(each) !== this.#displaced.get(each),
    );
  }

  #place(candidates: readonly string[]): Map<string, bigint | undefined> {
    const displaced = new Map<string, bigint | undefined>();
    const taken = new Set<bigint>();
    for (const name of Array.from(new Set(candidates)).sort()) {
      const wanted = this.#offsets.get(name);
      if (wanted === undefined || this.#wanting.get(wanted)?.[0] === name) continue;
      displaced.set(name, this.#free(wanted, taken));
    }
    return displaced;
  }

  /** The next offset that nobody has; it is taken then. */
  #free(wanted: bigint, taken: Set<bigint>): bigint | undefined {
    if (BigInt(this.#wanting.size + taken.size) >= this.#size) return undefined;
    let offset = wanted;
    while (this.#wanting.has(offset) || taken.has(offset)) offset = (offset + 1n) % this.#size;
    taken.add(offset);
    return offset;
  }
}
