/**
 * Answers from what this node knows.
 *
 * Purpose: one query in, one answer out, or word that the name is not ours and has to be asked elsewhere.
 * Invariants: addresses of names in the table are answered by a copy; a name that has other types is NOERROR without
 * answers, a name that is not there NXDOMAIN, both with the zone's SOA (RFC 2308); an answer that does not fit loses
 * its additional section first, then answers, and says so.
 * Review notes: the first lines of `answer` are the path of nearly all queries.
 */
import { rcodes, types, UDP_BYTES_MAX } from './constants.ts';
import type { Query } from './query.ts';
import { recordTypeOf, type DnsRecord } from './record.ts';
import type { RecordSet, RecordSets } from './record-sets.ts';
import { optBytes, RecordWriter, writeAbsence, writeHead, writeOpt } from './writer.ts';
import { keyText, nameKey, ROOT_KEY } from './name.ts';
import type { Zone, Zones } from './zones.ts';

/** Instead of an answer's length: the name is in none of our zones. */
export const NOT_OURS = -1;

/** Of an ANY query: a name of thousands of addresses is asked for by type. */
const ANY_RECORDS_MAX = 200;
const ADDITIONAL_MAX = 64;
/** Names that lead to names: more of them are a circle. */
const ALIASES_MAX = 8;

/** What is told of names. */
export interface NameSource {
  /** Empty for a name that only has names below it, `undefined` for one that is not there. */
  find(key: string): RecordSets | undefined;
}

export interface AnswererInit {
  readonly names: NameSource;
  zones(): Zones;
}

export interface Resolution {
  readonly rcode: number;
  /** Our zone that the name is in. */
  readonly zone: string;
  readonly records: readonly DnsRecord[];
}

/** A record, and the name that it is told of, which may be another word for its own. */
interface Owned {
  readonly record: DnsRecord;
  readonly owner: string;
}

interface Asked {
  readonly query: Query;
  readonly packet: Buffer;
  /** Absent for a name that an owner has outside of all zones. */
  readonly zone: Zone | undefined;
  /** Under which the name is known. */
  readonly key: string;
}

export class Answerer {
  readonly #names: NameSource;
  readonly #zones: () => Zones;

  constructor(init: AnswererInit) {
    this.#names = init.names;
    this.#zones = init.zones;
  }

  /** Writes the answer into `out`, `limit` bytes at most; answers its length, or NOT_OURS. */
  answer(query: Query, packet: Buffer, out: Buffer, limit: number): number {
    const type = recordTypeOf(query.type);
    const sets = this.#names.find(query.key);
    const set = type === undefined ? undefined : sets?.get(type);
    if (set?.packed !== undefined) return copySet(query, packet, out, limit, set);
    const zones = this.#zones();
    const zone = zones.find(query.key);
    if (sets === undefined || sets.size === 0) {
      if (zone === undefined) return NOT_OURS;
      return this.#answerFrom({ query, packet, zone, key: zones.canonical(query.key) }, out, limit);
    }
    return this.#answerFrom({ query, packet, zone, key: query.key }, out, limit);
  }

  /** The same without a packet: what is told of a name; `undefined` when it is not ours. */
  resolve(name: string, qtype: number): Resolution | undefined {
    const key = nameKey(name) ?? ROOT_KEY;
    const zones = this.#zones();
    const zone = zones.find(key);
    if (zone === undefined) return undefined;
    const { rcode, records } = this.#follow(zones.canonical(key), qtype, 0);
    return { rcode, zone: zone.name, records: records.map(({ record }) => record) };
  }

  #answerFrom({ query, packet, zone, key }: Asked, out: Buffer, limit: number): number {
    const { rcode, records } = this.#follow(key, query.type, query.id, query.key);
    const at = writeHead(packet, query, out, { rcode, authoritative: true, answers: 0 });
    const end =
      records.length > 0
        ? this.#writeRecords(records, { query, at, limit: limit - optBytes(query) }, out)
        : zone === undefined
          ? at
          : writeAbsence(query, out, at, zone);
    return writeOpt(query, out, end, UDP_BYTES_MAX);
  }

  /**
   * What is told of a name; where it stands for another one, that and what is told of the other, if it is ours. The
   * answer's code is that of the last name (RFC 6604). `asked`: the first name as it was asked for.
   */
  #follow(
    first: string,
    qtype: number,
    turn: number,
    asked = first,
  ): { readonly rcode: number; readonly records: readonly Owned[] } {
    const chain: Owned[] = [];
    const zones = this.#zones();
    let [key, owner] = [first, asked];
    for (let step = 0; step < ALIASES_MAX; step++) {
      const sets = this.#names.find(key);
      const isOurs = step === 0 || sets !== undefined || zones.find(key) !== undefined;
      if (sets === undefined) return { rcode: isOurs ? rcodes.NXDOMAIN : rcodes.NOERROR, records: chain };
      const records = told(sets, qtype, turn);
      const alias = records.length > 0 ? undefined : aliasOf(sets);
      if (alias === undefined)
        return {
          rcode: rcodes.NOERROR,
          records: [...chain, ...records.map((record) => ({ record, owner }))],
        };
      chain.push({ record: alias.record, owner });
      owner = nameKey(alias.target) ?? ROOT_KEY;
      key = zones.canonical(owner);
    }
    return { rcode: rcodes.SERVFAIL, records: [] };
  }

  #writeRecords(
    records: readonly Owned[],
    where: ConstructorParameters<typeof RecordWriter>[1],
    out: Buffer,
  ): number {
    const writer = new RecordWriter(out, where);
    if (records.every(({ record, owner }) => writer.add('answer', record, owner)))
      this.#addAddresses(
        records.map(({ record }) => record),
        writer,
      );
    else markTruncated(out);
    return writer.at;
  }

  /** Where the answers name hosts, their addresses: whoever gets them need not ask again. */
  #addAddresses(records: readonly DnsRecord[], writer: RecordWriter): void {
    const targets = new Set(
      records.flatMap(({ data }) => (data.type === 'SRV' || data.type === 'NS' ? data.target : [])),
    );
    let added = 0;
    for (const target of targets) {
      const sets = this.#names.find(nameKey(target) ?? ROOT_KEY);
      const addresses = [...(sets?.get('A')?.records ?? []), ...(sets?.get('AAAA')?.records ?? [])];
      for (const record of addresses)
        if (++added > ADDITIONAL_MAX || !writer.add('additional', record)) return;
    }
  }
}

function aliasOf(sets: RecordSets): { readonly record: DnsRecord; readonly target: string } | undefined {
  const record = sets.get('CNAME')?.records[0];
  return record?.data.type === 'CNAME' ? { record, target: record.data.target } : undefined;
}

/** One record, or all of them beginning with another one each time: the id is as good as chance. */
function copySet(query: Query, packet: Buffer, out: Buffer, limit: number, set: RecordSet): number {
  const packed = set.packed as Buffer;
  const total = set.records.length;
  const size = packed.length / total;
  const room = Math.floor((limit - optBytes(query) - query.questionEnd) / size);
  const count = Math.min(total, room);
  let at = writeHead(packet, query, out, { rcode: rcodes.NOERROR, authoritative: true, answers: count });
  if (count < total) markTruncated(out);
  const first = total === 1 ? 0 : query.id % total;
  const tail = Math.min(count, total - first);
  at += packed.copy(out, at, first * size, (first + tail) * size);
  if (count > tail) at += packed.copy(out, at, 0, (count - tail) * size);
  return writeOpt(query, out, at, UDP_BYTES_MAX);
}

function markTruncated(out: Buffer): void {
  out[2] = (out[2] ?? 0) | 0x02;
}

function told(sets: RecordSets, qtype: number, turn: number): readonly DnsRecord[] {
  if (qtype === types.ANY) return [...sets.values()].flatMap((set) => set.records).slice(0, ANY_RECORDS_MAX);
  const type = recordTypeOf(qtype);
  const records = (type === undefined ? undefined : sets.get(type)?.records) ?? [];
  const first = records.length === 0 ? 0 : turn % records.length;
  return first === 0 ? records : [...records.slice(first), ...records.slice(0, first)];
}

/** For logs: the name and type that a query asks for. */
export function questionText(query: Query): string {
  return `${keyText(query.key)} ${recordTypeOf(query.type) ?? `TYPE${query.type}`}`;
}
