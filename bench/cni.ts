/**
 * CNI ADD and DEL as a runtime executes them, against the reference plug-ins in the same run.
 *
 * Ours runs in a lab host with the whole agent; the peer in a namespace of its own. Both are driven by cnirun.c.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Bench, Row } from './support/report.ts';
import { atEnd, lab, namespace, portolan, root, run, temporaryFolder } from './support/run.ts';
import { median } from './support/stats.ts';

const LAB = 'benchcni';
const PEER_NAMESPACE = 'benchcni-peer';
const PEER_PLUGINS = '/usr/lib/cni';
const RUNS = 100;
/** For chains that take a tenth of a second and more each. */
const SLOW_RUNS = 25;
const CROWD = 500;
const REPETITIONS = 3;

interface Side {
  /** Runs a command where this side's plug-ins belong. */
  readonly enter: (...argv: string[]) => Promise<{ readonly stdout: string; readonly stderr: string }>;
  readonly plugins: string;
  readonly prefix: string;
  readonly results: string;
}

interface Measure {
  readonly addMs: number;
  readonly addRate: number;
  readonly delRate: number;
}

/** Host ports are 2<number>: containers 1000.. and 3000.. stay within 16 bits. */
const FIRST = 1000;
const CROWD_FIRST = 3000;
/** A /20 per host: room for the crowd in the Mesos half. */
const OVERLAY = { name: 'bench', subnet: '100.64.0.0/10', prefix: '20' };

export const cni: Bench = {
  name: 'cni',
  about: `CNI ADD and DEL, ${RUNS} containers, median of ${REPETITIONS} repetitions`,
  parts: ['add', 'port', 'eight', 'crowd'],
  async run(part) {
    const folder = temporaryFolder();
    const driver = join(folder, 'cnirun');
    await run('gcc', ['-O2', '-o', driver, join(root, 'bench', 'cnirun.c'), '-lpthread']);
    const inLab = await lab(LAB, 1);
    await addOverlay(inLab);
    await namespace(PEER_NAMESPACE);
    const ours: Side = side(folder, 'o', '/opt/cni/bin', (...argv) => inLab('agent1', ...argv));
    const peer: Side = side(folder, 'p', PEER_PLUGINS, (...argv) =>
      run('nsenter', [`--net=/run/netns/${PEER_NAMESPACE}`, '--', ...argv]),
    );
    await peer.enter('sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv4.conf.all.route_localnet=1');
    for (const each of [ours, peer]) await makeContainers(each, FIRST, RUNS);
    await makeContainers(ours, CROWD_FIRST, CROWD);
    const sides: Sides = { driver, ours, peer, chains: writeChains(folder) };
    const rows: Row[] = [];
    for (const [name, measureRows] of parts)
      if (part === undefined || part === name) rows.push(...(await measureRows(sides)));
    return rows;
  },
};

/** `network add` commits the overlay; agents get their block of it when they register next. */
async function addOverlay(inLab: Side['enter']): Promise<void> {
  const { name, subnet, prefix } = OVERLAY;
  const api = ['--api', `unix:///run/portolan-lab/${LAB}/api.sock`];
  await run(portolan, [...api, 'network', 'add', name, '--subnet', subnet, '--prefix', prefix]);
  await inLab(
    'agent1',
    'sh',
    '-c',
    `for i in $(seq 100); do test -e /etc/cni/net.d/${name}.conflist && exit 0; sleep 0.1; done; exit 1`,
  );
}

function side(folder: string, prefix: string, plugins: string, enter: Side['enter']): Side {
  const results = join(folder, `results-${prefix}`);
  mkdirSync(results);
  return { enter, plugins, prefix, results };
}

async function makeContainers(where: Side, first: number, count: number): Promise<void> {
  const loop = `i=${first}; while [ $i -lt ${first + count} ]; do ip netns add ${where.prefix}$i; i=$((i+1)); done`;
  await where.enter('sh', '-ec', loop);
  if (where.prefix !== 'p') return;
  const remove = `i=${first}; while [ $i -lt ${first + count} ]; do ip netns del ${where.prefix}$i || true; i=$((i+1)); done`;
  atEnd(() => void run('sh', ['-c', remove]));
}

interface Chains {
  readonly plain: string;
  readonly ports: string;
  readonly peerPlain: string;
  readonly peerMasquerade: string;
  readonly peerPorts: string;
}

/** One file per plug-in, named after its type. */
function writeChains(folder: string): Chains {
  const file = (name: string, type: string, config: object): string => {
    mkdirSync(join(folder, name), { recursive: true });
    const path = join(folder, name, type);
    writeFileSync(path, JSON.stringify({ cniVersion: '0.4.0', name: OVERLAY.name, type, ...config }));
    return path;
  };
  const mapping = {
    runtimeConfig: { portMappings: [{ hostPort: 'PORT', containerPort: 80, protocol: 'tcp' }] },
  };
  const withPort = (name: string, type: string, config: object): string => {
    const path = file(name, type, { ...config, ...mapping });
    const text = JSON.stringify({ cniVersion: '0.4.0', name: OVERLAY.name, type, ...config, ...mapping });
    writeFileSync(path, text.replace('"PORT"', '2%d'));
    return path;
  };
  const bridge = (ipMasq: boolean): object => ({
    bridge: 'bench0',
    isGateway: true,
    ipMasq,
    ipam: {
      type: 'host-local',
      dataDir: join(folder, 'host-local'),
      ranges: [[{ subnet: '10.123.0.0/16' }]],
      routes: [{ dst: '0.0.0.0/0' }],
    },
  });
  const masquerade = file('peer-masquerade', 'bridge', bridge(true));
  return {
    plain: file('ours', 'portolan-cni', {}),
    ports: withPort('ours-ports', 'portolan-cni', {}),
    peerPlain: file('peer', 'bridge', bridge(false)),
    peerMasquerade: masquerade,
    peerPorts: `${masquerade},${withPort('peer-ports', 'portmap', { snat: true })}`,
  };
}

async function drive(
  driver: string,
  where: Side,
  verb: 'ADD' | 'DEL',
  chain: string,
  options: { readonly first: number; readonly count: number; readonly parallel: number },
): Promise<{ ms: number; rate: number }> {
  const { stdout, stderr } = await where.enter(
    ...[
      driver,
      verb,
      '-n',
      String(options.count),
      '-s',
      String(options.first),
      '-p',
      String(options.parallel),
    ],
    ...['-N', where.prefix, '-f', chain, '-d', where.plugins, '-c', where.results],
  );
  return {
    ms: median(stdout.trim().split('\n').map(Number)),
    rate: Number(/rate ([\d.]+)/.exec(stderr)?.[1]),
  };
}

/** ADD then DEL of containers, repeated, after one round that does not count (caches, compiled code); medians. */
async function measure(
  driver: string,
  where: Side,
  chain: string,
  parallel: number,
  count = RUNS,
): Promise<Measure> {
  const rounds: Measure[] = [];
  for (let i = 0; i <= REPETITIONS; i++) {
    const add = await drive(driver, where, 'ADD', chain, { first: FIRST, count, parallel });
    const del = await drive(driver, where, 'DEL', chain, { first: FIRST, count, parallel });
    if (i > 0) rounds.push({ addMs: add.ms, addRate: add.rate, delRate: del.rate });
  }
  return {
    addMs: median(rounds.map((round) => round.addMs)),
    addRate: median(rounds.map((round) => round.addRate)),
    delRate: median(rounds.map((round) => round.delRate)),
  };
}

interface Sides {
  readonly driver: string;
  readonly ours: Side;
  readonly peer: Side;
  readonly chains: Chains;
}

const parts: readonly (readonly [string, (sides: Sides) => Promise<readonly Row[]>])[] = [
  ['add', alone],
  ['port', mappedPort],
  ['eight', eightAtOnce],
  ['crowd', inACrowd],
];

function add(what: string, mine: Measure, theirs: Measure, peerName: string, atMost: number): Row {
  return { what, unit: 'ms', ours: mine.addMs, peer: theirs.addMs, peerName, promise: { atMost } };
}

async function alone({ driver, ours, peer, chains }: Sides): Promise<readonly Row[]> {
  const mine = await measure(driver, ours, chains.plain, 1);
  const plain = await measure(driver, peer, chains.peerPlain, 1);
  const masquerade = await measure(driver, peer, chains.peerMasquerade, 1, SLOW_RUNS);
  return [
    add('ADD', mine, plain, 'bridge + host-local', 0.25),
    add('ADD, masqueraded', mine, masquerade, 'bridge ipMasq + host-local', 0.12),
  ];
}

async function mappedPort({ driver, ours, peer, chains }: Sides): Promise<readonly Row[]> {
  const mine = await measure(driver, ours, chains.ports, 1);
  const theirs = await measure(driver, peer, chains.peerPorts, 1, SLOW_RUNS);
  return [add('ADD, with a port mapping', mine, theirs, 'bridge ipMasq + portmap', 0.05)];
}

async function eightAtOnce({ driver, ours, peer, chains }: Sides): Promise<readonly Row[]> {
  const mine = await measure(driver, ours, chains.plain, 8);
  const theirs = await measure(driver, peer, chains.peerPlain, 8);
  return [
    rate('ADD, 8 at once', mine.addRate, theirs.addRate, 3),
    rate('DEL, 8 at once', mine.delRate, theirs.delRate, 1.5),
  ];
}

function rate(what: string, ours: number, peer: number, atLeast: number): Row {
  return { what, unit: '/s', ours, peer, peerName: 'bridge + host-local', promise: { atLeast } };
}

/** The same ADD with a crowd of containers, each with a port mapping, already there: must not grow. */
async function inACrowd({ driver, ours, chains }: Sides): Promise<readonly Row[]> {
  const crowd = { first: CROWD_FIRST, count: CROWD, parallel: 8 };
  const before = await measure(driver, ours, chains.ports, 1);
  await drive(driver, ours, 'ADD', chains.ports, crowd);
  const together = await measure(driver, ours, chains.ports, 1);
  await drive(driver, ours, 'DEL', chains.ports, crowd);
  return [
    {
      what: `ADD with a port mapping, ${CROWD} of them already there`,
      unit: 'ms',
      ours: together.addMs,
      peer: before.addMs,
      peerName: 'ours, none there',
      promise: { atMost: 1.3 },
    },
  ];
}
