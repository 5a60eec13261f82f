/**
 * The records: what is written here, what others tell, and comparing the two.
 *
 * Purpose: every node learns every record soon (news is spread from neighbour to neighbour) and certainly (stores are
 * compared with a random neighbour every DIGEST_MS and after every link-up, both sides sending what the other lacks).
 * Invariants: own records are written here only; a record's version, not its messenger, decides; what is not signed by its
 * writer is not taken, whoever passes it on.
 */
import { PortolanError } from '../base/errors.ts';
import type { NodeId } from '../model/names.ts';
import { compareVersions, recordNode, type GossipRecord, type RecordValue } from '../model/record.ts';
import type { Authenticator } from '../trust/authenticity.ts';
import type { Have, Message, Records, Want } from './codec.ts';
import { answerRowHashes, answerRowVersions, lackingRows, rowsWanted } from './compare-rows.ts';
import { answerDigest, answerSummaries, answerVersions, answerWant, openRound } from './compare.ts';
import type { Link } from './links.ts';
import type { Liveness } from './liveness.ts';
import type { NodeTable } from './nodes.ts';
import type { Outbox } from './outbox.ts';
import { wantFrames } from './paging.ts';
import { recordText, type RecordStore } from './records.ts';
import type { Rounds } from './rounds.ts';
import type { Spread } from './spread.ts';
import type { OwnWriter } from './writer.ts';

/** Distinct refusals that are logged; the rest is counted. */
const MAX_LOGGED_REFUSALS = 256;

export interface ReplicationComponents {
  readonly outbox: Outbox;
  readonly store: RecordStore;
  readonly table: NodeTable;
  readonly spread: Spread;
  readonly rounds: Rounds;
  readonly writer: OwnWriter;
  readonly liveness: Liveness;
  /** Absent where nothing is signed. */
  readonly authenticator: Authenticator | undefined;
  /** Records that are held now, and such as are no longer held. */
  readonly onChanged: (held: readonly GossipRecord[], gone: readonly GossipRecord[]) => void;
}

export class Replication {
  repairs = 0;
  refused = 0;
  readonly #components: ReplicationComponents;
  readonly #node: NodeId;
  readonly #loggedRefusals = new Set<string>();

  constructor(components: ReplicationComponents, init: { readonly node: NodeId }) {
    this.#components = components;
    this.#node = init.node;
  }

  /** True when the message was one of ours. */
  take(link: Link, message: Message, now: number): boolean {
    const { store, outbox, rounds, liveness, table } = this.#components;
    switch (message.type) {
      case 'digest':
        outbox.frames(link, answerDigest(store, message));
        if (message.rows !== table.hash)
          outbox.send(link, { type: 'row-hashes', hashes: table.bucketHashes() });
        return true;
      case 'summaries':
        outbox.frames(link, answerSummaries(store, message));
        return true;
      case 'versions':
        outbox.frames(link, answerVersions(store, message));
        return true;
      case 'want':
        this.#wanted(link, message);
        return true;
      case 'have':
        this.#mentioned(link, message);
        return true;
      case 'records':
        this.#takeRecords(link, message, now);
        return true;
      case 'done':
        this.compare(rounds.end(link, message.more, now), now);
        return true;
      case 'rows':
        liveness.takeRows(link, message.rows, now);
        return true;
      case 'row-hashes':
        outbox.frames(link, answerRowHashes(table, message));
        return true;
      case 'row-versions':
        outbox.frames(link, answerRowVersions(table, message));
        return true;
      case 'prune':
        this.#components.spread.pruned(link);
        return true;
      default:
        return false;
    }
  }

  compare(link: Link | undefined, now: number): void {
    const { rounds, outbox, store, table } = this.#components;
    if (link?.isActive === true && rounds.begin(link, now)) outbox.frame(link, openRound(store, table));
  }

  /** All that can be written are, before the first that cannot is thrown for. */
  write(values: ReadonlyMap<string, RecordValue>, now: number): void {
    const { writer, store } = this.#components;
    const written: Written = { records: [], dropped: [], again: [], refusals: [] };
    for (const key of values.keys()) writer.check(key);
    for (const [key, value] of values) {
      if (isSameValue(store.get(key), value)) continue;
      const record = this.#put(writer.make(key, value), written);
      written.again.push(...writer.afterWrite(record, now));
    }
    this.#tell(written, now, true);
    for (const again of written.again) this.#store(again, now, false);
    const [refusal] = written.refusals;
    if (refusal !== undefined) throw refused(refusal);
  }

  writeCluster(key: string, value: RecordValue, revision: number, now: number): void {
    if (!key.startsWith('cluster/'))
      throw new PortolanError('invalid', `Cannot publish "${key}": masters write below "cluster/" only`, {
        field: 'key',
      });
    const held = this.#components.store.get(key);
    if (isSameValue(held, value) && !this.#lacksSignature(held)) return;
    this.#store({ key, version: { epoch: revision, sequence: 0 }, value }, now, true);
  }

  /** Own records of before there were signatures. */
  signAll(now: number): void {
    for (const { record } of this.#components.store.ofWriter(this.#node))
      if (this.#lacksSignature(record)) this.#store(record, now, false);
  }

  #lacksSignature(record: GossipRecord | undefined): boolean {
    return (
      this.#components.authenticator !== undefined && record !== undefined && record.signature === undefined
    );
  }

  forgetTombstones(now: number): void {
    const horizon = this.#components.writer.forgetTombstones(now);
    if (horizon !== undefined) this.#store(horizon, now, false);
  }

  changed(stored: readonly GossipRecord[], dropped: readonly GossipRecord[], durable: boolean): void {
    const { store, outbox } = this.#components;
    const gone = dropped.filter(({ key }) => store.get(key) === undefined);
    const held = stored.filter((record) => store.get(record.key) === record);
    outbox.add({ do: 'persist', records: held, dropped: gone.map(({ key }) => key), durable });
    const voids = gone.filter(({ value }) => value !== null).map((record) => ({ ...record, value: null }));
    outbox.add({ do: 'notify', changes: [...held, ...voids] });
    this.#components.onChanged(held, gone);
  }

  #wanted(link: Link, want: Want): void {
    const { store, outbox, table } = this.#components;
    if (want.graft) link.isEager = true;
    outbox.frames(link, answerWant(store, want, { repair: !want.graft }));
    outbox.frames(link, rowsWanted(table, want.rows));
  }

  #mentioned(link: Link, have: Have): void {
    const { store, spread, outbox, table } = this.#components;
    const keys: string[] = [];
    for (const [key, epoch, sequence] of have.records) {
      const held = store.get(key);
      const order = held === undefined ? -1 : compareVersions(held.version, { epoch, sequence });
      const isOwn = recordNode(key) === this.#node;
      if (order < 0 && !isOwn && !store.isVoid({ key, version: { epoch, sequence }, value: null }))
        keys.push(key);
      else if (order === 0) spread.knows(link, key);
    }
    const rows = lackingRows(table, have.rows, (index) => spread.knowsRow(link, index));
    if (keys.length + rows.length === 0) return;
    link.isPushing = true;
    outbox.send(link, { type: 'want', keys, rows, graft: true });
  }

  #takeRecords(link: Link, message: Records, now: number): void {
    const stored: GossipRecord[] = [];
    const dropped: GossipRecord[] = [];
    let isKnown = message.records.length > 0;
    const unknown: GossipRecord[] = [];
    for (const record of message.records) {
      if (recordNode(record.key) === this.#node) this.#takeOwn(link, record, now);
      else if (!this.#takeOne(link, record, stored, dropped, unknown)) isKnown = false;
    }
    this.#takeUnknown(link, unknown, stored, dropped);
    if (isKnown && !message.repair) this.#components.spread.duplicate(link);
    if (stored.length === 0) return;
    this.changed(stored, dropped, false);
    const keys = stored.map(({ key }) => key);
    if (!message.repair) return this.#components.spread.records(keys, link, now);
    this.repairs += stored.length;
    if (!this.#components.spread.repaired(keys, link, now))
      this.#components.rounds.repaired(link.connection, now);
  }

  /** Their writers' signer may have come behind them; else it is asked for, and they again. */
  #takeUnknown(link: Link, unknown: GossipRecord[], stored: GossipRecord[], dropped: GossipRecord[]): void {
    if (unknown.length === 0) return;
    const { store, authenticator, outbox } = this.#components;
    const wanted = new Set<string>();
    const again: string[] = [];
    for (const record of unknown) {
      const outcome = store.put(record, authenticator);
      if (outcome.put === 'unknown') {
        wanted.add(outcome.needs);
        again.push(record.key);
      } else this.#takeOne(link, record, stored, dropped, [], outcome);
    }
    outbox.frames(link, wantFrames([...wanted, ...again]));
  }

  /** True when it was held already, or something newer. */
  #takeOne(
    link: Link,
    record: GossipRecord,
    stored: GossipRecord[],
    dropped: GossipRecord[],
    unknown: GossipRecord[],
    outcome = this.#components.store.put(record, this.#components.authenticator),
  ): boolean {
    switch (outcome.put) {
      case 'stored':
        stored.push(record);
        dropped.push(...outcome.dropped);
        return false;
      case 'known':
        this.#components.spread.knows(link, record.key);
        return true;
      case 'older':
        return true;
      case 'unknown':
        unknown.push(record);
        return false;
      case 'refused':
        this.#countRefusal(link, record, outcome.reason);
        return false;
    }
  }

  #countRefusal(link: Link, record: GossipRecord, reason: string): void {
    this.refused++;
    const name = `${link.node ?? ''} ${reason}`;
    if (this.#loggedRefusals.has(name) || this.#loggedRefusals.size >= MAX_LOGGED_REFUSALS) return;
    this.#loggedRefusals.add(name);
    this.#components.outbox.log('warn', 'refused a record', { key: record.key, reason, from: link.node });
  }

  /** Someone holds a record under our name. */
  #takeOwn(link: Link, record: GossipRecord, now: number): void {
    const { store, writer, outbox, liveness, authenticator } = this.#components;
    if (store.isVoid(record)) return;
    const ours = store.get(record.key);
    if (ours !== undefined) {
      const newer = compareVersions(record.version, ours.version);
      if (newer < 0 || (newer === 0 && isSameValue(ours, record.value))) return;
    }
    const text = recordText(record);
    const authenticity = authenticator?.judge(record, text ?? '', (key) => store.get(key));
    if (text === undefined || (authenticity !== undefined && authenticity.is !== 'genuine'))
      return this.#countRefusal(link, record, 'this node has not written it');
    const epochBefore = writer.epoch;
    const claim = writer.reclaim(record, ours);
    if (claim === undefined) return;
    if (writer.epoch !== epochBefore) {
      outbox.add({ do: 'persist-epoch', epoch: writer.epoch });
      liveness.raise(writer.epoch, now);
    }
    outbox.log('debug', 'corrected what others hold of this node', { key: record.key });
    this.#store(claim, now, false);
  }

  /** Stores what was written here and tells everyone. A caller is told of a refusal by an exception. */
  #store(record: GossipRecord, now: number, hasCaller: boolean): void {
    const written: Written = { records: [], dropped: [], again: [], refusals: [] };
    this.#put(record, written);
    this.#tell(written, now, hasCaller);
    const [refusal] = written.refusals;
    if (refusal === undefined) return;
    if (hasCaller) throw refused(refusal);
    this.#components.outbox.log('warn', 'could not write an own record', refusal);
  }

  #put(unsigned: GossipRecord, written: Written): GossipRecord {
    const { store, writer, authenticator } = this.#components;
    const text = recordText(unsigned);
    const signature = text === undefined ? undefined : authenticator?.sign(unsigned, text);
    const record = signature === undefined ? unsigned : { ...unsigned, signature };
    const outcome = store.put(record);
    if (outcome.put === 'refused') {
      this.refused++;
      written.refusals.push({ key: record.key, reason: outcome.reason });
    }
    if (outcome.put !== 'stored') return record;
    written.records.push(record);
    written.dropped.push(...outcome.dropped);
    if (outcome.dropped.length > 0) writer.recount();
    return record;
  }

  #tell({ records, dropped }: Written, now: number, durable: boolean): void {
    if (records.length === 0) return;
    this.changed(records, dropped, durable);
    this.#components.spread.records(
      records.map(({ key }) => key),
      undefined,
      now,
    );
  }
}

/** What became of records that are written together. */
interface Written {
  readonly records: GossipRecord[];
  readonly dropped: GossipRecord[];
  /** Own records to be written again behind them. */
  readonly again: GossipRecord[];
  readonly refusals: { readonly key: string; readonly reason: string }[];
}

function refused({ key, reason }: Written['refusals'][number]): PortolanError {
  return new PortolanError('invalid', `Cannot publish "${key}": ${reason}`, {
    field: 'value',
    remedy: 'publish less, or in several records',
  });
}

function isSameValue(record: GossipRecord | undefined, value: RecordValue): boolean {
  if (record === undefined) return value === null;
  return JSON.stringify(record.value) === JSON.stringify(value);
}
