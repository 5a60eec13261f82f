/**
 * Reading a query.
 *
 * Invariants: the cost is bounded by the packet's length, whatever it holds; the header's counts are looked at before
 * anything else; a question has no compression (there is nothing before it to point to), so no pointer is followed.
 */
import {
  classes,
  flags,
  HEADER_BYTES,
  NAME_BYTES_MAX,
  LABEL_BYTES_MAX,
  rcodes,
  types,
  UDP_BYTES_MAX,
  UDP_BYTES_MIN,
} from './constants.ts';

export interface Query {
  readonly id: number;
  readonly recursionDesired: boolean;
  /** The name as keys are made; empty when `rcode` says that the packet could not be read so far. */
  readonly key: string;
  readonly type: number;
  /** Header and question: what an answer begins with. */
  readonly questionEnd: number;
  /** Whether there was an OPT record, and with the DO bit. */
  readonly edns: boolean;
  readonly dnssec: boolean;
  readonly checkingDisabled: boolean;
  /** The greatest answer the client takes by UDP. */
  readonly udpBytes: number;
  /** Not 0 = what to refuse the query with. */
  readonly rcode: number;
}

/** More records than this behind the question: an OPT, a signature, and whatever else nobody sends. */
const ADDITIONAL_MAX = 4;
const QUESTION_TAIL_BYTES = 4;
const RECORD_FIXED_BYTES = 10;

/** `undefined` for what gets no answer at all: too short, or itself an answer. */
export function readQuery(packet: Buffer, length: number): Query | undefined {
  if (length < HEADER_BYTES) return undefined;
  const first = packet[2] ?? 0;
  if ((first & flags.QR) !== 0) return undefined;
  if ((first & flags.OPCODE) !== 0) return refused(packet, rcodes.NOTIMP);
  // One question, no answers, no authorities (RFC 9619), and few additional records.
  const counts = packet.readUInt32BE(4) === 0x0001_0000 && packet.readUInt16BE(8) === 0;
  const additional = packet.readUInt16BE(10);
  if (!counts || additional > ADDITIONAL_MAX) return refused(packet, rcodes.FORMERR);
  const nameEnd = endOfQuestionName(packet, length);
  const questionEnd = nameEnd + QUESTION_TAIL_BYTES;
  if (nameEnd === 0 || questionEnd > length) return refused(packet, rcodes.FORMERR);
  const options = additional === 0 ? NO_OPTIONS : readOptions(packet, questionEnd, length, additional);
  const type = packet.readUInt16BE(nameEnd);
  return {
    id: packet.readUInt16BE(0),
    recursionDesired: (first & flags.RD) !== 0,
    checkingDisabled: ((packet[3] ?? 0) & flags.CD) !== 0,
    key: lowerCased(packet, nameEnd),
    type,
    questionEnd,
    edns: options.edns,
    dnssec: options.dnssec,
    udpBytes: options.udpBytes,
    rcode: options.rcode === 0 ? judged(type, packet.readUInt16BE(nameEnd + 2)) : options.rcode,
  };
}

/** Zone transfers are by HTTP, and there is no class but the Internet's. */
function judged(type: number, klass: number): number {
  if (klass !== classes.IN && klass !== classes.ANY) return rcodes.REFUSED;
  return type === types.AXFR || type === types.IXFR ? rcodes.REFUSED : rcodes.NOERROR;
}

/** Refused before its question was read: the answer is a header. */
function refused(packet: Buffer, rcode: number): Query {
  return {
    id: packet.readUInt16BE(0),
    recursionDesired: ((packet[2] ?? 0) & flags.RD) !== 0,
    checkingDisabled: false,
    key: '',
    type: 0,
    questionEnd: HEADER_BYTES,
    edns: false,
    dnssec: false,
    udpBytes: UDP_BYTES_MIN,
    rcode,
  };
}

/** 0 when there is no name: it runs over, is too long, or has a pointer or an unknown kind of label. */
function endOfQuestionName(packet: Buffer, length: number): number {
  const limit = Math.min(length, HEADER_BYTES + NAME_BYTES_MAX);
  for (let at = HEADER_BYTES; at < limit;) {
    const size = packet[at] ?? 0;
    if (size === 0) return at + 1;
    if (size > LABEL_BYTES_MAX) return 0;
    at += size + 1;
  }
  return 0;
}

const UPPER_A = 65;
const UPPER_Z = 90;

/** Letters of ASCII only. A length is at most 63 and so never taken for one. Most names come in lower case. */
function lowerCased(packet: Buffer, nameEnd: number): string {
  const name = packet.toString('latin1', HEADER_BYTES, nameEnd);
  for (let at = HEADER_BYTES; at < nameEnd; at++) {
    const byte = packet[at] ?? 0;
    if (byte >= UPPER_A && byte <= UPPER_Z) return name.replaceAll(/[A-Z]+/g, (part) => part.toLowerCase());
  }
  return name;
}

type Options = Pick<Query, 'edns' | 'dnssec' | 'udpBytes' | 'rcode'>;
const NO_OPTIONS: Options = { edns: false, dnssec: false, udpBytes: UDP_BYTES_MIN, rcode: rcodes.NOERROR };
const BAD_OPTIONS: Options = { ...NO_OPTIONS, rcode: rcodes.FORMERR };

/** The OPT record (RFC 6891, 6.1), wherever it stands; two of them are an error. */
function readOptions(packet: Buffer, from: number, length: number, count: number): Options {
  let found: Options | undefined;
  let at = from;
  for (let i = 0; i < count; i++) {
    const isRoot = packet[at] === 0;
    const fixed = isRoot ? at + 1 : endOfOwner(packet, at, length);
    if (fixed === 0 || fixed + RECORD_FIXED_BYTES > length) return BAD_OPTIONS;
    const end = fixed + RECORD_FIXED_BYTES + packet.readUInt16BE(fixed + 8);
    if (end > length) return BAD_OPTIONS;
    if (packet.readUInt16BE(fixed) === types.OPT) {
      if (found !== undefined || !isRoot) return BAD_OPTIONS;
      found = {
        edns: true,
        udpBytes: Math.min(Math.max(packet.readUInt16BE(fixed + 2), UDP_BYTES_MIN), UDP_BYTES_MAX),
        dnssec: ((packet[fixed + 6] ?? 0) & 0x80) !== 0,
        rcode: packet[fixed + 5] === 0 ? rcodes.NOERROR : rcodes.BADVERS,
      };
    }
    at = end;
  }
  return found ?? NO_OPTIONS;
}

/** A pointer ends a name; it is stepped over and not followed. */
function endOfOwner(packet: Buffer, from: number, length: number): number {
  const limit = Math.min(length, from + NAME_BYTES_MAX);
  for (let at = from; at < limit;) {
    const size = packet[at] ?? 0;
    if (size === 0) return at + 1;
    if (size >= 0xc0) return at + 2;
    if (size > LABEL_BYTES_MAX) return 0;
    at += size + 1;
  }
  return 0;
}
