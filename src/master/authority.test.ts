import { createPublicKey, X509Certificate } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { memoryLog } from '../base/log.ts';
import { realRandom } from '../base/random.ts';
import { newClusterId, newNodeId } from '../model/names.ts';
import { createTokens, joinPurpose, renewPurpose, type JoinRequest } from '../model/trust.ts';
import { FakeDisk, FakeStore } from '../store/fake.ts';
import { isSignedBy, nodeNameOf, validityOf } from '../trust/certificate.ts';
import { newPrivateKey, proveKey, publicKeyOf } from '../trust/keys.ts';
import { parseToken } from '../trust/token.ts';
import { Authority } from './authority.ts';
import { Tokens } from './tokens.ts';

const cluster = newClusterId(realRandom);
const HOUR_MS = 3_600_000;

async function set(disk = new FakeDisk()) {
  const log = memoryLog();
  const clock = new ManualClock(Date.UTC(2026, 0, 1));
  const store = new FakeStore({ log }, { disk });
  const components = { store, clock, random: realRandom, log };
  const authority = await Authority.open(components, { cluster, certificateLifeMs: 30 * 24 * HOUR_MS });
  const tokens = new Tokens(components, { fingerprint: authority.fingerprint });
  const create = async (): Promise<NonNullable<JoinRequest['token']>> => {
    const [made] = await tokens.create(createTokens.parse({}));
    const { id, secret } = parseToken(made?.token ?? '') ?? { id: '', secret: '' };
    return { id, secret };
  };
  return { store, clock, log, authority, tokens, create, disk };
}

function request(token: JoinRequest['token'], key = newPrivateKey()): JoinRequest {
  const proof = proveKey(key, joinPurpose(token?.id ?? ''));
  return { ...(token === undefined ? {} : { token }), public_key: publicKeyOf(key), proof };
}

describe('the authority', () => {
  test('is made once', async () => {
    const { authority, disk } = await set();
    const again = await set(disk);
    expect(again.authority.certificate).toBe(authority.certificate);
  });

  test('certifies a node that joins, backdated against clocks that differ', async () => {
    const { authority, create, clock } = await set();
    const key = newPrivateKey();
    const node = await authority.join(request(await create(), key));
    const certificate = new X509Certificate(
      authority.issue(node, 'agent', createPublicKey(publicKeyOf(key))),
    );
    expect(nodeNameOf(certificate)).toEqual({ cluster, role: 'agent', node });
    expect(isSignedBy(certificate, new X509Certificate(authority.certificate))).toBe(true);
    const { notBefore, notAfter } = validityOf(certificate);
    expect([clock.wallMs() - notBefore, notAfter - clock.wallMs()]).toEqual([24 * HOUR_MS, 720 * HOUR_MS]);
  });

  test('takes a token once, in what order ever two ask for it', async () => {
    const { authority, create } = await set();
    const token = await create();
    const outcomes = await Promise.allSettled([
      authority.join(request(token)),
      authority.join(request(token)),
    ]);
    expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    await expect(authority.join(request(token))).rejects.toMatchObject({
      code: 'forbidden',
      message: expect.stringMatching(/token [0-9a-f]{12} was used by node "n/) as string,
    });
  });

  test('gives the same node to the same key again: an answer may be lost', async () => {
    const { authority, create } = await set();
    const wanted = request(await create());
    expect(await authority.join(wanted)).toBe(await authority.join(wanted));
  });

  test('commits that a token is used before it says so', async () => {
    const { authority, create, store } = await set();
    const token = await create();
    store.failCommits(1);
    await expect(authority.join(request(token))).rejects.toMatchObject({ code: 'unavailable' });
    await expect(authority.join(request(token))).resolves.toMatch(/^n/);
  });

  test('refuses tokens that are unknown, mistaken, expired or withdrawn, and keeps secrets to itself', async () => {
    const { authority, create, clock, tokens, log } = await set();
    const token = await create();
    const wrong = { ...token, secret: (await create()).secret };
    await expect(authority.join(request(wrong))).rejects.toThrow('knows no such token');
    await expect(authority.join(request({ ...token, id: '0'.repeat(12) }))).rejects.toThrow('no such token');
    const withdrawn = await create();
    await tokens.remove(withdrawn.id);
    await expect(authority.join(request(withdrawn))).rejects.toThrow('no such token');
    clock.advance(HOUR_MS);
    await expect(authority.join(request(token))).rejects.toThrow('expired at 2026-01-01T01:00:00.000Z');
    expect(JSON.stringify([log.lines, await tokens.list()])).not.toContain(token.secret);
  });

  test('certifies no key that the sender does not hold', async () => {
    const { authority, create } = await set();
    const token = await create();
    const other = { ...request(token), public_key: publicKeyOf(newPrivateKey()) };
    await expect(authority.join(other)).rejects.toThrow('not signed by it');
    const node = newNodeId(realRandom);
    const key = newPrivateKey();
    const renewal = { public_key: publicKeyOf(key), proof: proveKey(key, renewPurpose(node)) };
    expect(() => authority.checkRenewal(renewal, node)).not.toThrow();
    expect(() => authority.checkRenewal(renewal, newNodeId(realRandom))).toThrow('not signed by it');
  });

  test('gives a master credentials that stay young', async () => {
    const { authority, clock } = await set();
    const credentials = authority.ownCredentials(newNodeId(realRandom));
    const first = credentials();
    expect([first.name.role, credentials()]).toEqual(['master', first]);
    clock.advance(25 * 24 * HOUR_MS);
    expect(credentials().validity.notAfter).toBeGreaterThan(first.validity.notAfter);
  });
});

describe('tokens', () => {
  test('are listed with their state, and forgotten a month after they are over', async () => {
    const { authority, create, tokens, clock } = await set();
    const used = await create();
    const node = await authority.join(request(used));
    clock.advance(1000);
    const open = await create();
    expect(await tokens.list()).toMatchObject([
      { id: open.id, state: 'unused' },
      { id: used.id, state: 'used', node },
    ]);
    clock.advance(HOUR_MS);
    expect((await tokens.list()).map(({ state }) => state)).toEqual(['expired', 'used']);
    clock.advance(31 * 24 * HOUR_MS);
    expect(await tokens.list()).toEqual([]);
    await expect(tokens.remove('0'.repeat(12))).rejects.toMatchObject({ code: 'not-found' });
  });

  test('are bounded in number', async () => {
    const { tokens } = await set();
    for (let i = 0; i < 10; i++) await tokens.create(createTokens.parse({ count: 1000 }));
    await expect(tokens.create(createTokens.parse({}))).rejects.toMatchObject({ code: 'exhausted' });
  });
});
