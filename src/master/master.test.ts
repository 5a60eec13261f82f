import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { prefix } from '../base/ip.ts';
import { silentLog } from '../base/log.ts';
import { createMetrics } from '../base/metrics.ts';
import { realRandom } from '../base/random.ts';
import { request } from '../http/client.ts';
import type { MasterConfig } from '../model/config.ts';
import { REGISTER_PATH } from '../model/registration.ts';
import { loadMasterConfig } from './config.ts';
import { FakeExchange } from '../node/exchange-fake.ts';
import { node, registration } from './fake.ts';
import { parseRoutes } from './host-networks.ts';
import { startMaster, type MasterComponents, type MasterExchange } from './master.ts';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'portolan-master-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

function components(calls: string[] = []): MasterComponents {
  const exchange: Omit<MasterExchange, 'credentials'> = {
    publishCluster: (key) => Promise.resolve(void calls.push(`publish ${key}`)),
    addContacts: (addresses) => void calls.push(`contacts ${addresses.join(' ')}`),
    records: () => [],
    get: () => undefined,
    subscribe: () => () => undefined,
    members: () => [],
    isReachable: () => true,
    peers: () => [],
    stats: () => new FakeExchange().stats(),
    subscribeMembers: () => () => undefined,
    close: () => Promise.resolve(void calls.push('close')),
  };
  return {
    clock: new ManualClock(),
    random: realRandom,
    log: silentLog,
    metrics: createMetrics(),
    openExchange: ({ credentialsOf }) => Promise.resolve({ ...exchange, credentials: credentialsOf(node()) }),
    hostNetworks: [],
  };
}

async function config(change: Partial<MasterConfig> = {}): Promise<MasterConfig> {
  const path = join(dir, 'master.yaml');
  await writeFile(path, `address: 127.0.0.1\nstate_dir: ${dir}/state\nrun_dir: ${dir}/run\n`);
  return { ...(await loadMasterConfig(path)), http_port: 0, ...change };
}

const get = (port: number, path: string) =>
  request({ host: '127.0.0.1', port }, { method: 'GET', path, timeoutMs: 5000 });

describe('startMaster', () => {
  test('serves on TCP and on its socket, and knows its cluster and nodes again after a restart', async () => {
    const calls: string[] = [];
    const first = await startMaster(components(calls), await config());
    const message = registration(node(), '10.0.0.11');
    const body = { method: 'POST', path: REGISTER_PATH, body: message, timeoutMs: 5000 } as const;
    const refused = await request({ host: '127.0.0.1', port: first.port }, body);
    expect(refused).toMatchObject({
      status: 403,
      body: { remedy: expect.stringContaining('TLS') as string },
    });
    const granted = await request({ socketPath: join(dir, 'run/api.sock') }, body);
    expect(granted).toMatchObject({ status: 200, body: { cluster: first.cluster } });
    expect((await stat(join(dir, 'run/api.sock'))).mode & 0o777).toBe(0o600);
    await first.close();
    expect(calls).toEqual(['publish cluster/network', 'publish cluster/masters', 'contacts ', 'close']);
    const second = await startMaster(components(calls), await config());
    expect(second.cluster).toBe(first.cluster);
    expect(calls.at(-1)).toBe('contacts 10.0.0.11:62501');
    const socket = { socketPath: join(dir, 'run/api.sock') };
    const state = await request(socket, { method: 'GET', path: '/overlay-master/state', timeoutMs: 5000 });
    expect(state.body).toMatchObject({ agents: [{ ip: '10.0.0.11' }] });
    await second.close();
    await expect(get(second.port, '/health')).rejects.toMatchObject({ code: 'unavailable' });
  });

  test('leaves nothing open when a later step of its start fails', async () => {
    const calls: string[] = [];
    const first = await startMaster(components(), await config());
    const second = config({
      state_dir: join(dir, 'other'),
      run_dir: join(dir, 'other'),
      http_port: first.port,
    });
    await expect(startMaster(components(calls), await second)).rejects.toMatchObject({ code: 'conflict' });
    expect(calls.at(-1)).toBe('close');
    await first.close();
    await (await startMaster(components(), await config({ state_dir: join(dir, 'other') }))).close();
  });

  test("refuses an overlay that this host's networks intersect, before it opens anything", async () => {
    const hostNetworks = [{ prefix: prefix('9.3.0.0/16'), source: 'of this host, eth1' }];
    await expect(startMaster({ ...components(), hostNetworks }, await config())).rejects.toThrow('eth1');
    await expect(stat(join(dir, 'state'))).rejects.toThrow('ENOENT');
  });

  test('refuses a state directory that another master uses', async () => {
    const first = await startMaster(components(), await config());
    await expect(startMaster(components(), await config())).rejects.toMatchObject({ code: 'conflict' });
    await first.close();
  });
});

describe('loadMasterConfig', () => {
  const network = {
    vtep_subnet: '44.128.0.0/20',
    vtep_mac_oui: '70:B3:D5:00:00:00',
    overlays: [{ name: 'dcos', subnet: '9.0.0.0/8', prefix: 24, enabled: true }],
  };
  const load = async (content: object) => {
    await writeFile(join(dir, 'dcos.json'), JSON.stringify(content));
    return loadMasterConfig(join(dir, 'dcos.json'));
  };

  test('takes the overlay JSON of DC/OS unchanged', async () => {
    const config = await load({
      replicated_log_dir: '/var/lib/dcos/overlay/log',
      replicated_log_timeout: '5mins',
      zk: { url: 'zk://10.0.0.1:2181,10.0.0.2:2181/mesos', quorum: 2, session_timeout: 10 },
      network: {
        vtep_subnet: '44.128.0.0/20',
        vtep_subnet6: 'fd01:a::/64',
        vtep_mac_oui: '70:B3:D5:00:00:00',
        vtep_mtu: 1500,
        overlays: [
          { name: 'dcos', subnet: '9.0.0.0/8', prefix: 24 },
          { name: 'dcos6', subnet6: 'fd01:b::/64', prefix6: 80, enabled: true },
        ],
      },
    });
    expect(config.network.overlays.map(({ name, enabled }) => [name, enabled])).toEqual([
      ['dcos', true],
      ['dcos6', true],
    ]);
  });

  test('takes a bare network section', async () => {
    expect((await load(network)).network).toEqual(network);
  });

  test('names an unknown key within a bare network section', async () => {
    await expect(load({ ...network, vtep_subnets: 'x' })).rejects.toMatchObject({
      field: 'network.vtep_subnets',
      remedy: 'did you mean "vtep_subnet"?',
    });
  });
});

test('routes of the host are read from the kernel, the default route left out', () => {
  const text = [
    'Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT',
    'eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0',
    'eth0\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0',
    '',
  ].join('\n');
  expect(parseRoutes(text).map(({ prefix, source }) => `${String(prefix)} ${source}`)).toEqual([
    '10.0.0.0/24 eth0',
  ]);
});
