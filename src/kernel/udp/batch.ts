/**
 * Memory for one call of recvmmsg or sendmmsg: headers, addresses and bytes of many datagrams, made once.
 *
 * The structures point to one another by address, so none of these buffers is ever replaced.
 */
import * as libc from '../libc.ts';

export const BATCH = 64;
/** struct mmsghdr and struct iovec on 64-bit machines; enough for struct sockaddr_in6. */
const HEADER_BYTES = 64;
const VECTOR_BYTES = 16;
const ADDRESS_BYTES = 32;
/** In mmsghdr: msg_name, msg_namelen, msg_iov, msg_iovlen, msg_flags, msg_len. */
const NAME = 0;
const NAME_LENGTH = 8;
const VECTOR = 16;
const VECTOR_COUNT = 24;
const FLAGS = 48;
const LENGTH = 56;

export class Batch {
  readonly headers: Buffer;
  /** Where each datagram's bytes are. */
  readonly slots: readonly Buffer[];
  readonly #addresses: Buffer;
  readonly #vectors: Buffer;

  /** Room for `count` datagrams of `size` bytes. */
  constructor(size: number, count: number) {
    this.headers = Buffer.alloc(count * HEADER_BYTES);
    this.#addresses = Buffer.alloc(count * ADDRESS_BYTES);
    this.#vectors = Buffer.alloc(count * VECTOR_BYTES);
    const bytes = Buffer.alloc(count * size);
    this.slots = Array.from({ length: count }, (_, i) => bytes.subarray(i * size, (i + 1) * size));
    const [data, addresses, vectors] = [bytes, this.#addresses, this.#vectors].map(libc.addressOf) as [
      bigint,
      bigint,
      bigint,
    ];
    for (let i = 0; i < count; i++) {
      this.#vectors.writeBigUInt64LE(data + BigInt(i * size), i * VECTOR_BYTES);
      this.#vectors.writeBigUInt64LE(BigInt(size), i * VECTOR_BYTES + 8);
      const header = i * HEADER_BYTES;
      this.headers.writeBigUInt64LE(addresses + BigInt(i * ADDRESS_BYTES), header + NAME);
      this.headers.writeBigUInt64LE(vectors + BigInt(i * VECTOR_BYTES), header + VECTOR);
      this.headers.writeBigUInt64LE(1n, header + VECTOR_COUNT);
    }
  }

  /** Ready to receive anew. */
  reset(count: number): void {
    for (let i = 0; i < count; i++) this.headers.writeUInt32LE(ADDRESS_BYTES, i * HEADER_BYTES + NAME_LENGTH);
  }

  received(i: number): number {
    return this.headers.readUInt32LE(i * HEADER_BYTES + LENGTH);
  }

  /** It was longer than there was room. */
  truncated(i: number): boolean {
    return (this.headers.readUInt32LE(i * HEADER_BYTES + FLAGS) & libc.MSG_TRUNC) !== 0;
  }

  /** A copy. */
  address(i: number): Buffer {
    const length = this.headers.readUInt32LE(i * HEADER_BYTES + NAME_LENGTH);
    return Buffer.from(this.#addresses.subarray(i * ADDRESS_BYTES, i * ADDRESS_BYTES + length));
  }

  /** The datagram at `i` is `length` bytes, to where the one at `j` of another batch came from. */
  reply(i: number, length: number, from: Batch, j: number): void {
    this.#vectors.writeUInt32LE(length, i * VECTOR_BYTES + 8);
    const size = from.headers.readUInt32LE(j * HEADER_BYTES + NAME_LENGTH);
    this.headers.writeUInt32LE(size, i * HEADER_BYTES + NAME_LENGTH);
    const at = i * ADDRESS_BYTES;
    for (let k = 0; k < size; k++) this.#addresses[at + k] = from.#addresses[j * ADDRESS_BYTES + k] ?? 0;
  }

  /** The datagram at `i` is `length` bytes, to an address that was kept. */
  send(i: number, length: number, to: Uint8Array): void {
    this.#vectors.writeUInt32LE(length, i * VECTOR_BYTES + 8);
    this.headers.writeUInt32LE(to.length, i * HEADER_BYTES + NAME_LENGTH);
    this.#addresses.set(to, i * ADDRESS_BYTES);
  }
}
