/**
 * Real dockerd on two hosts, joined by a VXLAN made by hand as the agent makes it; what is ours here is the Docker
 * networks, the way through Docker's isolation, and what is told about containers.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startTestDockerd, type TestDockerd } from '../../test/support/dockerd.ts';
import { nftOf } from '../../test/support/nft.ts';
import { realClock } from '../base/clock.ts';
import { prefix } from '../base/ip.ts';
import { silentLog } from '../base/log.ts';
import { createMetrics } from '../base/metrics.ts';
import type { Endpoint } from '../model/endpoint.ts';
import { mustRun, runCommand } from '../runtime/command.ts';
import { openDocker } from '../runtime/docker.ts';
import { createDockerNetworks, type DockerNetworks } from './docker-network.ts';
import type { DockerNetworkWish } from './docker-network-plan.ts';

const options = { timeoutMs: 20_000 };
const tag = `pdk-net-${process.pid}`;

/** Host i of two: block 9.0.i.0/24, VTEP 44.128.0.i, underlay 10.0.0.i, one "CNI" container on m-dcos. */
interface Host {
  readonly number: number;
  readonly namespace: string;
  readonly cni: string;
  readonly wishes: DockerNetworkWish[];
  readonly told: (readonly Endpoint[])[];
  daemon: TestDockerd;
  networks: DockerNetworks;
}
const hosts: Host[] = [];

async function ip(namespace: string, lines: readonly string[]): Promise<void> {
  await mustRun(['ip', '-n', namespace, '-batch', '-'], { ...options, input: `${lines.join('\n')}\n` });
}

function vtepMac(number: number): string {
  return `70:b3:d5:80:00:0${number}`;
}

async function makeHost(number: number): Promise<{ namespace: string; cni: string }> {
  const namespace = `${tag}-${number}`;
  const cni = `${namespace}-cni`;
  const peer = number === 1 ? 2 : 1;
  await ip(namespace, [
    'link set lo up',
    `address add 10.0.0.${number}/24 dev eth0`,
    'link set eth0 up',
    `link add vtep1024 type vxlan id 1024 local 10.0.0.${number} dstport 64000 nolearning`,
    `link set vtep1024 address ${vtepMac(number)} up`,
    `address add 44.128.0.${number}/20 dev vtep1024`,
    'link add m-dcos type bridge',
    `address add 9.0.${number}.1/25 dev m-dcos`,
    'link set m-dcos up',
    `link add port type veth peer name eth0 netns ${cni}`,
    'link set port master m-dcos up',
    `neighbour add 44.128.0.${peer} lladdr ${vtepMac(peer)} dev vtep1024 nud permanent`,
    `route add 9.0.${peer}.0/24 via 44.128.0.${peer} dev vtep1024 onlink`,
  ]);
  await mustRun(
    ['bridge', '-n', namespace, 'fdb', 'add', vtepMac(peer), 'dev', 'vtep1024', 'dst', `10.0.0.${peer}`],
    options,
  );
  await ip(cni, [
    'link set eth0 up',
    `address add 9.0.${number}.2/25 dev eth0`,
    `route add default via 9.0.${number}.1`,
  ]);
  return { namespace, cni };
}

async function startHost(number: number): Promise<Host> {
  const { namespace, cni } = await makeHost(number);
  const wishes = [{ name: 'dcos', subnets: [prefix(`9.0.${number}.128/25`)], mtu: 1450 }];
  const told: (readonly Endpoint[])[] = [];
  const daemon = await startTestDockerd(namespace);
  const networks = createDockerNetworks(
    {
      docker: openDocker,
      kernel: { nft: nftOf(namespace) },
      clock: realClock,
      log: silentLog,
      metrics: createMetrics(),
      legacyTables: () => Promise.resolve([]),
    },
    {
      socket: daemon.socket,
      networks: () => wishes,
      onEndpoints: (endpoints) => told.push(endpoints),
    },
  );
  networks.start();
  return { number, namespace, cni, wishes, told, daemon, networks };
}

async function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; i < 400; i++) {
    if (await condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error(`not so in time: ${what}`);
}

const isOffered = ({ networks }: Host) =>
  networks.status().networks.every(({ state }) => state === 'ok') &&
  networks.status().isolation.sites.length > 0;

function hostAt(index: number): Host {
  const host = hosts[index];
  if (host === undefined) throw new Error(`no host ${index}`);
  return host;
}

beforeAll(async () => {
  const names = [1, 2].flatMap((number) => [`${tag}-${number}`, `${tag}-${number}-cni`]);
  await mustRun(['ip', '-batch', '-'], {
    ...options,
    input: `${names.map((name) => `netns add ${name}`).join('\n')}\n`,
  });
  await ip(`${tag}-1`, [`link add eth0 type veth peer name eth0 netns ${tag}-2`]);
  hosts.push(...(await Promise.all([1, 2].map(startHost))));
  await Promise.all(hosts.map((host) => until('Docker networks', () => isOffered(host))));
});

afterAll(async () => {
  await Promise.all(hosts.map(({ networks }) => networks.stop()));
  await Promise.all(hosts.map(({ daemon }) => daemon.stop()));
  for (const number of [1, 2])
    for (const name of [`${tag}-${number}`, `${tag}-${number}-cni`])
      await runCommand(['ip', 'netns', 'del', name], options);
});

async function pingFromCni({ cni }: Host, address: string): Promise<boolean> {
  const ping = ['busybox', 'ping', '-c', '1', '-W', '2', address];
  return (await runCommand(['nsenter', `--net=/run/netns/${cni}`, '--', ...ping], options)).status === 0;
}

async function pingFromDocker({ daemon }: Host, container: string, address: string): Promise<boolean> {
  return daemon.docker('exec', container, 'ping', '-c', '1', '-W', '2', address).then(
    () => true,
    () => false,
  );
}

describe('docker run --network dcos', () => {
  test('reaches CNI and Docker containers on its own host and on another one, both ways', async () => {
    const [one, two] = [hostAt(0), hostAt(1)];
    await Promise.all([
      one.daemon.run('--name', 'ca', '--network', 'dcos'),
      two.daemon.run('--name', 'cb', '--network', 'dcos'),
    ]);
    const results = await Promise.all([
      pingFromCni(one, '9.0.1.130'),
      pingFromCni(one, '9.0.2.130'),
      pingFromCni(two, '9.0.1.130'),
      pingFromDocker(one, 'ca', '9.0.1.2'),
      pingFromDocker(one, 'ca', '9.0.2.2'),
      pingFromDocker(one, 'ca', '9.0.2.130'),
      pingFromDocker(two, 'cb', '9.0.1.130'),
    ]);
    expect(results).toEqual(results.map(() => true));
  });

  test('keeps its own address on the way to another host', async () => {
    const [one, two] = [hostAt(0), hostAt(1)];
    const sockets = (): Promise<string> =>
      one.daemon.docker('exec', 'ca', 'cat', '/proc/net/tcp', '/proc/net/tcp6');
    await one.daemon.docker('exec', '-d', 'ca', 'nc', '-l', '-p', '7000');
    await until('the listener', async () => (await sockets()).includes(':1B58 '));
    await two.daemon.docker('exec', '-d', 'cb', 'sh', '-c', 'sleep 600 | nc 9.0.1.130 7000');
    // 9.0.2.130 as the kernel prints it: hexadecimal, little-endian.
    await until('the connection from 9.0.2.130', async () => (await sockets()).includes('82020009:'));
  });

  test('is told with addresses, labels and ports, and gone when it is gone', async () => {
    const one = hostAt(0);
    const id = await one.daemon.run(
      '--name',
      'web',
      '--network',
      'dcos',
      '-l',
      'VIP_0=/web:80',
      '-p',
      '8080:80',
    );
    const found = (): Endpoint | undefined => one.told.at(-1)?.find(({ container }) => container === id);
    await until('its endpoint with its port', () => found()?.ports.length === 1);
    expect(found()).toMatchObject({
      name: 'web',
      network: 'dcos',
      addresses: ['9.0.1.131/25'],
      ports: [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }],
      labels: { VIP_0: '/web:80' },
    });
    await one.daemon.docker('rm', '-f', 'web');
    await until('no endpoint', () => found() === undefined);
  });
});

describe('when Docker changes things', () => {
  test('a removed network is made anew', async () => {
    const one = hostAt(0);
    await one.daemon.docker('rm', '-f', 'ca');
    await one.daemon.docker('network', 'rm', 'dcos');
    await until('the network', async () => (await one.daemon.docker('network', 'ls')).includes('dcos'));
    await one.daemon.run('--name', 'ca', '--network', 'dcos');
    await until('a way through', () => pingFromCni(hostAt(1), '9.0.1.130'));
  });

  test('a restart of the daemon is survived, and containers reach each other after it', async () => {
    const [one, two] = [hostAt(0), hostAt(1)];
    await one.daemon.halt();
    await until('its absence', () => one.networks.status().daemon === 'waiting');
    await one.daemon.restart();
    await until('its return', () => one.networks.status().daemon === 'connected' && isOffered(one));
    await one.daemon.docker('start', 'ca');
    await until('a way through', () => pingFromCni(two, '9.0.1.130'));
    expect(await pingFromCni(one, '9.0.1.130')).toBe(true);
  });

  test('a network that a person made to other measures is named with the remedy', async () => {
    const one = hostAt(0);
    await one.daemon.docker('network', 'create', '--subnet', '172.30.0.0/24', 'blue');
    one.wishes.push({ name: 'blue', subnets: [prefix('11.0.1.128/25')], mtu: 1450 });
    one.networks.trigger();
    await until('the finding', () => one.networks.status().networks[1]?.state === 'failed');
    const { message } = one.networks.status().networks[1] ?? {};
    expect(message).toContain('subnet is 172.30.0.0/24, not 11.0.1.128/25');
    expect(message).toContain('"docker network rm blue"');
    await one.daemon.docker('network', 'rm', 'blue');
    await until('the network', () => isOffered(one));
    const made = await one.daemon.docker(
      'network',
      'inspect',
      '-f',
      '{{index .Options "com.docker.network.driver.mtu"}}',
      'blue',
    );
    expect(made).toBe('1450');
  });

  test('an overlay without IPv4 is not offered by this Docker, and says so', async () => {
    const two = hostAt(1);
    two.wishes.push({ name: 'dcos6', subnets: [prefix('fd01:b::8000:0:0:0/81')], mtu: 1450 });
    two.networks.trigger();
    await until('the finding', () => two.networks.status().networks[1]?.state === 'unsupported');
    expect(two.networks.status().networks[1]?.message).toContain('needs an IPv4 subnet');
  });
});
