/** The scheduler at the size of a large cluster: 10,000 tasks on 1,000 agents, by the orchestrator's own core. */
import { seededRandom } from '../src/base/random.ts';
import { AppsCore } from '../src/apps/core.ts';
import { testAgents, testApp } from '../src/apps/fake.ts';
import { emptyGroup, putApp } from '../src/apps/tree.ts';
import type { App, Group } from '../src/model/app.ts';
import type { Bench } from './support/report.ts';

const AGENTS = 1_000;
const TASKS = 10_000;
const PER_APP = 5;
const VERSION = '2026-01-01T00:00:00.000Z';

export const schedule: Bench = {
  name: 'schedule',
  about: `${TASKS} tasks on ${AGENTS} agents in one deployment, no containers: CPU time of the step that places them all and makes their launches`,
  run() {
    const portMappings = [
      { containerPort: 80, hostPort: 0, servicePort: 0, protocol: 'tcp' as const, labels: {} },
    ];
    const plain = { instances: PER_APP, container: { type: 'MESOS' as const, volumes: [], portMappings } };
    const constrained = {
      ...plain,
      constraints: [
        ['hostname', 'UNIQUE'],
        ['@zone', 'GROUP_BY', '3'],
      ],
    };
    return Promise.resolve([
      row('2,000 apps of 5', () => manyApps(plain)),
      row('the same, on agents of their own and evenly in 3 zones', () => manyApps(constrained)),
      row('one app of 10,000', () =>
        putApp(root(), testApp({ id: '/one', ...plain, instances: TASKS }), VERSION),
      ),
    ]);
  },
};

const root = (): Group => emptyGroup('/', VERSION);

function manyApps(change: Partial<App>): Group {
  let tree = root();
  for (let i = 0; i < TASKS / PER_APP; i++)
    tree = { ...tree, apps: [...tree.apps, testApp({ id: `/app${i}`, ...change })] };
  return tree;
}

function row(what: string, makeTree: () => Group) {
  return { what, unit: 's of CPU', ours: secondsOfCpu(makeTree()), promise: { atMost: 5 } };
}

function secondsOfCpu(target: Group): number {
  const zones = ['a', 'b', 'c'];
  const agents = testAgents(AGENTS, (i) => ({ zone: zones[i % 3] ?? 'a', cpus: 16, mem_mib: 65_536 }));
  const state = { root: root(), deployments: [], instances: [], reservations: [], wipes: [], drained: [] };
  const core = new AppsCore(
    { random: seededRandom(1) },
    { agentLostMs: 75_000, drainGraceMs: 1_000, maxDeployments: 100 },
    { ...state, failures: new Map() },
  );
  const now = { ms: 0, iso: VERSION };
  core.step({ kind: 'agents', agents, removed: new Set() }, now);
  const before = process.cpuUsage();
  const event = { id: 'd', version: VERSION, target, force: false, restart: [], kill: [] };
  core.step({ kind: 'deploy', ...event }, now);
  const { user, system } = process.cpuUsage(before);
  const placed = core.instances().length;
  if (placed !== TASKS) throw new Error(`only ${placed} of ${TASKS} tasks found a place`);
  return (user + system) / 1e6;
}
