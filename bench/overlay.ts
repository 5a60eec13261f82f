/**
 * Programming remote agents (neighbour, FDB entry, routes), against `ip -batch` and `bridge -batch`.
 *
 * Ours is one whole round of the reconciler: read the kernel, plan, apply. It also makes the table 42 route that the
 * peer's batch does not have.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Bench, Row } from './support/report.ts';
import { cleanUp, namespace, nodeFlags, root, run, temporaryFolder } from './support/run.ts';
import { median } from './support/stats.ts';

const NAMESPACE = 'benchovl';
const REPETITIONS = 3;

interface Child {
  readonly programMs: number;
  readonly holdMs: number;
  readonly idleCpuMs: number;
  readonly joinSteps: number;
  readonly failures: number;
}

export const overlay: Bench = {
  name: 'overlay',
  about: `remote agents programmed into an empty kernel, median of ${REPETITIONS} repetitions`,
  async run() {
    const rows: Row[] = [];
    for (const [nodes, atMost] of [
      [1_000, 0.8],
      [10_000, 0.12],
    ] as const) {
      const ours: Child[] = [];
      const peer: number[] = [];
      for (let i = 0; i < REPETITIONS; i++) {
        ours.push(await inFreshNamespace(() => reconcile(nodes)));
        peer.push(await inFreshNamespace(() => batch(nodes)));
      }
      rows.push(...report(nodes, atMost, ours, median(peer)));
    }
    return rows;
  },
};

function report(nodes: number, atMost: number, ours: readonly Child[], peer: number): readonly Row[] {
  const of = (figure: (child: Child) => number): number => median(ours.map(figure));
  const count = nodes.toLocaleString('en');
  const base: Row[] = [
    {
      what: `${count} agents from nothing`,
      unit: 'ms',
      ours: of((c) => c.programMs),
      peer,
      peerName: 'ip -batch + bridge -batch',
      promise: { atMost },
    },
    {
      what: `longest hold of the event loop meanwhile, ${count} agents`,
      unit: 'ms',
      ours: of((c) => c.holdMs),
      promise: { atMost: 10 },
    },
  ];
  if (nodes !== 1_000) return base;
  return [
    ...base,
    {
      what: `a round with nothing to change at ${count} agents, CPU`,
      unit: 'ms',
      ours: of((c) => c.idleCpuMs),
      promise: { atMost: 30 },
    },
    {
      // Neighbour, FDB entry, route, and the route of table 42 by which its host sees whose container calls it.
      what: `one agent joins ${count}, kernel objects written`,
      unit: 'objects',
      ours: of((c) => c.joinSteps),
      promise: { atMost: 4 },
    },
  ];
}

async function inFreshNamespace<T>(work: () => Promise<T>): Promise<T> {
  await namespace(NAMESPACE);
  try {
    await run('ip', ['-n', NAMESPACE, 'link', 'add', 'under0', 'type', 'bridge']);
    await run('ip', ['-n', NAMESPACE, 'addr', 'add', '10.250.255.1/16', 'dev', 'under0']);
    await run('ip', ['-n', NAMESPACE, 'link', 'set', 'under0', 'up']);
    return await work();
  } finally {
    cleanUp();
  }
}

async function reconcile(nodes: number): Promise<Child> {
  const child = join(root, 'dist-bench', 'bench', 'overlay-child.js');
  const argv = [
    `--net=/run/netns/${NAMESPACE}`,
    '--',
    process.execPath,
    ...nodeFlags(),
    child,
    String(nodes),
  ];
  const result = JSON.parse((await run('nsenter', argv)).stdout) as Child;
  if (result.failures > 0) throw new Error(`${result.failures} objects could not be programmed`);
  return result;
}

/** Process start included, as in the figure it is compared with. */
async function batch(nodes: number): Promise<number> {
  const vxlan = ['type', 'vxlan', 'id', '1024', 'local', '10.250.255.1', 'dstport', '64000', 'nolearning'];
  await run('ip', ['-n', NAMESPACE, 'link', 'add', 'vtep1024', ...vxlan]);
  await run('ip', ['-n', NAMESPACE, 'addr', 'add', '44.128.234.96/12', 'dev', 'vtep1024']);
  await run('ip', ['-n', NAMESPACE, 'link', 'set', 'vtep1024', 'up']);
  const folder = temporaryFolder();
  const [ipFile, bridgeFile] = [join(folder, 'ip'), join(folder, 'bridge')];
  const numbers = Array.from({ length: nodes }, (_, i) => i + 1);
  const hex = (n: number): string => n.toString(16).padStart(2, '0');
  const address = (i: number): string => `${i >> 8}.${i & 255}`;
  const mac = (i: number): string => `70:b3:d5:80:${hex(i >> 8)}:${hex(i & 255)}`;
  const ipLines = numbers.map(
    (i) =>
      `neigh replace 44.128.${address(i)} lladdr ${mac(i)} dev vtep1024 nud permanent\nroute replace 9.${address(i)}.0/24 via 44.128.${address(i)} dev vtep1024 onlink proto 44`,
  );
  writeFileSync(ipFile, `${ipLines.join('\n')}\n`);
  const fdbLines = numbers.map(
    (i) => `fdb replace ${mac(i)} dev vtep1024 dst 10.250.${address(i)} self permanent`,
  );
  writeFileSync(bridgeFile, `${fdbLines.join('\n')}\n`);
  const start = performance.now();
  await run('ip', ['-n', NAMESPACE, '-batch', ipFile]);
  await run('bridge', ['-n', NAMESPACE, '-batch', bridgeFile]);
  return performance.now() - start;
}
