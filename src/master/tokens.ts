/** Join tokens in the store: made, listed, withdrawn. Using one up is authority.ts. */
import type { Clock } from '../base/clock.ts';
import { PortolanError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { Random } from '../base/random.ts';
import type { CreateTokens, TokenView } from '../model/trust.ts';
import type { Store, StoreOperation } from '../store/types.ts';
import { formatToken, newToken, secretHash } from '../trust/token.ts';
import { decodeStored } from './stored.ts';
import { commitTrust, storedToken, trustKeys, type StoredToken } from './stored-trust.ts';

/** Tokens that are over are still listed for so long: who joined with which. */
const KEPT_MS = 30 * 86_400_000;
/** Of unused, used and expired ones together. */
const MAX_TOKENS = 10_000;

export interface TokensComponents {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

export interface NewToken {
  readonly id: string;
  /** With its secret: told once. */
  readonly token: string;
  /** ISO 8601 */
  readonly expires: string;
}

export class Tokens {
  readonly #components: TokensComponents;
  readonly #fingerprint: Buffer;

  constructor(components: TokensComponents, init: { readonly fingerprint: Buffer }) {
    this.#components = components;
    this.#fingerprint = init.fingerprint;
  }

  /** Resolves when they are durable. */
  async create(wanted: CreateTokens): Promise<readonly NewToken[]> {
    const { store, clock, random, log } = this.#components;
    const now = clock.wallMs();
    const all = await this.#all();
    const over = all.filter((token) => isOver(token, now));
    const room = MAX_TOKENS - (all.length - over.length);
    if (wanted.count > room) throw tooMany(wanted.count, room);
    const expires = now + wanted.ttl_seconds * 1000;
    const made = Array.from({ length: wanted.count }, () => newToken(random, this.#fingerprint));
    const puts = made.map(({ id, secret }): StoreOperation => {
      const note = wanted.note === undefined ? {} : { note: wanted.note };
      const stored: StoredToken = { id, hash: secretHash(secret), created: now, expires, ...note };
      return { do: 'put', key: trustKeys.token(id), value: JSON.stringify(stored) };
    });
    await commitTrust(store, [], [...over.map(deletion), ...puts]);
    log.info('Made join tokens', { ids: made.slice(0, 10).map(({ id }) => id), count: made.length });
    return made.map((token) => ({
      id: token.id,
      token: formatToken(token),
      expires: new Date(expires).toISOString(),
    }));
  }

  /** The newest first. */
  async list(): Promise<readonly TokenView[]> {
    const now = this.#components.clock.wallMs();
    const all = (await this.#all()).filter((token) => !isOver(token, now));
    return all
      .sort((a, b) => b.created - a.created || a.id.localeCompare(b.id))
      .map((token) => view(token, now));
  }

  async remove(id: string): Promise<TokenView> {
    const { store, clock, log } = this.#components;
    const entry = await store.get(trustKeys.token(id));
    if (entry === undefined)
      throw new PortolanError('not-found', `Cannot find token "${id}"`, {
        field: 'token',
        remedy: 'list the tokens with "portolan token ls"',
      });
    const token = decodeStored(storedToken, entry);
    await commitTrust(store, [], [deletion(token)]);
    log.info('Removed a join token', { id });
    return view(token, clock.wallMs());
  }

  async #all(): Promise<readonly StoredToken[]> {
    const { entries } = await this.#components.store.range(trustKeys.tokens);
    return entries.map((entry) => decodeStored(storedToken, entry));
  }
}

function isOver({ expires }: StoredToken, now: number): boolean {
  return now >= expires + KEPT_MS;
}

function deletion({ id }: StoredToken): StoreOperation {
  return { do: 'delete', key: trustKeys.token(id) };
}

function view(token: StoredToken, now: number): TokenView {
  const { id, created, expires, note, used } = token;
  return {
    id,
    state: used !== undefined ? 'used' : now >= expires ? 'expired' : 'unused',
    created: new Date(created).toISOString(),
    expires: new Date(expires).toISOString(),
    ...(note === undefined ? {} : { note }),
    ...(used === undefined ? {} : { node: used.node }),
  };
}

function tooMany(count: number, room: number): PortolanError {
  return new PortolanError(
    'exhausted',
    `Cannot make ${count} tokens: there is room for ${Math.max(0, room)}`,
    {
      field: 'count',
      remedy: 'remove some with "portolan token rm"',
    },
  );
}
