/**
 * Container to container over VXLAN: a lab's containers against the same topology made by hand with `ip`.
 *
 * Repetitions alternate between the two sides, each beginning every other one, so that the machine's moods hit both
 * alike; many short ones tell more than a few long ones. Throughput still varies by a factor of two from one second to the
 * next where CPUs are virtual, with the CPUs that sender and receiver happen to run on; the processor time of what is sent
 * and received by one thread does not (exchange.c), and says which change made a packet cheaper.
 */
import { spawn } from 'node:child_process';
import { alternate, compare } from './support/alternate.ts';
import type { Bench, Row } from './support/report.ts';
import { atEnd, compiled, lab, namespace, run } from './support/run.ts';

const LAB = 'benchdata';
const REPETITIONS = 18;
const SECONDS = 1;
/** About a millisecond each. */
const TURNS = 2_000;

/** Two containers, by the paths of their namespaces; a server listens in the second. */
interface Side {
  readonly from: string;
  readonly to: string;
  readonly address: string;
}

export const datapath: Bench = {
  name: 'datapath',
  about: `iperf3 between containers on two hosts, ${SECONDS} s, median of ${REPETITIONS} alternating repetitions`,
  async run() {
    const ours = await labSide();
    const same = await handMadeSide('benchdata', true);
    const plain = await handMadeSide('benchbare', false);
    const rows: Row[] = [];
    for (const streams of [1, 8]) {
      const measured = await alternate(
        {
          ours: () => stream(ours, streams),
          same: () => stream(same, streams),
          plain: () => stream(plain, streams),
        },
        REPETITIONS,
      );
      const what = `TCP over VXLAN, ${streams} stream${streams > 1 ? 's' : ''}`;
      const promise = { atLeast: 0.95 };
      const unit = 'Gb/s';
      const alike = compare(measured.ours, measured.same);
      rows.push({ what, unit, ...alike, peerName: 'made by hand with ip', promise });
      const peerName = 'by hand, without the policy rule of table 42';
      const lost = compare(measured.ours, measured.plain);
      rows.push({ what: `${what}, a container's source lost at hosts`, unit, ...lost, peerName });
    }
    const [spent = 0, bySame = 0] = await exchanges([ours, same]);
    const what = 'processor time of 64 KiB sent, received and acknowledged';
    rows.push({ what, unit: 'us', ours: spent, peer: bySame, peerName: 'made by hand with ip' });
    return rows;
  },
};

async function exchanges(sides: readonly Side[]): Promise<readonly number[]> {
  const argv = sides.flatMap(({ from, to, address }) => [from, to, address]);
  const { stdout } = await run(await compiled('exchange.c'), [String(TURNS), ...argv]);
  return stdout.trim().split('\n').map(Number);
}

async function stream({ from, address }: Side, streams: number): Promise<number> {
  return bitsPerSecond((await run('nsenter', [`--net=${from}`, ...client(address, streams)])).stdout);
}

function serve({ to }: Side): void {
  const server = spawn('nsenter', [`--net=${to}`, 'iperf3', '-s'], { stdio: 'ignore' });
  atEnd(() => server.kill());
}

function bitsPerSecond(stdout: string): number {
  const report = JSON.parse(stdout) as { end: { sum_received: { bits_per_second: number } } };
  return report.end.sum_received.bits_per_second / 1e9;
}

const client = (address: string, streams: number): readonly string[] => [
  'iperf3',
  '-J',
  '-c',
  address,
  '-t',
  String(SECONDS),
  '-P',
  String(streams),
];

/** One container network namespace per lab host, attached by the CNI plug-in as a runtime does it. */
async function labSide(): Promise<Side> {
  const inLab = await lab(LAB, 2);
  const attach = async (host: string): Promise<{ readonly path: string; readonly address: string }> => {
    const conf = '{"cniVersion":"1.0.0","name":"dcos","type":"portolan-cni"}';
    const script = `ip netns add bench; echo '${conf}' | CNI_COMMAND=ADD CNI_CONTAINERID=bench CNI_NETNS=/run/netns/bench CNI_IFNAME=eth0 CNI_PATH=/opt/cni/bin /opt/cni/bin/portolan-cni`;
    const { stdout } = await inLab(host, 'sh', '-ec', script);
    const result = JSON.parse(stdout) as { ips: { address: string }[] };
    const { stdout: pids } = await run('ip', ['netns', 'pids', `${LAB}-${host}`]);
    // Lab hosts have a /run/netns of their own.
    const path = `/proc/${pids.split('\n')[0]}/root/run/netns/bench`;
    return { path, address: result.ips[0]?.address.split('/')[0] ?? '' };
  };
  const [first, second] = [await attach('agent1'), await attach('agent2')];
  const side = { from: first.path, to: second.path, address: second.address };
  serve(side);
  return side;
}

/**
 * Two hosts on a bridge, each with a VXLAN device, a bridge and one container; with the rule and the table by which a
 * container keeps its source address towards other hosts, or without.
 */
async function handMadeSide(name: string, hasRule: boolean): Promise<Side> {
  const wire = await namespace(`${name}-wire`);
  const ip = (name: string, ...args: string[]) => run('ip', ['-n', name, ...args]);
  await ip(wire, 'link', 'add', 'br0', 'type', 'bridge');
  await ip(wire, 'link', 'set', 'br0', 'up');
  for (const n of [1, 2]) await handMadeHost(name, wire, n);
  for (const n of [1, 2]) await handMadeRemote(`${name}-h${n}`, 3 - n, hasRule);
  const side = { from: `/run/netns/${name}-c1`, to: `/run/netns/${name}-c2`, address: '9.9.2.2' };
  serve(side);
  return side;
}

async function handMadeHost(name: string, wire: string, n: number): Promise<void> {
  const host = await namespace(`${name}-h${n}`);
  const container = await namespace(`${name}-c${n}`);
  const ip = (name: string, ...args: string[]) => run('ip', ['-n', name, ...args]);
  await ip(
    wire,
    'link',
    'add',
    `h${n}`,
    'master',
    'br0',
    'up',
    'type',
    'veth',
    'peer',
    'name',
    'eth0',
    'netns',
    host,
  );
  await ip(host, 'addr', 'add', `10.9.0.${n}/24`, 'dev', 'eth0');
  await ip(host, 'link', 'set', 'eth0', 'up');
  const vxlan = ['type', 'vxlan', 'id', '1024', 'local', `10.9.0.${n}`, 'dstport', '64000', 'nolearning'];
  await ip(host, 'link', 'add', 'vx', 'address', `70:b3:d5:00:00:0${n}`, 'mtu', '1450', ...vxlan);
  await ip(host, 'addr', 'add', `44.9.0.${n}/24`, 'dev', 'vx');
  await ip(host, 'link', 'set', 'vx', 'up');
  await ip(host, 'link', 'add', 'name', 'cbr0', 'type', 'bridge');
  await ip(host, 'addr', 'add', `9.9.${n}.1/25`, 'dev', 'cbr0');
  await ip(host, 'link', 'set', 'cbr0', 'up');
  await ip(
    host,
    'link',
    'add',
    'c',
    'mtu',
    '1450',
    'master',
    'cbr0',
    'up',
    'type',
    'veth',
    'peer',
    'name',
    'eth0',
    'mtu',
    '1450',
    'netns',
    container,
  );
  await ip(container, 'addr', 'add', `9.9.${n}.2/25`, 'dev', 'eth0');
  await ip(container, 'link', 'set', 'eth0', 'up');
  await ip(container, 'route', 'add', 'default', 'via', `9.9.${n}.1`);
  await run('nsenter', [`--net=/run/netns/${host}`, 'sysctl', '-qw', 'net.ipv4.ip_forward=1']);
}

async function handMadeRemote(host: string, other: number, hasRule: boolean): Promise<void> {
  const mac = `70:b3:d5:00:00:0${other}`;
  await run('ip', [
    '-n',
    host,
    'neigh',
    'add',
    `44.9.0.${other}`,
    'lladdr',
    mac,
    'dev',
    'vx',
    'nud',
    'permanent',
  ]);
  await run('bridge', [
    '-n',
    host,
    'fdb',
    'add',
    mac,
    'dev',
    'vx',
    'dst',
    `10.9.0.${other}`,
    'self',
    'permanent',
  ]);
  await run('ip', [
    '-n',
    host,
    'route',
    'add',
    `9.9.${other}.0/24`,
    'via',
    `44.9.0.${other}`,
    'dev',
    'vx',
    'onlink',
  ]);
  if (!hasRule) return;
  const ip = (...args: string[]) => run('ip', ['-n', host, ...args]);
  await ip('rule', 'add', 'priority', '4242', 'from', '9.0.0.0/8', 'lookup', '42');
  const toHost = [`10.9.0.${other}/32`, 'via', `44.9.0.${other}`, 'dev', 'vx', 'onlink', 'table', '42'];
  await ip('route', 'add', ...toHost);
}
