/**
 * What agent and master see of the record exchange: records that every node gets, and who is known and within reach.
 *
 * exchange.ts is the real one, exchange-fake.ts one for tests.
 */
import type { ReachState } from '../gossip/reach.ts';
import type { NodeId } from '../model/names.ts';
import type { GossipRecord, RecordValue } from '../model/record.ts';
import type { PeerAddress } from '../peer/types.ts';

export interface PeerStatus {
  readonly node: NodeId;
  /** `host:port` */
  readonly address: string;
  readonly connected: boolean;
  /** Wall time in ms of the connection; absent while not connected. */
  readonly since?: number;
}

export interface MemberStatus {
  readonly node: NodeId;
  /** `host:port`; empty for one that has not said where it is. */
  readonly address: string;
  /** As seen from here. Only `unreachable` hides: a suspect may merely be slow. */
  readonly state: ReachState;
  /** Wall time in ms of the last change of state. */
  readonly since: number;
}

/** Counts since the start, and sizes now. */
export interface ExchangeStatistics {
  /** Nodes that were called unreachable and turned out to have been running all the while. */
  readonly falseSuspicions: number;
  readonly messagesSent: number;
  readonly messagesReceived: number;
  readonly bytesSent: number;
  readonly bytesReceived: number;
  /** Records waiting to be told to peers. */
  readonly queueDepth: number;
  /** Neighbours that are heard. */
  readonly activePeers: number;
  readonly digestRounds: number;
  readonly repairs: number;
  readonly refused: number;
  /** Time this node was kept from running, ms. */
  readonly lagMs: number;
}

export interface RecordExchange {
  /** Writes an own record (`node/<own id>/...`); resolves when it is on disk. Does nothing when unchanged. */
  publish(key: string, value: RecordValue): Promise<void>;
  /** Publishes a tombstone. */
  withdraw(key: string): Promise<void>;
  /**
   * The same for many at once, `null` withdrawing: one write to the disk, one message to each neighbour. Rejects when
   * one of them is refused; the others are published all the same.
   */
  publishAll(values: ReadonlyMap<string, RecordValue | object>): Promise<void>;
  /** For masters: writes `cluster/...` as of the store's `revision`. */
  publishCluster(key: string, value: RecordValue, revision: number): Promise<void>;
  /** Shows others the newest certificate of this node; resolves when that is on disk. */
  introduce(): Promise<void>;
  /** Tombstones have the value `null`. */
  get(key: string): GossipRecord | undefined;
  /** Tombstones included. */
  records(prefix: string): Iterable<GossipRecord>;
  /** Calls back after each change below `prefix`; not for what is there already. Returns the way to stop. */
  subscribe(prefix: string, listener: (changes: readonly GossipRecord[]) => void): () => void;
  /** `host:port` of further nodes to start from. */
  addContacts(addresses: readonly string[]): void;
  /** This host has another address: connections from the old one are dead, though it may take long until that shows. */
  redial(): void;
  peers(): readonly PeerStatus[];
  /** Every known node but this one. */
  members(): readonly MemberStatus[];
  /** False only for a node that is known and `unreachable`. */
  isReachable(node: NodeId): boolean;
  /** Calls back after each change of a member's state. Returns the way to stop. */
  subscribeMembers(listener: (changes: readonly MemberStatus[]) => void): () => void;
  stats(): ExchangeStatistics;
  digest(): { readonly records: number; /** Equal hashes: equal records. */ readonly hash: string };
  /** Where it listens; undefined while it does not. */
  address(): PeerAddress | undefined;
  close(): Promise<void>;
}
