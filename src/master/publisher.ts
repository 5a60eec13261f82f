/**
 * What masters tell every node by gossip: `cluster/...` records with the store's revision as version.
 *
 * A record is published only after what it says is durable, and again at every start: the exchange keeps the newer.
 */
import { PortolanError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { keys, type RecordValue } from '../model/record.ts';
import type { NetworkConfig } from '../model/overlay.ts';
import type { Store } from '../store/types.ts';
import { storeKeys, type Removal } from './stored.ts';

export interface ClusterPublisher {
  publishCluster(key: string, value: RecordValue, revision: number): Promise<void>;
}

export interface PublisherComponents {
  readonly store: Store;
  readonly exchange: ClusterPublisher;
  readonly log: Log;
}

export async function publishRemoval(
  { exchange, log }: PublisherComponents,
  { node, grant_epoch }: Removal,
  revision: number,
): Promise<void> {
  try {
    await exchange.publishCluster(keys.removed(node), { node, grant_epoch }, revision);
  } catch (error) {
    // The removal itself is committed; the next start publishes it again.
    log.error('Cannot publish the removal of a node', { node, error });
  }
}

/** Publishes a value that the store keeps too, so that a changed one has a higher revision also after a restart. */
export async function publishKept(
  { store, exchange }: PublisherComponents,
  which: 'network' | 'masters',
  value: NetworkConfig | { readonly masters: readonly string[] },
): Promise<void> {
  const key = storeKeys[which];
  // Through JSON, so that members which are `undefined` are absent.
  const text = JSON.stringify(value);
  const stored = await store.get(key);
  const revision =
    stored?.value === text ? stored.revision : await put(store, key, text, stored?.revision ?? 0);
  await exchange.publishCluster(keys[which], JSON.parse(text) as RecordValue, revision);
}

async function put(store: Store, key: string, value: string, before: number): Promise<number> {
  const outcome = await store.transact([{ key, revision: before }], [{ do: 'put', key, value }]);
  if (outcome.ok) return outcome.revision;
  throw new PortolanError('conflict', `Cannot write "${key}": another master just did`);
}
