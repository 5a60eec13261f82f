/**
 * How much of the masters' records is there: the newest revision among them, and a hash of them all.
 *
 * The revision alone does not do: a record may have been lost on its way while a later one arrived. Two nodes with one
 * revision and one hash hold the same. Tombstones are left out of the hash, since nodes forget them at different times.
 */
import { combine, emptyHash, hashHex, hashText, type Hash } from '../gossip/hash.ts';
import type { GossipRecord } from '../model/record.ts';
import type { RecordExchange } from './record-exchange.ts';

export const CLUSTER_PREFIX = 'cluster/';

export interface ClusterMarker {
  /** 0 while there is no record. */
  readonly revision: number;
  readonly set: string;
}

interface Held {
  readonly revision: number;
  readonly hash: Hash;
}

export class ClusterRecords {
  readonly #exchange: Pick<RecordExchange, 'get' | 'records'>;
  readonly #held = new Map<string, Held>();
  #marker: ClusterMarker = { revision: 0, set: hashHex(emptyHash) };

  constructor(exchange: Pick<RecordExchange, 'get' | 'records'>) {
    this.#exchange = exchange;
    this.take(exchange.records(CLUSTER_PREFIX));
  }

  get marker(): ClusterMarker {
    return this.#marker;
  }

  /** What became of `changes` is looked up: a record that was dropped appears in them like a tombstone. */
  take(changes: Iterable<GossipRecord>): void {
    for (const { key } of changes) {
      const record = this.#exchange.get(key);
      if (record === undefined) this.#held.delete(key);
      else this.#held.set(key, held(record));
    }
    let revision = 0;
    let set = emptyHash;
    for (const each of this.#held.values()) {
      revision = Math.max(revision, each.revision);
      set = combine(set, each.hash);
    }
    this.#marker = { revision, set: hashHex(set) };
  }
}

function held({ key, version, value }: GossipRecord): Held {
  const revision = version.epoch;
  return { revision, hash: value === null ? emptyHash : hashText(`${key} ${revision}`) };
}

export function isSameMarker(a: ClusterMarker, b: ClusterMarker): boolean {
  return a.revision === b.revision && a.set === b.set;
}
