/**
 * Joining a cluster and staying in it, over HTTP (TLS on the masters' API port).
 *
 * `GET authority` is anybody's: a joiner compares the fingerprint with its token's before it says anything secret.
 * `POST join` takes a token and a public key, and gives a certificate; `POST renew` the same for a node that has one.
 */
import { z } from 'zod';

export const AUTHORITY_PATH = '/v1/trust/authority';
export const JOIN_PATH = '/v1/trust/join';
export const RENEW_PATH = '/v1/trust/renew';
export const LEAVE_PATH = '/v1/trust/leave';
export const TOKENS_PATH = '/v1/tokens';

const pem = z.string().min(1).max(8192);
const base64url = z
  .string()
  .regex(/^[A-Za-z0-9_-]*$/)
  .max(512);

export const authorityAnswer = z.object({ cluster: z.string(), certificate: pem });

export const joinRequest = z.strictObject({
  /** Absent on the master's own socket, which is root's. */
  token: z.strictObject({ id: z.string().regex(/^[0-9a-f]{12}$/), secret: base64url }).optional(),
  public_key: pem,
  /** By the private key, over `joinPurpose(token id)`. */
  proof: base64url,
});
export type JoinRequest = z.infer<typeof joinRequest>;

export const renewRequest = z.strictObject({
  public_key: pem,
  /** By the private key, over `renewPurpose(node id)`. */
  proof: base64url,
});
export type RenewRequest = z.infer<typeof renewRequest>;

export const certificateAnswer = z.object({
  certificate: pem,
  authority: pem,
  /** `host:port` of every master's API. */
  masters: z.array(z.string()),
});
export type CertificateAnswer = z.infer<typeof certificateAnswer>;

/** What the proof of a key is for: a signature for one thing is none for another. */
export function joinPurpose(tokenId: string): string {
  return `portolan join ${tokenId}`;
}

export function renewPurpose(node: string): string {
  return `portolan renew ${node}`;
}

export const MAX_TOKENS_AT_ONCE = 1000;
const MAX_TTL_SECONDS = 30 * 86_400;

export const createTokens = z.strictObject({
  /** How long it may be used. */
  ttl_seconds: z.int().min(1).max(MAX_TTL_SECONDS).default(3600),
  count: z.int().min(1).max(MAX_TOKENS_AT_ONCE).default(1),
  /** For people. */
  note: z.string().max(200).optional(),
});
export type CreateTokens = z.infer<typeof createTokens>;

/** As listed: without the secret, which nobody knows any more. */
export interface TokenView {
  readonly id: string;
  readonly state: 'unused' | 'used' | 'expired';
  /** ISO 8601 */
  readonly created: string;
  readonly expires: string;
  readonly note?: string;
  /** Node that used it. */
  readonly node?: string;
}
