/** Joining, renewing and leaving: a node's side and a real master's, over sockets on the loopback interface. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { createConnection, type AddressInfo } from 'node:net';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { realClock, sleep } from '../base/clock.ts';
import { memoryLog, silentLog } from '../base/log.ts';
import { createMetrics } from '../base/metrics.ts';
import { realRandom } from '../base/random.ts';
import { parseTarget, request } from '../http/client.ts';
import { FakeUdp } from '../kernel/udp/fake.ts';
import { node as newNode, registration } from '../master/fake.ts';
import { startMaster, type Master, type MasterExchange } from '../master/master.ts';
import { agentConfig, masterConfig, type AgentConfig } from '../model/config.ts';
import { REGISTER_PATH } from '../model/registration.ts';
import { LEAVE_PATH, RENEW_PATH, TOKENS_PATH } from '../model/trust.ts';
import { openJournal } from '../store/journal.ts';
import type { Journal } from '../store/types.ts';
import { formatToken, newToken } from '../trust/token.ts';
import { loadCredentials } from './credentials.ts';
import { joinWithToken } from './joining.ts';
import { openTrust, type NodeTrust } from './trust.ts';

const YEAR_SECONDS = 31_536_000;
const signal = new AbortController().signal;
let dir: string;
let closers: (() => unknown)[];
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'portolan-trust-'));
  closers = [];
});
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
  await rm(dir, { recursive: true, force: true });
});

class TestMaster {
  readonly log = memoryLog();
  readonly name: string;
  master!: Master;

  constructor(name: string) {
    this.name = name;
  }

  async start(certificateSeconds = YEAR_SECONDS): Promise<this> {
    const exchange = {
      publishCluster: () => Promise.resolve(),
      addContacts: () => undefined,
      records: () => [],
      get: () => undefined,
      subscribe: () => () => undefined,
      subscribeMembers: () => () => undefined,
      members: () => [],
      isReachable: () => true,
      peers: () => [],
      stats: () => ({}) as ReturnType<MasterExchange['stats']>,
      close: () => Promise.resolve(),
    };
    const config = masterConfig.parse({
      address: '127.0.0.1',
      state_dir: join(dir, this.name),
      run_dir: join(dir, this.name, 'run'),
    });
    this.master = await startMaster(
      {
        ...{ clock: realClock, random: realRandom, log: this.log, metrics: createMetrics() },
        openExchange: ({ credentialsOf }) =>
          Promise.resolve({ ...exchange, credentials: credentialsOf(newNode()) }),
        hostNetworks: [],
      },
      { ...config, http_port: 0, certificate_seconds: certificateSeconds },
    );
    closers.push(() => this.master.close());
    return this;
  }

  get address(): string {
    return `127.0.0.1:${this.master.port}`;
  }

  call(method: 'GET' | 'POST' | 'DELETE', path: string, body?: unknown) {
    const socketPath = join(dir, this.name, 'run', 'api.sock');
    return request({ socketPath }, { method, path, body, timeoutMs: 5000 });
  }

  async invitation(ttl_seconds = 3600): Promise<string> {
    const { body } = await this.call('POST', TOKENS_PATH, { ttl_seconds });
    const { tokens } = body as { tokens: readonly { token: string }[] };
    return `${tokens[0]?.token ?? ''}@${this.address}`;
  }

  reasons(): unknown[] {
    return this.log.lines.filter(({ level }) => level === 'warn').map(({ fields }) => fields['reason']);
  }
}

async function journalAt(name: string): Promise<Journal> {
  const journal = await openJournal(
    { log: silentLog },
    { path: join(dir, `${name}.journal`), what: 'a test' },
  );
  closers.push(() => journal.close());
  return journal;
}

function configWith(...invitations: string[]): AgentConfig {
  return agentConfig.parse({ join: invitations, run_dir: join(dir, 'no-master-here') });
}

async function member(journal: Journal, ...invitations: string[]): Promise<NodeTrust> {
  const components = { journal, clock: realClock, random: realRandom, log: silentLog, udp: new FakeUdp() };
  const trust = await openTrust(components, { config: configWith(...invitations), signal });
  closers.push(() => trust.close());
  return trust;
}

const nameOf = (journal: Journal) => loadCredentials(journal)?.credentials.name;

async function registerAs(trust: NodeTrust, master: TestMaster, node = newNode()) {
  const body = registration(node, '127.0.0.9');
  return trust.request(parseTarget(master.address), {
    ...{ method: 'POST', path: REGISTER_PATH, body, timeoutMs: 5000 },
  });
}

describe('a host', () => {
  test('joins with a token, and registers by its certificate as itself alone', async () => {
    const master = await new TestMaster('m').start();
    const journal = await journalAt('a');
    const trust = await member(journal, await master.invitation());
    const name = nameOf(journal);
    expect([name?.cluster, name?.role]).toEqual([master.master.cluster, 'agent']);
    expect(trust.masters()).toContain(master.address);
    expect(await registerAs(trust, master, name?.node)).toMatchObject({
      status: 200,
      body: { cluster: master.master.cluster },
    });
    expect(await registerAs(trust, master)).toMatchObject({
      status: 403,
      body: { message: expect.stringContaining('certificate is of node') as string },
    });
  });

  test('ignores tokens once it is a member, and joins by the socket of a master on its own host', async () => {
    const master = await new TestMaster('m').start();
    const journal = await journalAt('a');
    await member(journal, await master.invitation());
    const before = nameOf(journal);
    await member(journal, 'no token at all');
    expect(nameOf(journal)).toEqual(before);
    const beside = await journalAt('b');
    const config = agentConfig.parse({ run_dir: join(dir, 'm', 'run') });
    const components = {
      journal: beside,
      clock: realClock,
      random: realRandom,
      log: silentLog,
      udp: new FakeUdp(),
    };
    (await openTrust(components, { config, signal })).close();
    expect(nameOf(beside)?.cluster).toBe(master.master.cluster);
  });

  test('without certificate and token is told how to get them', async () => {
    await expect(member(await journalAt('a'))).rejects.toMatchObject({
      code: 'invalid',
      remedy: expect.stringContaining('portolan join TOKEN@HOST:PORT') as string,
    });
  });

  test('is refused with a used, expired or foreign token, in one line each time', async () => {
    const master = await new TestMaster('m').start();
    const other = await new TestMaster('o').start();
    const used = await master.invitation();
    await member(await journalAt('a'), used);
    await expect(member(await journalAt('b'), used)).rejects.toThrow(/token [0-9a-f]+ was used by node/);
    const short = await master.invitation(1);
    await sleep(1100);
    await expect(member(await journalAt('c'), short)).rejects.toThrow(/expired at/);
    const foreign = (await other.invitation()).replace(other.address, master.address);
    await expect(member(await journalAt('d'), foreign)).rejects.toThrow('another cluster than the token');
    expect(master.reasons()).toEqual([
      expect.stringMatching(/was used by node/),
      expect.stringMatching(/expired at/),
    ]);
    // The next token is tried after one that is refused.
    await member(await journalAt('e'), used, await master.invitation());
  });

  test('is told which address of its token is no master, or does not answer', async () => {
    const other = createServer((_request, response) => response.writeHead(404).end()).listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address() as AddressInfo;
    const token = formatToken(newToken(realRandom, Buffer.alloc(32)));
    const journal = await journalAt('e');
    await expect(joinWithToken({ journal }, `${token}@127.0.0.1:${port}`)).rejects.toMatchObject({
      message: `Cannot join: 127.0.0.1:${port} is no master of Portolan`,
      remedy: expect.stringContaining('port 5050') as string,
    });
    other.close();
    await once(other, 'close');
    await expect(joinWithToken({ journal }, `${token}@127.0.0.1:${port}`)).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringMatching(/^Cannot join: Cannot reach .*ECONNREFUSED/) as string,
      remedy: expect.stringContaining('TCP 5050') as string,
    });
  });

  test('waits for a master that does not answer yet', async () => {
    const master = await new TestMaster('m').start();
    const invitation = await master.invitation();
    const journal = await journalAt('a');
    await master.master.close();
    const given = new AbortController();
    const log = memoryLog();
    const components = { journal, clock: realClock, random: realRandom, log, udp: new FakeUdp() };
    const joining = openTrust(components, { config: configWith(invitation), signal: given.signal });
    await expect.poll(() => log.lines.map(({ message }) => message)).toEqual(['Cannot join yet']);
    given.abort();
    await expect(joining).rejects.toThrow('aborted');
  });

  test('of another cluster is refused, and refuses', async () => {
    const master = await new TestMaster('m').start();
    const other = await new TestMaster('o').start();
    const stranger = await member(await journalAt('a'), await other.invitation());
    await expect(registerAs(stranger, master)).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining("its certificate is not of this cluster's authority") as string,
    });
  });

  test('that was removed gets nothing more by its certificate, and a new name by a token', async () => {
    const master = await new TestMaster('m').start();
    const journal = await journalAt('a');
    const trust = await member(journal, await master.invitation());
    const node = nameOf(journal)?.node;
    await registerAs(trust, master, node);
    const target = parseTarget(master.address);
    const left = await trust.request(target, {
      ...{ method: 'POST', path: LEAVE_PATH, body: {}, timeoutMs: 5000 },
    });
    expect(left).toMatchObject({ status: 200, body: { node } });
    expect(await registerAs(trust, master, node)).toMatchObject({
      status: 403,
      body: { details: { removed: true } },
    });
    const renewal = { method: 'POST', path: RENEW_PATH, body: { public_key: 'x', proof: 'x' } } as const;
    expect(await trust.request(target, { ...renewal, timeoutMs: 5000 })).toMatchObject({
      status: 403,
      body: { details: { removed: true } },
    });
  });

  test('renews its certificate in time, and comes back under its name when it was away for too long', async () => {
    // Whole seconds count, and a third of them have to be enough for a renewal on a busy machine.
    const master = await new TestMaster('m').start(4);
    const journal = await journalAt('a');
    const trust = await member(journal, await master.invitation());
    const first = loadCredentials(journal)?.credentials;
    const end = (): number => loadCredentials(journal)?.credentials.validity.notAfter ?? 0;
    let renewals = 0;
    trust.startRenewal(
      () => [master.address],
      () => renewals++,
    );
    await expect.poll(end, { timeout: 10_000 }).toBeGreaterThan(first?.validity.notAfter ?? 0);
    await expect.poll(() => renewals).toBeGreaterThan(0);
    expect(await registerAs(trust, master, first?.name.node)).toMatchObject({ status: 200 });
    trust.close();
    await sleep(end() - Date.now() + 100);
    const late = await member(journal, await master.invitation());
    expect(nameOf(journal)?.node).toBe(first?.name.node);
    expect(await registerAs(late, master, first?.name.node)).toMatchObject({ status: 200 });
  });
});

test('a certificate that runs out while its node runs, or before it starts, is told once', async () => {
  const master = await new TestMaster('m').start(1);
  const log = memoryLog();
  const journal = await journalAt('a');
  const components = { journal, clock: realClock, random: realRandom, log, udp: new FakeUdp() };
  const start = async (invitations: Parameters<typeof configWith>): Promise<void> => {
    const trust = await openTrust(components, { config: configWith(...invitations), signal });
    closers.push(() => trust.close());
    trust.startRenewal(
      () => [master.address],
      () => undefined,
    );
  };
  await start([await master.invitation()]);
  await master.master.close();
  const expired = (): unknown[] => log.lines.filter(({ message }) => message.includes('has expired'));
  await expect.poll(expired, { timeout: 10_000 }).toHaveLength(1);
  await sleep(1_100);
  expect(expired()).toHaveLength(1);
  closers.pop()?.();
  log.lines.length = 0;
  await start([]);
  await sleep(1_100);
  expect(expired()).toHaveLength(1);
});

describe("a master's port", () => {
  const post = { method: 'POST', body: {}, timeoutMs: 5000 } as const;

  test('takes nothing of nodes over plain HTTP, nor tokens over any network', async () => {
    const master = await new TestMaster('m').start();
    const target = parseTarget(master.address);
    for (const path of [RENEW_PATH, LEAVE_PATH, TOKENS_PATH])
      expect(await request(target, { ...post, path })).toMatchObject({ status: 403 });
    const plain = { ...post, path: REGISTER_PATH, body: registration(newNode(), '127.0.0.9') };
    expect(await request(target, plain)).toMatchObject({ status: 403 });
    const anonymous = { ...plain, tls: { rejectUnauthorized: false } };
    expect(await request(target, anonymous)).toMatchObject({ status: 403 });
    const tokens = { ...post, path: TOKENS_PATH, tls: { rejectUnauthorized: false } };
    expect(await request(target, tokens)).toMatchObject({ status: 404 });
    expect(await request(target, { ...post, method: 'GET', path: '/health' })).toMatchObject({ status: 200 });
  });

  test('survives garbage, half-open connections and those that say nothing', async () => {
    const master = await new TestMaster('m').start();
    const { port } = master.master;
    const silent = Array.from({ length: 100 }, () => createConnection(port, '127.0.0.1'));
    let closed = 0;
    for (const socket of silent) socket.on('error', () => undefined).once('close', () => closed++);
    await expect.poll(() => closed).toBe(100 - 64);
    expect(master.reasons()).toEqual(['too many others have not said yet what they want']);
    for (const socket of silent) socket.destroy();
    for (const bytes of [Buffer.alloc(100_000, 22), Buffer.alloc(100_000), Buffer.from([22, 3, 1, 255, 255])])
      await new Promise((resolve) => {
        const socket = createConnection(port, '127.0.0.1');
        socket.on('error', () => undefined).once('close', resolve);
        socket.resume().end(bytes);
      });
    const health = { method: 'GET', path: '/health', timeoutMs: 5000 } as const;
    expect(await request(parseTarget(master.address), health)).toMatchObject({ status: 200 });
  });
});
