/**
 * A network of hosts in memory, moved by the injected clock: for tests and simulation.
 *
 * Purpose: what a program sees of TCP streams over a network that is slow, loses packets and is cut, one way too, and
 * of hosts that stall, crash and come back. Duplicates and disorder are hidden by TCP, so they are not made.
 * A lost packet is sent again after RETRANSMIT_MS, then after twice as long each time; meanwhile what was sent behind
 * it waits. Of a frame of many packets only the last three can wait so long, as the packets behind a lost one tell the
 * sender at once. Without acknowledgements (the way back is cut) a stream stops after its first window.
 * Invariants: frames arrive whole and in order, or the connection closes. A crashed host says nothing, its peers'
 * streams just fall silent; a killed program's host resets them. A frozen host keeps what arrives for when it thaws.
 * Review notes: the figures are Linux's. `lossRate` breaks the promise of streams on purpose, to see that repair does
 * not depend on it. Datagrams beside a stream are lost for good, and disorder is not made among them. A frame must not be changed after it was sent, as with sockets.
 */
import type { Clock } from '../base/clock.ts';
import { PortolanError } from '../base/errors.ts';
import type { Random } from '../base/random.ts';
import { MemoryHost, type Accept } from './memory-host.ts';
import { MemoryStream, type StreamNetwork } from './memory-stream.ts';
import type { PeerAddress, PeerConnection, PeerListener, PeerTransport } from './types.ts';

/** Before the first answer nothing is known about the way. */
const FIRST_RETRANSMIT_MS = 1_000;

export interface MemoryNetworkInit {
  /** Mean of one way; half of it is constant, half varies exponentially. */
  readonly delayMs?: number;
  /** Share of packets that are lost, and sent again. */
  readonly packetLoss?: number;
  /** Share of frames that vanish for good. */
  readonly lossRate?: number;
  /** What a host can send, bytes per ms. */
  readonly bytesPerMs?: number;
}

export class MemoryNetwork implements StreamNetwork {
  readonly clock: Clock;
  readonly #random: Random;
  readonly #hosts = new Map<string, MemoryHost>();
  #nextPort = 40_000;
  delayMs: number;
  packetLoss: number;
  lossRate: number;
  readonly bytesPerMs: number;
  /** Hears every frame that is sent; `isFirst` of its stream. */
  onSend: ((frame: Uint8Array, isFirst: boolean) => void) | undefined;
  /** Frames that vanish for good. */
  drops: ((frame: Uint8Array) => boolean) | undefined;

  constructor(components: { readonly clock: Clock; readonly random: Random }, init: MemoryNetworkInit = {}) {
    const { delayMs = 1, packetLoss = 0, lossRate = 0, bytesPerMs = Infinity } = init;
    this.clock = components.clock;
    this.#random = components.random;
    this.delayMs = delayMs;
    this.packetLoss = packetLoss;
    this.lossRate = lossRate;
    this.bytesPerMs = bytesPerMs;
  }

  host(name: string): MemoryHost {
    let host = this.#hosts.get(name);
    if (host === undefined) {
      host = new MemoryHost(name);
      this.#hosts.set(name, host);
    }
    return host;
  }

  /** The transport of one host. */
  transport(name: string): PeerTransport {
    const host = this.host(name);
    return {
      listen: (address, onConnection) => this.#listen(host, address, onConnection),
      connect: (address, options) => this.#connect(host, address, options),
      hear: () => host.hear(this.clock.nowMs()),
    };
  }

  /** Nothing passes between the two groups. */
  cut(left: readonly string[], right: readonly string[]): void {
    this.cutOneWay(left, right);
    this.cutOneWay(right, left);
  }

  cutOneWay(from: readonly string[], to: readonly string[]): void {
    for (const a of from) for (const b of to) this.host(a).unreachable.add(this.host(b));
  }

  /** Undoes all cuts; streams go on when their next retransmission is due. */
  heal(): void {
    for (const host of this.#hosts.values()) host.unreachable.clear();
  }

  /** Undoes all cuts; streams go on at once. */
  mend(): void {
    this.heal();
    for (const host of this.#hosts.values()) for (const stream of host.streams) stream.retransmit();
  }

  /** Resets the connections between the two groups. */
  sever(left: readonly string[], right: readonly string[]): void {
    for (const [one, other] of [
      [left, right],
      [right, left],
    ] as const)
      for (const name of one)
        for (const stream of Array.from(this.host(name).streams))
          if (other.includes(stream.to.name)) stream.reset('connection reset');
  }

  isLost(from: MemoryHost): boolean {
    const loss = this.packetLoss + from.packetLoss;
    return loss > 0 && this.#random.next() < loss;
  }

  vanishes(frame: Uint8Array): boolean {
    if (this.drops?.(frame) === true) return true;
    return this.lossRate > 0 && this.#random.next() < this.lossRate;
  }

  packetMs(): number {
    return this.delayMs * 0.5 * (1 - Math.log(1 - this.#random.next()));
  }

  #listen(host: MemoryHost, address: PeerAddress, accept: Accept): Promise<PeerListener> {
    const port = address.port === 0 ? this.#nextPort++ : address.port;
    const listener = host.listen(port, accept);
    if (listener === undefined)
      return Promise.reject(
        new PortolanError('conflict', `Cannot listen for peers on "${host.name}:${port}": it is taken`),
      );
    return Promise.resolve({
      address: { host: address.host, port },
      close: () => {
        host.unlisten(listener);
        return Promise.resolve();
      },
    });
  }

  #connect(
    from: MemoryHost,
    address: PeerAddress,
    options: { readonly timeoutMs: number; readonly signal?: AbortSignal },
  ): Promise<PeerConnection> {
    const to = this.host(address.host);
    const { life } = from;
    return new Promise((resolve, reject) => {
      const { signal, timeoutMs } = options;
      let isDecided = false;
      const decide = (then: () => void): void => {
        if (isDecided) return;
        isDecided = true;
        limit.cancel();
        signal?.removeEventListener('abort', onAbort);
        then();
      };
      const fail = (why: string): void =>
        decide(() =>
          reject(
            new PortolanError('unavailable', `Cannot reach peer "${address.host}:${address.port}": ${why}`),
          ),
        );
      const onAbort = (): void => fail('no longer wanted');
      const limit = this.clock.after(timeoutMs, () =>
        from.deliver(life, () => fail(`no answer in ${timeoutMs} ms`)),
      );
      signal?.addEventListener('abort', onAbort, { once: true });
      if (signal?.aborted === true) return onAbort();
      const waitMs = this.#handshakeMs(from, to);
      const answer = (): void => {
        // As long as packets do not pass, or the other program does not run, there is no answer at all.
        if (isDecided || from.isCutFrom(to)) return;
        to.deliver(to.life, () =>
          from.deliver(life, () => {
            const listener = to.listener(address.port);
            if (listener === undefined) return fail('connection refused');
            decide(() => resolve(this.#join(from, to, address, listener)));
          }),
        );
      };
      this.clock.after(waitMs, answer);
    });
  }

  /** There and back once, which opens the stream. */
  #handshakeMs(from: MemoryHost, to: MemoryHost): number {
    let ms = 0;
    for (const sender of [from, to]) {
      for (let wait = FIRST_RETRANSMIT_MS; this.isLost(sender) && wait < 60_000; wait *= 2) ms += wait;
      ms += this.packetMs();
    }
    return ms;
  }

  #join(from: MemoryHost, to: MemoryHost, address: PeerAddress, listener: Listening): PeerConnection {
    const there = new MemoryStream(this, to, from, { host: from.name, port: this.#nextPort++ });
    const here = new MemoryStream(this, from, to, address);
    here.pairWith(there);
    listener.accepted.add(there);
    // The kernel has accepted it; its program learns of it when it runs.
    to.deliver(to.life, () => listener.accept(there));
    return here;
  }
}

type Listening = NonNullable<ReturnType<MemoryHost['listener']>>;
