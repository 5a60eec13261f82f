/** What is told of a name, of all that is known of it. */
import { types } from './constants.ts';
import { dataText, type DnsRecord, type RecordType } from './record.ts';

/** The records of one type of one name that are told. */
export interface RecordSet {
  readonly records: readonly DnsRecord[];
  /**
   * Of addresses: the records one after the other as they go over the wire, each naming the question's name by a
   * pointer: one copy answers a query.
   */
  readonly packed: Buffer | undefined;
}

export type RecordSets = ReadonlyMap<RecordType, RecordSet>;

/** Of a name that has something below it, and no records. */
export const NO_RECORDS: RecordSets = new Map();

/** Every question begins at the same place, so this names what was asked (RFC 1035, 4.1.4). */
const POINTER_TO_QUESTION = 0xc00c;

export function makeSets(all: readonly DnsRecord[]): RecordSets {
  return new Map(
    Array.from(toldRecords(all), ([type, records]) => [type, { records, packed: pack(records) }]),
  );
}

/** Failure hides, it never erases: what cannot be reached, or is not healthy, is told when there is nothing else. */
export function toldRecords(all: readonly DnsRecord[]): ReadonlyMap<RecordType, readonly DnsRecord[]> {
  const sets = new Map<RecordType, readonly DnsRecord[]>();
  for (const type of new Set(all.map((record) => record.data.type))) {
    const distinct = new Map<string, DnsRecord>();
    for (const record of all) {
      if (record.data.type !== type) continue;
      const word = dataText(record.data);
      if (distinct.get(word)?.preferred !== true) distinct.set(word, record);
    }
    const sorted = [...distinct].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, record]) => record);
    const preferred = sorted.filter((record) => record.preferred);
    sets.set(type, preferred.length > 0 ? preferred : sorted);
  }
  return sets;
}

function pack(records: readonly DnsRecord[]): Buffer | undefined {
  const parts: Buffer[] = [];
  for (const { data, ttl } of records) {
    if (data.type !== 'A' && data.type !== 'AAAA') return undefined;
    parts.push(packAddress(types[data.type], ttl, data.address.bytes()));
  }
  return Buffer.concat(parts);
}

function packAddress(type: number, ttl: number, address: Uint8Array): Buffer {
  const packed = Buffer.alloc(12 + address.length);
  packed.writeUInt16BE(POINTER_TO_QUESTION, 0);
  packed.writeUInt16BE(type, 2);
  packed.writeUInt16BE(1, 4);
  packed.writeUInt32BE(ttl, 6);
  packed.writeUInt16BE(address.length, 10);
  packed.set(address, 12);
  return packed;
}
