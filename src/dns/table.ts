/**
 * All names we answer for, and what changes when one thing changes.
 *
 * Purpose: each owner (a task, a VIP, a node, ourselves) says which records it has; the table knows them by name.
 * Invariants: `set` costs what the owner's own records cost, whatever else is in the table; a name is there as long as
 * an owner has records of it, or of names below it (RFC 8020: what has something below it exists).
 * Review notes: what a query reads (`sets`) is made when it is first asked for and dropped when the name changes.
 */
import { assert } from '../base/assert.ts';
import { types } from './constants.ts';
import { nameKey, parentKey } from './name.ts';
import { dataText, type DnsRecord, type RecordType } from './record.ts';
import { zoneNames } from './zones.ts';

/** The records of one type of one name that are told. */
export interface RecordSet {
  readonly records: readonly DnsRecord[];
  /**
   * Of addresses: the records one after the other as they go over the wire, each naming the question's name by a
   * pointer: one copy answers a query.
   */
  readonly packed: Buffer | undefined;
}

/** Every question begins at the same place, so this names what was asked (RFC 1035, 4.1.4). */
const POINTER_TO_QUESTION = 0xc00c;

/** The most specific first. */
const ZONES = zoneNames.toSorted((a, b) => b.length - a.length).map((name) => ({ name, suffix: `.${name}` }));

class Entry {
  readonly byOwner = new Map<string, readonly DnsRecord[]>();
  children = 0;
  #sets: Map<RecordType, RecordSet> | undefined;

  changed(): void {
    this.#sets = undefined;
  }

  sets(): ReadonlyMap<RecordType, RecordSet> {
    return (this.#sets ??= this.#make());
  }

  /** The same, not kept: a listing of all names is no reason to have all answers lie ready. */
  listed(): ReadonlyMap<RecordType, RecordSet> {
    return this.#sets ?? this.#make();
  }

  #make(): Map<RecordType, RecordSet> {
    return makeSets([...this.byOwner.values()].flat());
  }
}

export interface NamedSets {
  /** Empty for a name that only has names below it. */
  sets(): ReadonlyMap<RecordType, RecordSet>;
}

export class NameTable {
  readonly #names = new Map<string, Entry>();
  readonly #owners = new Map<string, readonly DnsRecord[]>();
  readonly #zoneCounts = new Map(zoneNames.map((name) => [name, 0]));

  /** How many records owners have in each zone; what several say counts for each. */
  get zoneCounts(): ReadonlyMap<string, number> {
    return this.#zoneCounts;
  }

  /** What `owner` says now, in place of what it said; nothing takes it out. Returns whether anything changed. */
  set(owner: string, records: readonly DnsRecord[]): boolean {
    const before = this.#owners.get(owner) ?? [];
    if (sameRecords(before, records)) return false;
    const after = groupByName(records);
    for (const name of new Set(before.map((record) => record.name)))
      if (!after.has(name)) this.#withdraw(owner, name);
    for (const [name, group] of after) this.#tell(owner, name, group);
    this.#count(before, -1);
    this.#count(records, 1);
    if (records.length === 0) this.#owners.delete(owner);
    else this.#owners.set(owner, records);
    return true;
  }

  owners(): Iterable<string> {
    return this.#owners.keys();
  }

  /** By owner: for listings. */
  ownerRecords(owner: string): readonly DnsRecord[] {
    return this.#owners.get(owner) ?? [];
  }

  find(key: string): NamedSets | undefined {
    return this.#names.get(key);
  }

  /** Every record that is told, name by name. */
  *told(): Iterable<DnsRecord> {
    for (const entry of this.#names.values()) for (const set of entry.listed().values()) yield* set.records;
  }

  /** Those of one type, name by name; empty for names that have none. */
  *ofType(type: RecordType): Iterable<readonly DnsRecord[]> {
    for (const entry of this.#names.values()) yield entry.listed().get(type)?.records ?? [];
  }

  #count(records: readonly DnsRecord[], step: number): void {
    for (const { name } of records) {
      const zone = ZONES.find((each) => name.endsWith(each.suffix) || name === each.name);
      if (zone !== undefined) this.#zoneCounts.set(zone.name, (this.#zoneCounts.get(zone.name) ?? 0) + step);
    }
  }

  #tell(owner: string, name: string, records: readonly DnsRecord[]): void {
    const key = nameKey(name);
    assert(key !== undefined, `"${name}" is a name`);
    const entry = this.#entry(key);
    entry.byOwner.set(owner, records);
    entry.changed();
  }

  #entry(key: string): Entry {
    const found = this.#names.get(key);
    if (found !== undefined) return found;
    const entry = new Entry();
    this.#names.set(key, entry);
    const parent = parentKey(key);
    if (parent !== undefined) this.#entry(parent).children++;
    return entry;
  }

  #withdraw(owner: string, name: string): void {
    const key = nameKey(name) ?? '';
    const entry = this.#names.get(key);
    assert(entry !== undefined, 'a name that was told is in the table');
    entry.byOwner.delete(owner);
    entry.changed();
    this.#dropEmpty(key, entry);
  }

  #dropEmpty(key: string, entry: Entry): void {
    if (entry.byOwner.size > 0 || entry.children > 0) return;
    this.#names.delete(key);
    const parent = parentKey(key);
    const above = parent === undefined ? undefined : this.#names.get(parent);
    if (parent === undefined || above === undefined) return;
    above.children--;
    this.#dropEmpty(parent, above);
  }
}

function groupByName(records: readonly DnsRecord[]): Map<string, DnsRecord[]> {
  const groups = new Map<string, DnsRecord[]>();
  for (const record of records) {
    const group = groups.get(record.name);
    if (group === undefined) groups.set(record.name, [record]);
    else group.push(record);
  }
  return groups;
}

function sameRecords(a: readonly DnsRecord[], b: readonly DnsRecord[]): boolean {
  return a.length === b.length && a.every((record, i) => sameRecord(record, b[i]));
}

function sameRecord(a: DnsRecord, b: DnsRecord | undefined): boolean {
  return (
    b !== undefined &&
    a.name === b.name &&
    a.ttl === b.ttl &&
    a.preferred === b.preferred &&
    a.data.type === b.data.type &&
    dataText(a.data) === dataText(b.data)
  );
}

/** Failure hides, it never erases: what cannot be reached, or is not healthy, is told when there is nothing else. */
function makeSets(all: readonly DnsRecord[]): Map<RecordType, RecordSet> {
  const sets = new Map<RecordType, RecordSet>();
  for (const type of new Set(all.map((record) => record.data.type))) {
    const distinct = new Map<string, DnsRecord>();
    for (const record of all) {
      if (record.data.type !== type) continue;
      const word = dataText(record.data);
      if (distinct.get(word)?.preferred !== true) distinct.set(word, record);
    }
    const sorted = [...distinct].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, record]) => record);
    const preferred = sorted.filter((record) => record.preferred);
    const records = preferred.length > 0 ? preferred : sorted;
    sets.set(type, { records, packed: pack(records) });
  }
  return sets;
}

function pack(records: readonly DnsRecord[]): Buffer | undefined {
  const parts = records.map(({ data, ttl }) =>
    data.type === 'A' || data.type === 'AAAA'
      ? packAddress(types[data.type], ttl, data.address.bytes())
      : undefined,
  );
  return parts.every((part) => part !== undefined) ? Buffer.concat(parts) : undefined;
}

function packAddress(type: number, ttl: number, address: Uint8Array): Buffer {
  const head = Buffer.alloc(12);
  head.writeUInt16BE(POINTER_TO_QUESTION, 0);
  head.writeUInt16BE(type, 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt32BE(ttl, 6);
  head.writeUInt16BE(address.length, 10);
  return Buffer.concat([head, address]);
}
