/** The master's keys of trust in the store: the cluster's authority, and the tokens to join with. */
import { z } from 'zod';
import { PortolanError } from '../base/errors.ts';
import type { NodeId } from '../model/names.ts';
import type { Store, StoreCondition, StoreOperation, StoreOutcome } from '../store/types.ts';

export const trustKeys = {
  /** `{key, certificate}`, made once: whoever can read it can make nodes. */
  authority: 'trust/authority',
  tokens: 'trust/tokens/',
  token: (id: string) => `trust/tokens/${id}`,
} as const;

export const storedAuthority = z.strictObject({ key: z.string(), certificate: z.string() });

const nodeId = z.string() as unknown as z.ZodType<NodeId>;

export const storedToken = z.strictObject({
  id: z.string(),
  /** Of its secret. */
  hash: z.string(),
  /** Wall time, ms. */
  created: z.int(),
  /** Wall time, ms. */
  expires: z.int(),
  note: z.string().optional(),
  used: z
    .strictObject({
      node: nodeId,
      /** Wall time, ms. */
      at: z.int(),
      /** Whoever has this key may ask once more: the answer may have been lost. */
      public_key: z.string(),
    })
    .optional(),
});
export type StoredToken = z.infer<typeof storedToken>;

/** A transaction whose failure (a full disk, say) tells the caller to try again. */
export async function commitTrust(
  store: Store,
  conditions: readonly StoreCondition[],
  operations: readonly StoreOperation[],
): Promise<StoreOutcome> {
  try {
    return await store.transact(conditions, operations);
  } catch (cause) {
    throw new PortolanError('unavailable', `Cannot commit to the store: ${(cause as Error).message}`, {
      remedy: 'try again in a second; see the log of the master when it lasts',
      cause,
    });
  }
}
