/**
 * The answers to one dump, part by part.
 *
 * The kernel makes a part while the one before it is received, which takes it a millisecond or two where a set has tens
 * of thousands of elements. Once parts are large, each is therefore received by another thread, while the one before it
 * is decoded: the event loop is held for the decoding of one part, and the whole takes little more than the longer of the two.
 * Invariants: a part is valid until the next is asked for; after `close` no thread is inside a call on the socket.
 */
import { errnoNumber } from '../errno.ts';
import * as libc from '../libc.ts';

/** Parts are at most 32 KiB (af_netlink.c, netlink_recvmsg): behind such a one there is more. */
const LARGE_BYTES = 16 * 1024;
const EAGAIN = errnoNumber('EAGAIN');

export class DumpParts {
  readonly #fd: number;
  /** Where the part that was received last is. */
  #buffer: Buffer;
  readonly #own: Buffer[] = [];
  #coming: Promise<number> | undefined;

  /** `buffer` is for short dumps, and for the first part of others. */
  constructor(fd: number, buffer: Buffer) {
    this.#fd = fd;
    this.#buffer = buffer;
  }

  get buffer(): Buffer {
    return this.#buffer;
  }

  /** The next part is received by another thread, so that the event loop has its turn before it is there. */
  get isComing(): boolean {
    return this.#coming !== undefined;
  }

  /** Receives the next part into `buffer`: its length, or a negative errno. */
  async next(): Promise<number> {
    const length = this.#coming === undefined ? libc.recv(this.#fd, this.#buffer) : await this.#take();
    if (length >= LARGE_BYTES) this.#coming = libc.recvAsync(this.#fd, this.#other(), libc.MSG_DONTWAIT);
    return length;
  }

  async close(): Promise<void> {
    await this.#coming;
  }

  async #take(): Promise<number> {
    const length = await this.#coming;
    this.#coming = undefined;
    this.#buffer = this.#other();
    return length === undefined || length === -EAGAIN ? libc.recv(this.#fd, this.#buffer) : length;
  }

  /** The one of two that the part received last is not in. */
  #other(): Buffer {
    const at = this.#own[0] === this.#buffer ? 1 : 0;
    return (this.#own[at] ??= Buffer.allocUnsafeSlow(this.#buffer.length));
  }
}
