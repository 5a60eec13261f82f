/** A cluster for tests of the orchestrator's core: agents that do as they are told, when they are let. */
import { ManualClock } from '../base/clock.ts';
import { seededRandom } from '../base/random.ts';
import { app as appSchema, group, type App, type Group } from '../model/app.ts';
import type { AppEvent } from '../model/deployment.ts';
import { newNodeId, type NodeId } from '../model/names.ts';
import {
  isTerminal,
  resourcesRecord,
  type ResourcesRecord,
  type TaskRecord,
  type TaskState,
} from '../model/task.ts';
import {
  AppsCore,
  type CoreEvent,
  type CoreInit,
  type CoreState,
  type Reservation,
  type Wipe,
} from './core.ts';
import type { Effects } from './effects.ts';
import type { StoredInstance } from './instance.ts';
import type { SchedulerAgent } from './offers.ts';
import { RunningDeployment, type StoredDeployment } from './running-deployment.ts';
import { appKeys } from './store-keys.ts';
import { appsById, emptyGroup, putApp, removeApp } from './tree.ts';
import { succeed } from './versions.ts';

/** An app with every default, as the API would store it. */
export function testApp(change: Partial<App> & { readonly id: string }): App {
  return appSchema.parse({
    ...{ cmd: 'sleep 1000', cpus: 0.1, mem: 32, disk: 0, gpus: 0, instances: 1, env: {}, labels: {} },
    ...{ executor: '', role: '*', constraints: [], dependencies: [], fetch: [] },
    ...{ backoffSeconds: 1, backoffFactor: 1.15, maxLaunchDelaySeconds: 300 },
    upgradeStrategy: { minimumHealthCapacity: 1, maximumOverCapacity: 1 },
    unreachableStrategy: { inactiveAfterSeconds: 0, expungeAfterSeconds: 0 },
    ...{ killSelection: 'YOUNGEST_FIRST', requirePorts: false, healthChecks: [], readinessChecks: [] },
    networks: [{ mode: 'container', name: 'dcos' }],
    container: { type: 'MESOS', volumes: [], portMappings: [] },
    version: '2026-01-01T00:00:00.000Z',
    versionInfo: {
      lastScalingAt: '2026-01-01T00:00:00.000Z',
      lastConfigChangeAt: '2026-01-01T00:00:00.000Z',
    },
    ...change,
  });
}

export function testResources(change: Partial<ResourcesRecord> = {}): ResourcesRecord {
  return resourcesRecord.parse({
    ...{ cpus: 8, mem_mib: 8192, disk_mib: 10_000, gpus: 0, ports: [[31_000, 31_999]], attributes: {} },
    ...{ runtimes: ['mesos', 'docker'], task_addresses: { dcos: { mesos: 100, docker: 100 } } },
    ...change,
  });
}

export function testAgents(
  count: number,
  resources: (index: number) => Partial<ResourcesRecord> = () => ({}),
): SchedulerAgent[] {
  const random = seededRandom(3);
  return Array.from({ length: count }, (_, i) => ({
    ...{ node: newNodeId(random), name: `agent${i + 1}`, address: `10.0.0.${11 + i}` },
    ...{ isReachable: true, isDrained: false, overlays: new Set(['dcos']) },
    resources: testResources(resources(i)),
  }));
}

const INIT: CoreInit = { agentLostMs: 10_000, drainGraceMs: 1_000, maxDeployments: 5 };

interface Hosted {
  readonly node: NodeId;
  record: TaskRecord;
}

/** Core, store and agents. Agents run what they are told in `settle`. */
export class TestWorld {
  readonly clock = new ManualClock(Date.UTC(2026, 5, 1));
  readonly store = new Map<string, unknown>();
  readonly events: AppEvent[] = [];
  readonly hosted = new Map<string, Hosted>();
  readonly #random = seededRandom(11);
  readonly #trees = new Map<string, Group>();
  agents: SchedulerAgent[];
  core: AppsCore;
  /** What a task's record says once it runs. */
  running: (task: StoredInstance) => Partial<TaskRecord> = () => ({});
  #deployments = 0;

  constructor(agents: SchedulerAgent[]) {
    this.agents = agents;
    this.#trees.set('2026', emptyGroup('/', '2026'));
    this.core = this.#load('2026');
    this.step({ kind: 'agents', agents, removed: new Set() });
  }

  step(event: CoreEvent): Effects {
    const effects = this.core.step(event, { ms: this.clock.nowMs(), iso: this.#iso() });
    for (const [key, value] of effects.writes) {
      if (value === undefined) this.store.delete(key);
      else this.store.set(key, JSON.parse(JSON.stringify(value)));
    }
    this.events.push(...effects.events);
    return effects;
  }

  #iso(): string {
    return new Date(this.clock.wallMs()).toISOString();
  }

  deploy(
    apps: readonly App[],
    options: { force?: boolean; restart?: string[]; remove?: string[] } = {},
  ): string {
    this.clock.advance(1);
    const version = this.#iso();
    let target = this.core.root;
    const before = appsById(target);
    for (const app of apps) target = putApp(target, succeed(before.get(app.id), app, version), version);
    for (const id of options.remove ?? []) target = removeApp(target, id, version);
    const id = `d${(this.#deployments += 1)}`;
    const { force = false, restart = [] } = options;
    this.step({ kind: 'deploy', id, version, target, force, restart, kill: [] });
    this.#trees.set(version, this.core.root);
    return id;
  }

  /** As another master finds it. */
  restart(): void {
    this.core = this.#load(this.core.root.version);
    this.step({ kind: 'agents', agents: this.agents, removed: new Set() });
    this.tell(Array.from(this.hosted.keys()));
  }

  #load(version: string): AppsCore {
    const all = <T>(prefix: string): T[] =>
      Array.from(this.store).flatMap(([key, value]) => (key.startsWith(prefix) ? [value as T] : []));
    const tree = (wanted: string): Group => group.parse(this.#trees.get(wanted));
    const state: CoreState = {
      root: tree(version),
      deployments: all<StoredDeployment>(appKeys.deployments).map(
        (stored) => new RunningDeployment(stored, tree(stored.originalVersion), tree(stored.version)),
      ),
      instances: all<StoredInstance>(appKeys.instances),
      reservations: all<Reservation>(appKeys.reservations),
      wipes: all<Wipe>(appKeys.wipes),
      failures: new Map(),
      drained: all<{ node: NodeId }>(appKeys.drained).map(({ node }) => node),
    };
    return new AppsCore({ random: this.#random }, INIT, state);
  }

  tell(tasks: readonly string[]): void {
    const records = new Map(tasks.map((task) => [task, this.hosted.get(task)?.record]));
    this.step({ kind: 'records', tasks: records });
  }

  /** Lets the agent of one task bring it one step further; false = there is nothing to do for it. */
  work(task: string): boolean {
    const stored = this.core.instance(task)?.stored;
    const hosted = this.hosted.get(task);
    if (stored === undefined) {
      this.hosted.delete(task);
      return false;
    }
    if (this.agents.find(({ node }) => node === stored.node)?.isReachable !== true) return false;
    if (hosted === undefined)
      return this.#host(stored, stored.launch.goal === 'killed' ? 'TASK_KILLED' : 'TASK_STAGING');
    if (isTerminal(hosted.record.state)) return false;
    if (stored.launch.goal === 'killed') return this.#host(stored, 'TASK_KILLED');
    if (stored.launch.goal === 'draining') {
      if (!hosted.record.draining)
        this.#host(stored, 'TASK_RUNNING', { ...this.running(stored), draining: true });
      this.step({ kind: 'withdrawn', tasks: [task] });
      return true;
    }
    if (hosted.record.state === 'TASK_STAGING')
      return this.#host(stored, 'TASK_RUNNING', this.running(stored));
    return false;
  }

  /** Its agent says that it is in that state now. */
  set(task: string, state: TaskState, change: Partial<TaskRecord> = {}): void {
    const stored = this.core.instance(task)?.stored;
    if (stored !== undefined) this.#host(stored, state, change);
  }

  #host(stored: StoredInstance, state: TaskState, change: Partial<TaskRecord> = {}): boolean {
    const record: TaskRecord = {
      ...{ id: stored.taskId, app: stored.app, version: stored.version, framework: 'marathon', name: 'x' },
      ...{ runtime: 'mesos', state, draining: false, checked: false, health: [], message: '' },
      networks: stored.launch.networks.map(({ mode, name }) => ({
        mode,
        ...(name === undefined ? {} : { name }),
        addresses: state === 'TASK_RUNNING' ? ['9.0.1.2'] : [],
      })),
      ...{ ports: stored.launch.ports, staged_at: stored.createdAt, status_at: this.#iso() },
      ...change,
    };
    this.hosted.set(stored.taskId, { node: stored.node, record });
    this.tell([stored.taskId]);
    return true;
  }

  tasks(app?: string): readonly StoredInstance[] {
    return this.core.instances(app).map(({ stored }) => stored);
  }

  /** Until agents and time bring nothing new. */
  settle(maxRounds = 500): void {
    for (let round = 0; round < maxRounds; round++) {
      const worked = this.tasks().map(({ taskId }) => this.work(taskId));
      this.clock.advance(500);
      const effects = this.step({ kind: 'tick' });
      if (!worked.includes(true) && effects.wakeAtMs === undefined) return;
    }
    throw new Error('The world does not settle');
  }

  setReachable(node: NodeId, isReachable: boolean): void {
    this.agents = this.agents.map((agent) => (agent.node === node ? { ...agent, isReachable } : agent));
    this.step({ kind: 'agents', agents: this.agents, removed: new Set() });
  }

  removeAgent(node: NodeId): void {
    this.agents = this.agents.filter((agent) => agent.node !== node);
    this.step({ kind: 'agents', agents: this.agents, removed: new Set([node]) });
  }
}
