/**
 * Messages for people: a query written, an answer read with all it says. Off the path of ordinary queries.
 *
 * Invariants: a pointer leads backwards only, so no chain of them loops, and a name is at most 255 bytes; what is not
 * understood is shown as bytes.
 */
import { IpAddress } from '../base/ip.ts';
import { classes, flags, HEADER_BYTES, NAME_BYTES_MAX, rcodes, types } from './constants.ts';
import { keyBytes, keyText, nameKey, ROOT_KEY } from './name.ts';

const extraTypes = {
  MX: 15,
  TXT: 16,
  NAPTR: 35,
  DS: 43,
  RRSIG: 46,
  DNSKEY: 48,
  SVCB: 64,
  HTTPS: 65,
  CAA: 257,
};
const numbers: Readonly<Record<string, number>> = { ...types, ...extraTypes };
const names = new Map(Object.entries(numbers).map(([name, number]) => [number, name]));
const rcodeNames = new Map<number, string>(Object.entries(rcodes).map(([name, code]) => [code, name]));

/** The number of `A`, `srv`, `TYPE65`; `undefined` for other words. */
export function typeNumber(text: string): number | undefined {
  const upper = text.toUpperCase();
  const [, digits] = /^TYPE([0-9]{1,5})$/.exec(upper) ?? [];
  const number = digits === undefined ? numbers[upper] : Number(digits);
  return number === undefined || number > 0xffff ? undefined : number;
}

export const typeNames: readonly string[] = Object.keys(numbers).filter((name) => name !== 'OPT');

/** `undefined` when it is no name. */
export function encodeQuery(name: string, type: number): Buffer | undefined {
  const key = nameKey(name);
  if (key === undefined) return undefined;
  const head = Buffer.alloc(HEADER_BYTES);
  head[2] = flags.RD;
  head.writeUInt16BE(1, 4);
  const tail = Buffer.alloc(4);
  tail.writeUInt16BE(type, 0);
  tail.writeUInt16BE(classes.IN, 2);
  return Buffer.concat([head, keyBytes(key), tail]);
}

export interface ReadRecord {
  readonly name: string;
  readonly ttl: number;
  readonly type: string;
  readonly data: string;
}

export interface ReadMessage {
  readonly rcode: string;
  readonly authoritative: boolean;
  readonly truncated: boolean;
  readonly answers: readonly ReadRecord[];
}

/** `undefined` for what is no well-formed answer. */
export function readMessage(packet: Buffer): ReadMessage | undefined {
  try {
    return new Reader(packet).message();
  } catch (error) {
    // The buffer's own check of bounds is the last of ours.
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

class Reader {
  readonly #packet: Buffer;
  #at = HEADER_BYTES;

  constructor(packet: Buffer) {
    this.#packet = packet;
  }

  message(): ReadMessage {
    const [questions, answers] = [this.#packet.readUInt16BE(4), this.#packet.readUInt16BE(6)];
    const code = this.#packet.readUInt8(3) & 0x0f;
    for (let i = 0; i < questions; i++) {
      this.#name();
      this.#at += 4;
    }
    return {
      rcode: rcodeNames.get(code) ?? `RCODE${code}`,
      authoritative: (this.#packet.readUInt8(2) & flags.AA) !== 0,
      truncated: (this.#packet.readUInt8(2) & flags.TC) !== 0,
      answers: Array.from({ length: answers }, () => this.#record()),
    };
  }

  #record(): ReadRecord {
    const name = this.#name();
    const type = this.#packet.readUInt16BE(this.#at);
    const ttl = this.#packet.readUInt32BE(this.#at + 4);
    const end = this.#at + 10 + this.#packet.readUInt16BE(this.#at + 8);
    this.#at += 10;
    if (end > this.#packet.length) throw new RangeError('a record longer than its message');
    const data = this.#data(type, end);
    this.#at = end;
    return { name, ttl, type: names.get(type) ?? `TYPE${type}`, data };
  }

  #data(type: number, end: number): string {
    const packet = this.#packet;
    switch (type) {
      case types.A:
      case types.AAAA:
        return end - this.#at === (type === types.A ? 4 : 16)
          ? IpAddress.fromBytes(packet, this.#at, end - this.#at).toString()
          : this.#hex(end);
      case types.NS:
      case types.CNAME:
      case types.PTR:
        return `${this.#name()}.`;
      case types.SRV:
        return `${this.#numbers(3)} ${this.#name()}.`;
      case numbers['MX']:
        return `${this.#numbers(1)} ${this.#name()}.`;
      case types.SOA: {
        const hosts = `${this.#name()}. ${this.#name()}.`;
        return `${hosts} ${[0, 4, 8, 12, 16].map((at) => packet.readUInt32BE(this.#at + at)).join(' ')}`;
      }
      case numbers['TXT']:
        return this.#strings(end);
      default:
        return this.#hex(end);
    }
  }

  #numbers(count: number): string {
    const read = Array.from({ length: count }, (_, i) => this.#packet.readUInt16BE(this.#at + 2 * i));
    this.#at += 2 * count;
    return read.join(' ');
  }

  #strings(end: number): string {
    const texts: string[] = [];
    for (let at = this.#at; at < end;) {
      const next = Math.min(at + 1 + this.#packet.readUInt8(at), end);
      texts.push(JSON.stringify(this.#packet.toString('latin1', at + 1, next)));
      at = next;
    }
    return texts.join(' ');
  }

  /** RFC 3597, section 5. */
  #hex(end: number): string {
    return `\\# ${end - this.#at} ${this.#packet.toString('hex', this.#at, end)}`;
  }

  #name(): string {
    const packet = this.#packet;
    let key = '';
    let behind: number | undefined;
    for (let at = this.#at, limit = at; ;) {
      const size = packet.readUInt8(at);
      if (size >= 0xc0) {
        behind ??= at + 2;
        at = packet.readUInt16BE(at) & 0x3fff;
        if (at >= limit) throw new RangeError('a pointer that does not lead back');
        limit = at;
      } else if (size === 0) {
        this.#at = behind ?? at + 1;
        return keyText(key + ROOT_KEY);
      } else {
        key += packet.toString('latin1', at, at + 1 + size);
        if (size > 63 || key.length >= NAME_BYTES_MAX) throw new RangeError('a name that is too long');
        at += size + 1;
      }
    }
  }
}
