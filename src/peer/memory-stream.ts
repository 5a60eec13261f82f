/** One end of a stream of the network in memory, and the way to the other end; see memory.ts. */
import type { Clock } from '../base/clock.ts';
import type { MemoryHost } from './memory-host.ts';
import { MAX_FRAME_BYTES, MAX_QUEUED_BYTES, type PeerAddress, type PeerConnection } from './types.ts';

const RETRANSMIT_MS = 200;
const MAX_RETRANSMIT_MS = 120_000;
/** Linux's tcp_retries2: about a quarter of an hour. */
const MAX_RETRANSMISSIONS = 15;
/** Packets that are sent before the first acknowledgement. */
const INITIAL_WINDOW = 10;
const SEGMENT_BYTES = 1_400;
/** Ethernet, IP and TCP with time stamps, per packet; length, TLS record and its tag, per frame. */
const PACKET_OVERHEAD_BYTES = 66;
const FRAME_OVERHEAD_BYTES = 26;
/** Ethernet, IP and UDP, and what makes a datagram beside the stream authentic. */
const ASIDE_OVERHEAD_BYTES = 42 + 28;

/** What a stream has to know of its network. */
export interface StreamNetwork {
  readonly clock: Clock;
  readonly bytesPerMs: number;
  readonly onSend: ((frame: Uint8Array, isFirst: boolean) => void) | undefined;
  isLost(from: MemoryHost): boolean;
  vanishes(frame: Uint8Array): boolean;
  /** What one packet takes. */
  packetMs(): number;
}

/** `undefined`: the end of the stream. */
interface Flight {
  readonly frame: Uint8Array | undefined;
  arrivesAt: number;
}

export class MemoryStream implements PeerConnection {
  readonly remote: PeerAddress;
  readonly from: MemoryHost;
  readonly to: MemoryHost;
  readonly #network: StreamNetwork;
  readonly #life: number;
  #other: MemoryStream | undefined;
  /** Under way, oldest first. */
  #flights: Flight[] = [];
  #queuedBytes = 0;
  /** Nothing was sent on it yet. */
  #isFresh = true;
  /** Arrived before anybody listened. */
  #early: Uint8Array[] = [];
  #lastArrivalAt = 0;
  #isArmed = false;
  #retransmissions = 0;
  /** Packets that arrived and were not acknowledged. */
  #unacknowledged = 0;
  /** The program has closed it, or was told that it is closed. */
  #isClosed = false;
  /** The host knows nothing of it any more. */
  #isGone = false;
  #onFrame: ((frame: Uint8Array) => void) | undefined;
  #onAside: ((bytes: Uint8Array, ageMs: number) => void) | undefined;
  #onClose: ((error: Error | undefined) => void) | undefined;
  #closeError: Error | undefined;
  #isTold = false;

  constructor(network: StreamNetwork, from: MemoryHost, to: MemoryHost, remote: PeerAddress) {
    this.#network = network;
    this.from = from;
    this.to = to;
    this.remote = remote;
    this.#life = from.life;
    from.streams.add(this);
  }

  pairWith(other: MemoryStream): void {
    this.#other = other;
    other.#other = this;
  }

  send(frame: Uint8Array): boolean {
    if (this.#isClosed) return false;
    if (frame.length > MAX_FRAME_BYTES) return this.reset(`a frame of ${frame.length} bytes`);
    if (this.#queuedBytes + frame.length > MAX_QUEUED_BYTES) return this.reset('it does not keep up');
    if (this.#network.vanishes(frame)) return true;
    this.#queuedBytes += frame.length;
    this.#network.onSend?.(frame, this.#isFresh);
    this.#isFresh = false;
    this.#enqueue(frame);
    return true;
  }

  sendAside(bytes: Uint8Array): void {
    const { from, to } = this;
    const network = this.#network;
    from.sentBytes += bytes.length + ASIDE_OVERHEAD_BYTES;
    const stream = this.#other;
    if (this.#isClosed || stream === undefined || !from.reaches(to)) return;
    if (network.isLost(from) || network.vanishes(bytes)) return;
    to.post({ stream, bytes, arrivesAt: network.clock.nowMs() + network.packetMs() });
  }

  onAside(listener: (bytes: Uint8Array, ageMs: number) => void): void {
    this.#onAside = listener;
  }

  /** Its program looks for what has come. */
  takeAside(bytes: Uint8Array, ageMs: number): void {
    if (!this.#isClosed) this.#onAside?.(bytes, ageMs);
  }

  onFrame(listener: (frame: Uint8Array) => void): void {
    this.#onFrame = listener;
    const early = this.#early;
    this.#early = [];
    for (const frame of early) listener(frame);
  }

  onClose(listener: (error: Error | undefined) => void): void {
    this.#onClose = listener;
    if (this.#isTold) this.#later(() => listener(this.#closeError));
  }

  /** What was sent before still arrives. */
  close(reason?: string): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#enqueue(undefined);
    this.#later(() => this.#tell(reason === undefined ? undefined : new Error(reason)));
  }

  /** Both ends are told at once; always false, for `send`. */
  reset(reason: string): false {
    const error = new Error(reason);
    for (const end of [this, this.#other]) {
      if (end === undefined || end.#isGone) continue;
      end.#leave();
      end.#later(() => end.#tell(error));
    }
    return false;
  }

  /** Its program has ended; the other end hears of it unless the network is cut. */
  abandon(): void {
    this.#leave();
    this.#tellOther('connection reset');
  }

  /** Its host has lost power. */
  vanish(): void {
    this.#isGone = true;
    this.#isClosed = true;
    this.#flights = [];
  }

  /** Sends again at once what waits for its retransmission. */
  retransmit(): void {
    if (this.#retransmissions > 0) this.#attempt();
  }

  /** Bytes that the other end has not received. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  #enqueue(frame: Uint8Array | undefined): void {
    const bytes = frame?.length ?? 0;
    const packets = this.#account(bytes);
    const arrivesAt = this.#retransmissions > 0 ? Infinity : this.#arrival(bytes, packets);
    this.#flights.push({ frame, arrivesAt });
    this.#arm();
  }

  #account(bytes: number): number {
    const packets = Math.max(1, Math.ceil(bytes / SEGMENT_BYTES));
    this.from.sentBytes += bytes + FRAME_OVERHEAD_BYTES + packets * PACKET_OVERHEAD_BYTES;
    return packets;
  }

  #arrival(bytes: number, packets: number): number {
    const { from } = this;
    const now = this.#network.clock.nowMs();
    from.sentUpMs = Math.max(from.sentUpMs, now) + bytes / this.#network.bytesPerMs;
    const at = from.sentUpMs + this.#network.packetMs() + this.#repeatMs(packets);
    this.#lastArrivalAt = Math.max(this.#lastArrivalAt, at);
    return this.#lastArrivalAt;
  }

  /** What lost packets add. */
  #repeatMs(packets: number): number {
    let ms = 0;
    for (let left = packets; left > 0; left--) {
      let waitMs = left > 3 ? 2 * this.#network.packetMs() : RETRANSMIT_MS;
      for (; this.#network.isLost(this.from) && waitMs < MAX_RETRANSMIT_MS; waitMs *= 2) {
        ms += waitMs;
        this.from.sentBytes += PACKET_OVERHEAD_BYTES;
      }
    }
    return ms;
  }

  #arm(): void {
    const first = this.#flights[0];
    if (this.#isArmed || first === undefined || this.#retransmissions > 0) return;
    this.#isArmed = true;
    const { clock } = this.#network;
    clock.after(first.arrivesAt - clock.nowMs(), () => {
      this.#isArmed = false;
      this.#arrive();
    });
  }

  /** Everything that is due by now reaches the other host, or nothing does. */
  #arrive(): void {
    const other = this.#other;
    if (this.#isGone || other === undefined || this.#retransmissions > 0) return;
    if (!this.#passes()) return this.#waitToRepeat();
    if (other.#isGone) return this.#refused();
    const now = this.#network.clock.nowMs();
    let count = 0;
    for (const { frame, arrivesAt } of this.#flights) {
      if (arrivesAt > now) break;
      count++;
      this.#queuedBytes -= frame?.length ?? 0;
      other.#receive(frame);
    }
    this.#acknowledge(count);
    if (count > 0) this.#flights.splice(0, count);
    this.#arm();
  }

  #receive(frame: Uint8Array | undefined): void {
    this.from.deliver(this.#life, () => {
      if (frame === undefined) this.#ended();
      else if (!this.#isClosed) this.#take(frame);
    });
  }

  #take(frame: Uint8Array): void {
    if (this.#onFrame === undefined) this.#early.push(frame);
    else this.#onFrame(frame);
  }

  /** The other end has said its last. */
  #ended(): void {
    this.#leave();
    const other = this.#other;
    if (other !== undefined) other.#leave();
    this.#tell(undefined);
  }

  #passes(): boolean {
    return this.from.reaches(this.to) && this.#unacknowledged < INITIAL_WINDOW;
  }

  #acknowledge(packets: number): void {
    if (this.to.reaches(this.from)) this.#unacknowledged = 0;
    else this.#unacknowledged += packets;
  }

  #waitToRepeat(): void {
    const waitMs = Math.min(MAX_RETRANSMIT_MS, RETRANSMIT_MS * 2 ** this.#retransmissions);
    this.#retransmissions++;
    for (const flight of this.#flights) flight.arrivesAt = Infinity;
    const attempt = this.#retransmissions;
    this.#network.clock.after(waitMs, () => {
      if (attempt === this.#retransmissions) this.#attempt();
    });
  }

  #attempt(): void {
    if (this.#isGone) return;
    this.from.sentBytes += PACKET_OVERHEAD_BYTES;
    if (this.to.reaches(this.from)) this.#unacknowledged = 0;
    if (this.#retransmissions > MAX_RETRANSMISSIONS) return this.#giveUp();
    if (!this.#passes() || this.#network.isLost(this.from)) return this.#waitToRepeat();
    this.#retransmissions = 0;
    for (const flight of this.#flights) {
      const bytes = flight.frame?.length ?? 0;
      flight.arrivesAt = this.#arrival(bytes, 1);
    }
    this.#arm();
  }

  #giveUp(): void {
    this.#leave();
    this.from.deliver(this.#life, () => this.#tell(new Error('connection timed out')));
  }

  /** The other host does not know this stream. */
  #refused(): void {
    this.#leave();
    this.#network.clock.after(this.#network.packetMs(), () =>
      this.from.deliver(this.#life, () => this.#tell(new Error('connection reset'))),
    );
  }

  #tellOther(reason: string): void {
    const other = this.#other;
    if (other === undefined || other.#isGone) return;
    this.#network.clock.after(this.#network.packetMs(), () => {
      if (!this.from.reaches(other.from)) return;
      other.from.deliver(other.#life, () => {
        other.#leave();
        other.#tell(new Error(reason));
      });
    });
  }

  #leave(): void {
    this.#isGone = true;
    this.#isClosed = true;
    this.#flights = [];
    this.from.streams.delete(this);
  }

  #tell(error: Error | undefined): void {
    if (this.#isTold) return;
    this.#isTold = true;
    this.#isClosed = true;
    this.#closeError = error;
    this.#onClose?.(error);
  }

  #later(action: () => void): void {
    this.#network.clock.after(0, () => this.from.deliver(this.#life, action));
  }
}
