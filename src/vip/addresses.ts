/**
 * Addresses of named VIPs: computed, never agreed upon (reference "VIPs and DNS", section 2; DESIGN decision 10).
 *
 * The address that a name wants is a hash of it. Where several names want the same one, the rule looks at the set of
 * names alone, not at the order in which a node met them: so all nodes with the same names have the same addresses.
 */
import { createHash } from 'node:crypto';
import type { IpAddress } from '../base/ip.ts';

/** The addresses from `min` to `max`, of one family. */
export interface VipRange {
  readonly min: IpAddress;
  readonly max: IpAddress;
}

/**
 * The address of each name; a name that found all taken is missing.
 *
 * Names that want an address nobody else wants have it. Of several, the first in the order of their code units has it;
 * the others, in that order, take the next free one, where `min` follows on `max`.
 */
export function assignAddresses(names: Iterable<string>, range: VipRange): Map<string, IpAddress> {
  const size = range.max.value - range.min.value + 1n;
  const taken = new Map<bigint, string>();
  const displaced: string[] = [];
  const sorted = Array.from(new Set(names)).sort();
  for (const name of sorted) {
    const offset = wantedOffset(name, range);
    if (taken.has(offset)) displaced.push(name);
    else taken.set(offset, name);
  }
  for (const name of displaced) {
    if (BigInt(taken.size) >= size) break;
    let offset = wantedOffset(name, range);
    while (taken.has(offset)) offset = (offset + 1n) % size;
    taken.set(offset, name);
  }
  const addresses = new Map<string, IpAddress>();
  for (const [offset, name] of taken) {
    const address = range.min.plus(offset);
    if (address !== undefined) addresses.set(name, address);
  }
  return addresses;
}

/** Where `name` wants to be, counted from the range's `min`. The greatest address is never wanted, only taken. */
export function wantedOffset(name: string, { min, max }: VipRange): bigint {
  const span = max.value - min.value;
  if (span === 0n) return 0n;
  const hash = min.family === 4 ? BigInt(lookup2(Buffer.from(name))) : sha1(name);
  return hash % span;
}

function sha1(name: string): bigint {
  return BigInt(`0x${createHash('sha1').update(name).digest('hex')}`);
}

const GOLDEN_RATIO = 0x9e37_79b9;
/** The hash's initial value where the addresses of DC/OS come from. */
const SEED = 0x08d1_2e65;
const BLOCK = 12;

/** Bob Jenkins' lookup2 ("Hash Functions", Dr. Dobb's Journal, 1997), 32 bits. */
export function lookup2(bytes: Uint8Array): number {
  const state: [number, number, number] = [GOLDEN_RATIO, GOLDEN_RATIO, SEED];
  const whole = bytes.length - (bytes.length % BLOCK);
  for (let at = 0; at < whole; at += BLOCK) {
    for (const word of [0, 1, 2] as const) state[word] += littleEndian(bytes, at + 4 * word, 4);
    mix(state);
  }
  state[0] += littleEndian(bytes, whole, 4);
  state[1] += littleEndian(bytes, whole + 4, 4);
  // The lowest byte of the third word is kept for the length.
  state[2] += bytes.length + littleEndian(bytes, whole + 8, 3) * 256;
  mix(state);
  return state[2];
}

/** Up to `count` bytes; those past the end are zero. */
function littleEndian(bytes: Uint8Array, at: number, count: number): number {
  let value = 0;
  for (let i = count - 1; i >= 0; i--) value = value * 256 + (bytes[at + i] ?? 0);
  return value;
}

function mix(state: [number, number, number]): void {
  let [a, b, c] = state;
  a = (a - b - c) ^ (c >>> 13);
  b = (b - c - a) ^ (a << 8);
  c = (c - a - b) ^ (b >>> 13);
  a = (a - b - c) ^ (c >>> 12);
  b = (b - c - a) ^ (a << 16);
  c = (c - a - b) ^ (b >>> 5);
  a = (a - b - c) ^ (c >>> 3);
  b = (b - c - a) ^ (a << 10);
  c = (c - a - b) ^ (b >>> 15);
  state[0] = a >>> 0;
  state[1] = b >>> 0;
  state[2] = c >>> 0;
}
