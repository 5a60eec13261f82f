/** The node programs that the simulator can run: the shipped one, and what it is compared with. */
import { openExchange, type ExchangeComponents, type ExchangeInit } from '../src/node/exchange.ts';
import type { NodeId } from '../src/model/names.ts';
import type { GossipRecord, RecordValue } from '../src/model/record.ts';
import { openFullMesh } from './full-mesh.ts';

export interface MemberChange {
  readonly node: NodeId;
  readonly state: 'alive' | 'suspect' | 'unreachable';
}

/** What the simulator asks of a node. */
export interface NodeProgram {
  publish(key: string, value: RecordValue): Promise<void>;
  publishCluster(key: string, value: RecordValue, revision: number): Promise<void>;
  records(prefix: string): Iterable<GossipRecord>;
  subscribe(prefix: string, listener: (changes: readonly GossipRecord[]) => void): () => void;
  subscribeMembers(listener: (changes: readonly MemberChange[]) => void): () => void;
  stats(): { readonly queueDepth: number };
  digest(): { readonly records: number; readonly hash: string };
  close(): Promise<void>;
}

export type OpenNode = (components: ExchangeComponents, init: ExchangeInit) => Promise<NodeProgram>;

export const protocols = {
  portolan: openExchange,
  'full-mesh': openFullMesh,
} as const satisfies Readonly<Record<string, OpenNode>>;

export type ProtocolName = keyof typeof protocols;
