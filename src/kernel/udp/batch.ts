/**
 * Memory for one call of recvmmsg or sendmmsg: headers, addresses and bytes of many datagrams, made once.
 *
 * The structures point to one another by address, so none of these buffers is ever replaced. They are read and written
 * as words of 32 bits, which costs a tenth of what the methods of `Buffer` do.
 */
import { assert } from '../../base/assert.ts';
import * as libc from '../libc.ts';

export const BATCH = 64;
/** struct mmsghdr and struct iovec on 64-bit machines, in words; enough bytes for struct sockaddr_in6. */
const HEADER_WORDS = 16;
const VECTOR_WORDS = 4;
const ADDRESS_BYTES = 32;
/** Of mmsghdr: msg_name (two), msg_namelen, msg_iov (two), msg_iovlen, msg_control (two), _controllen, _flags, msg_len. */
const NAME = 0;
const NAME_LENGTH = 2;
const VECTOR = 4;
const VECTOR_COUNT = 6;
const CONTROL = 8;
const CONTROL_LENGTH = 10;
const FLAGS = 12;
const LENGTH = 14;
/** Of struct cmsghdr with one struct timespec: cmsg_len, cmsg_level, cmsg_type, tv_sec, tv_nsec. */
const STAMP_BYTES = 32;
const STAMP_TYPE = 12;
const STAMP_SECONDS = 16;
const STAMP_NANOSECONDS = 24;
/** Of iovec: iov_base (two), iov_len. */
const VECTOR_LENGTH = 2;

export class Batch {
  /** Where each datagram's bytes are. */
  readonly slots: readonly Buffer[];
  readonly #count: number;
  readonly #headers: Words;
  readonly #vectors: Words;
  readonly #addresses: Buffer;
  readonly #addressPointer: bigint;
  /** Where the kernel writes when each datagram came; empty when it is not asked to. */
  readonly #stamps: Buffer;
  /** How many of the headers have what was received last. */
  #received: number;

  /** Room for `count` datagrams of `size` bytes; `stamped`: with the time at which each came, for a socket that tells it. */
  constructor(size: number, count: number, { stamped = false } = {}) {
    const bytes = Buffer.alloc(count * size);
    this.slots = Array.from({ length: count }, (_, i) => bytes.subarray(i * size, (i + 1) * size));
    this.#count = count;
    this.#received = count;
    this.#headers = new Words(count * HEADER_WORDS);
    this.#vectors = new Words(count * VECTOR_WORDS);
    this.#addresses = Buffer.alloc(count * ADDRESS_BYTES);
    this.#addressPointer = libc.addressOf(this.#addresses);
    this.#stamps = Buffer.alloc(stamped ? count * STAMP_BYTES : 0);
    if (stamped) {
      const stamps = libc.addressOf(this.#stamps);
      for (let i = 0; i < count; i++)
        this.#headers.setPointer(i * HEADER_WORDS + CONTROL, stamps + BigInt(i * STAMP_BYTES));
    }
    const [data, vectors] = [libc.addressOf(bytes), libc.addressOf(this.#vectors.bytes)];
    for (let i = 0; i < count; i++) {
      this.#vectors.setPointer(i * VECTOR_WORDS, data + BigInt(i * size));
      this.#vectors.words[i * VECTOR_WORDS + VECTOR_LENGTH] = size;
      this.#headers.setPointer(i * HEADER_WORDS + VECTOR, vectors + BigInt(i * VECTOR_WORDS * 4));
      this.#headers.words[i * HEADER_WORDS + VECTOR_COUNT] = 1;
      this.#setOwnName(i);
    }
  }

  /** Takes what is there; answers how many datagrams, or a negative errno. */
  receive(fd: number): number {
    const { words } = this.#headers;
    for (let i = 0; i < this.#received; i++) words[i * HEADER_WORDS + NAME_LENGTH] = ADDRESS_BYTES;
    if (this.#stamps.length > 0)
      for (let i = 0; i < this.#count; i++) words[i * HEADER_WORDS + CONTROL_LENGTH] = STAMP_BYTES;
    const count = libc.recvmmsg(fd, this.#headers.bytes, this.#count, libc.MSG_DONTWAIT);
    this.#received = Math.max(count, 0);
    return count;
  }

  /** Sends the first `count`; answers how many went, or a negative errno. */
  transmit(fd: number, count: number): number {
    return libc.sendmmsg(fd, this.#headers.bytes, count, libc.MSG_DONTWAIT);
  }

  length(i: number): number {
    return this.#headers.words[i * HEADER_WORDS + LENGTH] ?? 0;
  }

  /** It was longer than there was room. */
  truncated(i: number): boolean {
    return ((this.#headers.words[i * HEADER_WORDS + FLAGS] ?? 0) & libc.MSG_TRUNC) !== 0;
  }

  /** When it came, wall time in ms; `undefined`: the kernel has not said. */
  cameAt(i: number): number | undefined {
    const at = i * STAMP_BYTES;
    const told = this.#headers.words[i * HEADER_WORDS + CONTROL_LENGTH] ?? 0;
    if (told < STAMP_BYTES || this.#stamps.readInt32LE(at + STAMP_TYPE) !== libc.SO_TIMESTAMPNS)
      return undefined;
    const seconds = Number(this.#stamps.readBigInt64LE(at + STAMP_SECONDS));
    return seconds * 1000 + Number(this.#stamps.readBigInt64LE(at + STAMP_NANOSECONDS)) / 1e6;
  }

  /** A copy. */
  address(i: number): Buffer {
    const length = this.#headers.words[i * HEADER_WORDS + NAME_LENGTH] ?? 0;
    return Buffer.from(this.#addresses.subarray(i * ADDRESS_BYTES, i * ADDRESS_BYTES + length));
  }

  /** The datagram at `i` is `length` bytes, to where the one at `j` of `from` came from, as long as that is there. */
  reply(i: number, length: number, from: Batch, j: number): void {
    this.#vectors.words[i * VECTOR_WORDS + VECTOR_LENGTH] = length;
    const [at, there] = [i * HEADER_WORDS, j * HEADER_WORDS];
    for (let word = NAME; word <= NAME_LENGTH; word++)
      this.#headers.words[at + word] = from.#headers.words[there + word] ?? 0;
  }

  /** The datagram at `i` is `length` bytes, to an address that was kept. */
  send(i: number, length: number, to: Uint8Array): void {
    this.#vectors.words[i * VECTOR_WORDS + VECTOR_LENGTH] = length;
    this.#setOwnName(i);
    this.#headers.words[i * HEADER_WORDS + NAME_LENGTH] = to.length;
    this.#addresses.set(to, i * ADDRESS_BYTES);
  }

  #setOwnName(i: number): void {
    this.#headers.setPointer(i * HEADER_WORDS + NAME, this.#addressPointer + BigInt(i * ADDRESS_BYTES));
  }
}

class Words {
  readonly bytes: Buffer;
  readonly words: Uint32Array;

  constructor(count: number) {
    // The machine's own order of bytes: x86-64 and arm64 agree.
    this.words = new Uint32Array(count);
    this.bytes = Buffer.from(this.words.buffer);
  }

  setPointer(at: number, pointer: bigint): void {
    assert(at + 1 < this.words.length, 'a pointer within the structure');
    this.words[at] = Number(pointer & 0xffff_ffffn);
    this.words[at + 1] = Number(pointer >> 32n);
  }
}
