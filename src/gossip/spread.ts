/**
 * News on its way to the neighbours: at once along a few links, as a mere mention along the others (Plumtree).
 *
 * A neighbour pushes until it brings what was there already; then it is told to only mention news, a moment later and many
 * at once, or in the frame that would have been the next beat. Who hears a mention of something it lacks asks for it, and
 * has that neighbour push again. MIN_PUSHING always do: a second way costs one duplicate and saves the time of a lost
 * packet. Each direction of a link is for itself: who is pushed to enough says nothing about whom it pushes to.
 * Reports, which all nodes make after one change, wait longer and go together.
 * A short wait before relaying lets several changes share a frame, and lets the same news arrive from others first:
 * whoever sent it needs it no more. Of many that come all the time each push takes more; 120 ms apart, healthy nodes
 * were accused within ten seconds of a thousand nodes of which some stalled.
 * Invariants: every queue is bounded; what exceeds it, or is lost here, comparison repairs.
 */
import { randomBelow, type Random } from '../base/random.ts';
import { encodeMessage, encodeRow, type VersionRow } from './codec.ts';
import { isReport } from '../model/record.ts';
import type { Link, Links } from './links.ts';
import type { NodeTable, Row } from './nodes.ts';
import type { Outbox } from './outbox.ts';
import { recordFrames, rowTextFrames } from './paging.ts';
import type { RecordStore, StoredRecord } from './records.ts';
import { Mentions } from './mentions.ts';
import { RowMentions } from './row-mentions.ts';
import { countOf, MAX_LINKS, Waiting } from './waiting.ts';
import { WaitingRows } from './waiting-rows.ts';

/** Long enough to gather what one turn of the event loop writes. */
const OWN_DELAY_MS = 1;
const RELAY_DELAY_MS = 3;
const RELAY_JITTER_MS = 5;
/**
 * Reports of all nodes come after each change of the masters': gathered this long, a few frames hold those of a hundred
 * nodes. One each would cost every node more than the change itself; and those of the first nodes would keep the change
 * from the last ones, where many share a processor.
 */
const REPORT_DELAY_MS = 100;
/** Between two pushes: a single change finds the way free, of many that come at once each push takes several. */
const SPACING_MS = 20;
/** The same while there are many all the time. */
const BUSY_SPACING_MS = 60;
/** Of late: more than a death makes, which is to be known soon. */
const BUSY_PUSHES = 30;
const BUSY_HALF_LIFE_MS = 2_000;
/** Neighbours come and go in groups. */
const OWN_ROW_DELAY_MS = 10;
/** Neighbours that push to a node, and to which it pushes at least what is its own. */
const MIN_PUSHING = 2;
/** News waiting for neighbours. */
const MAX_PENDING = 20_000;
const MAX_MENTIONS = 1_000;
/**
 * Mentions gather this long, or until the next beat over a stream: whoever no push reaches asks then. Rows change more
 * often, and for reports nobody waits.
 */
const MENTION_DELAY_MS = 50;
const MENTION_ROW_DELAY_MS = 150;
const MENTION_REPORT_DELAY_MS = 500;
/** While there are many pushes, what was told in a shorter time is not mentioned yet: it is on its way. */
const RIPE_MS = 75;
/** Repaired records gather this long before they are mentioned. */
const REPAIRED_DELAY_MS = 10;

export interface SpreadComponents {
  readonly random: Random;
  readonly links: Links;
  readonly outbox: Outbox;
  readonly store: RecordStore;
  readonly table: NodeTable;
}

export class Spread {
  readonly #components: SpreadComponents;
  /** The place of each link's bit. */
  readonly #connections: (number | undefined)[] = [];
  readonly #keys = new Waiting<string>(MAX_PENDING);
  readonly #rows = new WaitingRows(MAX_PENDING);
  /** Of those that wait to be pushed, as they came: to put one together again takes longer. */
  readonly #latest = new Map<number, Row>();
  readonly #mentionedKeys = new Mentions<string>(MAX_MENTIONS);
  readonly #mentionedRows = new RowMentions(MAX_MENTIONS);
  #flushAt = Infinity;
  #flushedAt = -Infinity;
  #mentionAt = Infinity;
  /** Of late. */
  #pushes = 0;

  constructor(components: SpreadComponents) {
    this.#components = components;
  }

  /** When the next flush is due; Infinity = nothing waits. */
  get dueAt(): number {
    return Math.min(this.#flushAt, this.#mentionAt);
  }

  /** What waits, over all neighbours. */
  get depth(): number {
    return this.#keys.depth + this.#rows.depth + this.#mentionedKeys.depth + this.#mentionedRows.depth;
  }

  /** `from`: who told; undefined = written here. */
  records(keys: readonly string[], from: Link | undefined, now: number): void {
    if (keys.length === 0) return;
    const areReports = keys.every(isReport);
    const [eager, lazy] = this.#others(from);
    for (const key of keys) {
      if (from !== undefined) this.knows(from, key);
      this.#keys.add(key, eager);
      this.#mentionedKeys.add(key, lazy, now);
    }
    if (lazy !== 0)
      this.#mentionAt = Math.min(
        this.#mentionAt,
        now + (areReports ? MENTION_REPORT_DELAY_MS : MENTION_DELAY_MS),
      );
    const delayMs = from === undefined ? OWN_DELAY_MS : this.#relayDelayMs();
    this.#wake(now + (areReports ? Math.max(REPORT_DELAY_MS, delayMs) : delayMs));
  }

  /**
   * A comparison brought these: others that were on the same side of what was cut lack them too. False when they are
   * too many to be named.
   */
  repaired(keys: readonly string[], from: Link, now: number): boolean {
    if (keys.length > MAX_MENTIONS) return false;
    const [eager, lazy] = this.#others(from);
    for (const key of keys) this.#mentionedKeys.add(key, eager | lazy, now);
    this.#mentionAt = Math.min(this.#mentionAt, now + REPAIRED_DELAY_MS);
    return true;
  }

  rows(rows: readonly (readonly [index: number, row: Row])[], from: Link | undefined, now: number): void {
    if (rows.length === 0) return;
    const others = this.#others(from);
    // What this node says of itself is for its neighbours first of all: none of them waits for it to come around.
    const [eager, lazy] = from === undefined ? [others[0] | others[1], 0] : others;
    for (const [index, row] of rows) {
      if (from !== undefined) this.knowsRow(from, index);
      this.#rows.add(index, eager);
      this.#latest.set(index, row);
      this.#mentionedRows.add(index, lazy, now);
    }
    if (lazy !== 0) this.#mentionAt = Math.min(this.#mentionAt, now + MENTION_ROW_DELAY_MS);
    this.#wake(now + (from === undefined ? OWN_ROW_DELAY_MS : this.#relayDelayMs()));
  }

  /** The neighbour has said `key` itself, at the version we hold or a newer one. */
  knows(link: Link, key: string): void {
    const bit = this.#bitOf(link.connection);
    this.#keys.remove(key, bit);
    this.#mentionedKeys.remove(key, bit);
  }

  knowsRow(link: Link, index: number): void {
    const bit = this.#bitOf(link.connection);
    this.#rows.remove(index, bit);
    this.#mentionedRows.remove(index, bit);
  }

  /** It pushed nothing but what was known. */
  duplicate(link: Link): void {
    if (!link.isActive || (link.isPushing && this.#pushing().length <= MIN_PUSHING)) return;
    link.isPushing = false;
    this.#components.outbox.send(link, { type: 'prune' });
  }

  /** The peer has what is pushed to it from others. */
  pruned(link: Link): void {
    link.isEager = false;
  }

  /** A neighbour is gone: another pushes in its place. */
  regraft(): void {
    const { links, random, outbox } = this.#components;
    const others = links.neighbours().filter((each) => !each.isPushing);
    for (let missing = MIN_PUSHING - this.#pushing().length; missing > 0 && others.length > 0; missing--) {
      const [next] = others.splice(randomBelow(random, others.length), 1);
      if (next === undefined) return;
      next.isPushing = true;
      outbox.send(next, { type: 'want', keys: [], rows: [], graft: true });
    }
  }

  #pushing(): readonly Link[] {
    return this.#components.links.neighbours().filter((each) => each.isPushing);
  }

  drop(connection: number): void {
    const place = this.#connections.indexOf(connection);
    if (place < 0) return;
    this.#connections[place] = undefined;
    for (const waiting of [this.#keys, this.#rows, this.#mentionedKeys, this.#mentionedRows])
      waiting.drop(1 << place);
  }

  /** Sends everything that is due. */
  flush(now: number): void {
    if (now >= this.#mentionAt) this.#mentionAll(now);
    if (now < this.#flushAt) return;
    this.#pushes = this.#pushes * 2 ** ((this.#flushedAt - now) / BUSY_HALF_LIFE_MS) + 1;
    this.#flushedAt = now;
    this.#flush();
  }

  #mentionAll(now: number): void {
    let told = 0;
    for (const link of this.#components.links.neighbours()) told |= this.#bitOf(link.connection);
    // Who is silent now compares when it is back.
    this.#mentionedKeys.drop(~told);
    this.#mentionedRows.drop(~told);
    this.#mention(told, now);
    this.#mentionAt = Infinity;
    if (this.#mentionedKeys.size > 0) this.#mentionAt = now + MENTION_DELAY_MS;
    else if (this.#mentionedRows.size > 0) this.#mentionAt = now + MENTION_ROW_DELAY_MS;
  }

  #flush(): void {
    this.#flushAt = Infinity;
    // Most neighbours get the same news: it is encoded once.
    const texts = new Map<number, string>();
    for (const group of this.#rows.split(this.#keys.split([this.#allBits()])))
      this.#send(group, this.#encode(this.#keys.of(lowest(group)), this.#rows.of(lowest(group)), texts));
    this.#keys.clear();
    this.#rows.clear();
    this.#latest.clear();
  }

  /** Sends the mentions there are for it; false when there are none. */
  mention(link: Link, now: number): boolean {
    return this.#mention(this.#bitOf(link.connection), now);
  }

  /** Those of rows alone: a death is to be known soon, and the rest can wait for its own time. */
  mentionRows(link: Link, now: number): void {
    this.#mention(this.#bitOf(link.connection), now, 0);
  }

  #mention(links: number, now: number, forKeys = links): boolean {
    const until = this.#isBusy() ? now - RIPE_MS : now;
    const keys = this.#mentionedKeys.takeRipe(forKeys, until);
    const rows = this.#mentionedRows.takeRipe(links, until);
    if (keys.size + rows.size === 0) return false;
    for (const group of rows.split(keys.split([links]))) {
      const [those, indices] = [keys.of(lowest(group)), rows.of(lowest(group))];
      if (those.length + indices.length > 0) this.#send(group, [this.#encodeMentions(those, indices)]);
    }
    return true;
  }

  #encodeMentions(keys: readonly string[], indices: readonly number[]): Uint8Array {
    const { store, table } = this.#components;
    const records: VersionRow[] = [];
    for (const key of keys) {
      const record = store.get(key);
      if (record !== undefined) records.push([key, record.version.epoch, record.version.sequence]);
    }
    const rows: VersionRow[] = [];
    for (const index of indices)
      if (table.hasRow(index)) rows.push([table.handle(index), table.epoch(index), table.sequence(index)]);
    return encodeMessage({ type: 'have', records, rows });
  }

  #send(links: number, frames: readonly Uint8Array[]): void {
    for (const [place, connection] of this.#connections.entries()) {
      if (connection === undefined || (links & (1 << place)) === 0) continue;
      const link = this.#components.links.get(connection);
      if (link !== undefined) this.#components.outbox.frames(link, frames);
    }
  }

  #allBits(): number {
    let bits = 0;
    for (const [place, connection] of this.#connections.entries())
      if (connection !== undefined) bits |= 1 << place;
    return bits;
  }

  /** Bits of the neighbours that news is pushed to, and of those it is mentioned to; `from` has it, `undefined`: it is new. */
  #others(from: Link | undefined): readonly [eager: number, lazy: number] {
    const { links, random } = this.#components;
    let [eager, lazy] = [0, 0];
    const rest: number[] = [];
    for (const link of links.neighbours()) {
      if (link === from) continue;
      const bit = this.#bitOf(link.connection) || this.#place(link.connection);
      if (link.isEager) eager |= bit;
      else {
        lazy |= bit;
        rest.push(bit);
      }
    }
    for (
      let count = from === undefined ? countOf(eager) : MIN_PUSHING;
      count < MIN_PUSHING && rest.length > 0;
      count++
    ) {
      const [bit = 0] = rest.splice(randomBelow(random, rest.length), 1);
      eager |= bit;
      lazy &= ~bit;
    }
    return [eager, lazy];
  }

  /** 0 = nothing was ever to be told to it. */
  #bitOf(connection: number): number {
    const place = this.#connections.indexOf(connection);
    return place < 0 ? 0 : 1 << place;
  }

  /** 0 = there are too many: comparison tells it. */
  #place(connection: number): number {
    const free = this.#connections.indexOf(undefined);
    const place = free < 0 ? this.#connections.length : free;
    if (place >= MAX_LINKS) return 0;
    this.#connections[place] = connection;
    return 1 << place;
  }

  /** In the order they were queued: a horizon behind what it stands on. */
  #encode(
    keys: readonly string[],
    indices: readonly number[],
    texts: Map<number, string>,
  ): readonly Uint8Array[] {
    const { store, table } = this.#components;
    const records: StoredRecord[] = [];
    for (const key of keys) {
      const stored = store.stored(key);
      if (stored !== undefined) records.push(stored);
    }
    const rows: string[] = [];
    for (const index of indices) {
      const row = this.#latest.get(index);
      if (row === undefined || !table.hasRow(index)) continue;
      const text = texts.get(index) ?? encodeRow(row);
      texts.set(index, text);
      rows.push(text);
    }
    return [...recordFrames(records, { repair: false }), ...rowTextFrames(rows)];
  }

  #isBusy(): boolean {
    return this.#pushes > BUSY_PUSHES;
  }

  #relayDelayMs(): number {
    return RELAY_DELAY_MS + this.#components.random.next() * RELAY_JITTER_MS;
  }

  #wake(at: number): void {
    const spacingMs = this.#isBusy() ? BUSY_SPACING_MS : SPACING_MS;
    this.#flushAt = Math.min(this.#flushAt, Math.max(at, this.#flushedAt + spacingMs));
  }
}

/** The lowest bit. */
function lowest(bits: number): number {
  return bits & -bits;
}
