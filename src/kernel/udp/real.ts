/**
 * Datagrams of the real kernel.
 *
 * The event loop says that a socket has something; all that is there by then is taken by one recvmmsg and answered by
 * one sendmmsg. Node's own `dgram` costs three times as much for each datagram of a burst, and for a single one twice
 * the system calls and a buffer of 64 KiB. Waiting in a recvmmsg on the thread pool costs a hand-over between threads,
 * and a thread of those that files need.
 */
import { assert } from '../../base/assert.ts';
import * as libc from '../libc.ts';
import { Batch, BATCH } from './batch.ts';
import { RealMailbox } from './mailbox.ts';
import { boundPort, boundSocket } from './bound-socket.ts';
import {
  DATAGRAM_BYTES_MAX,
  REPLY_BYTES_MAX,
  type Datagram,
  type Udp,
  type UdpInit,
  type UdpServer,
} from './types.ts';

/** A burst of thousands waits here while the event loop is elsewhere. */
const RECEIVE_BUFFER = 4 * 1024 * 1024;
/** So many batches of a socket before others have their turn. */
const ROUNDS_MAX = 4;

export function openUdp(): Udp {
  // Each batch is received, answered and sent in one turn: all sockets share the memory.
  const batches = {
    received: new Batch(DATAGRAM_BYTES_MAX, BATCH),
    replies: new Batch(REPLY_BYTES_MAX, BATCH),
    // A handler may send while a batch is being made.
    single: new Batch(REPLY_BYTES_MAX, 1),
  };
  const datagrams = Array.from({ length: BATCH }, (_, i) => new Received(batches.received, i));
  return {
    serve: async (init) => {
      const fd = boundSocket('udp', init.address, init.port);
      const size = Buffer.alloc(4);
      size.writeUInt32LE(RECEIVE_BUFFER);
      libc.setsockopt(fd, libc.SOL_SOCKET, libc.SO_RCVBUFFORCE, size);
      return new RealServer(fd, init, { ...batches, datagrams });
    },
    mailbox: (address, port) => new RealMailbox(address, port),
  };
}

interface Batches {
  readonly received: Batch;
  readonly datagrams: readonly Received[];
  readonly replies: Batch;
  readonly single: Batch;
}

class RealServer implements UdpServer {
  readonly port: number;
  readonly #fd: number;
  readonly #init: UdpInit;
  readonly #batches: Batches;
  readonly #watch: libc.Watch;
  #closed = false;

  constructor(fd: number, init: UdpInit, batches: Batches) {
    this.#fd = fd;
    this.#init = init;
    this.#batches = batches;
    this.port = boundPort(fd);
    this.#watch = libc.watchReadable(fd, () => this.#onReadable());
  }

  send(peer: Buffer, bytes: Uint8Array): void {
    if (this.#closed) return;
    const { single } = this.#batches;
    assert(bytes.length <= REPLY_BYTES_MAX, 'a datagram of at most 4096 bytes');
    single.slots[0]?.set(bytes);
    single.send(0, bytes.length, peer);
    single.transmit(this.#fd, 1);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#watch.close();
    libc.close(this.#fd);
  }

  #onReadable(): void {
    for (let round = 0; round < ROUNDS_MAX && !this.#closed; round++) if (!this.#takeBatch()) return;
  }

  /** Returns whether there may be more. */
  #takeBatch(): boolean {
    const { received, datagrams, replies } = this.#batches;
    const count = received.receive(this.#fd);
    let [taken, answered] = [0, 0];
    for (let i = 0; i < count; i++) {
      if (received.truncated(i)) continue;
      taken++;
      const length = this.#init.onDatagram(datagrams[i] as Received, replies.slots[answered] as Buffer);
      if (length > 0) replies.reply(answered++, length, received, i);
    }
    // What does not fit the socket's buffer is lost; the client asks again.
    if (answered > 0 && !this.#closed) replies.transmit(this.#fd, answered);
    // What is answered later may wait for promises.
    if (answered < taken) setImmediate(nothing);
    return count === BATCH;
  }
}

function nothing(): void {}

class Received implements Datagram {
  readonly bytes: Buffer;
  readonly #batch: Batch;
  readonly #index: number;

  constructor(batch: Batch, index: number) {
    this.bytes = batch.slots[index] as Buffer;
    this.#batch = batch;
    this.#index = index;
  }

  get length(): number {
    return this.#batch.length(this.#index);
  }

  peer(): Buffer {
    return this.#batch.address(this.#index);
  }
}
