/**
 * Look-ups from containers on two agents of a lab, all at once, by the C library: A and AAAA together, a socket of its own
 * for each, the servers of resolv.conf, which is where connection tracking and address translation used to lose one of
 * the two and made a client wait for seconds.
 */
import { DemoLab, eventually } from '../../src/lab/demo-tools.ts';
import type { Row } from './report.ts';
import { compiled, lab, portolan, run } from './run.ts';

const LAB = 'benchdns';
const HOSTS = ['agent1', 'agent2'];
const CONTAINERS_PER_HOST = 4;
const THREADS_PER_CONTAINER = 4;
const LOOKUPS = 100_000;
const RUNC_ROOT = '/run/portolan/runc';

interface Found {
  readonly failed: number;
  readonly p50: number;
  readonly p999: number;
  readonly slowest: number;
}

export async function lookUpInContainers(): Promise<readonly Row[]> {
  const program = await compiled('lookups.c');
  const inLab = await lab(LAB, HOSTS.length);
  const names: string[] = [];
  for (const host of HOSTS)
    for (let i = 0; i < CONTAINERS_PER_HOST; i++) {
      const name = `${host}-${i}`;
      const label = `VIP_0=${name}:80`;
      await run(portolan, [
        ...['lab', 'run', host, '--lab', LAB, '--name', name, '--label', label],
        ...['--label', 'VIP_0_PORT=80', '--', 'sleep', '1000'],
      ]);
      names.push(
        `${name}.marathon.containerip.dcos.thisdcos.directory`,
        `${name}.marathon.l4lb.thisdcos.directory`,
        `${name}.marathon.mesos`,
      );
    }
  const tools = new DemoLab(LAB);
  for (const host of HOSTS)
    for (const name of names)
      await eventually(`${host} knows ${name}`, 30_000, async () =>
        (await tools.onHost(host, ['getent', 'ahosts', name])).status === 0 ? true : undefined,
      );
  const count = LOOKUPS / (HOSTS.length * CONTAINERS_PER_HOST);
  const words = [program, String(count), String(THREADS_PER_CONTAINER), ...names];
  const asking = HOSTS.map(async (host) => {
    const { stdout } = await inLab(host, 'runc', '--root', RUNC_ROOT, 'list', '--format', 'json');
    const pids = (JSON.parse(stdout) as { readonly pid: number }[]).map(({ pid }) => pid);
    return Promise.all(pids.map((pid) => inLab(host, 'nsenter', `--net=/proc/${pid}/ns/net`, ...words)));
  });
  const found = (await Promise.all(asking)).flat().map(({ stdout }) => JSON.parse(stdout) as Found);
  return rows(found);
}

function rows(found: readonly Found[]): readonly Row[] {
  const all = `${LOOKUPS.toLocaleString('en')} look-ups of A and AAAA, ${found.length} containers, ${found.length * THREADS_PER_CONTAINER} at once`;
  const most = (part: keyof Found): number => Math.max(...found.map((each) => each[part]));
  return [
    {
      what: `${all}: failed`,
      unit: '',
      ours: found.reduce((sum, { failed }) => sum + failed, 0),
      promise: { atMost: 0 },
    },
    { what: `${all}: slowest`, unit: 'ms', ours: most('slowest'), promise: { atMost: 100 } },
    { what: 'of the container where they took longest: p99.9', unit: 'ms', ours: most('p999') },
    { what: 'the same, p50', unit: 'ms', ours: most('p50') },
  ];
}
