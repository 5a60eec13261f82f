/**
 * All records a node knows, and which of two it keeps.
 *
 * Invariants: the content is a function of the set of records ever offered, not of their order: the newer version
 * stays, a removed node has none, what is older than its writer's horizon is void. Per writer and over all, a hash says
 * at a glance whether two nodes hold the same. Sizes and counts are bounded per writer; what exceeds them is refused.
 * What is signed is hashed without its signature, so that nodes of versions that sign and that do not agree.
 * Review notes: a tombstone is a record like any other (it must win against older values that still go about); the
 * horizon is what lets a writer forget its tombstones (writer.ts).
 */
import type { NodeId } from '../model/names.ts';
import {
  compareVersions,
  recordNode,
  recordVersion,
  type GossipRecord,
  type RecordVersion,
} from '../model/record.ts';
import type { Authenticator } from '../trust/authenticity.ts';
import { bucketOf, BUCKETS, combine, emptyHash, hashHex, hashText, type Hash } from './hash.ts';

export const MAX_VALUE_BYTES = 16 * 1024;
export const MAX_NODE_RECORDS = 4_096;
/** Of all records of one node as JSON. */
export const MAX_NODE_CHARACTERS = 8 * 1024 * 1024;
/** Nodes that have records. Ten times the largest cluster there is: more are inventions. */
export const MAX_WRITERS = 16_384;
export const MAX_CLUSTER_RECORDS = 16_384;
/** All cluster records' versions have to fit into one message. */
const MAX_CLUSTER_KEY_LENGTH = 128;
const CLUSTER = 'cluster';

/** Who may write a record: a node, or the masters together. */
export type Writer = NodeId | typeof CLUSTER;

export interface StoredRecord {
  readonly record: GossipRecord;
  /** Its JSON without its signature, which says nothing new. */
  readonly text: string;
  /** Of the text. */
  readonly hash: Hash;
}

export type PutOutcome =
  | {
      readonly put: 'stored';
      /** Gone because of it: void or removed. */ readonly dropped: readonly GossipRecord[];
    }
  /** We hold this very record. */
  | { readonly put: 'known' }
  /** We hold something newer, or know that it is void. */
  | { readonly put: 'older' }
  | { readonly put: 'refused'; readonly reason: string }
  /** Who wrote it cannot be told before the record of key `needs` is held. */
  | { readonly put: 'unknown'; readonly needs: string };

interface WriterRecords {
  readonly bucket: number;
  readonly records: Map<string, StoredRecord>;
  /** Of all records' texts. */
  characters: number;
  hash: Hash;
  newest: RecordVersion;
  horizon: RecordVersion | undefined;
}

export interface WriterSummary {
  readonly writer: string;
  readonly newest: RecordVersion;
  readonly hash: string;
}

export function recordWriter(key: string): Writer | undefined {
  return recordNode(key) ?? (/^cluster\/./.test(key) ? CLUSTER : undefined);
}

/** The key of a node's horizon: its records older than the version in it are void. */
export function horizonKey(node: NodeId): string {
  return `node/${node}/horizon`;
}

export class RecordStore {
  readonly #writers = new Map<string, WriterRecords>();
  readonly #removed = new Set<string>();
  readonly #buckets = new Uint32Array(BUCKETS);
  #hash = emptyHash;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get hash(): string {
    return hashHex(this.#hash);
  }

  /** Another store of the same content: the two share the records themselves, which never change. */
  copy(): RecordStore {
    const copy = new RecordStore();
    for (const [writer, place] of this.#writers)
      copy.#writers.set(writer, { ...place, records: new Map(place.records) });
    for (const node of this.#removed) copy.#removed.add(node);
    copy.#buckets.set(this.#buckets);
    copy.#hash = this.#hash;
    copy.#size = this.#size;
    return copy;
  }

  get(key: string): GossipRecord | undefined {
    return this.stored(key)?.record;
  }

  stored(key: string): StoredRecord | undefined {
    return this.#writers.get(recordWriter(key) ?? '')?.records.get(key);
  }

  *records(prefix: string): Generator<GossipRecord> {
    const writer = recordWriter(`${prefix} `);
    const places = writer === undefined ? this.#writers.values() : [this.#writers.get(writer)];
    for (const place of places)
      for (const [key, { record }] of place?.records ?? []) if (key.startsWith(prefix)) yield record;
  }

  /** Oldest first, so that a horizon comes behind the records it stands on. */
  ofWriter(writer: string): StoredRecord[] {
    return Array.from(this.#writers.get(writer)?.records.values() ?? []).sort((a, b) =>
      compareVersions(a.record.version, b.record.version),
    );
  }

  isRemoved(node: string): boolean {
    return this.#removed.has(node);
  }

  /** True when the record could not be held any more: its node was removed, or has forgotten it. */
  isVoid(record: GossipRecord): boolean {
    const writer = recordWriter(record.key) ?? '';
    const place = this.#writers.get(writer);
    return this.#removed.has(writer) || (place !== undefined && isVoid(place, record));
  }

  /** Equal bucket by bucket where two nodes hold the same. */
  bucketHashes(): number[] {
    return Array.from(this.#buckets);
  }

  /** In order of writer. */
  summaries(buckets: ReadonlySet<number>): WriterSummary[] {
    const found: WriterSummary[] = [];
    for (const [writer, { bucket, newest, hash }] of this.#writers)
      if (buckets.has(bucket)) found.push({ writer, newest, hash: hashHex(hash) });
    return found.sort((a, b) => (a.writer < b.writer ? -1 : 1));
  }

  /** `authenticator`: what is news must be from its writer; absent for what was judged before. */
  put(record: GossipRecord, authenticator?: Authenticator): PutOutcome {
    const writer = recordWriter(record.key);
    if (writer === undefined) return { put: 'refused', reason: 'its key names no writer' };
    if (this.#removed.has(writer)) return { put: 'older' };
    const place = this.#writers.get(writer);
    const before = place?.records.get(record.key);
    if (before !== undefined && compareVersions(record.version, before.record.version) < 0)
      return { put: 'older' };
    if (place !== undefined && isVoid(place, record)) return { put: 'older' };
    const value = valueText(record);
    if (value === undefined) return { put: 'refused', reason: 'its value nests too deeply' };
    const text = canonicalText(record, value);
    const stored = storedRecord(record, text);
    if (before !== undefined && isSame(before, stored)) return { put: 'known' };
    const reason = refusal(writer, record, value) ?? this.#lackOfRoom(writer, place, before, stored);
    if (reason !== undefined) return { put: 'refused', reason };
    const authenticity = authenticator?.judge(record, text, (key) => this.get(key));
    if (authenticity?.is === 'unknown') return { put: 'unknown', needs: authenticity.needs };
    if (authenticity?.is === 'forged') return { put: 'refused', reason: authenticity.reason };
    return this.#replace(writer, before, stored);
  }

  #lackOfRoom(
    writer: Writer,
    place: WriterRecords | undefined,
    before: StoredRecord | undefined,
    stored: StoredRecord,
  ): string | undefined {
    if (place === undefined)
      return this.#writers.size >= MAX_WRITERS ? `${MAX_WRITERS} nodes have records already` : undefined;
    const limit = writer === CLUSTER ? MAX_CLUSTER_RECORDS : MAX_NODE_RECORDS;
    if (before === undefined && place.records.size >= limit)
      return `its writer has ${place.records.size} records, at most ${limit} are allowed`;
    const more = stored.text.length - (before?.text.length ?? 0);
    return writer !== CLUSTER && more > 0 && place.characters + more > MAX_NODE_CHARACTERS
      ? `its writer's records would have more than ${MAX_NODE_CHARACTERS} characters`
      : undefined;
  }

  /** Forgets all but the records of one writer: what belongs to another cluster. */
  clearExcept(writer: string): GossipRecord[] {
    const dropped: GossipRecord[] = [];
    for (const [name, place] of Array.from(this.#writers)) {
      if (name === writer) continue;
      dropped.push(...this.#drop(place, () => true));
      this.#writers.delete(name);
    }
    this.#removed.clear();
    return dropped;
  }

  #replace(writer: Writer, before: StoredRecord | undefined, stored: StoredRecord): PutOutcome {
    // One version with two values: a writer whose disk was set back. Any rule will do that everyone applies alike.
    const sameVersion =
      before !== undefined && compareVersions(before.record.version, stored.record.version) === 0;
    const isWorse = sameVersion && !isSigning(before, stored) && before.text > stored.text;
    if (isWorse) return { put: 'older' };
    const place = this.#place(writer);
    this.#forget(place, before);
    this.#remember(place, stored);
    return { put: 'stored', dropped: this.#consequences(writer, place, stored.record) };
  }

  #place(writer: Writer): WriterRecords {
    let place = this.#writers.get(writer);
    if (place === undefined) {
      place = {
        bucket: bucketOf(hashText(writer)),
        records: new Map(),
        characters: 0,
        hash: emptyHash,
        newest: { epoch: 0, sequence: 0 },
        horizon: undefined,
      };
      this.#writers.set(writer, place);
    }
    return place;
  }

  #remember(place: WriterRecords, stored: StoredRecord): void {
    const { key, version } = stored.record;
    place.records.set(key, stored);
    place.characters += stored.text.length;
    place.hash = combine(place.hash, stored.hash);
    if (compareVersions(version, place.newest) > 0) place.newest = version;
    this.#toggle(place, stored.hash);
    this.#size++;
  }

  #toggle({ bucket }: WriterRecords, hash: Hash): void {
    this.#hash = combine(this.#hash, hash);
    this.#buckets[bucket] = (this.#buckets[bucket] ?? 0) ^ hash.low ^ Math.imul(hash.high, 31);
  }

  #forget(place: WriterRecords, stored: StoredRecord | undefined): void {
    if (stored === undefined) return;
    place.records.delete(stored.record.key);
    place.characters -= stored.text.length;
    place.hash = combine(place.hash, stored.hash);
    this.#toggle(place, stored.hash);
    this.#size--;
  }

  #consequences(writer: Writer, place: WriterRecords, record: GossipRecord): GossipRecord[] {
    if (writer === CLUSTER) return this.#removeNode(record.key);
    if (record.key !== horizonKey(writer)) return [];
    const horizon = recordVersion.safeParse(record.value);
    if (!horizon.success) return [];
    place.horizon = horizon.data;
    return this.#drop(place, (each) => isVoid(place, each));
  }

  /** The mere existence of `cluster/removed/<id>` removes: no later version brings a node back. */
  #removeNode(key: string): GossipRecord[] {
    const node = /^cluster\/removed\/(n[a-z2-7]{25})$/.exec(key)?.[1];
    if (node === undefined || this.#removed.has(node)) return [];
    this.#removed.add(node);
    const place = this.#writers.get(node);
    const dropped = place === undefined ? [] : this.#drop(place, () => true);
    this.#writers.delete(node);
    return dropped;
  }

  #drop(place: WriterRecords, which: (record: GossipRecord) => boolean): GossipRecord[] {
    const dropped = Array.from(place.records.values()).filter(({ record }) => which(record));
    for (const stored of dropped) this.#forget(place, stored);
    return dropped.map(({ record }) => record);
  }
}

/** `undefined` where the value, which a peer made up, is nested beyond what a stack holds. */
function valueText(record: GossipRecord): string | undefined {
  try {
    return JSON.stringify(record.value);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

/** All of a record but its signature, as it is signed and hashed; `undefined` where it nests too deeply. */
export function recordText(record: GossipRecord): string | undefined {
  const value = valueText(record);
  return value === undefined ? undefined : canonicalText(record, value);
}

function canonicalText({ key, version: { epoch, sequence } }: GossipRecord, value: string): string {
  return `{"key":${JSON.stringify(key)},"version":{"epoch":${epoch},"sequence":${sequence}},"value":${value}}`;
}

/** As it goes over the wire; put together when it is sent, since a store of many records would feel it. */
export function wireText({ record: { signature }, text }: StoredRecord): string {
  return signature === undefined ? text : `${text.slice(0, -1)},"signature":${JSON.stringify(signature)}}`;
}

function storedRecord(record: GossipRecord, text: string): StoredRecord {
  return { record, text, hash: hashText(text) };
}

/** The same content, with a signature that was missing. */
function isSigning(before: StoredRecord, stored: StoredRecord): boolean {
  return before.record.signature === undefined && before.text === stored.text;
}

/** Nothing is new about it, unless a signature that was missing. */
function isSame(before: StoredRecord, stored: StoredRecord): boolean {
  return (
    compareVersions(before.record.version, stored.record.version) === 0 &&
    before.hash.high === stored.hash.high &&
    before.hash.low === stored.hash.low &&
    (before.record.signature !== undefined || stored.record.signature === undefined)
  );
}

function isVoid(place: WriterRecords, record: GossipRecord): boolean {
  return place.horizon !== undefined && compareVersions(record.version, place.horizon) < 0;
}

function refusal(writer: Writer, record: GossipRecord, value: string): string | undefined {
  const bytes = Buffer.byteLength(value);
  if (bytes > MAX_VALUE_BYTES) return `its value has ${bytes} bytes, at most ${MAX_VALUE_BYTES} are allowed`;
  if (writer !== CLUSTER) return undefined;
  if (record.version.sequence !== 0) return "its version is no revision of the masters' store";
  return record.key.length > MAX_CLUSTER_KEY_LENGTH
    ? `its key is longer than ${MAX_CLUSTER_KEY_LENGTH} characters`
    : undefined;
}
