/**
 * The lowest free number of a range, in logarithmic time.
 *
 * Everything from `#mark` on has never been taken in order; numbers given back below it wait in a heap. Stale heap
 * entries (reserved while they waited) are skipped when they surface. The range may be as large as IPv6: only what
 * is taken or was given back uses memory.
 */
import { assert } from '../base/assert.ts';

export class Slots {
  readonly #first: bigint;
  readonly #end: bigint;
  #mark: bigint;
  readonly #taken = new Set<bigint>();
  readonly #returned: bigint[] = [];

  /** Numbers from `first` up to, but without, `end`. */
  constructor(first: bigint, end: bigint) {
    this.#first = first;
    this.#end = end;
    this.#mark = first;
  }

  get takenCount(): number {
    return this.#taken.size;
  }

  get freeCount(): bigint {
    const size = this.#end > this.#first ? this.#end - this.#first : 0n;
    return size - BigInt(this.#taken.size);
  }

  /** Takes the lowest free number; `undefined` when none is left. */
  take(): bigint | undefined {
    const slot = this.#lowestReturned() ?? this.#nextUnused();
    if (slot !== undefined) this.#taken.add(slot);
    return slot;
  }

  /** Takes exactly `slot`; false when it is out of range or already taken. */
  reserve(slot: bigint): boolean {
    if (slot < this.#first || slot >= this.#end || this.#taken.has(slot)) return false;
    this.#taken.add(slot);
    return true;
  }

  /** Gives `slot` back; giving back twice is a bug that would hand one address to two nodes. */
  release(slot: bigint): void {
    assert(this.#taken.delete(slot), `slot ${slot} is given back once, by its holder`);
    if (slot < this.#mark) push(this.#returned, slot);
  }

  #lowestReturned(): bigint | undefined {
    for (;;) {
      const slot = pop(this.#returned);
      if (slot === undefined || !this.#taken.has(slot)) return slot;
    }
  }

  #nextUnused(): bigint | undefined {
    while (this.#mark < this.#end && this.#taken.has(this.#mark)) this.#mark += 1n;
    if (this.#mark >= this.#end) return undefined;
    this.#mark += 1n;
    return this.#mark - 1n;
  }
}

/** A binary heap, smallest first: parent of `i` is `(i - 1) / 2`. */
function push(heap: bigint[], value: bigint): void {
  let i = heap.push(value) - 1;
  while (i > 0) {
    const parent = (i - 1) >> 1;
    const above = heap[parent] ?? value;
    if (above <= value) break;
    heap[i] = above;
    i = parent;
  }
  heap[i] = value;
}

function pop(heap: bigint[]): bigint | undefined {
  const top = heap[0];
  const last = heap.pop();
  if (top === undefined || last === undefined || heap.length === 0) return top;
  let i = 0;
  for (;;) {
    let child = 2 * i + 1;
    const left = heap[child];
    if (left === undefined) break;
    const right = heap[child + 1];
    if (right !== undefined && right < left) child += 1;
    const below = heap[child] ?? left;
    if (last <= below) break;
    heap[i] = below;
    i = child;
  }
  heap[i] = last;
  return top;
}
