/**
 * The DNS server against dnsmasq: 10,000 names each, one after the other in the same namespaces, server and client on a
 * core of their own.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Bench, Row } from './support/report.ts';
import { atEnd, namespace, nodeFlags, root, run, temporaryFolder } from './support/run.ts';
import { median } from './support/stats.ts';

const SERVER = 'benchdns';
const CLIENT = 'benchdnsc';
const NAMES = 10_000;
const REPETITIONS = 3;
const OURS = 5301;
const PEER = 5302;
const UPSTREAM = 5303;
const ZONE = 'marathon.mesos';
const ADDRESS = '10.77.0.1';
const PARALLEL = 100_000;
const [CLIENT_CPU, SERVER_CPU] = ['0', '1'];

export const dns: Bench = {
  name: 'dns',
  about: `DNS with ${NAMES.toLocaleString('en')} names, one core for the server, median of ${REPETITIONS} repetitions`,
  async run() {
    const folder = temporaryFolder();
    const files = writeFiles(folder);
    await networks();
    const ours = await startOurs();
    await startDnsmasq(['--port', String(PEER), `--addn-hosts=${files.hosts}`, '--local-ttl=5']);
    await startDnsmasq(['--port', String(UPSTREAM), '--address=/fwd.example/192.0.2.9']);
    await answers();
    return [
      ...(await throughput(files.queries)),
      ...(await latency()),
      ...(await forwarding()),
      ...(await parallel(files.pairs)),
      { what: `${NAMES.toLocaleString('en')} tasks to names`, unit: 'ms', ours: ours.loadMs },
      { what: 'memory of the server with them', unit: 'MiB', ours: ours.rss / 2 ** 20 },
    ];
  },
};

function writeFiles(folder: string): { queries: string; pairs: string; hosts: string } {
  const path = (name: string, lines: readonly string[]): string => {
    writeFileSync(join(folder, name), `${lines.join('\n')}\n`);
    return join(folder, name);
  };
  const some = Array.from({ length: 50_000 }, (_, i) => `h${(i * 7919) % NAMES}.${ZONE}`);
  const pairs = Array.from({ length: PARALLEL }, (_, i) => `h${(i * 7919) % NAMES}.${ZONE}`);
  return {
    queries: path(
      'queries',
      some.map((name) => `${name} A`),
    ),
    pairs: path(
      'pairs',
      pairs.flatMap((name) => [`${name} A`, `${name} AAAA`]),
    ),
    hosts: path(
      'hosts',
      Array.from({ length: NAMES }, (_, i) => `9.0.${i >> 8}.${i & 255} h${i}.${ZONE}`),
    ),
  };
}

/** The client's namespace is to the server's what a container's is to its host's. */
async function networks(): Promise<void> {
  await namespace(SERVER);
  await namespace(CLIENT);
  await run(
    'ip',
    ['-n', SERVER, '-batch', '-'],
    [
      `link add veth0 type veth peer name eth0 netns ${CLIENT}`,
      `address add ${ADDRESS}/24 dev veth0`,
      'link set veth0 up\n',
    ].join('\n'),
  );
  await run('ip', ['-n', CLIENT, '-batch', '-'], 'address add 10.77.0.2/24 dev eth0\nlink set eth0 up\n');
}

const inside = (name: string, cpu: string): readonly string[] => [
  `--net=/run/netns/${name}`,
  ...['taskset', '-c', cpu],
];

function start(argv: readonly string[]): ChildProcess {
  const child = spawn('nsenter', argv, { stdio: ['ignore', 'pipe', 'ignore'] });
  atEnd(() => child.kill('SIGKILL'));
  return child;
}

async function startOurs(): Promise<{ readonly loadMs: number; readonly rss: number }> {
  const program = join(root, 'dist-bench', 'bench', 'dns-child.js');
  const words = [program, String(NAMES), String(OURS), ADDRESS, String(UPSTREAM)];
  const child = start([...inside(SERVER, SERVER_CPU), process.execPath, ...nodeFlags(), ...words]);
  const [line] = (await once(child.stdout as NonNullable<ChildProcess['stdout']>, 'data')) as [Buffer];
  return JSON.parse(line.toString()) as { loadMs: number; rss: number };
}

async function startDnsmasq(options: readonly string[]): Promise<void> {
  const fixed = [
    '--no-daemon',
    '--conf-file=/dev/null',
    '--no-resolv',
    '--no-hosts',
    '--pid-file=',
    '--user=root',
  ];
  const where = ['--listen-address=127.0.0.1', `--listen-address=${ADDRESS}`, '--bind-interfaces'];
  start([...inside(SERVER, SERVER_CPU), 'dnsmasq', ...fixed, ...where, '--cache-size=10000', ...options]);
}

/** Both say the same, or nothing of this means anything. */
async function answers(): Promise<void> {
  const enter = inside(SERVER, CLIENT_CPU);
  for (const [port, name, expected] of [
    [OURS, `h77.${ZONE}`, '9.0.0.77'],
    [PEER, `h77.${ZONE}`, '9.0.0.77'],
    [UPSTREAM, 'x.fwd.example', '192.0.2.9'],
    [OURS, 'y.fwd.example', '192.0.2.9'],
  ] as const) {
    const dig = ['dig', '+short', '+tries=10', '+time=1', '@127.0.0.1', '-p', String(port), name];
    const { stdout } = await run('nsenter', [...enter, ...dig]);
    if (stdout.trim() !== expected) throw new Error(`port ${port} says "${stdout.trim()}" for ${name}`);
  }
}

async function dnsperf(from: string, words: readonly string[]): Promise<string> {
  return (await run('nsenter', [...inside(from, CLIENT_CPU), 'dnsperf', ...words])).stdout;
}

const figure = (text: string, pattern: RegExp): number => Number(pattern.exec(text)?.[1] ?? Number.NaN);

/** Of ours and of the peer, in turn. */
async function inTurn(
  measure: (port: number) => Promise<number>,
): Promise<{ readonly ours: number; readonly peer: number }> {
  const ours: number[] = [];
  const peer: number[] = [];
  for (let i = 0; i < REPETITIONS; i++) {
    ours.push(await measure(OURS));
    peer.push(await measure(PEER));
  }
  return { ours: median(ours), peer: median(peer) };
}

async function throughput(queries: string): Promise<readonly Row[]> {
  const measured = await inTurn(async (port) => {
    const load = ['-d', queries, '-l', '2', '-c', '8', '-q', '400'];
    const text = await dnsperf(SERVER, ['-s', '127.0.0.1', '-p', String(port), ...load]);
    return figure(text, /Queries per second:\s+([\d.]+)/);
  });
  return [
    {
      what: 'queries answered, one core',
      unit: '/s',
      ...measured,
      peerName: 'dnsmasq',
      promise: { atLeast: 1 },
    },
  ];
}

interface Latency {
  readonly p50: number;
  readonly p99: number;
  readonly bad: number;
}

/** On the server's core, so that no other core has to be woken. */
async function oneAtATime(port: number, prefix: string, suffix: string, names: number): Promise<Latency> {
  const program = join(root, 'dist-bench', 'bench', 'dns-latency.js');
  const words = [process.execPath, program, String(port), prefix, suffix, String(names), '1.5'];
  const { stdout } = await run('nsenter', [...inside(SERVER, SERVER_CPU), ...words]);
  const found = JSON.parse(stdout) as Latency;
  if (found.bad > 0) throw new Error(`${found.bad} wrong answers of port ${port}`);
  return found;
}

async function latency(): Promise<readonly Row[]> {
  const measured = await inTurn(async (port) => (await oneAtATime(port, 'h', `.${ZONE}`, NAMES)).p50);
  return [
    {
      what: 'one query at a time, p50',
      unit: 'us',
      ...measured,
      peerName: 'dnsmasq',
      promise: { atMost: 1.5 },
    },
  ];
}

/** Names that nobody has asked for, so that every query goes to the upstream. */
async function forwarding(): Promise<readonly Row[]> {
  const added = { p50: [] as number[], p99: [] as number[] };
  for (let i = 0; i < REPETITIONS; i++) {
    const direct = await oneAtATime(UPSTREAM, `d${i}-`, '.fwd.example', 1e9);
    const through = await oneAtATime(OURS, `t${i}-`, '.fwd.example', 1e9);
    for (const part of ['p50', 'p99'] as const) added[part].push((through[part] - direct[part]) / 1000);
  }
  return [
    {
      what: 'added to a forwarded query, p50',
      unit: 'ms',
      ours: median(added.p50),
      promise: { atMost: 0.5 },
    },
    { what: 'added to a forwarded query, p99', unit: 'ms', ours: median(added.p99) },
  ];
}

async function parallel(pairs: string): Promise<readonly Row[]> {
  const load = ['-d', pairs, '-n', '1', '-c', '50', '-q', '200'];
  const measure = async (port: number): Promise<{ slowest: number; lost: number }> => {
    const text = await dnsperf(CLIENT, ['-s', ADDRESS, '-p', String(port), ...load]);
    return { slowest: figure(text, /max ([\d.]+)\)/) * 1000, lost: figure(text, /Queries lost:\s+(\d+)/) };
  };
  const [ours, peer] = [await measure(OURS), await measure(PEER)];
  const what = `${PARALLEL.toLocaleString('en')} A + AAAA in parallel from another namespace`;
  return [
    { what: `${what}: slowest`, unit: 'ms', ours: ours.slowest, promise: { atMost: 100 } },
    { what: `${what}: slowest, dnsmasq`, unit: 'ms', ours: peer.slowest },
    { what: `${what}: lost`, unit: 'queries', ours: ours.lost, promise: { atMost: 0 } },
  ];
}
