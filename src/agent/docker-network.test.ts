import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { ip, prefix } from '../base/ip.ts';
import { memoryLog } from '../base/log.ts';
import { createMetrics } from '../base/metrics.ts';
import { PortolanError } from '../base/errors.ts';
import type { Endpoint } from '../model/endpoint.ts';
import { FakeDocker } from '../runtime/docker-fake.ts';
import { createDockerNetworks, type DockerNetworks } from './docker-network.ts';
import type { DockerNetworkWish } from './docker-network-plan.ts';

const dcos: DockerNetworkWish = { name: 'dcos', subnets: [prefix('9.0.0.128/25')], mtu: 1450 };
const dcos6: DockerNetworkWish = { name: 'dcos6', subnets: [prefix('fd01:b::8000:0:0:0/81')], mtu: 1450 };

let clock = new ManualClock();
beforeEach(() => {
  clock = new ManualClock();
});

const started: DockerNetworks[] = [];
afterEach(async () => {
  await Promise.all(started.splice(0).map((each) => each.stop()));
});

/** A container of another runtime, with a host port. */
const holder: Endpoint = {
  ...{
    container: 'c',
    ifname: 'eth0',
    network: 'dcos',
    source: 'cni',
    name: 'ours',
    addresses: [],
    labels: {},
  },
  ports: [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }],
};

/** As if each container's process ran; what is in here has ended. */
const ended = new Set<number>();
afterEach(() => ended.clear());

function fixture(docker: FakeDocker, wishes: DockerNetworkWish[] = [dcos]) {
  const log = memoryLog();
  const told: (readonly Endpoint[])[] = [];
  let looks = 0;
  const networks = createDockerNetworks(
    {
      docker: () => docker,
      kernel: {
        nft: {
          generation: () => Promise.resolve(looks++),
          list: () => Promise.resolve({ nftables: [] }),
          run: () => Promise.resolve(),
        },
      },
      clock,
      log,
      metrics: createMetrics(),
      legacyTables: () => Promise.resolve([]),
      processes: {
        identify: (pid) => ({ pid, startTime: 0 }),
        isRunning: ({ pid }) => !ended.has(pid),
      },
    },
    {
      socket: '/run/docker.sock',
      networks: () => wishes,
      attached: () => [holder],
      onEndpoints: (endpoints) => told.push(endpoints),
    },
  );
  started.push(networks);
  networks.start();
  return { log, told, networks, looks: () => looks };
}

/** Lets everything run that does not wait for time. */
async function flush(): Promise<void> {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** The same, and the rounds that wait for the gap after the one before. */
async function settle(): Promise<void> {
  for (let i = 0; i < 3; i++) {
    await flush();
    clock.advance(50);
  }
  await flush();
}

describe('with Docker there', () => {
  test('every overlay gets its network', async () => {
    const docker = new FakeDocker();
    const { networks } = fixture(docker);
    await settle();
    expect(await docker.network('dcos')).toMatchObject({
      labels: { portolan: 'dcos' },
      options: { 'com.docker.network.bridge.name': 'd-dcos' },
    });
    expect(networks.status()).toMatchObject({
      daemon: 'connected',
      version: '20.10.24',
      networks: [{ name: 'dcos', state: 'ok' }],
    });
  });

  test('a fitting network is adopted and not made again', async () => {
    const docker = new FakeDocker();
    fixture(docker);
    await settle();
    const { networks } = fixture(docker);
    await settle();
    expect(docker.calls.filter((call) => call === 'createNetwork')).toHaveLength(1);
    expect(networks.status().networks).toEqual([{ name: 'dcos', state: 'ok' }]);
  });

  test('a network that does not fit is named and left, and made as soon as it is removed', async () => {
    const docker = new FakeDocker();
    docker.put({ name: 'dcos', subnets: [prefix('172.20.0.0/16')] });
    const { networks, log } = fixture(docker);
    await settle();
    expect(networks.status().networks).toMatchObject([
      { name: 'dcos', state: 'failed', message: expect.stringContaining('subnet is 172.20.0.0/16') },
    ]);
    networks.trigger();
    await settle();
    expect(log.lines.filter((line) => line.level === 'warn')).toHaveLength(1);
    await docker.removeNetwork('dcos');
    await settle();
    expect(networks.status().networks).toEqual([{ name: 'dcos', state: 'ok' }]);
  });

  test('a host port that another runtime has is told of, once', async () => {
    const docker = new FakeDocker();
    const { log } = fixture(docker);
    await settle();
    const port = { hostPort: 8080, containerPort: 80, protocol: 'tcp', hostIp: undefined } as const;
    docker.run('theirs', 'dcos', {}, [port]);
    await settle();
    docker.run('more', 'dcos');
    await settle();
    expect(log.lines.filter(({ message }) => message === 'a host port is published twice')).toHaveLength(1);
  });

  test('a network in the way of one is named', async () => {
    const docker = new FakeDocker();
    docker.put({ name: 'mine', subnets: [prefix('9.0.0.0/16')] });
    const { networks } = fixture(docker);
    await settle();
    expect(networks.status().networks).toMatchObject([
      { state: 'failed', message: expect.stringContaining('Docker network "mine" has 9.0.0.0/16: remove') },
    ]);
  });

  test('its own network follows a changed MTU while nobody uses it', async () => {
    const docker = new FakeDocker();
    const wishes = [dcos];
    const { networks } = fixture(docker, wishes);
    await settle();
    wishes[0] = { ...dcos, mtu: 1400 };
    networks.trigger();
    await settle();
    expect((await docker.network('dcos'))?.options['com.docker.network.driver.mtu']).toBe('1400');
  });

  test('an overlay without IPv4 is a warning on an old Docker, not a failure', async () => {
    const { networks } = fixture(new FakeDocker(), [dcos, dcos6]);
    await settle();
    expect(networks.status().networks).toMatchObject([
      { name: 'dcos', state: 'ok' },
      { name: 'dcos6', state: 'unsupported', message: expect.stringContaining('needs an IPv4 subnet') },
    ]);
  });

  test('a refusal of one network does not keep the others from being made, and is tried again', async () => {
    const docker = new FakeDocker();
    docker.failures.set('createNetwork', new PortolanError('conflict', 'Pool overlaps'));
    const { networks } = fixture(docker, [
      dcos,
      { ...dcos, name: 'blue', subnets: [prefix('11.0.0.128/25')] },
    ]);
    await settle();
    expect(networks.status().networks).toMatchObject([
      { name: 'dcos', state: 'ok' },
      { name: 'blue', state: 'ok' },
    ]);
    docker.failures.set('network', new PortolanError('conflict', 'Pool overlaps'));
    networks.trigger();
    await settle();
    expect(networks.status().networks[0]).toMatchObject({ state: 'failed', message: 'Pool overlaps' });
    clock.advance(5_000);
    await settle();
    expect(networks.status().networks[0]).toEqual({ name: 'dcos', state: 'ok' });
  });

  test('containers become endpoints with addresses, labels and ports, and go with their containers', async () => {
    const docker = new FakeDocker();
    const { told, networks } = fixture(docker);
    await settle();
    const port = { hostPort: 8080, containerPort: 80, protocol: 'tcp', hostIp: ip('10.0.0.1') } as const;
    const id = docker.run('web', 'dcos', { VIP_0: '/web:80' }, [port]);
    await settle();
    expect(told.at(-1)).toEqual([
      {
        container: id,
        ifname: 'dcos',
        network: 'dcos',
        source: 'docker',
        name: 'web',
        addresses: ['9.0.0.130/25'],
        mac: '02:42:09:00:00:82',
        ports: [{ hostPort: 8080, containerPort: 80, protocol: 'tcp', hostIP: '10.0.0.1' }],
        labels: { VIP_0: '/web:80' },
      },
    ]);
    expect(networks.status().endpoints).toBe(1);
    docker.kill(id);
    await settle();
    expect(told.at(-1)).toEqual([]);
  });

  test('an agent without a grant touches nothing and tells nothing', async () => {
    const docker = new FakeDocker();
    const { told, networks, looks } = fixture(docker, []);
    await settle();
    networks.trigger();
    await settle();
    expect([told.length, looks()]).toEqual([0, 0]);
    expect(docker.calls).toEqual(['version', 'events']);
  });

  test('a storm of events becomes one round after the one it falls into', async () => {
    const docker = new FakeDocker();
    fixture(docker);
    await settle();
    const before = docker.calls.length;
    for (let i = 0; i < 50; i++) docker.run(`web${i}`, 'dcos');
    await settle();
    const rounds = docker.calls.slice(before).filter((call) => call === 'network').length;
    expect(rounds).toBeLessThanOrEqual(2);
  });

  test("containers of Docker's own networks, and of the host's, are told of if they are labelled with a VIP", async () => {
    const docker = new FakeDocker();
    docker.put({ name: 'bridge', subnets: [prefix('172.17.0.0/16')] });
    docker.put({ name: 'host', driver: 'host' });
    docker.put({ name: 'none', driver: 'null' });
    const port = { hostPort: 8080, containerPort: 80, protocol: 'tcp', hostIp: undefined } as const;
    const labels = { VIP_0: '/web:80' };
    const id = docker.run('web', 'bridge', labels, [
      port,
      { ...port, hostPort: 8081, hostIp: ip('127.0.0.1') },
    ]);
    docker.run('db', 'bridge', {}, [port]);
    const own = docker.run('own', 'host', labels);
    docker.run('other', 'host', {});
    const alone = docker.run('alone', 'none', labels);
    const { told } = fixture(docker);
    await settle();
    expect(told.at(-1)).toEqual([
      {
        ...{
          container: id,
          name: 'web',
          ifname: 'bridge',
          network: 'bridge',
          mode: 'bridge',
          source: 'docker',
        },
        ...{ addresses: [], ports: [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }], labels },
      },
      {
        ...{ container: own, name: 'own', ifname: 'host', network: 'host', mode: 'host', source: 'docker' },
        ...{ addresses: [], ports: [], labels },
      },
      {
        ...{
          container: alone,
          name: 'alone',
          ifname: 'none',
          network: 'none',
          mode: 'bridge',
          source: 'docker',
        },
        ...{ addresses: [], ports: [], labels },
      },
    ]);
    docker.kill(alone);
    docker.kill(id);
    docker.kill(own);
    await settle();
    expect(told.at(-1)).toEqual([]);
  });

  test('what did not change is not told again', async () => {
    const docker = new FakeDocker();
    const { told, networks } = fixture(docker);
    await settle();
    docker.run('web', 'dcos');
    await settle();
    const { length } = told;
    networks.trigger();
    await settle();
    expect(told).toHaveLength(length);
  });
});

describe('with Docker away', () => {
  test('it waits, asking ever less often but at least every five seconds', async () => {
    const docker = new FakeDocker(false);
    const { networks } = fixture(docker);
    await flush();
    expect(networks.status()).toMatchObject({
      daemon: 'waiting',
      error: expect.stringContaining('Cannot reach Docker'),
      networks: [{ name: 'dcos', state: 'waiting' }],
    });
    for (const delay of [250, 500, 1000, 2000, 4000, 5000, 5000]) {
      const before = docker.calls.length;
      clock.advance(delay - 1);
      await flush();
      expect(docker.calls).toHaveLength(before);
      clock.advance(1);
      await flush();
      expect(docker.calls).toHaveLength(before + 1);
    }
  });

  test('a daemon that starts later is served', async () => {
    const docker = new FakeDocker(false);
    const { networks, log } = fixture(docker);
    await flush();
    docker.start();
    clock.advance(250);
    await flush();
    expect(networks.status()).toMatchObject({ daemon: 'connected', networks: [{ state: 'ok' }] });
    expect(log.lines.map((line) => line.message)).toEqual([
      'waiting for Docker',
      'Docker is there',
      'made a Docker network',
    ]);
  });

  test('containers whose processes have ended are withdrawn, though nobody tells', async () => {
    const docker = new FakeDocker();
    const { told, networks } = fixture(docker);
    await settle();
    const stays = docker.run('stays', 'dcos');
    const ends = docker.run('ends', 'dcos');
    await settle();
    docker.stop();
    await settle();
    expect(networks.status()).toMatchObject({ daemon: 'waiting', endpoints: 2 });
    ended.add(Number.parseInt(ends, 16));
    clock.advance(5_000);
    await settle();
    expect(told.at(-1)?.map(({ container }) => container)).toEqual([stays]);
  });

  test('after a restart everything is looked at again, and endpoints stand until then', async () => {
    const docker = new FakeDocker();
    const { networks, told } = fixture(docker);
    await settle();
    docker.run('web', 'dcos');
    await settle();
    docker.stop();
    await flush();
    expect(networks.status()).toMatchObject({ daemon: 'waiting', endpoints: 1 });
    expect(told.at(-1)).toHaveLength(1);
    docker.start();
    clock.advance(250);
    await flush();
    expect(networks.status()).toMatchObject({ daemon: 'connected', endpoints: 0 });
    expect(told.at(-1)).toEqual([]);
  });

  test("a trigger still looks after Docker's chains, which outlive it", async () => {
    const { networks, looks } = fixture(new FakeDocker(false));
    await flush();
    const before = looks();
    networks.trigger();
    await flush();
    expect(looks()).toBeGreaterThan(before);
  });

  test('stop ends the loop', async () => {
    const docker = new FakeDocker(false);
    const { networks } = fixture(docker);
    await flush();
    await networks.stop();
    const calls = docker.calls.length;
    clock.advance(60_000);
    await flush();
    expect(docker.calls).toHaveLength(calls);
    expect(networks.status().daemon).toBe('stopped');
  });
});
