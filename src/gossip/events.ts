/** What the core of the record exchange is told, and what it asks for. */
import type { LogFields } from '../base/log.ts';
import type { ClusterId, NodeId } from '../model/names.ts';
import type { GossipRecord, RecordValue } from '../model/record.ts';
import type { PeerRow } from './codec.ts';
import type { AddressText } from './links.ts';
import type { Reach } from './reach.ts';

export type GossipEvent =
  | {
      readonly on: 'connected';
      readonly connection: number;
      readonly address: AddressText;
      readonly isDialled: boolean;
      /** Who is there by its certificate; absent where the transport asks for none. */
      readonly certified?: NodeId | undefined;
    }
  | { readonly on: 'connect-failed'; readonly address: AddressText }
  | { readonly on: 'frame'; readonly connection: number; readonly frame: Uint8Array }
  | { readonly on: 'disconnected'; readonly connection: number }
  /** Own records by key; what is written together is stored, told and sent together. */
  | { readonly on: 'write'; readonly values: ReadonlyMap<string, RecordValue> }
  | {
      readonly on: 'write-cluster';
      readonly key: string;
      readonly value: RecordValue;
      readonly revision: number;
    }
  /** The node belongs to `cluster` from now on and listens; `isOther`: what it knows is of another one. */
  | {
      readonly on: 'cluster';
      readonly cluster: ClusterId;
      readonly isOther: boolean;
      readonly port?: number;
    }
  | { readonly on: 'contacts'; readonly addresses: readonly AddressText[] }
  | { readonly on: 'tick' };

export type GossipEffect =
  | { readonly do: 'send'; readonly connection: number; readonly frame: Uint8Array }
  /** Beside the stream: it may be lost. */
  | { readonly do: 'aside'; readonly connection: number; readonly bytes: Uint8Array }
  | { readonly do: 'connect'; readonly address: AddressText }
  | { readonly do: 'disconnect'; readonly connection: number; readonly reason: string }
  /** `dropped` keys are no longer held; `durable`: the writer waits for the disk. */
  | {
      readonly do: 'persist';
      readonly records: readonly GossipRecord[];
      readonly dropped: readonly string[];
      readonly durable: boolean;
    }
  | { readonly do: 'persist-epoch'; readonly epoch: number }
  /** Spare peers to start from next time. */
  | { readonly do: 'persist-peers'; readonly peers: readonly PeerRow[] }
  /** What was dropped appears with value `null`. */
  | { readonly do: 'notify'; readonly changes: readonly GossipRecord[] }
  | { readonly do: 'notify-members'; readonly changes: readonly Reach[] }
  | {
      readonly do: 'log';
      readonly level: 'debug' | 'info' | 'warn';
      readonly message: string;
      readonly fields: LogFields;
    };
