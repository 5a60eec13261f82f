/**
 * Finds nodes by their handles.
 *
 * Every row and every mention of one is looked up here, most of them to find that they are known. Two halves of a handle
 * fit two small integers, so the whole table is one typed array and a look-up reads one place of it, where a map of
 * strings reads three: an agent that is told of a hundred rows a second, or a thousand nodes in one process, notice.
 * Invariants: at most half full; what is no handle is never found.
 */

const HALF_LENGTH = 5;
const HANDLE_LENGTH = 2 * HALF_LENGTH;
const BITS = 6;
const SLOT = 3;
const FIRST_SLOTS = 32;
const NONE = -1;

export class HandleIndex {
  /** Per slot both halves, and the index + 1; 0 = free. A power of two of them. */
  #slots = new Int32Array(SLOT * FIRST_SLOTS);
  #count = 0;

  /** -1 = there is none. */
  find(handle: string): number {
    const [first, second] = [halfOf(handle, 0), halfOf(handle, HALF_LENGTH)];
    if (handle.length !== HANDLE_LENGTH || first === NONE || second === NONE) return NONE;
    return (this.#slots[this.#place(first, second) + 2] as number) - 1;
  }

  /** A handle that is not there yet. */
  add(handle: string, index: number): void {
    this.#count++;
    if (2 * this.#count * SLOT > this.#slots.length) this.#grow();
    this.#put(halfOf(handle, 0), halfOf(handle, HALF_LENGTH), index + 1);
  }

  #put(first: number, second: number, entry: number): void {
    const at = this.#place(first, second);
    this.#slots[at] = first;
    this.#slots[at + 1] = second;
    this.#slots[at + 2] = entry;
  }

  /** Where it is, or may be put. */
  #place(first: number, second: number): number {
    const slots = this.#slots;
    const last = slots.length / SLOT - 1;
    let mixed = Math.imul(first ^ Math.imul(second, 0x9e3779b1), 0x85ebca6b);
    mixed ^= mixed >>> 15;
    for (let slot = mixed & last; ; slot = (slot + 1) & last) {
      const at = slot * SLOT;
      if (slots[at + 2] === 0 || (slots[at] === first && slots[at + 1] === second)) return at;
    }
  }

  #grow(): void {
    const before = this.#slots;
    this.#slots = new Int32Array(2 * before.length);
    for (let at = 0; at < before.length; at += SLOT) {
      const [first = 0, second = 0, entry = 0] = before.subarray(at, at + SLOT);
      if (entry !== 0) this.#put(first, second, entry);
    }
  }
}

/** Six bits a character; -1 = it is none of a handle's. */
function halfOf(text: string, from: number): number {
  let half = 0;
  for (let i = from; i < from + HALF_LENGTH; i++) {
    const code = text.charCodeAt(i);
    const isLetter = code >= 97 && code <= 122;
    if (!isLetter && !(code >= 50 && code <= 55)) return NONE;
    half = (half << BITS) | (isLetter ? code - 97 : code - 24);
  }
  return half;
}
