/**
 * Reading an upstream's answer as far as passing it on needs: what it answers, how long it may be kept.
 *
 * Invariants: the cost is bounded by the length, and counts that the length cannot hold are refused before anything is
 * read; a name's pointers each lead further back, so that no chain of them can loop. An answer in which one does not is no
 * answer: the client would throw it away, and another upstream may have a good one.
 */
import { flags, HEADER_BYTES, LABEL_BYTES_MAX, NAME_BYTES_MAX, rcodes, types } from './constants.ts';

export interface Response {
  readonly id: number;
  readonly rcode: number;
  readonly truncated: boolean;
  /** Name, type and class as they stand in the packet, the name lower-cased. */
  readonly question: string;
  readonly questionEnd: number;
  /** Where the times to live stand that count down in a cache. */
  readonly ttlOffsets: readonly number[];
  /** Seconds for which it may be kept; 0 = not at all. */
  readonly ttl: number;
}

/** Owner (root), type, class, time to live, length. */
const RECORD_BYTES_MIN = 11;
/** The two top bits of a length (RFC 1035, 4.1.4). */
const POINTER = 0xc0;
const POINTER_MASK = 0x3fff;
/** Types whose data is a name and nothing else. */
const namesOnly: ReadonlySet<number> = new Set([types.NS, types.CNAME, types.PTR]);
/** However long others would like their answers to be kept. */
const TTL_MAX = 3600;
/** RFC 2308, section 5, lets this be chosen. */
const NEGATIVE_TTL_MAX = 300;

/** `undefined` for what is no well-formed answer to one question. */
export function readResponse(packet: Buffer, length = packet.length): Response | undefined {
  if (length < HEADER_BYTES || ((packet[2] ?? 0) & flags.QR) === 0) return undefined;
  const counts = [6, 8, 10].map((at) => packet.readUInt16BE(at));
  const total = counts.reduce((sum, each) => sum + each, 0);
  if (packet.readUInt16BE(4) !== 1 || total * RECORD_BYTES_MIN > length) return undefined;
  const questionEnd = skipName(packet, HEADER_BYTES, length) + 4;
  if (questionEnd === 4 || questionEnd > length) return undefined;
  const records = readRecords(packet, length, questionEnd, total);
  if (records === undefined) return undefined;
  const rcode = (packet[3] ?? 0) & 0x0f;
  return {
    id: packet.readUInt16BE(0),
    rcode,
    truncated: ((packet[2] ?? 0) & flags.TC) !== 0,
    question: questionText(packet, questionEnd),
    questionEnd,
    ttlOffsets: records.ttls,
    ttl: lifetime(packet, rcode, counts[0] ?? 0, records),
  };
}

/** The question's bytes, letters of its name lower-cased: type and class are not letters of it. */
export function questionText(packet: Buffer, questionEnd: number): string {
  const name = packet.toString('latin1', HEADER_BYTES, questionEnd - 4);
  return (
    name.replaceAll(/[A-Z]+/g, (part) => part.toLowerCase()) +
    packet.toString('latin1', questionEnd - 4, questionEnd)
  );
}

interface Records {
  readonly ttls: number[];
  /** Of the first SOA: the seconds for which an absence may be kept. */
  absence: number | undefined;
}

function readRecords(packet: Buffer, length: number, from: number, count: number): Records | undefined {
  const records: Records = { ttls: [], absence: undefined };
  let at = from;
  for (let i = 0; i < count; i++) {
    const fixed = skipName(packet, at, length);
    if (fixed === 0 || fixed + 10 > length) return undefined;
    const end = fixed + 10 + packet.readUInt16BE(fixed + 8);
    if (end > length) return undefined;
    const type = packet.readUInt16BE(fixed);
    if (namesOnly.has(type) && skipName(packet, fixed + 10, end) !== end) return undefined;
    if (type !== types.OPT) records.ttls.push(fixed + 4);
    if (type === types.SOA && end - fixed >= 10 + 22)
      records.absence ??= Math.min(packet.readUInt32BE(fixed + 4), packet.readUInt32BE(end - 4));
    at = end;
  }
  return records;
}

function lifetime(packet: Buffer, rcode: number, answers: number, records: Records): number {
  const isAbsence = rcode === rcodes.NXDOMAIN || (rcode === rcodes.NOERROR && answers === 0);
  if (isAbsence) return Math.min(records.absence ?? 0, NEGATIVE_TTL_MAX);
  if (rcode !== rcodes.NOERROR) return 0;
  // With the top bit set it counts as 0 (RFC 2181, 8).
  const ttls = records.ttls.map((at) => packet.readInt32BE(at)).map((ttl) => Math.max(ttl, 0));
  return Math.min(TTL_MAX, ...ttls);
}

/** Where the name that begins at `from` ends; 0 when it runs over, or nowhere. */
function skipName(packet: Buffer, from: number, length: number): number {
  const end = labelsEnd(packet, from, length);
  if (end === 0 || (packet[end] ?? 0) === 0) return end === 0 ? 0 : end + 1;
  return end + 2 <= length && leadsBack(packet, from, end) ? end + 2 : 0;
}

/** Where the labels from `from` on end, in a zero or a pointer; 0 when they run over. */
function labelsEnd(packet: Buffer, from: number, length: number): number {
  const limit = Math.min(length, from + NAME_BYTES_MAX);
  for (let at = from; at < limit;) {
    const size = packet[at] ?? 0;
    if (size === 0 || size >= POINTER) return at;
    if (size > LABEL_BYTES_MAX) return 0;
    at += size + 1;
  }
  return 0;
}

/** Whether the pointer at `at`, in a name from `from` on, leads to one that ends, each pointer to before what it is in. */
function leadsBack(packet: Buffer, from: number, at: number): boolean {
  for (let [start, pointer] = [from, at]; ;) {
    const target = packet.readUInt16BE(pointer) & POINTER_MASK;
    if (target < HEADER_BYTES || target >= start) return false;
    const end = labelsEnd(packet, target, start);
    if (end === 0) return false;
    if (packet[end] === 0) return true;
    if (end + 2 > start) return false;
    [start, pointer] = [target, end];
  }
}
