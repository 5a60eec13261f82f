/**
 * IPv4 and IPv6 addresses and prefixes as immutable values.
 *
 * `String(value)` is canonical (RFC 5952 for IPv6) and therefore fit as a map key.
 * Text in any other than the strict form is refused: no leading zeros, no short IPv4 forms, no zone ids.
 */
import { assert } from './assert.ts';

export type Family = 4 | 6;

const width = (family: Family): number => (family === 4 ? 32 : 128);
const HIGHEST = { 4: 0xffff_ffff, 6: (1n << 128n) - 1n } as const;

export class IpAddress {
  readonly family: Family;
  /**
   * The address as an unsigned integer, network order: a number for IPv4, since addresses of thousands of nodes are
   * compared and written again and again, a bigint for IPv6.
   */
  readonly bits: number | bigint;
  #text: string | undefined;

  constructor(family: Family, value: bigint | number) {
    const bits = family === 4 ? Number(value) : BigInt(value);
    assert(bits >= 0 && bits <= HIGHEST[family], 'an address within its width');
    this.family = family;
    this.bits = bits;
  }

  /** The address as an unsigned integer, network order. */
  get value(): bigint {
    return BigInt(this.bits);
  }

  toString(): string {
    return (this.#text ??= typeof this.bits === 'number' ? formatV4(this.bits) : formatV6(this.bits));
  }

  toJSON(): string {
    return this.toString();
  }

  /** 4 or 16 bytes, network order. */
  bytes(): Uint8Array {
    if (typeof this.bits === 'number')
      return Uint8Array.of(this.bits >>> 24, this.bits >>> 16, this.bits >>> 8, this.bits);
    const bytes = new Uint8Array(width(this.family) / 8);
    let rest = this.value;
    for (let i = bytes.length - 1; i >= 0; i--) {
      bytes[i] = Number(rest & 0xffn);
      rest >>= 8n;
    }
    return bytes;
  }

  /** The address `count` further on (or back); `undefined` past either end of the space. */
  plus(count: bigint | number): IpAddress | undefined {
    const value = this.value + BigInt(count);
    return value < 0n || value >> BigInt(width(this.family)) !== 0n
      ? undefined
      : new IpAddress(this.family, value);
  }

  equals(other: IpAddress): boolean {
    return this.family === other.family && this.bits === other.bits;
  }

  static fromBytes(bytes: Uint8Array, offset = 0, length = bytes.length - offset): IpAddress {
    assert(length === 4 || length === 16, 'an address of 4 or 16 bytes');
    let value = 0n;
    for (let i = 0; i < length; i++) value = (value << 8n) | BigInt(bytes[offset + i] ?? 0);
    return new IpAddress(length === 4 ? 4 : 6, value);
  }
}

/** A network: host bits are zero. `9.0.1.0/24` */
export class Prefix {
  readonly network: IpAddress;
  readonly length: number;

  constructor(address: IpAddress, length: number) {
    assert(
      Number.isInteger(length) && length >= 0 && length <= width(address.family),
      'prefix length within the family',
    );
    const bits = networkBits(address.bits, length);
    this.network = bits === address.bits ? address : new IpAddress(address.family, bits);
    this.length = length;
  }

  get family(): Family {
    return this.network.family;
  }

  toString(): string {
    return `${this.network.toString()}/${this.length}`;
  }

  toJSON(): string {
    return this.toString();
  }

  /** Number of addresses, network and broadcast included. */
  get size(): bigint {
    return 1n << BigInt(width(this.family) - this.length);
  }

  /** The highest address; for IPv4 subnets the broadcast address. */
  get last(): IpAddress {
    return new IpAddress(this.family, this.network.value + this.size - 1n);
  }

  /** The address at `offset` from the network address; `undefined` outside. */
  at(offset: bigint | number): IpAddress | undefined {
    const index = BigInt(offset);
    return index < 0n || index >= this.size
      ? undefined
      : new IpAddress(this.family, this.network.value + index);
  }

  contains(address: IpAddress): boolean {
    return address.family === this.family && networkBits(address.bits, this.length) === this.network.bits;
  }

  /** True when the two share an address. */
  overlaps(other: Prefix): boolean {
    if (other.family !== this.family) return false;
    return this.length <= other.length ? this.contains(other.network) : other.contains(this.network);
  }

  equals(other: Prefix): boolean {
    return this.length === other.length && this.network.equals(other.network);
  }

  /** How many subnets of `length` fit. */
  subnetCount(length: number): bigint {
    assert(length >= this.length && length <= width(this.family), 'a subnet no larger than its prefix');
    return 1n << BigInt(length - this.length);
  }

  /** The subnet of `length` at `index`, in address order. */
  subnet(length: number, index: bigint | number): Prefix {
    const i = BigInt(index);
    assert(i >= 0n && i < this.subnetCount(length), 'a subnet index within the prefix');
    const value = this.network.value + (i << BigInt(width(this.family) - length));
    return new Prefix(new IpAddress(this.family, value), length);
  }

  /** The two halves, or `undefined` when there is only one address. */
  halves(): readonly [Prefix, Prefix] | undefined {
    if (this.length === width(this.family)) return undefined;
    return [this.subnet(this.length + 1, 0), this.subnet(this.length + 1, 1)];
  }
}

/** An address without its host bits. */
function networkBits(bits: number | bigint, length: number): number | bigint {
  if (typeof bits === 'number') return length === 0 ? 0 : (bits & (-1 << (32 - length))) >>> 0;
  const hostBits = BigInt(128 - length);
  return (bits >> hostBits) << hostBits;
}

/** An interface's address with the length of its on-link prefix: `44.128.0.1/20`. */
export class InterfaceAddress {
  readonly address: IpAddress;
  readonly length: number;

  constructor(address: IpAddress, length: number) {
    assert(length >= 0 && length <= width(address.family), 'prefix length within the family');
    this.address = address;
    this.length = length;
  }

  get prefix(): Prefix {
    return new Prefix(this.address, this.length);
  }

  toString(): string {
    return `${this.address.toString()}/${this.length}`;
  }

  toJSON(): string {
    return this.toString();
  }
}

/** Parses `9.0.1.3` or `fd01:b::1`; `undefined` when it is neither. */
export function parseIp(text: string): IpAddress | undefined {
  const value = text.includes(':') ? parseV6(text) : parseV4(text);
  return value === undefined ? undefined : new IpAddress(text.includes(':') ? 6 : 4, value);
}

/** Parses `ADDRESS/LENGTH` whose host bits may be set. */
export function parseInterfaceAddress(text: string): InterfaceAddress | undefined {
  const slash = text.indexOf('/');
  if (slash < 0) return undefined;
  const address = parseIp(text.slice(0, slash));
  const length = parseDecimal(text.slice(slash + 1), 128);
  if (address === undefined || length === undefined || length > width(address.family)) return undefined;
  return new InterfaceAddress(address, length);
}

/** Parses `NETWORK/LENGTH`; `undefined` when malformed or when host bits are set. */
export function parsePrefix(text: string): Prefix | undefined {
  const parsed = parseInterfaceAddress(text);
  const found = parsed?.prefix;
  return parsed === undefined || found?.network.equals(parsed.address) !== true ? undefined : found;
}

/** For constants in code and tests: throws where the parsers return `undefined`. */
export function ip(text: string): IpAddress {
  const parsed = parseIp(text);
  assert(parsed !== undefined, `"${text}" is an address`);
  return parsed;
}

export function prefix(text: string): Prefix {
  const parsed = parsePrefix(text);
  assert(parsed !== undefined, `"${text}" is a prefix without host bits`);
  return parsed;
}

export function interfaceAddress(text: string): InterfaceAddress {
  const parsed = parseInterfaceAddress(text);
  assert(parsed !== undefined, `"${text}" is an address with prefix length`);
  return parsed;
}

/** Order by family, then by value: for stable output. */
export function compareIp(a: IpAddress, b: IpAddress): number {
  if (a.family !== b.family) return a.family - b.family;
  return a.bits < b.bits ? -1 : a.bits > b.bits ? 1 : 0;
}

export function comparePrefix(a: Prefix, b: Prefix): number {
  return compareIp(a.network, b.network) || a.length - b.length;
}

const ZERO = '0'.charCodeAt(0);
const DOT = '.'.charCodeAt(0) - ZERO;

function parseDecimal(text: string, max: number): number | undefined {
  if (!/^(0|[1-9][0-9]{0,2})$/.test(text)) return undefined;
  const value = Number(text);
  return value <= max ? value : undefined;
}

/** Records of thousands of nodes are read at a time: one pass over the characters, no pieces. */
function parseV4(text: string): number | undefined {
  let value = 0;
  let bytes = 0;
  let byte: number | undefined;
  for (let at = 0; at <= text.length; at++) {
    const digit = at === text.length ? DOT : text.charCodeAt(at) - ZERO;
    if (digit === DOT) {
      if (byte === undefined) return undefined;
      value = value * 256 + byte;
      bytes++;
      byte = undefined;
    } else {
      if (digit < 0 || digit > 9 || byte === 0) return undefined;
      byte = (byte ?? 0) * 10 + digit;
      if (byte > 255) return undefined;
    }
  }
  return bytes === 4 ? value : undefined;
}

function parseV6(text: string): bigint | undefined {
  const sides = text.split('::');
  if (sides.length > 2) return undefined;
  const head = parseGroups(sides[0] ?? '', sides.length === 1);
  const tail = sides.length === 2 ? parseGroups(sides[1] ?? '', true) : [];
  if (head === undefined || tail === undefined) return undefined;
  const missing = 8 - head.length - tail.length;
  if (sides.length === 2 ? missing < 1 : missing !== 0) return undefined;
  let value = 0n;
  for (const group of [...head, ...Array<number>(missing).fill(0), ...tail])
    value = (value << 16n) | BigInt(group);
  return value;
}

/** Colon-separated 16-bit groups; the last may be a dotted IPv4 tail where `allowV4` (RFC 4291, 2.2). */
function parseGroups(text: string, allowV4: boolean): number[] | undefined {
  if (text === '') return [];
  const groups: number[] = [];
  const parts = text.split(':');
  for (const [i, part] of parts.entries()) {
    if (allowV4 && i === parts.length - 1 && part.includes('.')) {
      const v4 = parseV4(part);
      if (v4 === undefined) return undefined;
      groups.push(v4 >>> 16, v4 & 0xffff);
    } else {
      if (!/^[0-9a-f]{1,4}$/i.test(part)) return undefined;
      groups.push(Number.parseInt(part, 16));
    }
  }
  return groups;
}

function formatV4(n: number): string {
  return `${n >>> 24}.${(n >>> 16) & 255}.${(n >>> 8) & 255}.${n & 255}`;
}

/** RFC 5952: lower case, the longest run of two or more zero groups compressed, the first of equals. */
function formatV6(value: bigint): string {
  const digits = value.toString(16).padStart(32, '0');
  const groups: number[] = [];
  for (let at = 0; at < 32; at += 4) groups.push(Number.parseInt(digits.slice(at, at + 4), 16));
  const { start, length } = longestZeroRun(groups);
  let text = '';
  for (let i = 0; i < 8; i++) {
    if (i === start) text += '::';
    if (i >= start && i < start + length) continue;
    if (i > 0 && i !== start + length) text += ':';
    text += (groups[i] ?? 0).toString(16);
  }
  return text;
}

/** Of two zero groups or more, the first of equals; none starts at 8. */
function longestZeroRun(groups: readonly number[]): { readonly start: number; readonly length: number } {
  let best = { start: 8, length: 1 };
  for (let start = 0; start < 8; start++) {
    let length = 0;
    while (start + length < 8 && groups[start + length] === 0) length++;
    if (length > best.length) best = { start, length };
  }
  return best;
}
