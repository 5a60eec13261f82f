/**
 * Writing an answer: section by section, names compressed, until it is full.
 *
 * Invariants: nothing is written past `limit`; a record is there as a whole or not at all.
 */
import { classes, flags, HEADER_BYTES, rcodes, types } from './constants.ts';
import { keyBytes, nameKey, ROOT_KEY, suffixOffsets } from './name.ts';
import type { Query } from './query.ts';
import { type DnsRecord, type RecordData, type SoaData } from './record.ts';

/** Offsets above this do not fit a pointer (RFC 1035, 4.1.4). */
const POINTER_MAX = 0x3fff;
const POINTER = 0xc000;
const OPT_BYTES = 11;
/** TYPE, CLASS, TTL, RDLENGTH. */
const FIXED_BYTES = 10;
const SOA_SERIAL = 1;

export type Section = 'answer' | 'additional';
const countOffset = { answer: 6, authority: 8, additional: 10 } as const;

/** Header and question of the answer to `query`; answers where the next record goes. */
export function writeHead(
  packet: Buffer,
  query: Query,
  out: Buffer,
  reply: { readonly rcode: number; readonly authoritative: boolean; readonly answers: number },
): number {
  const { questionEnd } = query;
  const opcode = (packet[2] ?? 0) & flags.OPCODE;
  // A short copy by hand is cheaper than a call.
  for (let at = 0; at < questionEnd; at++) out[at] = packet[at] ?? 0;
  out[2] = flags.QR | opcode | (reply.authoritative ? flags.AA : 0) | (query.recursionDesired ? flags.RD : 0);
  out[3] = flags.RA | (query.checkingDisabled ? flags.CD : 0) | (reply.rcode & 0x0f);
  out[4] = 0;
  out[5] = questionEnd > HEADER_BYTES ? 1 : 0;
  out[6] = reply.answers >>> 8;
  out[7] = reply.answers & 0xff;
  out[8] = out[9] = out[10] = out[11] = 0;
  return questionEnd;
}

/** How much the OPT record of an answer will take. */
export function optBytes(query: Query): number {
  return query.edns ? OPT_BYTES : 0;
}

/** The OPT record that tells what we take (RFC 6891, 6.2.3), as the last of the additional section. */
export function writeOpt(query: Query, out: Buffer, at: number, offer: number): number {
  if (!query.edns) return at;
  out[at] = 0;
  out.writeUInt16BE(types.OPT, at + 1);
  out.writeUInt16BE(offer, at + 3);
  out[at + 5] = query.rcode >>> 4;
  out[at + 6] = 0;
  out[at + 7] = query.dnssec ? 0x80 : 0;
  out[at + 8] = out[at + 9] = out[at + 10] = 0;
  out.writeUInt16BE(out.readUInt16BE(countOffset.additional) + 1, countOffset.additional);
  return at + OPT_BYTES;
}

/** The whole answer to a query that is refused. */
export function writeRefusal(packet: Buffer, query: Query, out: Buffer, offer: number): number {
  const end = writeHead(packet, query, out, { rcode: query.rcode, authoritative: false, answers: 0 });
  // Where the question could not be read, nothing else of the packet was.
  return query.rcode === rcodes.FORMERR ? end : writeOpt(query, out, end, offer);
}

/**
 * The SOA record of the zone that the question's name is in, where nothing was answered: the zone's name is the end of
 * that name, so a pointer says it. Answers where the next record goes.
 */
export function writeAbsence(
  query: Query,
  out: Buffer,
  at: number,
  zone: { readonly key: string; readonly absence: Buffer },
): number {
  const offset = HEADER_BYTES + query.key.length - zone.key.length;
  out[at] = (POINTER >>> 8) | (offset >>> 8);
  out[at + 1] = offset & 0xff;
  out[countOffset.authority + 1] = 1;
  return at + 2 + zone.absence.copy(out, at + 2);
}

export class RecordWriter {
  readonly #out: Buffer;
  readonly #limit: number;
  /** Where names and their ends stand in the message. */
  readonly #offsets = new Map<string, number>();
  #at: number;

  /** Records go from `at` on, up to `limit`; the question's name can be pointed to. */
  constructor(out: Buffer, init: { readonly query: Query; readonly at: number; readonly limit: number }) {
    this.#out = out;
    this.#at = init.at;
    this.#limit = init.limit;
    this.#remember(init.query.key, HEADER_BYTES);
  }

  get at(): number {
    return this.#at;
  }

  /** False, and nothing written, when it does not fit. `ownerKey`: the name as asked, where it is another. */
  add(section: Section, record: DnsRecord, ownerKey = nameKey(record.name) ?? ROOT_KEY): boolean {
    const owner = this.#compressed(ownerKey);
    const data = dataBytes(record.data);
    const size = owner.bytes.length + FIXED_BYTES + data.length;
    if (this.#at + size > this.#limit) return false;
    const start = this.#at;
    owner.bytes.copy(this.#out, start);
    let at = start + owner.bytes.length;
    at = this.#out.writeUInt16BE(types[record.data.type], at);
    at = this.#out.writeUInt16BE(classes.IN, at);
    at = this.#out.writeUInt32BE(record.ttl, at);
    at = this.#out.writeUInt16BE(data.length, at);
    data.copy(this.#out, at);
    this.#at = at + data.length;
    this.#remember(ownerKey, start, owner.plain);
    if (record.data.type === 'SRV') this.#remember(nameKey(record.data.target) ?? ROOT_KEY, at + 6);
    this.#count(section);
    return true;
  }

  #count(section: Section): void {
    const offset = countOffset[section];
    this.#out.writeUInt16BE(this.#out.readUInt16BE(offset) + 1, offset);
  }

  /** The name with its known end replaced by a pointer; `plain` is how much of it is spelt out. */
  #compressed(key: string): { readonly bytes: Buffer; readonly plain: number } {
    for (const offset of suffixOffsets(key)) {
      const known = this.#offsets.get(key.slice(offset));
      if (known === undefined) continue;
      const bytes = Buffer.alloc(offset + 2);
      keyBytes(key.slice(0, offset)).copy(bytes);
      bytes.writeUInt16BE(POINTER | known, offset);
      return { bytes, plain: offset };
    }
    return { bytes: keyBytes(key), plain: key.length };
  }

  /** The name stands at `start`, its first `plain` bytes spelt out: each of its ends there can be pointed to. */
  #remember(key: string, start: number, plain = key.length): void {
    for (const offset of suffixOffsets(key)) {
      const suffix = key.slice(offset);
      if (offset >= plain || suffix === ROOT_KEY || start + offset > POINTER_MAX) return;
      if (!this.#offsets.has(suffix)) this.#offsets.set(suffix, start + offset);
    }
  }
}

/** A record behind its owner's name. */
export function recordTail(record: DnsRecord): Buffer {
  const data = dataBytes(record.data);
  const fixed = Buffer.alloc(FIXED_BYTES);
  fixed.writeUInt16BE(types[record.data.type], 0);
  fixed.writeUInt16BE(classes.IN, 2);
  fixed.writeUInt32BE(record.ttl, 4);
  fixed.writeUInt16BE(data.length, 8);
  return Buffer.concat([fixed, data]);
}

/** Names within data are not compressed: RFC 2782 forbids it for SRV, and nobody gains by it elsewhere. */
function dataBytes(data: RecordData): Buffer {
  switch (data.type) {
    case 'A':
    case 'AAAA':
      return Buffer.from(data.address.bytes());
    case 'PTR':
    case 'NS':
    case 'CNAME':
      return nameBytes(data.target);
    case 'SRV':
      return Buffer.concat([srvHead(data.port), nameBytes(data.target)]);
    case 'SOA':
      return soaBytes(data);
  }
}

function nameBytes(name: string): Buffer {
  return keyBytes(nameKey(name) ?? ROOT_KEY);
}

/** Priority 0, weight 1, as Mesos-DNS has it. */
function srvHead(port: number): Buffer {
  const head = Buffer.alloc(6);
  head.writeUInt16BE(1, 2);
  head.writeUInt16BE(port, 4);
  return head;
}

function soaBytes(data: SoaData): Buffer {
  const numbers = Buffer.alloc(20);
  [SOA_SERIAL, data.refresh, data.retry, data.expire, data.minimum].forEach((each, i) =>
    numbers.writeUInt32BE(each, i * 4),
  );
  return Buffer.concat([nameBytes(data.mname), nameBytes(data.rname), numbers]);
}
