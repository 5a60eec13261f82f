/**
 * A client, a host that balances, and ten backends behind it, each side in a namespace of its own. Clients are on the
 * first CPU and servers on the second, so that the scheduler does not decide who wins; what balances goes where it likes.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseMac, type Mac } from '../../src/base/mac.ts';
import type { ContainerPort } from '../../src/kernel/fastpath/fastpath.ts';
import { atEnd, namespace, nodeFlags, root, run, temporaryFolder } from './run.ts';

export const BACKENDS = 10;
export const backend = (index: number): string => `9.0.2.${11 + index}`;

export interface Topology {
  /** Connections per second that wrk makes. */
  connect(address: string, port: number): Promise<number>;
  /** Gb/s of one stream. */
  stream(address: string): Promise<number>;
  /** On the host. */
  onHost(command: string, args: readonly string[], input?: string): Promise<void>;
  startOnHost(argv: readonly string[]): ChildProcess;
  /** The host's links to clients and backends, as to containers. */
  readonly ports: readonly ContainerPort[];
}

const SECONDS = 1;
const CLIENTS_CPU = 0;
const SERVERS_CPU = 1;
const pinned = (cpu: number, argv: readonly string[]): readonly string[] => [
  'taskset',
  '-c',
  `${cpu}`,
  ...argv,
];

export async function topology(name: string): Promise<Topology> {
  const [client, host, server] = [
    await namespace(`${name}c`),
    await namespace(`${name}h`),
    await namespace(`${name}s`),
  ];
  const inside = (namespaceName: string, command: string, args: readonly string[], input?: string) =>
    run('nsenter', [`--net=/run/netns/${namespaceName}`, command, ...args], input);
  await link(host, client, 'c0', '9.0.1.1/24', ['9.0.1.11/24']);
  const backends = Array.from({ length: BACKENDS }, (_, i) => `${backend(i)}/24`);
  await link(host, server, 's0', '9.0.2.1/24', backends);
  for (const each of [client, host, server])
    await inside(each, 'sysctl', ['-qw', 'net.ipv4.ip_forward=1', 'net.ipv4.ip_local_port_range=2000 65000']);
  await inside(client, 'sysctl', ['-qw', 'net.ipv4.tcp_tw_reuse=1']);
  const waits = ['time_wait', 'close'].map((state) => `net.netfilter.nf_conntrack_tcp_timeout_${state}=1`);
  await inside(host, 'sysctl', ['-qw', ...waits]);
  const start = (namespaceName: string, argv: readonly string[]): ChildProcess => {
    const child = spawn('nsenter', [`--net=/run/netns/${namespaceName}`, ...argv], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    atEnd(() => child.kill('SIGKILL'));
    return child;
  };
  const httpd = join(temporaryFolder(), 'httpd');
  await run('gcc', ['-O2', '-o', httpd, join(root, 'bench', 'httpd.c')]);
  start(server, pinned(SERVERS_CPU, [httpd, '8080']));
  start(server, pinned(SERVERS_CPU, ['iperf3', '-s'])).stdout?.resume();
  const call = (...argv: readonly string[]) => {
    const [command = '', ...args] = pinned(CLIENTS_CPU, argv);
    return inside(client, command, args);
  };
  return {
    connect: async (address, port) => {
      const url = `http://${address}:${port}/`;
      const { stdout } = await call('wrk', '-t1', '-c32', `-d${SECONDS}s`, '-H', 'Connection: close', url);
      const rate = /Requests\/sec:\s+([\d.]+)/.exec(stdout)?.[1];
      if (rate === undefined || /Socket errors: connect [1-9]/.test(stdout))
        throw new Error(`wrk ${url}: ${stdout}`);
      return Number(rate);
    },
    stream: async (address) => {
      // BBR, where it is the default, sends as fast as it believes the path to be, and changes its mind.
      const { stdout } = await call('iperf3', '-c', address, '-t', `${SECONDS}`, '-C', 'cubic', '-J');
      const report = JSON.parse(stdout) as { end: { sum_received: { bits_per_second: number } } };
      return report.end.sum_received.bits_per_second / 1e9;
    },
    onHost: async (command, args, input) => void (await inside(host, command, args, input)),
    startOnHost: (argv) => start(host, argv),
    ports: [
      { link: 'c0', mac: await macOf(client) },
      { link: 's0', mac: await macOf(server) },
    ],
  };
}

async function macOf(namespaceName: string): Promise<Mac> {
  const { stdout } = await run('ip', ['-n', namespaceName, '-j', 'link', 'show', 'eth0']);
  const [shown] = JSON.parse(stdout) as { readonly address: string }[];
  const mac = parseMac(shown?.address ?? '');
  if (mac === undefined) throw new Error(`no MAC in ${stdout}`);
  return mac;
}

async function link(
  host: string,
  other: string,
  name: string,
  address: string,
  others: readonly string[],
): Promise<void> {
  const ip = (...args: readonly string[]): Promise<unknown> => run('ip', args);
  await ip('-n', host, 'link', 'add', name, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', other);
  await ip('-n', host, 'address', 'add', address, 'dev', name);
  await ip('-n', host, 'link', 'set', name, 'up');
  for (const each of others) await ip('-n', other, 'address', 'add', each, 'dev', 'eth0');
  await ip('-n', other, 'link', 'set', 'eth0', 'up');
  await ip('-n', other, 'route', 'add', 'default', 'via', address.replace(/\/.*/, ''));
}

/** Our VIPs on the host of a topology. */
export interface LoadedVips {
  ask(
    command: object,
  ): Promise<Readonly<Record<string, number>> & { readonly called: string; readonly bulk: string }>;
}

export function vipsOn(host: Pick<Topology, 'startOnHost'>): LoadedVips {
  const program = join(root, 'dist-bench', 'bench', 'vip-child.js');
  const child = host.startOnHost([process.execPath, ...nodeFlags(), program]);
  if (child.stdout === null) throw new Error('no output');
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    ask: async (command) => {
      child.stdin?.write(`${JSON.stringify(command)}\n`);
      const answer = await lines.next();
      if (answer.done === true) throw new Error('the bench of VIPs ended early');
      return JSON.parse(answer.value) as Awaited<ReturnType<LoadedVips['ask']>>;
    },
  };
}
