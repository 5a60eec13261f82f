/**
 * News on its way to the neighbours: at once along a few links, as a mere mention along the others (Plumtree).
 *
 * A link is eager until it brings what was there already; then both ends agree to only mention news on it, a moment later
 * and many at once, or in the frame that would have been the next beat. Who hears a mention of something it lacks asks for it, and the link is eager
 * again. MIN_EAGER links stay eager: a second way costs one duplicate and saves the time of a lost packet.
 * Reports, which all nodes make after one change, wait longer and go together.
 * A short wait before relaying lets several changes share a frame, and lets the same news arrive from others first:
 * whoever sent it needs it no more.
 * Invariants: every queue is bounded; what exceeds it, or is lost here, comparison repairs.
 */
import { randomBelow, type Random } from '../base/random.ts';
import { encodeMessage, type VersionRow } from './codec.ts';
import { isReport } from '../model/record.ts';
import type { Link, Links } from './links.ts';
import type { NodeTable } from './nodes.ts';
import type { Outbox } from './outbox.ts';
import { recordFrames, rowFrames } from './paging.ts';
import type { RecordStore, StoredRecord } from './records.ts';

/** Long enough to gather what one turn of the event loop writes. */
const OWN_DELAY_MS = 1;
const RELAY_DELAY_MS = 3;
const RELAY_JITTER_MS = 5;
/**
 * Reports of all nodes come after each change of the masters': gathered this long, a few frames hold those of a hundred
 * nodes. One each would cost every node more than the change itself.
 */
const REPORT_DELAY_MS = 40;
/** Between two pushes: a single change finds the way free, of many that come at once each push takes several. */
const SPACING_MS = 20;
/** Neighbours come and go in groups. */
const OWN_ROW_DELAY_MS = 10;
const MIN_EAGER = 2;
/** News waiting for one neighbour. */
const MAX_PENDING = 20_000;
const MAX_MENTIONS = 1_000;
/** Mentions gather this long, or until the next beat: whoever no push reaches asks then. Rows change more often. */
const MENTION_DELAY_MS = 50;
const MENTION_ROW_DELAY_MS = 250;
const MENTION_REPORT_DELAY_MS = 250;
/** Repaired records gather this long before they are mentioned. */
const REPAIRED_DELAY_MS = 10;

interface Pending {
  readonly keys: Set<string>;
  readonly rows: Set<number>;
  readonly mentionedKeys: Set<string>;
  readonly mentionedRows: Set<number>;
}

export interface SpreadComponents {
  readonly random: Random;
  readonly links: Links;
  readonly outbox: Outbox;
  readonly store: RecordStore;
  readonly table: NodeTable;
}

export class Spread {
  readonly #components: SpreadComponents;
  readonly #pending = new Map<number, Pending>();
  #flushAt = Infinity;
  #flushedAt = -Infinity;
  #mentionAt = Infinity;

  constructor(components: SpreadComponents) {
    this.#components = components;
  }

  /** When the next flush is due; Infinity = nothing waits. */
  get dueAt(): number {
    return Math.min(this.#flushAt, this.#mentionAt);
  }

  /** What waits, over all neighbours. */
  get depth(): number {
    let depth = 0;
    for (const { keys, rows, mentionedKeys, mentionedRows } of this.#pending.values())
      depth += keys.size + rows.size + mentionedKeys.size + mentionedRows.size;
    return depth;
  }

  /** `from`: who told; undefined = written here. */
  records(keys: readonly string[], from: Link | undefined, now: number): void {
    if (keys.length === 0) return;
    const areReports = keys.every(isReport);
    const mentionDelayMs = areReports ? MENTION_REPORT_DELAY_MS : MENTION_DELAY_MS;
    for (const link of this.#components.links.neighbours()) {
      if (link === from) continue;
      const pending = this.#of(link);
      const [set, limit] = link.isEager ? [pending.keys, MAX_PENDING] : [pending.mentionedKeys, MAX_MENTIONS];
      for (const key of keys) if (set.size < limit) set.add(key);
      if (!link.isEager) this.#mentionAt = Math.min(this.#mentionAt, now + mentionDelayMs);
    }
    const delayMs = from === undefined ? OWN_DELAY_MS : this.#relayDelayMs();
    this.#wake(now + (areReports ? Math.max(REPORT_DELAY_MS, delayMs) : delayMs));
  }

  /**
   * A comparison brought these: others that were on the same side of what was cut lack them too. False when they are
   * too many to be named.
   */
  repaired(keys: readonly string[], from: Link, now: number): boolean {
    if (keys.length > MAX_MENTIONS) return false;
    for (const link of this.#components.links.neighbours()) {
      if (link === from) continue;
      const { mentionedKeys } = this.#of(link);
      for (const key of keys) if (mentionedKeys.size < MAX_MENTIONS) mentionedKeys.add(key);
    }
    this.#mentionAt = Math.min(this.#mentionAt, now + REPAIRED_DELAY_MS);
    return true;
  }

  rows(indices: readonly number[], from: Link | undefined, now: number): void {
    if (indices.length === 0) return;
    for (const link of this.#components.links.neighbours()) {
      if (link === from) continue;
      const pending = this.#of(link);
      const [set, limit] = link.isEager ? [pending.rows, MAX_PENDING] : [pending.mentionedRows, MAX_MENTIONS];
      for (const index of indices) if (set.size < limit) set.add(index);
      if (!link.isEager) this.#mentionAt = Math.min(this.#mentionAt, now + MENTION_ROW_DELAY_MS);
    }
    this.#wake(now + (from === undefined ? OWN_ROW_DELAY_MS : this.#relayDelayMs()));
  }

  /** The neighbour has said `key` itself, at the version we hold or a newer one. */
  knows(link: Link, key: string): void {
    const pending = this.#pending.get(link.connection);
    pending?.keys.delete(key);
    pending?.mentionedKeys.delete(key);
  }

  knowsRow(link: Link, index: number): void {
    const pending = this.#pending.get(link.connection);
    pending?.rows.delete(index);
    pending?.mentionedRows.delete(index);
  }

  /** It pushed nothing but what was known. */
  duplicate(link: Link): void {
    if (!link.isEager || !link.isActive) return;
    let eager = 0;
    for (const each of this.#components.links.neighbours()) if (each.isEager) eager++;
    if (eager <= MIN_EAGER) return;
    link.isEager = false;
    this.#components.outbox.send(link, { type: 'prune' });
  }

  /** The peer has what is pushed to it from others. Who would be left without any push has one of the others push. */
  pruned(link: Link): void {
    const { links, random, outbox } = this.#components;
    link.isEager = false;
    const others = links.neighbours().filter((each) => each !== link);
    if (others.some((each) => each.isEager)) return;
    const next = others[randomBelow(random, others.length)];
    if (next === undefined) return;
    next.isEager = true;
    outbox.send(next, { type: 'want', keys: [], rows: [], graft: true });
  }

  /** A neighbour is gone, and ways through it: all links are tried again. */
  reopen(): void {
    for (const link of this.#components.links.neighbours()) link.isEager = true;
  }

  drop(connection: number): void {
    this.#pending.delete(connection);
  }

  /** Sends everything that is due. */
  flush(now: number): void {
    if (now >= this.#mentionAt) {
      this.#mentionAt = Infinity;
      for (const link of this.#components.links.neighbours()) this.mention(link);
    }
    if (now < this.#flushAt) return;
    this.#flushedAt = now;
    this.#flush();
  }

  #flush(): void {
    this.#flushAt = Infinity;
    // Most neighbours get the same news: it is encoded once.
    const encoded = new Map<string, readonly Uint8Array[]>();
    for (const [connection, { keys, rows }] of this.#pending) {
      if (keys.size + rows.size === 0) continue;
      const link = this.#components.links.get(connection);
      if (link !== undefined) {
        const name = nameOf(keys, rows);
        const frames = encoded.get(name) ?? this.#encode(keys, rows);
        encoded.set(name, frames);
        this.#components.outbox.frames(link, frames);
      }
      keys.clear();
      rows.clear();
    }
  }

  /** Sends the mentions; false when there are none. */
  mention(link: Link): boolean {
    const pending = this.#pending.get(link.connection);
    if (pending === undefined || pending.mentionedKeys.size + pending.mentionedRows.size === 0) return false;
    const records: VersionRow[] = [];
    for (const key of pending.mentionedKeys) {
      const record = this.#components.store.get(key);
      if (record !== undefined) records.push([key, record.version.epoch, record.version.sequence]);
    }
    const { table, outbox } = this.#components;
    const rows = Array.from(pending.mentionedRows, (index): VersionRow => [
      table.handle(index),
      table.epoch(index),
      table.sequence(index),
    ]).filter(([, epoch]) => epoch < Infinity);
    pending.mentionedKeys.clear();
    pending.mentionedRows.clear();
    outbox.frame(link, encodeMessage({ type: 'have', records, rows }));
    return true;
  }

  #of({ connection }: Link): Pending {
    let pending = this.#pending.get(connection);
    if (pending === undefined) {
      pending = { keys: new Set(), rows: new Set(), mentionedKeys: new Set(), mentionedRows: new Set() };
      this.#pending.set(connection, pending);
    }
    return pending;
  }

  /** In the order they were queued: a horizon behind what it stands on. */
  #encode(keys: ReadonlySet<string>, rows: ReadonlySet<number>): readonly Uint8Array[] {
    const { store, table } = this.#components;
    const records: StoredRecord[] = [];
    for (const key of keys) {
      const stored = store.stored(key);
      if (stored !== undefined) records.push(stored);
    }
    return [...recordFrames(records, { repair: false }), ...rowFrames(table, Array.from(rows))];
  }

  #relayDelayMs(): number {
    return RELAY_DELAY_MS + this.#components.random.next() * RELAY_JITTER_MS;
  }

  #wake(at: number): void {
    this.#flushAt = Math.min(this.#flushAt, Math.max(at, this.#flushedAt + SPACING_MS));
  }
}

function nameOf(keys: ReadonlySet<string>, rows: ReadonlySet<number>): string {
  let name = '';
  for (const key of keys) name += `${key}\n`;
  for (const row of rows) name += `${row} `;
  return name;
}
