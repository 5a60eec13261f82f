/**
 * The DNS server against dnsmasq: 10,000 names each, one after the other in the same namespace, server and client on a
 * core of their own; and look-ups of the C library in containers of a lab.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { lookUpInContainers } from './support/lookups.ts';
import type { Bench, Row } from './support/report.ts';
import { atEnd, compiled, namespace, nodeFlags, root, run, temporaryFolder } from './support/run.ts';
import { median } from './support/stats.ts';

const SERVER = 'benchdns';
const NAMES = 10_000;
const REPETITIONS = 3;
const SECONDS = 2;
const OURS = 5301;
const PEER = 5302;
const UPSTREAM = 5303;
const ZONE = 'marathon.mesos';
const [CLIENT_CPU, SERVER_CPU] = ['0', '1'];

export const dns: Bench = {
  name: 'dns',
  about: `DNS with ${NAMES.toLocaleString('en')} names, one core for the server, median of ${REPETITIONS} repetitions; look-ups from containers on a lab of two agents`,
  async run() {
    const folder = temporaryFolder();
    const files = writeFiles(folder);
    const ask = await compiled('dnsask.c');
    await namespace(SERVER);
    const ours = await startOurs();
    await startDnsmasq(['--port', String(PEER), `--addn-hosts=${files.hosts}`, '--local-ttl=5']);
    await startDnsmasq(['--port', String(UPSTREAM), '--address=/fwd.example/192.0.2.9']);
    await answers();
    return [
      ...(await throughput(files.queries)),
      ...(await latency(ask)),
      ...(await forwarding(ask)),
      ...(await lookUpInContainers()),
      { what: `${NAMES.toLocaleString('en')} tasks to names`, unit: 'ms', ours: ours.loadMs },
      {
        what: 'longest hold of the event loop meanwhile',
        unit: 'ms',
        ours: ours.heldMs,
        promise: { atMost: 10 },
      },
      { what: 'memory of the server with them', unit: 'MiB', ours: ours.rss / 2 ** 20 },
    ];
  },
};

interface Started {
  readonly loadMs: number;
  readonly heldMs: number;
  readonly rss: number;
}

function writeFiles(folder: string): { readonly queries: string; readonly hosts: string } {
  const path = (name: string, lines: readonly string[]): string => {
    writeFileSync(join(folder, name), `${lines.join('\n')}\n`);
    return join(folder, name);
  };
  return {
    queries: path(
      'queries',
      Array.from({ length: 50_000 }, (_, i) => `h${(i * 7919) % NAMES}.${ZONE} A`),
    ),
    hosts: path(
      'hosts',
      Array.from({ length: NAMES }, (_, i) => `9.0.${i >> 8}.${i & 255} h${i}.${ZONE}`),
    ),
  };
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

async function startOurs(): Promise<Started> {
  const program = join(root, 'dist-bench', 'bench', 'dns-child.js');
  const words = [program, String(NAMES), String(OURS), String(UPSTREAM)];
  const child = start([...inside(SERVER, SERVER_CPU), process.execPath, ...nodeFlags(), ...words]);
  const [line] = (await once(child.stdout as NonNullable<ChildProcess['stdout']>, 'data')) as [Buffer];
  return JSON.parse(line.toString()) as Started;
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
  const where = ['--listen-address=127.0.0.1', '--bind-interfaces'];
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
    const load = ['-d', queries, '-l', String(SECONDS), '-t', '1', '-c', '8', '-q', '400'];
    const words = ['dnsperf', '-s', '127.0.0.1', '-p', String(port), ...load];
    const { stdout } = await run('nsenter', [...inside(SERVER, CLIENT_CPU), ...words]);
    const lost = figure(stdout, /Queries lost:\s+(\d+)/);
    if (lost > 0) console.error(`port ${port}: ${lost} queries lost`);
    return figure(stdout, /Queries per second:\s+([\d.]+)/);
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

interface Asking {
  /** The program. */
  readonly ask: string;
  readonly port: number;
  readonly prefix: string;
  readonly suffix: string;
  readonly names: number;
}

/** On the server's core, so that no other core has to be woken. */
async function oneAtATime({ ask, port, prefix, suffix, names }: Asking): Promise<Latency> {
  const words = [ask, String(port), prefix, suffix, String(names), String(SECONDS)];
  const { stdout } = await run('nsenter', [...inside(SERVER, SERVER_CPU), ...words]);
  const found = JSON.parse(stdout) as Latency;
  if (found.bad > 0) throw new Error(`${found.bad} wrong answers of port ${port}`);
  return found;
}

async function latency(ask: string): Promise<readonly Row[]> {
  const load = { ask, prefix: 'h', suffix: `.${ZONE}`, names: NAMES };
  const measured = await inTurn(async (port) => (await oneAtATime({ ...load, port })).p50);
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
async function forwarding(ask: string): Promise<readonly Row[]> {
  const added = { p50: [] as number[], p99: [] as number[] };
  const load = { ask, suffix: '.fwd.example', names: 1e9 };
  for (let i = 0; i < REPETITIONS; i++) {
    const direct = await oneAtATime({ ...load, port: UPSTREAM, prefix: `d${i}-` });
    const through = await oneAtATime({ ...load, port: OURS, prefix: `t${i}-` });
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
