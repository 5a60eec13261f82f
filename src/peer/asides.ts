/**
 * Datagrams beside the streams of a transport: authenticated, never repeated, and not encrypted.
 *
 * A datagram is the number of its connection and direction, a counter, what it says, and a code over all of that by a key
 * that only the two ends of that connection have. Who dialled begins, as it alone knows where the other listens; the other
 * end answers to where it was addressed from.
 * Invariants: what is not from the other end, or not newer than what came before, changes nothing; nothing waits longer
 * than until the next `hear`.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import type { Mailbox } from './types.ts';

const ID_BYTES = 6;
const COUNTER_BYTES = 6;
const HEAD_BYTES = ID_BYTES + COUNTER_BYTES;
const CODE_BYTES = 16;
/** Of the secret: two numbers and a key. */
export const SECRET_BYTES = 2 * ID_BYTES + 32;

export interface AsideWay {
  /** Shared by both ends and unknown to others, SECRET_BYTES of it. */
  readonly secret: Buffer;
  readonly isDialled: boolean;
  /** Where the other end listens, if this one has dialled it. */
  readonly host: string;
  readonly port: number;
}

export class Asides {
  /** There is none while the transport does not listen. */
  mailbox: Mailbox | undefined;
  readonly #channels = new Map<number, AsideChannel>();

  open(way: AsideWay): AsideChannel {
    const channel = new AsideChannel(this, way);
    this.#channels.set(channel.id, channel);
    return channel;
  }

  close(channel: AsideChannel): void {
    this.#channels.delete(channel.id);
  }

  hear(): void {
    this.mailbox?.take((bytes, from, ageMs) => {
      if (bytes.length < HEAD_BYTES + CODE_BYTES) return;
      this.#channels.get(bytes.readUIntBE(0, ID_BYTES))?.take(bytes, from, ageMs);
    });
  }
}

export class AsideChannel {
  /** Of what comes. */
  readonly id: number;
  readonly #asides: Asides;
  readonly #way: AsideWay;
  readonly #ownId: number;
  readonly #key: Buffer;
  #sent = 0;
  #heard = 0;
  #to: Uint8Array | undefined;
  #listener: ((bytes: Uint8Array, ageMs: number) => void) | undefined;

  constructor(asides: Asides, way: AsideWay) {
    const ids = [way.secret.readUIntBE(0, ID_BYTES), way.secret.readUIntBE(ID_BYTES, ID_BYTES)] as const;
    [this.#ownId, this.id] = way.isDialled ? ids : [ids[1], ids[0]];
    this.#asides = asides;
    this.#way = way;
    this.#key = way.secret.subarray(2 * ID_BYTES, SECRET_BYTES);
  }

  listen(listener: (bytes: Uint8Array, ageMs: number) => void): void {
    this.#listener = listener;
  }

  send(bytes: Uint8Array): void {
    const { mailbox } = this.#asides;
    const { isDialled, host, port } = this.#way;
    if (isDialled) this.#to ??= mailbox?.addressOf(host, port);
    if (mailbox === undefined || this.#to === undefined) return;
    const whole = Buffer.allocUnsafe(HEAD_BYTES + bytes.length + CODE_BYTES);
    whole.writeUIntBE(this.#ownId, 0, ID_BYTES);
    whole.writeUIntBE(++this.#sent, ID_BYTES, COUNTER_BYTES);
    whole.set(bytes, HEAD_BYTES);
    whole.set(this.#codeOf(whole.subarray(0, -CODE_BYTES)), whole.length - CODE_BYTES);
    mailbox.send(this.#to, whole);
  }

  take(whole: Buffer, from: () => Uint8Array, ageMs: number): void {
    const counter = whole.readUIntBE(ID_BYTES, COUNTER_BYTES);
    const said = whole.subarray(0, -CODE_BYTES);
    if (counter <= this.#heard || !timingSafeEqual(whole.subarray(-CODE_BYTES), this.#codeOf(said))) return;
    this.#heard = counter;
    if (!this.#way.isDialled) this.#to = from();
    this.#listener?.(Uint8Array.from(said.subarray(HEAD_BYTES)), ageMs);
  }

  close(): void {
    this.#asides.close(this);
  }

  #codeOf(bytes: Buffer): Buffer {
    return createHmac('sha256', this.#key).update(bytes).digest().subarray(0, CODE_BYTES);
  }
}
