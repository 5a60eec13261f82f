/** One host of the network in memory: whom it can reach, what it listens to, whether its program runs. */
import type { MemoryStream } from './memory-stream.ts';
import type { PeerConnection } from './types.ts';

export type Accept = (connection: PeerConnection) => void;

interface Listening {
  readonly port: number;
  readonly accept: Accept;
  readonly accepted: Set<MemoryStream>;
}

/** A datagram on its way beside a stream, or waiting to be heard. */
interface MemoryAside {
  readonly stream: MemoryStream;
  readonly bytes: Uint8Array;
  readonly arrivesAt: number;
}

export class MemoryHost {
  readonly name: string;
  /** Its packets to these vanish. */
  readonly unreachable = new Set<MemoryHost>();
  readonly streams = new Set<MemoryStream>();
  isUp = true;
  /** Nothing gets out or in while it is not. */
  isPlugged = true;
  /** Share of what it sends that is lost on top of the network's. */
  packetLoss = 0;
  /** Rises when the program on it ends: what was meant for the former one is void. */
  life = 0;
  /** When its link has sent what it was given so far. */
  sentUpMs = 0;
  /** On the wire, headers and repetitions included. */
  sentBytes = 0;
  #isFrozen = false;
  #asides: MemoryAside[] = [];
  readonly #listeners = new Map<number, Listening>();
  #waiting: { readonly life: number; readonly action: () => void }[] = [];

  constructor(name: string) {
    this.name = name;
  }

  listener(port: number): Listening | undefined {
    return this.#listeners.get(port);
  }

  /** `undefined`: the port is taken. */
  listen(port: number, accept: Accept): Listening | undefined {
    if (this.#listeners.has(port)) return undefined;
    const listening: Listening = { port, accept, accepted: new Set() };
    this.#listeners.set(port, listening);
    return listening;
  }

  unlisten(listening: Listening): void {
    if (this.#listeners.get(listening.port) === listening) this.#listeners.delete(listening.port);
    for (const stream of listening.accepted) stream.reset('connection reset');
  }

  post(aside: MemoryAside): void {
    this.#asides.push(aside);
  }

  /** What has come to its program beside its streams. */
  hear(now: number): void {
    const asides = this.#asides;
    this.#asides = asides.filter(({ arrivesAt }) => arrivesAt > now);
    for (const { stream, bytes, arrivesAt } of asides)
      if (arrivesAt <= now) stream.takeAside(bytes, now - arrivesAt);
  }

  /** True while packets do not get through, one way or the other. */
  isCutFrom(other: MemoryHost): boolean {
    return !this.reaches(other) || !other.reaches(this);
  }

  reaches(other: MemoryHost): boolean {
    const isOn = this.isUp && other.isUp && this.isPlugged && other.isPlugged;
    return isOn && !(this.unreachable.size > 0 && this.unreachable.has(other));
  }

  /** The host loses its power: no word to anyone. */
  crash(): void {
    this.#end();
    this.isUp = false;
    for (const stream of this.streams) stream.vanish();
    this.streams.clear();
  }

  /** It has power again; whoever still holds a connection to it is told when it uses it. */
  boot(): void {
    this.isUp = true;
  }

  /** Its program ends; the kernel closes what it leaves behind. */
  kill(): void {
    this.#end();
    for (const stream of Array.from(this.streams)) stream.abandon();
    this.streams.clear();
  }

  /** The program gets no processor. */
  freeze(): void {
    this.#isFrozen = true;
  }

  thaw(): void {
    this.#isFrozen = false;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const { life, action } of waiting) this.deliver(life, action);
  }

  /** Runs `action` in its program: now, or when it thaws, or never when that life of it is over. */
  deliver(life: number, action: () => void): void {
    if (life !== this.life) return;
    if (this.#isFrozen) this.#waiting.push({ life, action });
    else action();
  }

  #end(): void {
    this.life++;
    this.#isFrozen = false;
    this.#waiting = [];
    this.#asides = [];
    this.#listeners.clear();
  }
}
