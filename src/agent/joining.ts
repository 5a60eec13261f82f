/**
 * Getting a certificate: with a token from a master anywhere, without one from a master on this host.
 *
 * Invariants: nothing secret is said before the master has shown that it is the one the token is from; the key is on
 * disk before it is certified, so that a lost answer can be asked for again; a token never gets into a log.
 */
import { existsSync } from 'node:fs';
import type { AgentOptions } from 'node:https';
import type { X509Certificate } from 'node:crypto';
import { isPortolanError, PortolanError } from '../base/errors.ts';
import { parseTarget, request, type Answer, type HttpTarget } from '../http/client.ts';
import { answered } from '../http/errors.ts';
import {
  AUTHORITY_PATH,
  JOIN_PATH,
  authorityAnswer,
  certificateAnswer,
  joinPurpose,
  type JoinRequest,
} from '../model/trust.ts';
import type { Journal } from '../store/types.ts';
import { fingerprintOf, nodeNameOf, parseCertificate } from '../trust/certificate.ts';
import type { Credentials } from '../trust/credentials.ts';
import { newPrivateKey, proveKey, publicKeyOf } from '../trust/keys.ts';
import { parseInvitation, type Invitation } from '../trust/token.ts';
import { storeCredentials, PENDING_KEY, type MemberCredentials } from './credentials.ts';

const REQUEST_TIMEOUT_MS = 10_000;

/** What a node has before it joins, or in order to join again. */
export interface JoinComponents {
  readonly journal: Journal;
}

export interface JoinInit {
  /** Its old credentials, which let it keep its id. */
  readonly former?: Credentials;
  readonly signal?: AbortSignal;
}

/** Joins with `TOKEN@HOST:PORT`; resolves when the certificate is on disk. */
export async function joinWithToken(
  { journal }: JoinComponents,
  invitation: string,
  init: JoinInit = {},
): Promise<MemberCredentials> {
  const { token, master } = parseInvitation(invitation);
  const target = parseTarget(master);
  const authority = await fetchAuthority(target, { token, master }, init.signal);
  const key = await pendingKey(journal);
  const tls: AgentOptions = {
    ca: authority,
    minVersion: 'TLSv1.3',
    checkServerIdentity: (_host, shown) => mustBeMaster(shown as { raw: Buffer }),
    ...(init.former === undefined ? {} : { key: init.former.key, cert: init.former.certificate }),
  };
  const { id, secret } = token;
  const body = joinRequest(key, id, { token: { id, secret } });
  const answer = await request(target, {
    ...{ method: 'POST', path: JOIN_PATH, body, timeoutMs: REQUEST_TIMEOUT_MS, tls },
    ...(init.signal === undefined ? {} : { signal: init.signal }),
  });
  return keep(journal, key, answer, master);
}

/** Joins by the socket of the master on this host, which only root can open. */
export async function joinLocally(
  { journal }: JoinComponents,
  socketPath: string,
  signal?: AbortSignal,
): Promise<MemberCredentials> {
  const key = await pendingKey(journal);
  const answer = await request(
    { socketPath },
    {
      ...{ method: 'POST', path: JOIN_PATH, body: joinRequest(key, '', {}), timeoutMs: REQUEST_TIMEOUT_MS },
      ...(signal === undefined ? {} : { signal }),
    },
  );
  return keep(journal, key, answer, undefined);
}

export function hasLocalMaster(socketPath: string): boolean {
  return existsSync(socketPath);
}

/** Public, and recognised by its fingerprint: it needs no secured connection. */
async function fetchAuthority(
  target: HttpTarget,
  { token, master }: Invitation,
  signal: AbortSignal | undefined,
): Promise<string> {
  const answer = await request(target, {
    ...{ method: 'GET', path: AUTHORITY_PATH, timeoutMs: REQUEST_TIMEOUT_MS },
    ...(signal === undefined ? {} : { signal }),
  }).catch((error: unknown) => {
    throw isPortolanError(error, 'unavailable') ? noAnswer(error) : error;
  });
  const isNoMaster = answer.status === 404;
  const told = authorityAnswer.safeParse(isNoMaster ? undefined : answered(answer));
  if (!told.success)
    throw new PortolanError('invalid', `Cannot join: ${master} is no master of Portolan`, {
      field: 'join',
      remedy: 'name the API of a master, port 5050 unless configured otherwise',
    });
  const { certificate } = told.data;
  if (fingerprintOf(parseCertificate(certificate)).equals(token.fingerprint)) return certificate;
  throw new PortolanError(
    'forbidden',
    `Cannot join: ${master} is a master of another cluster than the token`,
    {
      field: 'join',
      remedy: 'name a master of the cluster that made the token',
    },
  );
}

function noAnswer(cause: PortolanError): PortolanError {
  return new PortolanError('unavailable', `Cannot join: ${cause.message}`, {
    field: 'join',
    remedy:
      'start the master there, let its API pass (TCP 5050), or name another master of its cluster behind the @',
    cause,
  });
}

function joinRequest(key: string, purpose: string, rest: Pick<JoinRequest, 'token'>): JoinRequest {
  return { ...rest, public_key: publicKeyOf(key), proof: proveKey(key, joinPurpose(purpose)) };
}

/** The key of an earlier attempt whose answer was lost, or a new one; on disk. */
async function pendingKey(journal: Journal): Promise<string> {
  const stored = journal.get(PENDING_KEY);
  if (typeof stored === 'string') return stored;
  const key = newPrivateKey();
  await journal.write({ [PENDING_KEY]: key });
  return key;
}

function keep(
  journal: Journal,
  key: string,
  answer: Answer,
  master: string | undefined,
): Promise<MemberCredentials> {
  const { certificate, authority, masters } = certificateAnswer.parse(answered(answer));
  const known = [...new Set([...(master === undefined ? [] : [master]), ...masters])];
  return storeCredentials(journal, { key, certificate, authority, masters: known });
}

/** The chain is OpenSSL's to check; that it ends at a master, and not at any node of the cluster, is ours. */
export function mustBeMaster(shown: { readonly raw: Buffer }): Error | undefined {
  const certificate: X509Certificate = parseCertificate(toPem(shown.raw));
  return nodeNameOf(certificate)?.role === 'master'
    ? undefined
    : new Error('it is no master of this cluster');
}

function toPem(raw: Buffer): string {
  return `-----BEGIN CERTIFICATE-----\n${raw.toString('base64')}\n-----END CERTIFICATE-----\n`;
}
