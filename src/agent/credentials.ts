/**
 * A node's credentials in its journal: they come and go with its identity, in one write.
 *
 * Invariants: the journal is root's alone (mode 0600); the id in the certificate is the node's id.
 */
import { z } from 'zod';
import { PortolanError } from '../base/errors.ts';
import { IDENTITY_KEY } from '../node/identity.ts';
import type { Journal } from '../store/types.ts';
import { openCredentials, type Credentials } from '../trust/credentials.ts';
import { newPrivateKey } from '../trust/keys.ts';
import { GrantKeeper } from './grant-keeper.ts';

const CREDENTIALS_KEY = 'trust/credentials';
/** A private key that is not certified yet. */
export const PENDING_KEY = 'trust/pending';

/** What the node's records are signed with: it stays while the node has its identity. */
const RECORD_KEY = 'trust/record-key';

const stored = z.object({
  key: z.string(),
  certificate: z.string(),
  authority: z.string(),
  /** `host:port` of the masters' API, as of the last certificate. */
  masters: z.array(z.string()),
});
export type StoredCredentials = z.infer<typeof stored>;

/** What makes a host a node of a cluster. */
export interface MemberCredentials {
  readonly credentials: Credentials;
  readonly masters: readonly string[];
}

/** `undefined` before the node has joined. Throws 'corrupt' for what does not fit. */
export function loadCredentials(journal: Journal): MemberCredentials | undefined {
  const found = journal.get(CREDENTIALS_KEY);
  if (found === undefined) return undefined;
  const parsed = stored.safeParse(found);
  if (!parsed.success)
    throw new PortolanError('corrupt', "Cannot read the node's certificate: it does not fit its schema", {
      remedy: 'restore the journal from a backup, or move it away and join again',
    });
  return opened(parsed.data);
}

/** Resolves when it is on disk. Refuses what is of another cluster than the node's grant. */
export async function storeCredentials(
  journal: Journal,
  texts: StoredCredentials,
): Promise<MemberCredentials> {
  const membership = opened(texts);
  const { cluster, node } = membership.credentials.name;
  const own = new GrantKeeper({ journal }).cluster();
  if (own !== undefined && own !== cluster) throw otherCluster(cluster, own);
  await journal.write({ [CREDENTIALS_KEY]: texts, [PENDING_KEY]: undefined, [IDENTITY_KEY]: node });
  return membership;
}

/** The cluster has removed this node: id and certificate are void. */
export async function dropCredentials(journal: Journal): Promise<void> {
  const names = [CREDENTIALS_KEY, PENDING_KEY, RECORD_KEY, IDENTITY_KEY];
  await journal.write(Object.fromEntries(names.map((name) => [name, undefined])));
}

/** The private key of the node's records, PEM; made at the first call. */
export async function ensureRecordKey(journal: Journal): Promise<string> {
  const found = z.string().optional().parse(journal.get(RECORD_KEY));
  const key = found ?? newPrivateKey();
  if (found === undefined) await journal.write({ [RECORD_KEY]: key });
  return key;
}

function opened(texts: StoredCredentials): MemberCredentials {
  return { credentials: openCredentials(texts), masters: texts.masters };
}

function otherCluster(cluster: string, own: string): PortolanError {
  return new PortolanError('forbidden', `Cannot join cluster "${cluster}": this host belongs to "${own}"`, {
    field: 'join',
    remedy: 'run `portolan uninstall --purge` first to make it join another cluster',
  });
}

export function isExpired({ validity }: Credentials, wallMs: number): boolean {
  return wallMs > validity.notAfter;
}
