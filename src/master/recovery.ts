/** Reading the store: the cluster's id, made once, and everything the registry knows. */
import { PortolanError } from '../base/errors.ts';
import type { Random } from '../base/random.ts';
import { z } from 'zod';
import { newClusterId, type ClusterId } from '../model/names.ts';
import type { OverlayInfo } from '../model/overlay.ts';
import type { Store } from '../store/types.ts';
import type { LedgerContent } from './ledger.ts';
import { decodeNode, decodeStored, storeKeys, storedEpoch, storedOverlay, storedRemoval } from './stored.ts';

const storedClusterId = z.strictObject({ id: z.string().regex(/^c[a-z2-7]{25}$/) });

/** The cluster this store is of; a new one at the first start. */
export async function ensureClusterId(components: {
  readonly store: Store;
  readonly random: Random;
}): Promise<ClusterId> {
  const { store, random } = components;
  const key = storeKeys.clusterId;
  const found = await store.get(key);
  if (found !== undefined) return decodeStored(storedClusterId, found).id as ClusterId;
  const id = newClusterId(random);
  const outcome = await store.transact(
    [{ key, revision: 0 }],
    [{ do: 'put', key, value: JSON.stringify({ id }) }],
  );
  if (outcome.ok) return id;
  throw new PortolanError('conflict', 'Cannot make a cluster id: another master just did', {
    remedy: 'start this master again',
  });
}

export interface Recovered {
  readonly content: LedgerContent;
  /** Overlays added through the API. */
  readonly added: readonly OverlayInfo[];
  readonly epochRevision: number;
  /** Revision of each `removed/` entry: the version of its published record. */
  readonly removedRevisions: ReadonlyMap<string, number>;
}

export async function recover(store: Store): Promise<Recovered> {
  const epoch = await store.get(storeKeys.epoch);
  const nodes = await store.range(storeKeys.nodes);
  const removed = await store.range(storeKeys.removed);
  const networks = await store.range(storeKeys.networks);
  return {
    content: {
      epoch: epoch === undefined ? 0 : decodeStored(storedEpoch, epoch).epoch,
      nodes: nodes.entries.map(decodeNode),
      removed: removed.entries.map((entry) => decodeStored(storedRemoval, entry)),
    },
    added: networks.entries.map((entry) => decodeStored(storedOverlay, entry)),
    epochRevision: epoch?.revision ?? 0,
    removedRevisions: new Map(
      removed.entries.map(({ key, revision }) => [key.slice(storeKeys.removed.length), revision]),
    ),
  };
}
