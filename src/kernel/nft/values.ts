/**
 * Components of set keys and map data as the kernel holds them.
 *
 * Everything is in network order except `mark`, `classid` and `slot`, which are in host order, as nft's datatype.c declares its types. Within
 * a concatenation each component is padded with zeros to a multiple of four bytes (NFT_REG32_SIZE).
 */
import { endianness } from 'node:os';
import { assert, unreachable } from '../../base/assert.ts';
import { IpAddress, Prefix } from '../../base/ip.ts';
import { macBytes, macFromBytes, parseMac } from '../../base/mac.ts';
import type { NftType, NftValue } from './types.ts';

const IFNAMSIZ = 16;

/** Bytes of one component, without padding. */
export function widthOf(type: NftType): number {
  switch (type) {
    case 'inet_proto':
      return 1;
    case 'inet_service':
      return 2;
    case 'ipv4_addr':
    case 'mark':
    case 'classid':
    case 'slot':
      return 4;
    case 'ether_addr':
      return 6;
    case 'ipv6_addr':
    case 'ifname':
      return 16;
    default:
      return unreachable(type);
  }
}

/** Offset of each component in the key or data, and the length of the whole: only concatenations are padded. */
export function layoutOf(types: readonly NftType[]): { readonly offsets: number[]; readonly length: number } {
  if (types.length === 1 && types[0] !== undefined) return { offsets: [0], length: widthOf(types[0]) };
  const offsets: number[] = [];
  let length = 0;
  for (const type of types) {
    offsets.push(length);
    length += (widthOf(type) + 3) & ~3;
  }
  return { offsets, length };
}

/** Writes the values of one key or datum; prefixes must have been resolved to an address before. */
export function encodeValues(types: readonly NftType[], values: readonly NftValue[]): Uint8Array {
  assert(types.length === values.length, `${types.length} components, not ${values.length}`);
  const { offsets, length } = layoutOf(types);
  const bytes = new Uint8Array(length);
  for (const [i, type] of types.entries()) writeValue(bytes, offsets[i] ?? 0, type, values[i] ?? '');
  return bytes;
}

export function decodeValues(types: readonly NftType[], bytes: Uint8Array): NftValue[] {
  const { offsets, length } = layoutOf(types);
  assert(bytes.length === length, `${length} bytes of ${types.join(' . ')}, not ${bytes.length}`);
  return types.map((type, i) => readValue(bytes, offsets[i] ?? 0, type));
}

function writeValue(bytes: Uint8Array, offset: number, type: NftType, value: NftValue): void {
  switch (type) {
    case 'ipv4_addr':
    case 'ipv6_addr':
      assert(
        value instanceof IpAddress && value.family === (type === 'ipv4_addr' ? 4 : 6),
        `${String(value)} is an ${type}`,
      );
      // One number rather than a loop over big integers: IPv4 is most of what there is.
      if (value.family === 4) writeUnsigned(bytes, offset, 4, Number(value.value));
      else bytes.set(value.bytes(), offset);
      return;
    case 'inet_proto':
    case 'inet_service':
    case 'mark':
    case 'classid':
    case 'slot':
      writeNumber(bytes, offset, type, value);
      return;
    case 'ifname': {
      assert(typeof value === 'string', `${String(value)} is an ifname`);
      const name = new TextEncoder().encode(value);
      assert(name.length > 0 && name.length < IFNAMSIZ, `interface name "${value}" has 1 to 15 bytes`);
      bytes.set(name, offset);
      return;
    }
    case 'ether_addr': {
      const mac = parseMac(String(value));
      assert(mac !== undefined, `${String(value)} is an ether_addr`);
      bytes.set(macBytes(mac), offset);
      return;
    }
    default:
      unreachable(type);
  }
}

function writeNumber(bytes: Uint8Array, offset: number, type: NftType, value: NftValue): void {
  const width = widthOf(type);
  assert(
    typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < 2 ** (8 * width),
    `${String(value)} is an ${type}`,
  );
  writeUnsigned(bytes, offset, width, value, isHostOrder(type));
}

/** By hand, as a DataView for each of 100,000 elements is half of the work. */
function writeUnsigned(
  bytes: Uint8Array,
  offset: number,
  width: number,
  value: number,
  reversed = false,
): void {
  let rest = value;
  for (let i = 0; i < width; i++) {
    bytes[offset + (reversed ? i : width - 1 - i)] = rest & 0xff;
    rest = Math.floor(rest / 256);
  }
}

function readUnsigned(bytes: Uint8Array, offset: number, width: number, reversed = false): number {
  let value = 0;
  for (let i = 0; i < width; i++) value = value * 256 + (bytes[offset + (reversed ? width - 1 - i : i)] ?? 0);
  return value;
}

function readValue(bytes: Uint8Array, offset: number, type: NftType): NftValue {
  switch (type) {
    case 'ipv4_addr':
      return new IpAddress(4, BigInt(readUnsigned(bytes, offset, 4)));
    case 'ipv6_addr':
      return IpAddress.fromBytes(bytes, offset, 16);
    case 'inet_proto':
    case 'inet_service':
    case 'mark':
    case 'classid':
    case 'slot':
      return readUnsigned(bytes, offset, widthOf(type), isHostOrder(type));
    case 'ifname': {
      const end = bytes.indexOf(0, offset);
      const limit = offset + IFNAMSIZ;
      return new TextDecoder().decode(bytes.subarray(offset, end < 0 || end > limit ? limit : end));
    }
    case 'ether_addr':
      return macFromBytes(bytes, offset);
    default:
      return unreachable(type);
  }
}

const isHostOrder = (type: NftType): boolean =>
  (type === 'mark' || type === 'classid' || type === 'slot') && hostIsLittleEndian;
const hostIsLittleEndian = endianness() === 'LE';

/** The lowest and highest value of what a component of an interval set covers. */
export function boundsOf(value: NftValue): readonly [NftValue, NftValue] {
  return value instanceof Prefix ? [value.network, value.last] : [value, value];
}
