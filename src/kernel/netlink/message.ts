/**
 * Netlink messages as bytes: a writer that packs many into one send, and readers that trust nothing.
 *
 * Layout: include/uapi/linux/netlink.h. Headers and attributes are host order (little-endian on every platform we
 * run on); attributes are padded to 4 bytes. Readers never throw, whatever the bytes: a length that does not fit
 * ends the reading.
 */
import { assert } from '../../base/assert.ts';
import { IpAddress } from '../../base/ip.ts';
import type { Mac } from '../../base/mac.ts';

export const NLMSG_HEADER_BYTES = 16;
export const NLMSG_ERROR = 2;
export const NLMSG_DONE = 3;
export const NLM_F_REQUEST = 1;
export const NLM_F_ACK = 4;
export const NLM_F_DUMP_INTR = 0x10;
export const NLM_F_DUMP = 0x300;
export const NLM_F_REPLACE = 0x100;
export const NLM_F_EXCL = 0x200;
export const NLM_F_CREATE = 0x400;
export const NLM_F_APPEND = 0x800;
/** In an acknowledgement: the original request is not repeated, and attributes follow. */
export const NLM_F_CAPPED = 0x100;
export const NLM_F_ACK_TLVS = 0x200;
export const NLA_F_NESTED = 0x8000;
const NLA_TYPE_MASK = 0x3fff;
/** A writer never grows past this; a send of that size would be refused by the socket anyway. */
const MAX_WRITER_BYTES = 64 * 1024 * 1024;

/**
 * Packs messages one behind the other. `begin`/`end` per message, attributes between.
 *
 * Through a DataView, which costs one built-in call per value, and with few calls between: thousands of messages are
 * written before any of this is compiled.
 */
export class MessageWriter {
  #buffer: Buffer;
  #capacity: number;
  #view: DataView;
  #offset = 0;
  #start = 0;
  #count = 0;

  constructor(capacityBytes = 4096) {
    // Every byte that is sent is written first; what is left of zeroing and of the collector's work, containers feel.
    this.#buffer = Buffer.allocUnsafe(capacityBytes);
    this.#capacity = capacityBytes;
    this.#view = viewOf(this.#buffer);
  }

  /** Everything written so far, valid until the next write. */
  get bytes(): Buffer {
    return this.#buffer.subarray(0, this.#offset);
  }

  get length(): number {
    return this.#offset;
  }

  /** Messages begun so far. */
  get count(): number {
    return this.#count;
  }

  reset(): void {
    this.#offset = 0;
    this.#count = 0;
  }

  /** The length is written by `end`; port 0 is the kernel. */
  begin(type: number, flags: number, sequence: number): void {
    this.#start = this.#take(NLMSG_HEADER_BYTES);
    this.#view.setUint32(this.#start + 4, type | (flags << 16), true);
    this.#view.setUint32(this.#start + 8, sequence, true);
    this.#view.setUint32(this.#start + 12, 0, true);
    this.#count++;
  }

  /** Closes the message that `begin` opened. */
  end(): void {
    this.#view.setUint32(this.#start, this.#offset - this.#start, true);
  }

  /** Calls `visit` with the payload of the message ended last. */
  last<T>(visit: (buffer: Buffer, start: number, end: number) => T): T {
    return visit(this.#buffer, this.#start + NLMSG_HEADER_BYTES, this.#offset);
  }

  /** Adds flags to the message begun last: the final one of a send asks for the acknowledgement. */
  addFlags(flags: number): void {
    const at = this.#start + 6;
    this.#view.setUint16(at, this.#view.getUint16(at, true) | flags, true);
  }

  /** Raw bytes of the fixed part of a message; the caller keeps them a multiple of 4. */
  raw8(value: number): void {
    const at = this.#take(1);
    this.#view.setUint8(at, value);
  }

  raw16(value: number): void {
    const at = this.#take(2);
    this.#view.setUint16(at, value, true);
  }

  raw16be(value: number): void {
    const at = this.#take(2);
    this.#view.setUint16(at, value);
  }

  raw32(value: number): void {
    const at = this.#take(4);
    this.#view.setUint32(at, value, true);
  }

  raw32be(value: number): void {
    const at = this.#take(4);
    this.#view.setUint32(at, value);
  }

  /** Four bytes in this order. */
  raw8x4(first: number, second: number, third: number, fourth: number): void {
    this.raw32(first | (second << 8) | (third << 16) | (fourth << 24));
  }

  /** The fixed part of a message, where it has three words. */
  raw32x3(first: number, second: number, third: number): void {
    const at = this.#take(12);
    this.#view.setUint32(at, first, true);
    this.#view.setUint32(at + 4, second, true);
    this.#view.setUint32(at + 8, third, true);
  }

  rawBytes(bytes: Uint8Array): void {
    const at = this.#take(bytes.length);
    this.#buffer.set(bytes, at);
  }

  /** Zeroes up to the next multiple of 4. */
  align(): void {
    const end = this.#offset;
    this.#take(-end & 3);
    for (let at = end; at < this.#offset; at++) this.#view.setUint8(at, 0);
  }

  attributeU8(type: number, value: number): void {
    const at = this.#take(8);
    this.#view.setUint32(at, 5 | (type << 16), true);
    this.#view.setUint32(at + 4, value & 0xff, true);
  }

  attributeU16(type: number, value: number): void {
    const at = this.#take(8);
    this.#view.setUint32(at, 6 | (type << 16), true);
    this.#view.setUint32(at + 4, value & 0xffff, true);
  }

  attributeU16be(type: number, value: number): void {
    const at = this.#take(8);
    this.#view.setUint32(at, 6 | (type << 16), true);
    this.#view.setUint32(at + 4, value << 16);
  }

  attributeU32(type: number, value: number): void {
    const at = this.#take(8);
    this.#view.setUint32(at, 8 | (type << 16), true);
    this.#view.setUint32(at + 4, value, true);
  }

  attributeU32be(type: number, value: number): void {
    const at = this.#take(8);
    this.#view.setUint32(at, 8 | (type << 16), true);
    this.#view.setUint32(at + 4, value);
  }

  attributeBytes(type: number, bytes: Uint8Array): void {
    this.#attributeHeader(type, bytes.length);
    this.rawBytes(bytes);
    this.align();
  }

  /** Text with one character per byte. */
  attributePacked(type: number, packed: string): void {
    this.#attributeHeader(type, packed.length);
    const at = this.#take(packed.length);
    this.#buffer.write(packed, at, 'latin1');
    this.align();
  }

  /** 4 or 16 bytes in network order; IPv4 without an array between. */
  attributeIp(type: number, address: IpAddress): void {
    if (typeof address.bits === 'number') this.attributeU32be(type, address.bits);
    else this.attributeBytes(type, address.bytes());
  }

  /** Six bytes, read off the canonical text without an array between. */
  attributeMac(type: number, mac: Mac): void {
    const at = this.#take(12);
    this.#view.setUint32(at, 10 | (type << 16), true);
    this.#view.setUint32(at + 4, (hexBytes(mac, 0) << 16) | hexBytes(mac, 6));
    this.#view.setUint32(at + 8, hexBytes(mac, 12) << 16);
  }

  /** UTF-8 with the closing zero that the kernel's NLA_NUL_STRING wants. */
  attributeString(type: number, text: string): void {
    const length = Buffer.byteLength(text);
    this.#attributeHeader(type, length + 1);
    const at = this.#take(length + 1);
    this.#buffer.write(text, at);
    this.#view.setUint8(at + length, 0);
    this.align();
  }

  attributeFlag(type: number): void {
    this.#attributeHeader(type, 0);
  }

  /** Opens an attribute that contains attributes; give what it answers to `endNest`. */
  beginNest(type: number): number {
    const start = this.#offset;
    this.#attributeHeader(type, 0);
    return start;
  }

  endNest(start: number): void {
    this.#view.setUint16(start, this.#offset - start, true);
  }

  #attributeHeader(type: number, payloadBytes: number): void {
    assert(payloadBytes + 4 <= 0xffff, 'an attribute of at most 64 KiB');
    this.raw32((payloadBytes + 4) | (type << 16));
  }

  /** Where the next `bytes` go: into another buffer, perhaps, than before this call. */
  #take(bytes: number): number {
    const at = this.#offset;
    this.#offset = at + bytes;
    if (this.#offset > this.#capacity) this.#grow(this.#offset);
    return at;
  }

  #grow(wanted: number): void {
    assert(wanted <= MAX_WRITER_BYTES, 'a netlink send within its bound');
    const grown = Buffer.allocUnsafe(Math.max(wanted, this.#capacity * 2));
    this.#buffer.copy(grown);
    this.#buffer = grown;
    this.#capacity = grown.length;
    this.#view = viewOf(grown);
  }
}

function viewOf(buffer: Buffer): DataView {
  return new DataView(buffer.buffer, buffer.byteOffset, buffer.length);
}

/** Of a lower-case hexadecimal digit, by its character code. */
const DIGITS = Uint8Array.from(
  { length: 128 },
  (_, code) => Number.parseInt(String.fromCharCode(code), 16) || 0,
);

/** Two bytes of a MAC address: four digits with a colon in the middle. */
function hexBytes(mac: Mac, at: number): number {
  return (
    ((DIGITS[mac.charCodeAt(at)] ?? 0) << 12) |
    ((DIGITS[mac.charCodeAt(at + 1)] ?? 0) << 8) |
    ((DIGITS[mac.charCodeAt(at + 3)] ?? 0) << 4) |
    (DIGITS[mac.charCodeAt(at + 4)] ?? 0)
  );
}

/** One received message; `start` and `end` delimit its payload in the receive buffer. */
export interface Message {
  type: number;
  flags: number;
  sequence: number;
  portId: number;
  start: number;
  end: number;
}

/** A copy of one message with its header, for later. */
export function copyMessage(buffer: Buffer, { start, end }: Message): Buffer {
  return Buffer.from(buffer.subarray(start - NLMSG_HEADER_BYTES, end));
}

/**
 * Walks the messages of one datagram. One `Message` object is reused: copy what must outlive the callback.
 * The callback answers false to stop.
 */
export function forEachMessage(
  buffer: Buffer,
  length: number,
  visit: (message: Message) => boolean | undefined,
): void {
  const limit = Math.min(length, buffer.length);
  const message: Message = { type: 0, flags: 0, sequence: 0, portId: 0, start: 0, end: 0 };
  for (let offset = 0; offset + NLMSG_HEADER_BYTES <= limit;) {
    const size = buffer.readUInt32LE(offset);
    if (size < NLMSG_HEADER_BYTES || offset + size > limit) return;
    message.type = readU16(buffer, offset + 4);
    message.flags = readU16(buffer, offset + 6);
    message.sequence = buffer.readUInt32LE(offset + 8);
    message.portId = buffer.readUInt32LE(offset + 12);
    message.start = offset + NLMSG_HEADER_BYTES;
    message.end = offset + size;
    if (visit(message) === false) return;
    offset += (size + 3) & ~3;
  }
}

/** Walks a run of attributes (type without its flag bits, payload start and end); for lists of equal types. */
export function forEachAttribute(
  buffer: Buffer,
  start: number,
  end: number,
  visit: (type: number, start: number, end: number) => void,
): void {
  const limit = Math.min(end, buffer.length);
  for (let offset = start; offset >= 0 && offset + 4 <= limit;) {
    const size = buffer.readUInt16LE(offset);
    if (size < 4 || offset + size > limit) return;
    visit(buffer.readUInt16LE(offset + 2) & NLA_TYPE_MASK, offset + 4, offset + size);
    offset += (size + 3) & ~3;
  }
}

/** Within bounds that the caller has checked, and without what Buffer's own reader does beside that. */
export function readU16(buffer: Buffer, at: number): number {
  return (buffer[at] ?? 0) | ((buffer[at + 1] ?? 0) << 8);
}

const MAX_ATTRIBUTE_TYPE = 127;

/**
 * A table of the attributes of one message, by type; made once and parsed into again and again, so that a dump of
 * ten thousand objects allocates nothing for it. Accessors answer `undefined` for what is absent or too short.
 */
export class Attributes {
  readonly #starts = new Int32Array(MAX_ATTRIBUTE_TYPE + 1);
  readonly #ends = new Int32Array(MAX_ATTRIBUTE_TYPE + 1);
  #buffer: Buffer = Buffer.alloc(0);

  /** Forgets what it held and reads `start`..`end`; a type given twice keeps the first. */
  parse(buffer: Buffer, start: number, end: number): this {
    this.#buffer = buffer;
    this.#starts.fill(-1);
    const limit = Math.min(end, buffer.length);
    for (let offset = start; offset >= 0 && offset + 4 <= limit;) {
      const size = readU16(buffer, offset);
      if (size < 4 || offset + size > limit) break;
      const type = readU16(buffer, offset + 2) & NLA_TYPE_MASK;
      if (type <= MAX_ATTRIBUTE_TYPE && this.#starts[type] === -1) {
        this.#starts[type] = offset + 4;
        this.#ends[type] = offset + size;
      }
      offset += (size + 3) & ~3;
    }
    return this;
  }

  has(type: number): boolean {
    return this.#start(type) >= 0;
  }

  /** The payload's place in the buffer. */
  range(type: number): { readonly start: number; readonly end: number } | undefined {
    const start = this.#start(type);
    return start < 0 ? undefined : { start, end: this.#end(type) };
  }

  u8(type: number): number | undefined {
    const at = this.#place(type, 1);
    return at < 0 ? undefined : this.#buffer.readUInt8(at);
  }

  u16(type: number): number | undefined {
    const at = this.#place(type, 2);
    return at < 0 ? undefined : this.#buffer.readUInt16LE(at);
  }

  u16be(type: number): number | undefined {
    const at = this.#place(type, 2);
    return at < 0 ? undefined : this.#buffer.readUInt16BE(at);
  }

  u32(type: number): number | undefined {
    const at = this.#place(type, 4);
    return at < 0 ? undefined : this.#buffer.readUInt32LE(at);
  }

  u32be(type: number): number | undefined {
    const at = this.#place(type, 4);
    return at < 0 ? undefined : this.#buffer.readUInt32BE(at);
  }

  /** Text up to the first zero. */
  string(type: number): string | undefined {
    const start = this.#start(type);
    return start < 0 ? undefined : readString(this.#buffer, start, this.#end(type));
  }

  /** An address by the attribute's length; `undefined` when it is neither 4 nor 16 bytes. */
  ip(type: number): IpAddress | undefined {
    const start = this.#start(type);
    return start < 0 ? undefined : readIp(this.#buffer, start, this.#end(type));
  }

  /** The payload, a view. */
  bytes(type: number): Buffer | undefined {
    const start = this.#start(type);
    return start < 0 ? undefined : this.#buffer.subarray(start, this.#end(type));
  }

  /** Parses the attributes inside `type` into `inner`; false when there are none. */
  nested(type: number, inner: Attributes): boolean {
    const start = this.#start(type);
    if (start < 0) return false;
    inner.parse(this.#buffer, start, this.#end(type));
    return true;
  }

  #start(type: number): number {
    return this.#starts[type] ?? -1;
  }

  #end(type: number): number {
    return this.#ends[type] ?? 0;
  }

  /** The payload's start when it has at least `bytes` bytes, else -1. */
  #place(type: number, bytes: number): number {
    const start = this.#start(type);
    return start >= 0 && this.#end(type) - start >= bytes ? start : -1;
  }
}

export function readString(buffer: Buffer, start: number, end: number): string {
  const zero = buffer.indexOf(0, start);
  return buffer.toString('utf8', start, zero < 0 || zero > end ? end : zero);
}

export function readIp(buffer: Buffer, start: number, end: number): IpAddress | undefined {
  if (end - start === 4) return new IpAddress(4, buffer.readUInt32BE(start));
  if (end - start !== 16) return undefined;
  return new IpAddress(6, (buffer.readBigUInt64BE(start) << 64n) | buffer.readBigUInt64BE(start + 8));
}
