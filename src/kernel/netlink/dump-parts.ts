/**
 * The answers to one dump, part by part.
 *
 * The kernel makes a part while the one before it is received, which takes it a millisecond or two where a set has tens
 * of thousands of elements. Once parts are large, each is therefore received by another thread, while the one before it
 * is decoded: the event loop is held for the decoding of one part, and the whole takes little more than the longer of the two.
 * Invariants: a part is valid until the next is asked for, one in the buffer that was given only until something else runs;
 * after `close` no thread is inside a call on the socket.
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

  /**
   * Receives the next part into `buffer`: its length, or a negative errno. At once where it can: the buffer that was given
   * may be that of other sockets too, so nothing may come between receiving and decoding.
   */
  next(): number | Promise<number> {
    return this.#coming === undefined
      ? this.#received(libc.recv(this.#fd, this.#buffer))
      : this.#take(this.#coming);
  }

  async close(): Promise<void> {
    await this.#coming;
  }

  async #take(coming: Promise<number>): Promise<number> {
    const length = await coming;
    this.#coming = undefined;
    this.#buffer = this.#other();
    return this.#received(length === -EAGAIN ? libc.recv(this.#fd, this.#buffer) : length);
  }

  #received(length: number): number {
    if (length >= LARGE_BYTES) this.#coming = libc.recvAsync(this.#fd, this.#other(), libc.MSG_DONTWAIT);
    return length;
  }

  /** The one of two that the part received last is not in. */
  #other(): Buffer {
    const at = this.#own[0] === this.#buffer ? 1 : 0;
    return (this.#own[at] ??= Buffer.allocUnsafeSlow(this.#buffer.length));
  }
}
