/**
 * Headers for one sendmmsg of several datagrams that lie one behind the other in a buffer.
 *
 * struct mmsghdr (a struct msghdr and the length sent) and struct iovec of 64-bit machines, include/linux/socket.h.
 */
import * as libc from '../libc.ts';

const HEADER_BYTES = 64;
const VECTOR_BYTES = 16;
/** In mmsghdr: msg_iov, msg_iovlen, msg_len. */
const VECTOR = 16;
const VECTOR_COUNT = 24;
const SENT = 56;

export class Datagrams {
  readonly headers: Buffer;
  readonly #lengths: readonly number[];

  /** Datagram number n is what lies in `bytes` before `ends[n]` and behind the one before it; from number `first` on. */
  constructor(bytes: Uint8Array, ends: readonly number[], first: number) {
    const lengths = ends.slice(first).map((end, at) => end - (ends[first + at - 1] ?? 0));
    this.headers = Buffer.alloc(lengths.length * (HEADER_BYTES + VECTOR_BYTES));
    this.#lengths = lengths;
    const vectors = lengths.length * HEADER_BYTES;
    const place = libc.addressOf(this.headers);
    let from = libc.addressOf(bytes) + BigInt(ends[first - 1] ?? 0);
    for (const [at, length] of lengths.entries()) {
      const [header, vector] = [at * HEADER_BYTES, vectors + at * VECTOR_BYTES];
      this.headers.writeBigUInt64LE(place + BigInt(vector), header + VECTOR);
      this.headers.writeBigUInt64LE(1n, header + VECTOR_COUNT);
      this.headers.writeBigUInt64LE(from, vector);
      this.headers.writeBigUInt64LE(BigInt(length), vector + 8);
      from += BigInt(length);
    }
  }

  get count(): number {
    return this.#lengths.length;
  }

  /** True when the kernel says of the first `count` that it took them whole. */
  areWhole(count: number): boolean {
    return this.#lengths
      .slice(0, count)
      .every((length, at) => this.headers.readUInt32LE(at * HEADER_BYTES + SENT) === length);
  }
}
