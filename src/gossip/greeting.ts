/** Who is at the other end, by its hello and, where it has shown one, its certificate. */
import { isNodeId, type ClusterId, type NodeId } from '../model/names.ts';
import { keys } from '../model/record.ts';
import { OLDEST_PROTOCOL, PROTOCOL_VERSION, type Hello } from './codec.ts';
import type { RecordStore, StoredRecord } from './records.ts';

export interface Peer {
  readonly node: NodeId;
  readonly epoch: number;
  /** The newest version of the protocol that it speaks. */
  readonly protocol: number;
  /** Where it listens: 0 and empty = not said. */
  readonly port: number;
  readonly address: string;
}

export type Judgement =
  | ({ readonly is: 'peer' } & Peer)
  | { readonly is: 'self' }
  /** Not to be asked again soon. */
  | { readonly is: 'stranger'; readonly reason: string }
  | { readonly is: 'removed'; readonly removal: StoredRecord };

export function judgeHello(
  hello: Hello,
  own: { readonly cluster: ClusterId | undefined; readonly node: NodeId; readonly store: RecordStore },
  certified?: NodeId,
): Judgement {
  const { cluster, node, epoch, protocol, port, address } = hello;
  if (hello.oldest > PROTOCOL_VERSION || hello.protocol < OLDEST_PROTOCOL)
    return {
      is: 'stranger',
      reason: `it speaks versions ${hello.oldest} to ${hello.protocol} of the protocol, this node ${OLDEST_PROTOCOL} to ${PROTOCOL_VERSION}`,
    };
  if (cluster !== own.cluster)
    return {
      is: 'stranger',
      reason: `it is of cluster "${cluster}", this node is of "${own.cluster ?? ''}"`,
    };
  if (!isNodeId(node)) return { is: 'stranger', reason: 'it gives no node id' };
  if (certified !== undefined && certified !== node)
    return { is: 'stranger', reason: `it says it is node "${node}", its certificate is of "${certified}"` };
  if (node === own.node) return { is: 'self' };
  const removal = own.store.stored(keys.removed(node));
  return removal === undefined
    ? { is: 'peer', node, epoch, protocol, port, address }
    : { is: 'removed', removal };
}
