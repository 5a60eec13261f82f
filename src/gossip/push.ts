/**
 * News on its way to the connected peers.
 *
 * A short wait before relaying lets several changes share a frame, and lets the same news arrive from others first:
 * whoever sent it needs it no more. What is lost here, comparison repairs.
 */
import type { Random } from '../base/random.ts';
import { recordFrames } from './paging.ts';
import type { RecordStore, StoredRecord } from './records.ts';

/** Long enough to gather what one turn of the event loop writes. */
const OWN_DELAY_MS = 1;
const RELAY_DELAY_MS = 3;
const RELAY_JITTER_MS = 5;
/** News waiting for one peer; what exceeds it is left to comparison. */
const MAX_PENDING_KEYS = 20_000;

export class PushQueue {
  readonly #random: Random;
  readonly #store: RecordStore;
  readonly #pending = new Map<number, Set<string>>();
  /** When the next flush is due; Infinity = nothing waits. */
  dueAt = Infinity;

  constructor(random: Random, store: RecordStore) {
    this.#random = random;
    this.#store = store;
  }

  /** Queues for all `connections`; `isOwn`: written here, not relayed. */
  add(
    keys: readonly string[],
    connections: Iterable<number>,
    options: { readonly isOwn: boolean; readonly now: number },
  ): void {
    let queued = false;
    for (const connection of connections) {
      const pending = this.#pending.get(connection) ?? new Set();
      this.#pending.set(connection, pending);
      for (const key of keys) if (pending.size < MAX_PENDING_KEYS) pending.add(key);
      queued = true;
    }
    const delay = options.isOwn ? OWN_DELAY_MS : RELAY_DELAY_MS + this.#random.next() * RELAY_JITTER_MS;
    if (queued) this.dueAt = Math.min(this.dueAt, options.now + delay);
  }

  /** The peer has said `key` itself, at the version we hold or a newer one. */
  isKnown(connection: number, key: string): void {
    this.#pending.get(connection)?.delete(key);
  }

  /** What waits, over all peers. */
  get depth(): number {
    let depth = 0;
    for (const keys of this.#pending.values()) depth += keys.size;
    return depth;
  }

  drop(connection: number): void {
    this.#pending.delete(connection);
  }

  /** Everything that waits, as frames per connection. */
  flush(): (readonly [connection: number, frames: readonly Uint8Array[]])[] {
    this.dueAt = Infinity;
    // Most peers get the same news: it is encoded once.
    const encoded = new Map<string, readonly Uint8Array[]>();
    const out: (readonly [number, readonly Uint8Array[]])[] = [];
    for (const [connection, keys] of this.#pending) {
      if (keys.size === 0) continue;
      const name = Array.from(keys).join('\n');
      const frames = encoded.get(name) ?? this.#encode(keys);
      encoded.set(name, frames);
      out.push([connection, frames]);
    }
    this.#pending.clear();
    return out;
  }

  /** In the order they were queued: a horizon behind what it stands on. */
  #encode(keys: ReadonlySet<string>): readonly Uint8Array[] {
    const records: StoredRecord[] = [];
    for (const key of keys) {
      const stored = this.#store.stored(key);
      if (stored !== undefined) records.push(stored);
    }
    return recordFrames(records, { repair: false });
  }
}
