/**
 * Names whose records are told, and what changes when one thing changes.
 *
 * Purpose: each owner (a VIP, a node, ourselves) says which records it has; the table knows them by name. Names of tasks
 * are not here, see names.ts.
 * Invariants: `set` costs what the owner's own records cost, whatever else is in the table; a name is there as long as
 * an owner has records of it, or of names below it (RFC 8020: what has something below it exists).
 * Review notes: what a query reads (`sets`) is made when it is first asked for and dropped when the name changes.
 */
import { assert } from '../base/assert.ts';
import { nameKey, parentKey } from './name.ts';
import { dataText, type DnsRecord } from './record.ts';
import { makeSets, type RecordSets } from './record-sets.ts';
import { zoneNames } from './zones.ts';

/** The most specific first. */
const ZONES = zoneNames.toSorted((a, b) => b.length - a.length).map((name) => ({ name, suffix: `.${name}` }));

class Entry {
  readonly byOwner = new Map<string, readonly DnsRecord[]>();
  children = 0;
  #sets: RecordSets | undefined;

  changed(): void {
    this.#sets = undefined;
  }

  records(): readonly DnsRecord[] {
    return [...this.byOwner.values()].flat();
  }

  sets(): RecordSets {
    return (this.#sets ??= makeSets(this.records()));
  }
}

export class NameTable {
  readonly #names = new Map<string, Entry>();
  readonly #owners = new Map<string, readonly DnsRecord[]>();
  readonly #zoneCounts = new Map(zoneNames.map((name) => [name, 0]));
  readonly #onName: (key: string) => void;

  /** `onName` is called for each name of which something else is said than before. */
  constructor(init: { readonly onName?: (key: string) => void } = {}) {
    this.#onName = init.onName ?? (() => undefined);
  }

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

  /** Empty for a name that only has names below it. */
  find(key: string): RecordSets | undefined {
    return this.#names.get(key)?.sets();
  }

  /** What owners say of a name. */
  recordsAt(key: string): readonly DnsRecord[] {
    return this.#names.get(key)?.records() ?? [];
  }

  /** What all owners say. */
  *records(): Iterable<DnsRecord> {
    for (const records of this.#owners.values()) yield* records;
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
    this.#onName(key);
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
    this.#onName(key);
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
