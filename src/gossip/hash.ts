/**
 * Hashes of records, and of sets of them.
 *
 * 64 bits in two halves, as bitwise operators work on 32. The hash of a set is the exclusive-or of its members', so
 * that adding and removing one is a single step. Not a defence against forgery: that is what signatures are for.
 */

export interface Hash {
  readonly high: number;
  readonly low: number;
}

/** Groups, by hash of their writers, in which sets are compared: what differs is usually in few of them. */
export const BUCKETS = 64;

export const emptyHash: Hash = { high: 0, low: 0 };

/** cyrb53's mixing (public domain, bryc), keeping all 64 bits. */
export function hashText(text: string): Hash {
  let high = 0xdeadbeef;
  let low = 0x41c6ce57;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    high = Math.imul(high ^ code, 2_654_435_761);
    low = Math.imul(low ^ code, 1_597_334_677);
  }
  high = Math.imul(high ^ (high >>> 16), 2_246_822_507) ^ Math.imul(low ^ (low >>> 13), 3_266_489_909);
  low = Math.imul(low ^ (low >>> 16), 2_246_822_507) ^ Math.imul(high ^ (high >>> 13), 3_266_489_909);
  return { high: high >>> 0, low: low >>> 0 };
}

export function combine(a: Hash, b: Hash): Hash {
  return { high: (a.high ^ b.high) >>> 0, low: (a.low ^ b.low) >>> 0 };
}

export function hashHex(hash: Hash): string {
  return hash.high.toString(16).padStart(8, '0') + hash.low.toString(16).padStart(8, '0');
}

export function bucketOf(hash: Hash): number {
  return hash.low % BUCKETS;
}
