/** A node's identity, kept in its journal: made once, replaced only after the cluster removed the node. */
import type { Random } from '../base/random.ts';
import { PortolanError } from '../base/errors.ts';
import { isNodeId, newNodeId, type NodeId } from '../model/names.ts';
import type { Journal } from '../store/types.ts';

export const IDENTITY_KEY = 'identity/node';

export interface IdentityComponents {
  readonly journal: Journal;
  readonly random: Random;
}

/** The node's id; on disk before anybody hears it. */
export async function openIdentity(components: IdentityComponents): Promise<NodeId> {
  const stored = components.journal.get(IDENTITY_KEY);
  if (stored === undefined) return rotateIdentity(components);
  if (typeof stored === 'string' && isNodeId(stored)) return stored;
  throw new PortolanError(
    'corrupt',
    `Cannot read the node's identity: ${JSON.stringify(stored)} is no node id`,
    {
      field: IDENTITY_KEY,
      remedy: 'restore the state file from a backup, or move it away and restart: the node registers anew',
    },
  );
}

/** A new id: the old one is void for ever once the cluster has removed it. */
export async function rotateIdentity(components: IdentityComponents): Promise<NodeId> {
  const node = newNodeId(components.random);
  await components.journal.write({ [IDENTITY_KEY]: node });
  return node;
}
