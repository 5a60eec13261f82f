/**
 * The cluster's certificate authority: who may join, and the certificates that say so.
 *
 * Purpose: one key in the store signs one certificate per node, against a one-time token or an older certificate.
 * Invariants: that a token is used is durable before a certificate is answered, by compare-and-set, so that two
 * joiners with one token become one node; a removed node gets nothing for ever; node ids are chosen here, so that
 * nobody can ask for another's.
 * Review notes: repeating a join with the same key gives a certificate for the same node again: an answer may be lost.
 * Secrets are in no log, no error and no listing.
 */
import { createPrivateKey, X509Certificate, type KeyObject } from 'node:crypto';
import type { Clock } from '../base/clock.ts';
import { PortolanError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { Random } from '../base/random.ts';
import { newNodeId, type ClusterId, type NodeId } from '../model/names.ts';
import { joinPurpose, renewPurpose, type JoinRequest, type RenewRequest } from '../model/trust.ts';
import type { Store } from '../store/types.ts';
import {
  fingerprintOf,
  issueAuthority,
  issueNode,
  type Issuer,
  type NodeRole,
  type Validity,
} from '../trust/certificate.ts';
import { openCredentials, renewalTime, type Credentials } from '../trust/credentials.ts';
import { isProven, newPrivateKey, parsePublicKey, publicKeyOf } from '../trust/keys.ts';
import { RecordSignatures } from '../trust/record-signatures.ts';
import { isSecret } from '../trust/token.ts';
import { decodeStored } from './stored.ts';
import { commitTrust, storedAuthority, storedToken, trustKeys, type StoredToken } from './stored-trust.ts';

const DAY_MS = 86_400_000;
const AUTHORITY_LIFE_MS = 3653 * DAY_MS;
/** Certificates begin this much earlier than they are made, since clocks differ; less for short-lived ones. */
const BACKDATED_MS = DAY_MS;

export interface AuthorityComponents {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

export interface AuthorityInit {
  readonly cluster: ClusterId;
  /** Life of a node's certificate, ms. */
  readonly certificateLifeMs: number;
}

export class Authority {
  readonly #components: AuthorityComponents;
  readonly #init: AuthorityInit;
  readonly #issuer: Issuer;
  /** SHA-256 of the authority's certificate. */
  readonly fingerprint: Buffer;

  /** Makes the authority at the first start. */
  static async open(components: AuthorityComponents, init: AuthorityInit): Promise<Authority> {
    return new Authority(components, init, await ensureIssuer(components, init.cluster));
  }

  private constructor(components: AuthorityComponents, init: AuthorityInit, issuer: Issuer) {
    this.#components = components;
    this.#init = init;
    this.#issuer = issuer;
    this.fingerprint = fingerprintOf(new X509Certificate(issuer.certificate));
  }

  get cluster(): ClusterId {
    return this.#init.cluster;
  }

  /** PEM */
  get certificate(): string {
    return this.#issuer.certificate;
  }

  /**
   * The node that a joiner has become, for a certificate by `issue`. `former` is what its old certificate says, where
   * it has one: it keeps its id.
   */
  async join(request: JoinRequest, init: { readonly former?: NodeId } = {}): Promise<NodeId> {
    const { token, public_key, proof } = request;
    const publicKey = parsePublicKey(public_key);
    if (!isProven(publicKey, joinPurpose(token?.id ?? ''), proof)) throw unproven();
    const node = init.former ?? newNodeId(this.#components.random);
    return token === undefined ? node : this.#redeem(token, public_key, node);
  }

  /** A node's certificate, PEM, for the public key of a request. */
  issue(node: NodeId, role: NodeRole, publicKey: KeyObject): string {
    const { random, clock } = this.#components;
    const name = { cluster: this.cluster, role, node };
    const validity = validityFrom(clock.wallMs(), this.#init.certificateLifeMs);
    return issueNode(random, this.#issuer, { name, publicKey, validity });
  }

  /** Checks that the sender holds the new key that it wants certified. */
  checkRenewal(request: RenewRequest, node: NodeId): KeyObject {
    const publicKey = parsePublicKey(request.public_key);
    if (!isProven(publicKey, renewPurpose(node), request.proof)) throw unproven();
    return publicKey;
  }

  /** Signs what masters tell everybody, and verifies what nodes tell. */
  records(init: { readonly acceptsUnsigned: boolean }): RecordSignatures {
    const { cluster, certificate } = this;
    const authorityKey = this.#issuer.key;
    return new RecordSignatures({ cluster, authority: () => certificate, authorityKey, ...init });
  }

  /** A master's own credentials: its key is new with every start and leaves this process never. */
  ownCredentials(node: NodeId): () => Credentials {
    const make = (): Credentials => {
      const key = newPrivateKey();
      const certificate = this.issue(node, 'master', parsePublicKey(publicKeyOf(key)));
      return openCredentials({ key, certificate, authority: this.certificate });
    };
    let current = make();
    return () => {
      if (this.#components.clock.wallMs() >= renewalTime(current.validity)) current = make();
      return current;
    };
  }

  async #redeem(given: NonNullable<JoinRequest['token']>, publicKey: string, node: NodeId): Promise<NodeId> {
    const { store, clock, log } = this.#components;
    const key = trustKeys.token(given.id);
    const entry = await store.get(key);
    const token = entry === undefined ? undefined : decodeStored(storedToken, entry);
    if (entry === undefined || token === undefined || !isSecret(given.secret, token.hash))
      throw unknownToken();
    if (clock.wallMs() >= token.expires) throw expired(token);
    if (token.used !== undefined) {
      if (token.used.public_key === publicKey) return token.used.node;
      throw alreadyUsed(token);
    }
    const used: StoredToken = { ...token, used: { node, at: clock.wallMs(), public_key: publicKey } };
    const outcome = await commitTrust(
      store,
      [{ key, revision: entry.revision }],
      [{ do: 'put', key, value: JSON.stringify(used) }],
    );
    if (!outcome.ok) throw contended();
    log.info('A node joined with a token', { node, token: given.id });
    return node;
  }
}

async function ensureIssuer(components: AuthorityComponents, cluster: ClusterId): Promise<Issuer> {
  const { store, random, clock, log } = components;
  const stored = await store.get(trustKeys.authority);
  if (stored !== undefined) {
    const { key, certificate } = decodeStored(storedAuthority, stored);
    return { cluster, key: createPrivateKey(key), certificate };
  }
  const key = newPrivateKey();
  const issuerKey = createPrivateKey(key);
  const validity = validityFrom(clock.wallMs(), AUTHORITY_LIFE_MS);
  const certificate = issueAuthority(random, { cluster, key: issuerKey, validity });
  const outcome = await commitTrust(
    store,
    [{ key: trustKeys.authority, revision: 0 }],
    [{ do: 'put', key: trustKeys.authority, value: JSON.stringify({ key, certificate }) }],
  );
  if (!outcome.ok)
    throw new PortolanError('conflict', 'Cannot make an authority: another master just did', {
      remedy: 'start this master again',
    });
  log.info('Made the certificate authority of the cluster', { cluster });
  return { cluster, key: issuerKey, certificate };
}

function validityFrom(wallMs: number, lifeMs: number): Validity {
  return { notBefore: wallMs - Math.min(BACKDATED_MS, lifeMs / 10), notAfter: wallMs + lifeMs };
}

const another = 'make another with "portolan token create" on a master';

function unknownToken(): PortolanError {
  return new PortolanError('forbidden', 'Cannot join: this cluster knows no such token', {
    field: 'join',
    remedy: another,
  });
}

function expired({ id, expires }: StoredToken): PortolanError {
  const at = new Date(expires).toISOString();
  return new PortolanError('forbidden', `Cannot join: token ${id} expired at ${at}`, {
    field: 'join',
    remedy: another,
  });
}

function alreadyUsed({ id, used }: StoredToken): PortolanError {
  const by = used === undefined ? '' : ` by node "${used.node}" at ${new Date(used.at).toISOString()}`;
  return new PortolanError('forbidden', `Cannot join: token ${id} was used${by}`, {
    field: 'join',
    remedy: another,
  });
}

/** Somebody else has used or withdrawn it in the same moment. */
function contended(): PortolanError {
  return new PortolanError('unavailable', 'Cannot join: the token was used or removed just now', {
    field: 'join',
    remedy: 'try again, to be told which',
  });
}

function unproven(): PortolanError {
  return new PortolanError('forbidden', 'Cannot certify this key: the request is not signed by it', {
    field: 'proof',
  });
}
