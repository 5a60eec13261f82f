/**
 * The orchestrator's core: what is wanted and what is told in, what is to be done out.
 *
 * Purpose: `step(event, now) -> effects`, synchronous and deterministic. The shell stores the writes, then makes the rest
 * known; it has no rules of its own.
 * Invariants: each app is looked at again after each change that may concern it, by one function of its instances and its
 * mode (`#evaluate`), which has no memory: so another master goes on from what the store holds. A step that throws has
 * changed nothing.
 * Review notes: agents' reachability as gossip sees it hides a backend within a second, but a task is only replaced when
 * its agent has been lost for `agentLostMs`, as Mesos does after its missed pings.
 */
import type { Random } from '../base/random.ts';
import type { App, Group } from '../model/app.ts';
import type { Deployment, QueueItem } from '../model/deployment.ts';
import type { NodeId } from '../model/names.ts';
import type { TaskRecord } from '../model/task.ts';
import { Agents } from './agents.ts';
import { Deployments, type DeployEvent } from './deployments.ts';
import { Effects, type Now } from './effects.ts';
import { Fingerprints } from './fingerprints.ts';
import type { Instance, StoredInstance } from './instance.ts';
import { InstanceTable } from './instance-table.ts';
import { Instances } from './instances.ts';
import { Keeper } from './keeper.ts';
import type { SchedulerAgent } from './offers.ts';
import type { ReservationsState } from './reservations.ts';
import type { RunningDeployment } from './running-deployment.ts';
import { Scheduler } from './scheduler.ts';

export type { DeployEvent } from './deployments.ts';
export type { Reservation, Wipe } from './reservations.ts';

export interface CoreInit {
  /** Unreachable for so long, an agent is lost. */
  readonly agentLostMs: number;
  /** From the last agent's word that a backend is withdrawn until it is killed. */
  readonly drainGraceMs: number;
  /** As many deployments may run at once. */
  readonly maxDeployments: number;
}

/** As read from the store. */
export interface CoreState extends ReservationsState {
  readonly root: Group;
  readonly deployments: readonly RunningDeployment[];
  readonly instances: readonly StoredInstance[];
  readonly failures: ReadonlyMap<string, Readonly<Record<string, unknown>>>;
  readonly drained: readonly NodeId[];
}

export type CoreEvent =
  | DeployEvent
  /** `revert` is the deployment that takes its place; without one it stops where it is. */
  | { readonly kind: 'cancel'; readonly id: string }
  /** `wipeApp`: volumes of the app that no task uses are given up too. */
  | {
      readonly kind: 'kill';
      readonly tasks: readonly string[];
      readonly wipe: boolean;
      readonly wipeApp?: string | undefined;
    }
  /** The agent has on disk that it is to remove these volumes. */
  | { readonly kind: 'wipes-taken'; readonly node: NodeId; readonly volumes: readonly string[] }
  /** By task id: what its agent tells now; `undefined` = nothing any more. */
  | { readonly kind: 'records'; readonly tasks: ReadonlyMap<string, TaskRecord | undefined> }
  | {
      readonly kind: 'agents';
      readonly agents: readonly SchedulerAgent[];
      readonly removed: ReadonlySet<NodeId>;
    }
  /** No reachable agent sends anything to these tasks any more. */
  | { readonly kind: 'withdrawn'; readonly tasks: readonly string[] }
  | { readonly kind: 'drain-agent'; readonly node: NodeId; readonly drained: boolean }
  | { readonly kind: 'reset-delay'; readonly app: string }
  | { readonly kind: 'tick' };

export class AppsCore {
  readonly #agents: Agents;
  readonly #table: InstanceTable;
  readonly #instances: Instances;
  readonly #scheduler: Scheduler;
  readonly #deployments: Deployments;
  readonly #keeper: Keeper;

  constructor(components: { readonly random: Random }, init: CoreInit, state: CoreState) {
    const { random } = components;
    const fingerprints = new Fingerprints();
    this.#agents = new Agents(init, state.drained);
    this.#table = new InstanceTable(state.instances, (node) => this.#agents.health(node));
    this.#scheduler = new Scheduler(this.#table, random);
    const common = {
      table: this.#table,
      agents: this.#agents,
      scheduler: this.#scheduler,
      fingerprints,
      random,
    };
    this.#instances = new Instances(common, init, state);
    this.#deployments = new Deployments(common, init, state);
    this.#keeper = new Keeper({ ...common, instances: this.#instances, deployments: this.#deployments });
  }

  /** Throws, having changed nothing, what the event cannot do. */
  step(event: CoreEvent, now: Now): Effects {
    const effects = new Effects(now);
    const touched = this.#take(event, effects);
    this.#keeper.keep(touched, effects);
    return effects;
  }

  /** Returns the apps that it may concern. */
  #take(event: CoreEvent, effects: Effects): Iterable<string> {
    switch (event.kind) {
      case 'deploy':
        return this.#deploy(event, effects);
      case 'cancel':
        return this.#deployments.stop(event.id, 'The deployment was cancelled', effects);
      case 'kill':
        return this.#kill(event, effects);
      case 'wipes-taken':
        this.#instances.wipesTaken(event.node, event.volumes, effects);
        return [];
      case 'records':
        return this.#instances.takeRecords(event.tasks, (app) => this.#deployments.root.get(app), effects);
      case 'agents':
        return this.#takeAgents(event.agents, event.removed, effects);
      case 'withdrawn':
        this.#instances.withdrawn(event.tasks, effects);
        return [];
      case 'drain-agent':
        this.#agents.setDrained(event.node, event.drained, effects);
        this.#scheduler.setAgents(this.#agents.all());
        return new Set(this.#table.apps());
      case 'reset-delay':
        this.#instances.delays.reset(event.app);
        return [event.app];
      case 'tick':
        return [];
    }
  }

  #kill(event: CoreEvent & { readonly kind: 'kill' }, effects: Effects): Iterable<string> {
    const touched = this.#instances.killNamed(event.tasks, event.wipe, effects);
    if (event.wipeApp === undefined) return touched;
    this.#instances.wipeFree(event.wipeApp, effects);
    return touched.add(event.wipeApp);
  }

  #deploy(event: DeployEvent, effects: Effects): Iterable<string> {
    const touched = this.#deployments.begin(event, effects);
    this.#instances.killNamed(event.kill, false, effects);
    return touched;
  }

  #takeAgents(
    agents: readonly SchedulerAgent[],
    removed: ReadonlySet<NodeId>,
    effects: Effects,
  ): Iterable<string> {
    const before = new Map(Array.from(this.#table.all(), ({ taskId }) => [taskId, this.#table.get(taskId)]));
    const changed = this.#agents.set(agents, effects);
    this.#scheduler.setAgents(this.#agents.all());
    return this.#instances.agentsChanged(
      { before, changed, removed },
      (app) => this.#deployments.root.get(app),
      effects,
    );
  }

  get root(): Group {
    return this.#deployments.tree;
  }

  deployments(): readonly Deployment[] {
    return this.#deployments.views();
  }

  /** What `deploy` would do. */
  plan(event: DeployEvent): Deployment {
    return this.#deployments.plan(event).view(() => []);
  }

  running(): readonly RunningDeployment[] {
    return this.#deployments.running();
  }

  instances(app?: string): readonly Instance[] {
    if (app !== undefined) return this.#table.ofApp(app);
    return Array.from(this.#table.all()).flatMap(({ taskId }) => this.#table.get(taskId) ?? []);
  }

  instance(taskId: string): Instance | undefined {
    return this.#table.get(taskId);
  }

  ofNode(node: NodeId): readonly Instance[] {
    return this.#table.ofNode(node);
  }

  /** Volumes that the agent of the node is to remove. */
  wipesOn(node: NodeId): readonly string[] {
    return this.#instances.wipesOn(node);
  }

  lastFailure(app: string): Readonly<Record<string, unknown>> | undefined {
    return this.#instances.failure(app);
  }

  queue(nowMs: number): readonly QueueItem[] {
    return this.#scheduler.queue((app: App) => this.#instances.delayLeftMs(app, nowMs));
  }

  waits(app: string): boolean {
    return this.#scheduler.waiting().some((waiting) => waiting.app.id === app);
  }

  isDrained(node: NodeId): boolean {
    return this.#agents.isDrained(node);
  }
}
