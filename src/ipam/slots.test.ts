import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Slots } from './slots.ts';

/** The slow, obvious one: scans from the start. */
class ScannedSlots {
  readonly #taken = new Set<bigint>();
  readonly #first: bigint;
  readonly #end: bigint;

  constructor(first: bigint, end: bigint) {
    this.#first = first;
    this.#end = end;
  }

  take(): bigint | undefined {
    for (let slot = this.#first; slot < this.#end; slot++) if (this.reserve(slot)) return slot;
    return undefined;
  }

  reserve(slot: bigint): boolean {
    if (slot < this.#first || slot >= this.#end || this.#taken.has(slot)) return false;
    this.#taken.add(slot);
    return true;
  }

  release(slot: bigint): boolean {
    return this.#taken.delete(slot);
  }
}

describe('Slots', () => {
  test('gives the lowest free number, as a scan of all numbers does', () => {
    const operation = fc.tuple(fc.constantFrom('take', 'take', 'reserve', 'release'), fc.bigInt(0n, 45n));
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 200 }), (operations) => {
        const slots = new Slots(1n, 40n);
        const oracle = new ScannedSlots(1n, 40n);
        for (const [verb, slot] of operations) {
          if (verb === 'take') expect(slots.take()).toBe(oracle.take());
          else if (verb === 'reserve') expect(slots.reserve(slot)).toBe(oracle.reserve(slot));
          else if (oracle.release(slot)) slots.release(slot);
        }
      }),
    );
  });

  test('refuses to take a number back twice', () => {
    const slots = new Slots(0n, 4n);
    slots.take();
    slots.release(0n);
    expect(() => slots.release(0n)).toThrow('given back once');
  });

  test('hands out and takes back 65,536 numbers in any order', () => {
    const slots = new Slots(0n, 65_536n);
    const all = Array.from({ length: 65_536 }, () => slots.take());
    expect(slots.take()).toBeUndefined();
    for (const slot of all.reverse()) slots.release(slot ?? 0n);
    expect(slots.takenCount).toBe(0);
    expect([slots.take(), slots.take()]).toEqual([0n, 1n]);
  });

  test('has nothing to give from an empty range', () => {
    expect(new Slots(1n, 1n).take()).toBeUndefined();
    expect(new Slots(1n, 0n).freeCount).toBe(0n);
  });
});
