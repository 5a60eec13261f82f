/**
 * Datagrams of the real kernel.
 *
 * Node's own `dgram` waits for the socket, since nothing else of Node lets a program wait for one; it hands over the
 * first datagram of a burst. All others that are there by then are taken by one recvmmsg and answered by one sendmmsg:
 * a datagram of a burst costs a third of what `dgram` takes for it, and a single one no hand-over between threads (which
 * waiting in a recvmmsg on the thread pool would, and it would hold a thread of the four that files need).
 */
import { createSocket, type RemoteInfo } from 'node:dgram';
import { assert } from '../../base/assert.ts';
import { IpAddress, parseIp } from '../../base/ip.ts';
import * as libc from '../libc.ts';
import { Batch, BATCH } from './batch.ts';
import { boundPort, boundSocket, socketAddress } from './bound-socket.ts';
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
/** So many batches before others have their turn. */
const ROUNDS_MAX = 8;

export function openUdp(): Udp {
  // Each batch is received, answered and sent in one turn: all sockets share the memory.
  const batches = {
    received: new Batch(DATAGRAM_BYTES_MAX, BATCH),
    replies: new Batch(REPLY_BYTES_MAX, BATCH),
    // A handler may send while a batch is being made.
    single: new Batch(REPLY_BYTES_MAX, 1),
  };
  return { serve: (init) => serve(init, batches) };
}

interface Batches {
  readonly received: Batch;
  readonly replies: Batch;
  readonly single: Batch;
}

async function serve(init: UdpInit, batches: Batches): Promise<UdpServer> {
  const fd = boundSocket('udp', init.address, init.port);
  const size = Buffer.alloc(4);
  size.writeUInt32LE(RECEIVE_BUFFER);
  libc.setsockopt(fd, libc.SOL_SOCKET, libc.SO_RCVBUFFORCE, size);
  const server = new RealServer(fd, init, batches);
  await server.start();
  return server;
}

class RealServer implements UdpServer {
  readonly port: number;
  readonly #fd: number;
  readonly #init: UdpInit;
  readonly #batches: Batches;
  readonly #socket;
  readonly #scratch = Buffer.alloc(REPLY_BYTES_MAX);
  #closed = false;

  constructor(fd: number, init: UdpInit, batches: Batches) {
    this.#fd = fd;
    this.#init = init;
    this.#batches = batches;
    this.port = boundPort(fd);
    this.#socket = createSocket(init.address.family === 4 ? 'udp4' : 'udp6');
    this.#socket.on('message', (bytes, from) => this.#onMessage(bytes, from));
    // An ICMP error of an earlier answer: the client has gone.
    this.#socket.on('error', () => undefined);
  }

  start(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#socket.once('error', reject);
      this.#socket.bind({ fd: this.#fd, exclusive: true }, () => {
        this.#socket.removeListener('error', reject);
        resolve();
      });
    });
  }

  send(peer: Buffer, bytes: Uint8Array): void {
    if (this.#closed) return;
    const { single } = this.#batches;
    assert(bytes.length <= REPLY_BYTES_MAX, 'a datagram of at most 4096 bytes');
    single.slots[0]?.set(bytes);
    single.send(0, bytes.length, peer);
    libc.sendmmsg(this.#fd, single.headers, 1, libc.MSG_DONTWAIT);
  }

  close(): Promise<void> {
    if (this.#closed) return Promise.resolve();
    this.#closed = true;
    return new Promise((resolve) => {
      this.#socket.close(() => resolve());
    });
  }

  #onMessage(bytes: Buffer, from: RemoteInfo): void {
    const peer = (): Buffer => peerOf(from);
    if (bytes.length <= DATAGRAM_BYTES_MAX) {
      const length = this.#init.onDatagram({ bytes, length: bytes.length, peer }, this.#scratch);
      if (length > 0) this.send(peer(), this.#scratch.subarray(0, length));
    }
    for (let round = 0; round < ROUNDS_MAX && !this.#closed; round++) if (!this.#takeBatch()) return;
  }

  /** Returns whether there may be more. */
  #takeBatch(): boolean {
    const { received, replies } = this.#batches;
    received.reset(BATCH);
    const count = libc.recvmmsg(this.#fd, received.headers, BATCH, libc.MSG_DONTWAIT);
    if (count <= 0) return false;
    let answered = 0;
    for (let i = 0; i < count; i++) {
      if (received.truncated(i)) continue;
      const reply = replies.slots[answered] as Buffer;
      const length = this.#init.onDatagram(new Received(received, i), reply);
      if (length > 0) replies.reply(answered++, length, received, i);
    }
    // What does not fit the socket's buffer is lost; the client asks again.
    if (answered > 0) libc.sendmmsg(this.#fd, replies.headers, answered, libc.MSG_DONTWAIT);
    return count === BATCH;
  }
}

class Received implements Datagram {
  readonly bytes: Buffer;
  readonly length: number;
  readonly #batch: Batch;
  readonly #index: number;

  constructor(batch: Batch, index: number) {
    this.bytes = batch.slots[index] as Buffer;
    this.length = batch.received(index);
    this.#batch = batch;
    this.#index = index;
  }

  peer(): Buffer {
    return this.#batch.address(this.#index);
  }
}

/** A link-local peer is told with its interface's name: of no use without its index, and no client of a server here. */
function peerOf({ address, port }: RemoteInfo): Buffer {
  return socketAddress(parseIp(address) ?? new IpAddress(6, 0n), port);
}
