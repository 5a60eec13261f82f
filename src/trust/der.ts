/**
 * Writing DER (ITU-T X.690): only what certificates need, and only writing.
 *
 * Reading certificates is left to OpenSSL (`X509Certificate`), whose judgement is the one that counts.
 */

const tags = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  objectIdentifier: 0x06,
  utf8String: 0x0c,
  sequence: 0x30,
  set: 0x31,
  utcTime: 0x17,
  generalizedTime: 0x18,
} as const;

/** From this year on X.509 writes years with four digits (RFC 5280, 4.1.2.5). */
const FIRST_GENERALIZED_YEAR = 2050;

function tagged(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(contents);
  return Buffer.concat([Buffer.from([tag]), lengthOf(body.length), body]);
}

function lengthOf(length: number): Buffer {
  if (length < 0x80) return Buffer.from([length]);
  const bytes = bigEndian(length);
  return Buffer.from([0x80 | bytes.length, ...bytes]);
}

function bigEndian(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256);
  return bytes;
}

export const der = {
  sequence: (...parts: readonly Uint8Array[]) => tagged(tags.sequence, ...parts),
  set: (...parts: readonly Uint8Array[]) => tagged(tags.set, ...parts),
  true: () => tagged(tags.boolean, Buffer.from([0xff])),
  octetString: (bytes: Uint8Array) => tagged(tags.octetString, bytes),
  utf8: (text: string) => tagged(tags.utf8String, Buffer.from(text)),
  /** An explicit tag `[number]`. */
  explicit: (number: number, part: Uint8Array) => tagged(0xa0 | number, part),
  /** An implicit tag `[number]` on a primitive value. */
  implicit: (number: number, bytes: Uint8Array) => tagged(0x80 | number, bytes),
  integer,
  bitString,
  oid,
  time,
} as const;

/** A non-negative integer from its bytes, most significant first. */
function integer(bytes: Uint8Array): Buffer {
  let from = 0;
  while (from < bytes.length - 1 && bytes[from] === 0) from++;
  const digits = bytes.subarray(from);
  // A leading bit of one would make it negative.
  return tagged(
    tags.integer,
    Buffer.from((digits[0] ?? 0) >= 0x80 || digits.length === 0 ? [0] : []),
    digits,
  );
}

function bitString(bytes: Uint8Array, unusedBits = 0): Buffer {
  return tagged(tags.bitString, Buffer.from([unusedBits]), bytes);
}

/** From dotted text such as `2.5.29.17`. */
function oid(text: string): Buffer {
  const [first = 0, second = 0, ...rest] = text.split('.').map(Number);
  const bytes = [first * 40 + second, ...rest.flatMap(base128)];
  return tagged(tags.objectIdentifier, Buffer.from(bytes));
}

function base128(value: number): number[] {
  const bytes = [value & 0x7f];
  for (let rest = value >> 7; rest > 0; rest >>= 7) bytes.unshift(0x80 | (rest & 0x7f));
  return bytes;
}

/** Whole seconds of wall time in ms. */
function time(wallMs: number): Buffer {
  const digits = new Date(wallMs).toISOString().replace(/[-:T]|\.[0-9]{3}/g, '');
  return new Date(wallMs).getUTCFullYear() < FIRST_GENERALIZED_YEAR
    ? tagged(tags.utcTime, Buffer.from(digits.slice(2)))
    : tagged(tags.generalizedTime, Buffer.from(digits));
}
