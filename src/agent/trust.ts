/**
 * A node's trust in the others and theirs in it, for as long as it is a member.
 *
 * Purpose: connections between nodes and requests to masters, both by the node's certificate; the certificate itself,
 * from joining to renewal.
 * Invariants: a node that has a certificate never waits for a master; renewal replaces key and certificate on disk
 * first, then for new connections, and touches none that exist.
 * Review notes: an expired certificate stops no container: the node is merely alone until it has joined again, under
 * its old id.
 */
import { Agent } from 'node:https';
import { join } from 'node:path';
import { sleep, type Clock, type Timer } from '../base/clock.ts';
import { describeError, isPortolanError, PortolanError } from '../base/errors.ts';
import { ip } from '../base/ip.ts';
import type { Log } from '../base/log.ts';
import type { Random } from '../base/random.ts';
import { parseTarget, request, type Answer, type HttpTarget, type RequestInit } from '../http/client.ts';
import { answered } from '../http/errors.ts';
import type { Udp } from '../kernel/udp/types.ts';
import type { AgentConfig } from '../model/config.ts';
import { certificateAnswer, RENEW_PATH, renewPurpose, type RenewRequest } from '../model/trust.ts';
import { createTlsTransport } from '../peer/tls.ts';
import type { PeerTransport } from '../peer/types.ts';
import type { Journal } from '../store/types.ts';
import { renewalTime, type Credentials } from '../trust/credentials.ts';
import { newPrivateKey, proveKey, publicKeyOf } from '../trust/keys.ts';
import { RecordSignatures } from '../trust/record-signatures.ts';
import {
  ensureRecordKey,
  isExpired,
  loadCredentials,
  storeCredentials,
  type MemberCredentials,
} from './credentials.ts';
import { hasLocalMaster, joinLocally, joinWithToken, mustBeMaster } from './joining.ts';

export interface NodeTrust {
  /** Connections to other nodes. */
  readonly transport: PeerTransport;
  /** Signs and verifies records. */
  readonly records: RecordSignatures;
  /** Requests to masters. */
  readonly request: (target: HttpTarget, init: RequestInit) => Promise<Answer>;
  /** `host:port` of the masters' API, as known since joining; further ones are told by records. */
  masters(): readonly string[];
  /** When the certificate ends, and when it is to be renewed. Wall times, ms. */
  certificateTimes(): CertificateTimes;
  /** Keeps the certificate young; `masters` are those known at the time, `onRenewed` is called after each renewal. */
  startRenewal(masters: () => readonly string[], onRenewed: () => void): void;
  close(): void;
}

export interface CertificateTimes {
  readonly expiresAt: number;
  readonly renewsAt: number;
}

export interface TrustComponents {
  readonly journal: Journal;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly udp: Pick<Udp, 'mailbox'>;
}

const FIRST_RETRY_MS = 500;
const MAX_RETRY_MS = 15_000;
/** Timers are not kept for months; the wall clock may be set meanwhile. */
const MAX_RENEWAL_CHECK_MS = 3_600_000;
const MIN_RENEWAL_CHECK_MS = 500;
/** Attempts to renew within the last third of a certificate's life. */
const RENEWAL_ATTEMPTS = 20;
const RENEWAL_TIMEOUT_MS = 10_000;
/** Connections of one node to one master. */
const MAX_SOCKETS = 4;

/** Resolves when this host is a member; rejects when nothing that it was given lets it become one. */
export async function openTrust(
  components: TrustComponents,
  init: { readonly config: AgentConfig; readonly signal: AbortSignal },
): Promise<NodeTrust> {
  const { journal, clock, log } = components;
  const trusting = async (membership: MemberCredentials): Promise<NodeTrust> =>
    new Trust(components, {
      membership,
      recordKey: await ensureRecordKey(journal),
      acceptsUnsigned: init.config.accept_unsigned_records,
    });
  const stored = loadCredentials(journal);
  if (stored === undefined) return trusting(await becomeMember(components, init));
  const { credentials } = stored;
  if (!isExpired(credentials, clock.wallMs())) return trusting(stored);
  tellExpired(log, credentials.validity.notAfter);
  const again = await tryTokens(components, init, credentials).catch((error: unknown) => {
    log.warn('Cannot join again', { error: describeError(error) });
    return undefined;
  });
  return trusting(again ?? stored);
}

/** Waits for masters that do not answer, as long as it takes. */
async function becomeMember(
  components: TrustComponents,
  init: { readonly config: AgentConfig; readonly signal: AbortSignal },
): Promise<MemberCredentials> {
  const { log } = components;
  let said: string | undefined;
  for (let delayMs = FIRST_RETRY_MS; ; delayMs = Math.min(2 * delayMs, MAX_RETRY_MS)) {
    try {
      const membership = await attempt(components, init);
      const { cluster, node } = membership.credentials.name;
      log.info('Joined the cluster', { cluster, node });
      return membership;
    } catch (error) {
      if (init.signal.aborted || !isPortolanError(error, 'unavailable')) throw error;
      if (said !== error.message) log.warn('Cannot join yet', { error });
      said = error.message;
    }
    await sleep(delayMs, init.signal);
  }
}

async function attempt(
  components: TrustComponents,
  init: { readonly config: AgentConfig; readonly signal: AbortSignal },
): Promise<MemberCredentials> {
  const socket = join(init.config.run_dir, 'api.sock');
  if (hasLocalMaster(socket)) return joinLocally(components, socket, init.signal);
  const membership = await tryTokens(components, init, undefined);
  if (membership !== undefined) return membership;
  throw new PortolanError('invalid', 'Cannot start: this host has joined no cluster', {
    field: 'join',
    remedy: 'run "portolan join TOKEN@HOST:PORT" with a token from "portolan token create" on a master',
  });
}

/** One after the other, since each is good for once; `undefined` without any. Rejects with what the last came to. */
async function tryTokens(
  { journal }: TrustComponents,
  { config, signal }: { readonly config: AgentConfig; readonly signal: AbortSignal },
  former: Credentials | undefined,
): Promise<MemberCredentials | undefined> {
  let failure: unknown;
  for (const invitation of config.join)
    try {
      return await joinWithToken({ journal }, invitation, { signal, ...(former && { former }) });
    } catch (error) {
      failure = error;
      // The next token would find no master either.
      if (isPortolanError(error, 'unavailable')) break;
    }
  if (failure !== undefined) throw failure as Error;
  return undefined;
}

class Trust implements NodeTrust {
  readonly transport: PeerTransport;
  readonly records: RecordSignatures;
  readonly #components: TrustComponents;
  readonly #abort = new AbortController();
  #membership: MemberCredentials;
  #agent: Agent;
  #timer: Timer | undefined;
  #trouble: string | undefined;
  #isToldExpired: boolean;
  #onRenewed: () => void = () => undefined;

  constructor(
    components: TrustComponents,
    init: {
      readonly membership: MemberCredentials;
      readonly recordKey: string;
      readonly acceptsUnsigned: boolean;
    },
  ) {
    const { membership, recordKey, acceptsUnsigned } = init;
    const { cluster, node } = membership.credentials.name;
    this.#components = components;
    this.#membership = membership;
    // At the start it was told already.
    this.#isToldExpired = isExpired(membership.credentials, components.clock.wallMs());
    this.#agent = agentFor(membership.credentials);
    const credentials = (): Credentials => this.#membership.credentials;
    const { udp } = components;
    this.transport = createTlsTransport(components, {
      credentials,
      openMailbox: ({ host, port }) => udp.mailbox(ip(host), port),
    });
    this.records = new RecordSignatures({
      cluster,
      authority: () => credentials().authority,
      own: { node, key: recordKey, credentials },
      acceptsUnsigned,
    });
  }

  readonly request = (target: HttpTarget, init: RequestInit): Promise<Answer> =>
    request(target, { ...init, tls: this.#agent });

  masters(): readonly string[] {
    return this.#membership.masters;
  }

  certificateTimes(): CertificateTimes {
    const { validity } = this.#membership.credentials;
    return { expiresAt: validity.notAfter, renewsAt: renewalTime(validity) };
  }

  startRenewal(masters: () => readonly string[], onRenewed: () => void): void {
    this.#onRenewed = onRenewed;
    this.#schedule(masters, 0);
  }

  close(): void {
    this.#abort.abort();
    this.#timer?.cancel();
    this.#agent.destroy();
  }

  #schedule(masters: () => readonly string[], atLeastMs: number): void {
    if (this.#abort.signal.aborted) return;
    const { clock } = this.#components;
    const dueMs = renewalTime(this.#membership.credentials.validity) - clock.wallMs();
    const delayMs = Math.max(MIN_RENEWAL_CHECK_MS, atLeastMs, Math.min(dueMs, MAX_RENEWAL_CHECK_MS));
    this.#timer = clock.after(delayMs, () => void this.#check(masters));
  }

  async #check(masters: () => readonly string[]): Promise<void> {
    const { clock, log } = this.#components;
    const { validity } = this.#membership.credentials;
    if (clock.wallMs() < renewalTime(validity)) return this.#schedule(masters, 0);
    try {
      await this.#renew(masters());
      this.#trouble = undefined;
      this.#schedule(masters, 0);
    } catch (error) {
      if (this.#abort.signal.aborted) return;
      const trouble = describeError(error);
      const expires = new Date(validity.notAfter).toISOString();
      if (trouble !== this.#trouble) log.warn('Cannot renew the certificate', { error: trouble, expires });
      this.#trouble = trouble;
      if (clock.wallMs() >= validity.notAfter) this.#tellExpired(validity.notAfter);
      const lifeMs = validity.notAfter - validity.notBefore;
      this.#schedule(masters, Math.min(lifeMs / 3 / RENEWAL_ATTEMPTS, MAX_RENEWAL_CHECK_MS));
    }
  }

  #tellExpired(notAfter: number): void {
    if (this.#isToldExpired) return;
    this.#isToldExpired = true;
    tellExpired(this.#components.log, notAfter);
  }

  /** By the first master that answers. */
  async #renew(masters: readonly string[]): Promise<void> {
    const { journal, log } = this.#components;
    const key = newPrivateKey();
    const { node } = this.#membership.credentials.name;
    const body: RenewRequest = {
      public_key: publicKeyOf(key),
      proof: proveKey(key, renewPurpose(node)),
    };
    const given = certificateAnswer.parse(answered(await this.#askAny(masters, body)));
    const membership = await storeCredentials(journal, { ...given, key });
    const old = this.#agent;
    this.#membership = membership;
    this.#agent = agentFor(membership.credentials);
    // Not destroyed: a request may be under way. Its idle connections are closed by the master.
    old.maxFreeSockets = 0;
    log.info('Renewed the certificate', {
      expires: new Date(membership.credentials.validity.notAfter).toISOString(),
    });
    this.#onRenewed();
  }

  async #askAny(masters: readonly string[], body: RenewRequest): Promise<Answer> {
    let failure: unknown = new PortolanError('unavailable', 'Cannot renew: no master is known');
    for (const master of masters)
      try {
        return await this.request(parseTarget(master), {
          ...{ method: 'POST', path: RENEW_PATH, body, timeoutMs: RENEWAL_TIMEOUT_MS },
          signal: this.#abort.signal,
        });
      } catch (error) {
        failure = error;
      }
    throw failure as Error;
  }
}

function tellExpired(log: Log, notAfter: number): void {
  log.error('The certificate of this node has expired', {
    expired: new Date(notAfter).toISOString(),
    remedy: 'give it another token: portolan join TOKEN@HOST:PORT; until then it works on alone',
  });
}

function agentFor({ context }: Credentials): Agent {
  return new Agent({
    keepAlive: true,
    maxSockets: MAX_SOCKETS,
    secureContext: context,
    checkServerIdentity: (_host, shown) => mustBeMaster(shown as { raw: Buffer }),
  });
}
