/**
 * The node's own records: their versions, and the claim that nobody else writes them.
 *
 * Invariants: versions only rise, within a start by sequence and across starts by epoch. What others hold under our
 * name and we do not (our disk was set back, or we crashed between telling and storing) is overwritten with what we
 * hold, or withdrawn: the node itself is the truth about itself.
 * Tombstones are forgotten in bulk: all live records are written again, and after HORIZON_DELAY_MS, when everybody has
 * those, a horizon declares everything older void.
 */
import { PortolanError } from '../base/errors.ts';
import type { NodeId } from '../model/names.ts';
import { recordNode, type GossipRecord, type RecordValue, type RecordVersion } from '../model/record.ts';
import { horizonKey, MAX_NODE_RECORDS, type RecordStore } from './records.ts';

const MAX_TOMBSTONES = 1_024;
/** Beyond this there is no time to wait. */
const URGENT_RECORDS = (MAX_NODE_RECORDS * 7) / 8;
const HORIZON_DELAY_MS = 30_000;

export class OwnWriter {
  readonly node: NodeId;
  readonly #store: RecordStore;
  #epoch: number;
  #sequence = 0;
  #tombstones: number;
  #horizon: { readonly version: RecordVersion; readonly at: number } | undefined;

  constructor(store: RecordStore, node: NodeId, epoch: number) {
    this.#store = store;
    this.node = node;
    this.#epoch = epoch;
    this.#tombstones = this.#countTombstones();
  }

  get epoch(): number {
    return this.#epoch;
  }

  /** Others have heard of a start that this one must outdo. */
  raise(epoch: number): void {
    if (epoch <= this.#epoch) return;
    this.#epoch = epoch;
    this.#sequence = 0;
  }

  /** When `forgetTombstones` has something to do. */
  get dueAt(): number {
    return this.#horizon?.at ?? Infinity;
  }

  /** Throws when the node must not write `key`. */
  check(key: string): void {
    if (recordNode(key) !== this.node)
      throw new PortolanError('invalid', `Cannot publish "${key}": a node writes under its own id only`, {
        field: 'key',
      });
    if (this.#store.isRemoved(this.node))
      throw new PortolanError('conflict', `Cannot publish "${key}": this node was removed from the cluster`, {
        remedy: 'let the node register anew, which gives it a new identity',
      });
  }

  /** The next version of an own record; not yet stored. */
  make(key: string, value: RecordValue): GossipRecord {
    return { key, version: { epoch: this.#epoch, sequence: ++this.#sequence }, value };
  }

  /** What has to be written because a peer holds `alien` under our name and we hold `ours`; undefined = nothing. */
  reclaim(alien: GossipRecord, ours: GossipRecord | undefined): GossipRecord | undefined {
    // A tombstone that we have forgotten ourselves: not worth a new one.
    if (ours === undefined && alien.value === null) return undefined;
    this.raise(alien.version.epoch + 1);
    return this.make(alien.key, ours?.value ?? null);
  }

  /** Own records to write again so that tombstones can be forgotten; empty most of the time. */
  afterWrite(record: GossipRecord, now: number): GossipRecord[] {
    if (record.value === null) this.#tombstones++;
    if (this.#tombstones <= MAX_TOMBSTONES || this.#horizon !== undefined) return [];
    const own = this.#store.ofWriter(this.node).map((stored) => stored.record);
    const live = own.filter((each) => each.value !== null && each.key !== horizonKey(this.node));
    const isUrgent = own.length > URGENT_RECORDS;
    const version = { epoch: this.#epoch, sequence: this.#sequence + 1 };
    this.#horizon = { version, at: now + (isUrgent ? 0 : HORIZON_DELAY_MS) };
    return live.map((each) => this.make(each.key, each.value));
  }

  /** The horizon, when it is due. */
  forgetTombstones(now: number): GossipRecord | undefined {
    if (this.#horizon === undefined || now < this.#horizon.at) return undefined;
    const { version } = this.#horizon;
    this.#horizon = undefined;
    return this.make(horizonKey(this.node), { ...version });
  }

  /** After records were dropped. */
  recount(): void {
    this.#tombstones = this.#countTombstones();
  }

  #countTombstones(): number {
    return this.#store.ofWriter(this.node).filter(({ record }) => record.value === null).length;
  }
}
