/**
 * Join tokens: `pt1_` and, in base64url, id, secret, the authority's fingerprint and a check sum.
 *
 * Invariants: the store keeps the secret's hash only (128 random bits need no slow hash); the fingerprint lets the
 * joiner know the cluster before it says the secret; the check sum tells a token that was cut or mistyped from one
 * that is refused.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { PortolanError } from '../base/errors.ts';
import type { Random } from '../base/random.ts';

const PREFIX = 'pt1_';
const ID_BYTES = 6;
const SECRET_BYTES = 16;
const FINGERPRINT_BYTES = 32;
const SUM_BYTES = 4;
const BODY_BYTES = ID_BYTES + SECRET_BYTES + FINGERPRINT_BYTES;

export interface JoinToken {
  /** 12 hexadecimal digits; not secret. */
  readonly id: string;
  /** base64url */
  readonly secret: string;
  /** SHA-256 of the authority's certificate. */
  readonly fingerprint: Buffer;
}

export function newToken(random: Random, fingerprint: Buffer): JoinToken {
  return {
    id: Buffer.from(random.bytes(ID_BYTES)).toString('hex'),
    secret: Buffer.from(random.bytes(SECRET_BYTES)).toString('base64url'),
    fingerprint,
  };
}

export function formatToken({ id, secret, fingerprint }: JoinToken): string {
  const body = Buffer.concat([Buffer.from(id, 'hex'), Buffer.from(secret, 'base64url'), fingerprint]);
  return PREFIX + Buffer.concat([body, checkSum(body)]).toString('base64url');
}

/** `undefined` for what is no token. */
export function parseToken(text: string): JoinToken | undefined {
  if (!text.startsWith(PREFIX)) return undefined;
  const bytes = Buffer.from(text.slice(PREFIX.length), 'base64url');
  if (bytes.length !== BODY_BYTES + SUM_BYTES) return undefined;
  const body = bytes.subarray(0, BODY_BYTES);
  if (!checkSum(body).equals(bytes.subarray(BODY_BYTES))) return undefined;
  return {
    id: body.subarray(0, ID_BYTES).toString('hex'),
    secret: body.subarray(ID_BYTES, ID_BYTES + SECRET_BYTES).toString('base64url'),
    fingerprint: Buffer.from(body.subarray(ID_BYTES + SECRET_BYTES)),
  };
}

/** What the store keeps of a secret. */
export function secretHash(secret: string): string {
  return createHash('sha256').update(Buffer.from(secret, 'base64url')).digest('base64url');
}

export function isSecret(secret: string, hash: string): boolean {
  const [given, wanted] = [secretHash(secret), hash].map((text) => Buffer.from(text, 'base64url'));
  return given?.length === wanted?.length && timingSafeEqual(given as Buffer, wanted as Buffer);
}

/** Where and with what to join, as people pass it on: `TOKEN@HOST:PORT`. */
export interface Invitation {
  readonly token: JoinToken;
  /** `host:port` of a master's API. */
  readonly master: string;
}

/** Throws 'invalid' with a remedy; the token itself never gets into the message. */
export function parseInvitation(text: string): Invitation {
  const at = text.lastIndexOf('@');
  const token = parseToken(text.slice(0, at));
  const master = text.slice(at + 1);
  if (at < 0 || !/^(\[[0-9a-f:]+\]|[^:[\]@/]+):[0-9]{1,5}$/i.test(master))
    throw unusable('it is not TOKEN@HOST:PORT');
  if (token === undefined) throw unusable('it was cut or mistyped');
  return { token, master };
}

function unusable(why: string): PortolanError {
  return new PortolanError('invalid', `Cannot use this join token: ${why}`, {
    field: 'join',
    remedy: 'copy all of what "portolan token create" printed',
  });
}

function checkSum(body: Uint8Array): Buffer {
  return createHash('sha256').update(body).digest().subarray(0, SUM_BYTES);
}
