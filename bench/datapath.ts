/**
 * Container to container over VXLAN: a lab's containers against the same topology made by hand with `ip`.
 *
 * Repetitions alternate between the two sides, each beginning every other one, so that the machine's moods hit both
 * alike; many short ones tell more than a few long ones.
 */
import { spawn } from 'node:child_process';
import { alternate, compare } from './support/alternate.ts';
import type { Bench } from './support/report.ts';
import { atEnd, lab, namespace, run } from './support/run.ts';

const LAB = 'benchdata';
const REPETITIONS = 9;
const SECONDS = 2;

/** Runs a client against a server that listens already; gives bits per second. */
type Stream = (streams: number) => Promise<number>;

export const datapath: Bench = {
  name: 'datapath',
  about: `iperf3 between containers on two hosts, ${SECONDS} s, median of ${REPETITIONS} alternating repetitions`,
  async run() {
    const ours = await labStream();
    const same = await handMadeStream('benchdata', true);
    const plain = await handMadeStream('benchbare', false);
    const rows = [];
    for (const streams of [1, 8]) {
      const measured = await alternate(
        { ours: () => ours(streams), same: () => same(streams), plain: () => plain(streams) },
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
    return rows;
  },
};

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
async function labStream(): Promise<Stream> {
  const inLab = await lab(LAB, 2);
  const attach = async (host: string): Promise<string> => {
    const conf = '{"cniVersion":"1.0.0","name":"dcos","type":"portolan-cni"}';
    const script = `ip netns add bench; echo '${conf}' | CNI_COMMAND=ADD CNI_CONTAINERID=bench CNI_NETNS=/run/netns/bench CNI_IFNAME=eth0 CNI_PATH=/opt/cni/bin /opt/cni/bin/portolan-cni`;
    const { stdout } = await inLab(host, 'sh', '-ec', script);
    const result = JSON.parse(stdout) as { ips: { address: string }[] };
    return result.ips[0]?.address.split('/')[0] ?? '';
  };
  await attach('agent1');
  const server = await attach('agent2');
  await inLab('agent2', 'nsenter', '--net=/run/netns/bench', 'iperf3', '-s', '-D');
  return async (streams) =>
    bitsPerSecond(
      (await inLab('agent1', 'nsenter', '--net=/run/netns/bench', ...client(server, streams))).stdout,
    );
}

/**
 * Two hosts on a bridge, each with a VXLAN device, a bridge and one container; with the rule and the table by which a
 * container keeps its source address towards other hosts, or without.
 */
async function handMadeStream(name: string, hasRule: boolean): Promise<Stream> {
  const wire = await namespace(`${name}-wire`);
  const ip = (name: string, ...args: string[]) => run('ip', ['-n', name, ...args]);
  await ip(wire, 'link', 'add', 'br0', 'type', 'bridge');
  await ip(wire, 'link', 'set', 'br0', 'up');
  for (const n of [1, 2]) await handMadeHost(name, wire, n);
  for (const n of [1, 2]) await handMadeRemote(`${name}-h${n}`, 3 - n, hasRule);
  const server = spawn('nsenter', [`--net=/run/netns/${name}-c2`, 'iperf3', '-s'], { stdio: 'ignore' });
  atEnd(() => server.kill());
  return async (streams) =>
    bitsPerSecond(
      (await run('nsenter', [`--net=/run/netns/${name}-c1`, ...client('9.9.2.2', streams)])).stdout,
    );
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
