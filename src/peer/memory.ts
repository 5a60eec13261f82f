/**
 * A network of peers in memory, moved by the injected clock: for tests and simulation.
 *
 * Purpose: the same streams of frames as TCP, with hardship on demand.
 * Invariants: frames are copied, never shared; in order per connection. A cut link holds its frames and gives them
 * when it is mended, as TCP's retransmission does; `sever` closes its connections as a reset does. `lossRate` breaks
 * the promise of streams on purpose, to see that repair does not depend on it.
 */
import type { Clock } from '../base/clock.ts';
import { PortolanError } from '../base/errors.ts';
import type { Random } from '../base/random.ts';
import {
  MAX_FRAME_BYTES,
  MAX_QUEUED_BYTES,
  type PeerAddress,
  type PeerConnection,
  type PeerListener,
  type PeerTransport,
} from './types.ts';

export interface MemoryNetworkInit {
  /** One way; each frame takes between half of it and the whole. */
  readonly delayMs?: number;
  /** Share of frames that vanish. */
  readonly lossRate?: number;
}

type Accept = (connection: PeerConnection) => void;

export class MemoryNetwork {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #listeners = new Map<string, Accept>();
  readonly #cut = new Set<string>();
  readonly #pipes = new Set<Pipe>();
  #nextPort = 40_000;
  delayMs: number;
  lossRate: number;
  /** Bytes of all frames handed over so far. */
  deliveredBytes = 0;

  constructor(components: { readonly clock: Clock; readonly random: Random }, init: MemoryNetworkInit = {}) {
    const { delayMs = 1, lossRate = 0 } = init;
    this.#clock = components.clock;
    this.#random = components.random;
    this.delayMs = delayMs;
    this.lossRate = lossRate;
  }

  /** The transport of one host. */
  transport(host: string): PeerTransport {
    return {
      listen: (address, onConnection) => this.#listen(address, onConnection),
      connect: (address, options) => this.#connect(host, address, options),
    };
  }

  /** Frames between the two groups wait, connecting times out. */
  cut(left: readonly string[], right: readonly string[]): void {
    for (const a of left) for (const b of right) this.#cut.add(`${a} ${b}`).add(`${b} ${a}`);
  }

  mend(): void {
    this.#cut.clear();
    for (const pipe of this.#pipes) pipe.resume();
  }

  /** Resets the connections between the two groups. */
  sever(left: readonly string[], right: readonly string[]): void {
    for (const pipe of Array.from(this.#pipes))
      if (
        (left.includes(pipe.from) && right.includes(pipe.to)) ||
        (left.includes(pipe.to) && right.includes(pipe.from))
      )
        pipe.reset('connection reset');
  }

  isCut(from: string, to: string): boolean {
    return this.#cut.has(`${from} ${to}`);
  }

  #listen(address: PeerAddress, accept: Accept): Promise<PeerListener> {
    const port = address.port === 0 ? this.#nextPort++ : address.port;
    const name = `${address.host}:${port}`;
    if (this.#listeners.has(name))
      return Promise.reject(
        new PortolanError('conflict', `Cannot listen for peers on "${name}": it is taken`),
      );
    this.#listeners.set(name, accept);
    return Promise.resolve({
      address: { host: address.host, port },
      close: () => {
        this.#listeners.delete(name);
        for (const pipe of Array.from(this.#pipes))
          if (pipe.acceptor === name) pipe.reset('connection reset');
        return Promise.resolve();
      },
    });
  }

  #connect(
    from: string,
    address: PeerAddress,
    options: { readonly timeoutMs: number; readonly signal?: AbortSignal },
  ): Promise<PeerConnection> {
    const name = `${address.host}:${address.port}`;
    return new Promise((resolve, reject) => {
      const { signal, timeoutMs } = options;
      const waitMs = this.isCut(from, address.host) ? timeoutMs : Math.min(timeoutMs, this.frameDelayMs());
      const fail = (why: string): void => {
        timer.cancel();
        signal?.removeEventListener('abort', onAbort);
        reject(new PortolanError('unavailable', `Cannot reach peer "${name}": ${why}`));
      };
      const onAbort = (): void => fail('no longer wanted');
      const timer = this.#clock.after(waitMs, () => {
        const accept = this.#listeners.get(name);
        if (this.isCut(from, address.host)) return fail(`no answer in ${timeoutMs} ms`);
        if (accept === undefined) return fail('connection refused');
        signal?.removeEventListener('abort', onAbort);
        resolve(this.#join(from, address, accept));
      });
      signal?.addEventListener('abort', onAbort, { once: true });
      if (signal?.aborted === true) onAbort();
    });
  }

  #join(from: string, address: PeerAddress, accept: Accept): PeerConnection {
    const name = `${address.host}:${address.port}`;
    const init = { network: this, clock: this.#clock, pipes: this.#pipes, acceptor: name };
    const there = new Pipe(init, address.host, from, { host: from, port: this.#nextPort++ });
    const here = new Pipe(init, from, address.host, address);
    here.pairWith(there);
    accept(there);
    return here;
  }

  frameDelayMs(): number {
    return this.delayMs * (0.5 + this.#random.next() / 2);
  }

  loses(): boolean {
    return this.lossRate > 0 && this.#random.next() < this.lossRate;
  }
}

interface PipeInit {
  readonly network: MemoryNetwork;
  readonly clock: Clock;
  readonly pipes: Set<Pipe>;
  /** Name of the listener at its far or near end. */
  readonly acceptor: string;
}

/** One end of a connection; frames go from `from` to `to`. */
class Pipe implements PeerConnection {
  readonly remote: PeerAddress;
  readonly from: string;
  readonly to: string;
  readonly acceptor: string;
  readonly #init: PipeInit;
  #other: Pipe | undefined;
  /** Frames under way, oldest first. */
  #queue: Uint8Array[] = [];
  #queuedBytes = 0;
  /** A manual clock may move on before the promise of this connection was awaited. */
  readonly #early: Uint8Array[] = [];
  #arrivesAt = 0;
  #closing = false;
  #closed = false;
  #onFrame: ((frame: Uint8Array) => void) | undefined;
  #onClose: ((error: Error | undefined) => void) | undefined;

  constructor(init: PipeInit, from: string, to: string, remote: PeerAddress) {
    this.#init = init;
    this.from = from;
    this.to = to;
    this.remote = remote;
    this.acceptor = init.acceptor;
    init.pipes.add(this);
  }

  pairWith(other: Pipe): void {
    this.#other = other;
    other.#other = this;
  }

  send(frame: Uint8Array): boolean {
    if (this.#closed || this.#closing) return false;
    if (frame.length > MAX_FRAME_BYTES) return this.reset(`a frame of ${frame.length} bytes`);
    if (this.#queuedBytes + frame.length > MAX_QUEUED_BYTES) return this.reset('it does not keep up');
    if (this.#init.network.loses()) return true;
    this.#queue.push(Uint8Array.from(frame));
    this.#queuedBytes += frame.length;
    this.#schedule();
    return true;
  }

  onFrame(listener: (frame: Uint8Array) => void): void {
    this.#onFrame = listener;
    for (const frame of this.#early.splice(0)) listener(frame);
  }

  onClose(listener: (error: Error | undefined) => void): void {
    this.#onClose = listener;
    if (this.#closed) this.#init.clock.after(0, () => listener(undefined));
  }

  close(reason?: string): void {
    if (this.#closing || this.#closed) return;
    this.#closing = true;
    this.#init.clock.after(0, () => this.finish(reason === undefined ? undefined : new Error(reason)));
    this.#schedule();
  }

  resume(): void {
    for (let i = this.#closing ? -1 : 0; i < this.#queue.length; i++) this.#schedule();
  }

  isClosed(): boolean {
    return this.#closed;
  }

  take(frame: Uint8Array): void {
    if (this.#closed) return;
    this.#init.network.deliveredBytes += frame.length;
    if (this.#onFrame === undefined) this.#early.push(frame);
    else this.#onFrame(frame);
  }

  /** Closes both ends at once; always false, for `send`. */
  reset(reason: string): false {
    this.#queue = [];
    for (const end of [this, this.#other]) this.#init.clock.after(0, () => end?.finish(new Error(reason)));
    return false;
  }

  #schedule(): void {
    const { clock, network } = this.#init;
    this.#arrivesAt = Math.max(this.#arrivesAt, clock.nowMs() + network.frameDelayMs());
    clock.after(this.#arrivesAt - clock.nowMs(), () => this.#deliver());
  }

  /** Hands over one frame, or the end of the stream when there are no more. */
  #deliver(): void {
    if (this.#init.network.isCut(this.from, this.to)) return;
    const frame = this.#queue.shift();
    if (frame === undefined) {
      if (this.#closing) this.#other?.finish(undefined);
      return;
    }
    this.#queuedBytes -= frame.length;
    this.#other?.take(frame);
  }

  finish(error: Error | undefined): void {
    if (this.#closed) return;
    this.#closed = true;
    // A half-closed pair stays known, so that mending a link still delivers its last frames.
    if (this.#other?.isClosed() === true) for (const end of [this, this.#other]) this.#init.pipes.delete(end);
    this.#onClose?.(error);
    // The far end learns of it by the end of the stream; without a queue that is one frame's time.
    if (!this.#closing) this.#other?.close();
  }
}
