/** What the record exchange keeps on disk: records, its epoch, its cluster, and whom it could talk to. */
import { z } from 'zod';
import type { Log } from '../base/log.ts';
import type { GossipEffect } from '../gossip/events.ts';
import { RecordStore } from '../gossip/records.ts';
import type { ClusterId, NodeId } from '../model/names.ts';
import { gossipRecord, recordNode, type GossipRecord } from '../model/record.ts';
import type { Journal } from '../store/types.ts';
import type { Authenticator } from '../trust/authenticity.ts';

const RECORD_PREFIX = 'record/';
const EPOCH_KEY = 'gossip/epoch';
const CLUSTER_KEY = 'gossip/cluster';
const PEERS_KEY = 'gossip/peers';
const peerRows = z.array(z.tuple([z.string(), z.string()]));
type PeerRows = z.infer<typeof peerRows>;

export class ExchangeJournal {
  readonly #journal: Journal;
  readonly #log: Log;

  constructor(components: { readonly journal: Journal; readonly log: Log }) {
    this.#journal = components.journal;
    this.#log = components.log;
  }

  /** Higher than at any earlier start, and on disk. */
  async nextEpoch(): Promise<number> {
    const epoch = Number(this.#journal.get(EPOCH_KEY) ?? 0) + 1;
    await this.#journal.write({ [EPOCH_KEY]: epoch });
    return epoch;
  }

  keepEpoch(epoch: number): void {
    this.#journal.writeLazily({ [EPOCH_KEY]: epoch });
  }

  /** Spare peers of the last start. */
  peers(): PeerRows {
    const peers = peerRows.safeParse(this.#journal.get(PEERS_KEY));
    return peers.success ? peers.data : [];
  }

  keepPeers(peers: unknown): void {
    this.#journal.writeLazily({ [PEERS_KEY]: peers });
  }

  /** Whether the node was in another cluster before. */
  async joins(cluster: ClusterId): Promise<{ readonly isOther: boolean }> {
    const before = this.#journal.get(CLUSTER_KEY) as ClusterId | undefined;
    if (before !== cluster) await this.#journal.write({ [CLUSTER_KEY]: cluster });
    return { isOther: before !== undefined && before !== cluster };
  }

  /** What was known at the last stop. */
  records(node: NodeId, authenticator?: Authenticator): RecordStore {
    const store = new RecordStore();
    // What has a signature was judged when it came; own records without one are signed now.
    const doubting = ({ key, signature }: GossipRecord): Authenticator | undefined =>
      signature === undefined && recordNode(key) !== node ? authenticator : undefined;
    for (const [key, stored] of this.#journal.entries(RECORD_PREFIX)) {
      const record = gossipRecord.safeParse({
        key: key.slice(RECORD_PREFIX.length),
        ...(stored as object),
      });
      const outcome = record.success ? store.put(record.data, doubting(record.data)).put : 'refused';
      if (outcome === 'refused' || outcome === 'unknown')
        this.#log.warn('forgot a stored record that is not valid any more', { key });
      if (outcome !== 'stored') this.#journal.writeLazily({ [key]: undefined });
    }
    return store;
  }

  /** The promise of the disk, where it is waited for. */
  persist(effect: Extract<GossipEffect, { do: 'persist' }>): Promise<void> | undefined {
    const changes: Record<string, unknown> = {};
    for (const { key, ...rest } of effect.records) changes[RECORD_PREFIX + key] = rest;
    for (const key of effect.dropped) changes[RECORD_PREFIX + key] = undefined;
    if (effect.durable) return this.#journal.write(changes);
    this.#journal.writeLazily(changes);
    return undefined;
  }

  /** Resolves when everything written so far is on disk. */
  flushed(): Promise<void> {
    return this.#journal.write({});
  }
}
