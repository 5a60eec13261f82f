/** A record exchange without a network: for tests of what listens to one. */
import type { NodeId } from '../model/names.ts';
import { recordNode, type GossipRecord, type RecordValue } from '../model/record.ts';
import type { AppliedExchange } from './applied-view.ts';
import type { ExchangeStatistics, MemberStatus, PeerStatus } from './record-exchange.ts';

const noTraffic: ExchangeStatistics = {
  ...{ falseSuspicions: 0, messagesSent: 0, messagesReceived: 0, bytesSent: 0, bytesReceived: 0 },
  ...{ queueDepth: 0, activePeers: 0, digestRounds: 0, repairs: 0, refused: 0, lagMs: 0 },
};

export class FakeExchange implements AppliedExchange {
  readonly held = new Map<string, GossipRecord>();
  readonly #listeners = new Set<(changes: readonly GossipRecord[]) => void>();
  readonly #memberListeners = new Set<(changes: readonly MemberStatus[]) => void>();
  readonly #unreachable = new Set<NodeId>();
  #sequence = 0;

  /** As heard from others: `cluster/...` with its revision, all else with a rising sequence. */
  put(key: string, value: RecordValue, revision?: number): void {
    const version =
      revision === undefined ? { epoch: 1, sequence: ++this.#sequence } : { epoch: revision, sequence: 0 };
    const record = { key, version, value };
    this.held.set(key, record);
    this.#notify([record]);
  }

  /** No more held, as when its node was removed. */
  drop(key: string): void {
    const record = this.held.get(key);
    if (record === undefined) return;
    this.held.delete(key);
    this.#notify([{ ...record, value: null }]);
  }

  setReachable(node: NodeId, isReachable: boolean): void {
    if (isReachable) this.#unreachable.delete(node);
    else this.#unreachable.add(node);
    for (const listener of this.#memberListeners)
      listener(this.members().filter((each) => each.node === node));
  }

  publish(key: string, value: RecordValue): Promise<void> {
    this.put(key, value);
    return Promise.resolve();
  }

  publishAll(values: ReadonlyMap<string, RecordValue>): Promise<void> {
    for (const [key, value] of values) this.put(key, value);
    return Promise.resolve();
  }

  get(key: string): GossipRecord | undefined {
    return this.held.get(key);
  }

  records(prefix: string): Iterable<GossipRecord> {
    return [...this.held.values()].filter(({ key }) => key.startsWith(prefix));
  }

  subscribe(prefix: string, listener: (changes: readonly GossipRecord[]) => void): () => void {
    const filtered = (changes: readonly GossipRecord[]): void => {
      const seen = changes.filter(({ key }) => key.startsWith(prefix));
      if (seen.length > 0) listener(seen);
    };
    this.#listeners.add(filtered);
    return () => this.#listeners.delete(filtered);
  }

  isReachable(node: NodeId): boolean {
    return !this.#unreachable.has(node);
  }

  members(): readonly MemberStatus[] {
    const nodes = new Set([...this.held.keys()].flatMap((key) => recordNode(key) ?? []));
    return [...nodes].map((node) => ({
      ...{ node, address: '10.0.0.1:1', since: 1_000 },
      state: this.isReachable(node) ? 'alive' : 'unreachable',
    }));
  }

  stats(): ExchangeStatistics {
    return noTraffic;
  }

  peers(): readonly PeerStatus[] {
    return [];
  }

  subscribeMembers(listener: (changes: readonly MemberStatus[]) => void): () => void {
    this.#memberListeners.add(listener);
    return () => this.#memberListeners.delete(listener);
  }

  #notify(changes: readonly GossipRecord[]): void {
    for (const listener of this.#listeners) listener(changes);
  }
}
