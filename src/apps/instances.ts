/**
 * What happens to instances: launched, told of, killed, ended, given up.
 *
 * Invariants: a kill that is not urgent goes through `draining`: the agent is told, every agent withdraws the backend, a
 * grace period passes, and only then is the task ended. An instance leaves the table only when its agent has said that
 * it ended, or when nobody waits for that agent any more.
 */
import type { Random } from '../base/random.ts';
import type { App } from '../model/app.ts';
import type { InstanceGoal } from '../model/deployment.ts';
import type { NodeId } from '../model/names.ts';
import { isTerminal, UNHEALTHY_REASON, type TaskRecord, type TaskState } from '../model/task.ts';
import type { Agents } from './agents.ts';
import type { Effects } from './effects.ts';
import type { Fingerprints } from './fingerprints.ts';
import { type Instance, type StoredInstance } from './instance.ts';
import type { InstanceTable } from './instance-table.ts';
import { LaunchDelays } from './launch-delay.ts';
import { instanceIdOf, launchOf, taskIdOf, uuidOf } from './launch.ts';
import type { Place } from './placement.ts';
import { Reservations, type Reservation, type ReservationsState } from './reservations.ts';
import type { Scheduler } from './scheduler.ts';
import { servicePortsOf } from './service-ports.ts';
import { Strays } from './strays.ts';
import { tellChanges, tellUnhealthy } from './status.ts';
import { appKeys } from './store-keys.ts';
import { unreachableVerdict } from './unreachable.ts';

export interface CoreParts {
  readonly table: InstanceTable;
  readonly agents: Agents;
  readonly scheduler: Scheduler;
  readonly fingerprints: Fingerprints;
  readonly random: Random;
}

type Failure = Readonly<Record<string, unknown>>;
export interface LaunchWish {
  /** The volumes that it is to have. */
  readonly reservation: Reservation | undefined;
  readonly enforceRole: boolean;
}

type FindApp = (id: string) => App | undefined;

/** Ends that make the next launch wait. */
const BACK_OFF: ReadonlySet<TaskState> = new Set([
  'TASK_FINISHED',
  'TASK_FAILED',
  'TASK_ERROR',
  'TASK_DROPPED',
]);
/** Ends that are no failure. */
const FINE: ReadonlySet<TaskState> = new Set(['TASK_FINISHED', 'TASK_KILLED']);

export class Instances {
  readonly delays = new LaunchDelays();
  readonly #parts: CoreParts;
  readonly #drainGraceMs: number;
  readonly #reservations: Reservations;
  readonly #failures: Map<string, Failure>;
  readonly #strays = new Strays();
  /** When to kill what every agent has withdrawn, monotonic ms. */
  readonly #killAtMs = new Map<string, number>();

  constructor(
    parts: CoreParts,
    init: { readonly drainGraceMs: number },
    state: ReservationsState & { readonly failures: ReadonlyMap<string, Failure> },
  ) {
    this.#parts = parts;
    this.#drainGraceMs = init.drainGraceMs;
    this.#reservations = new Reservations(parts, state);
    this.#failures = new Map(state.failures);
  }

  failure(app: string): Failure | undefined {
    return this.#failures.get(app);
  }

  delayLeftMs(app: App, nowMs: number): number {
    return this.delays.leftMs(app, this.#parts.fingerprints.of(app), nowMs);
  }

  /** Volumes of the app that no task uses. */
  freeReservations(app: string): readonly Reservation[] {
    const used = new Set(this.#parts.table.ofApp(app).map(({ stored }) => stored.instanceId));
    return this.#reservations.ofApp(app).filter(({ instanceId }) => !used.has(instanceId));
  }

  /** How many volumes of the app have no task, or one that is ending. */
  waitingReservations(app: string): number {
    const running = this.#parts.table.ofApp(app).filter(({ stored }) => stored.goal === 'Running');
    const used = new Set(running.map(({ stored }) => stored.instanceId));
    return this.#reservations.ofApp(app).filter(({ instanceId }) => !used.has(instanceId)).length;
  }

  launch(app: App, place: Place, init: LaunchWish, effects: Effects): void {
    const { table, agents, random, fingerprints } = this.#parts;
    const { reservation, enforceRole } = init;
    const agent = agents.get(place.node);
    if (agent === undefined) return;
    const instanceId = reservation?.instanceId ?? instanceIdOf(app.id, uuidOf(random));
    const kept = this.#reservations.reserve(app, { instanceId, node: place.node, reservation }, effects);
    const taskId = taskIdOf(instanceId, kept?.attempts ?? 1);
    const persistenceIds = kept?.volumes.map(({ persistenceId }) => persistenceId) ?? [];
    const { node, name: host, address: agentIp, resources } = agent;
    const launch = launchOf(
      app,
      { instanceId, taskId, agentIp, hostPorts: place.hostPorts, persistenceIds, enforceRole },
      random,
    );
    const { region, zone } = resources;
    const stored: StoredInstance = {
      ...{ taskId, instanceId, app: app.id, version: app.version, config: fingerprints.of(app) },
      ...{ node, host, agentIp, launch, createdAt: effects.now.iso, goal: 'Running' },
      ...(region === undefined ? {} : { region }),
      ...(zone === undefined ? {} : { zone }),
      servicePorts: servicePortsOf(app),
      volumes: kept?.volumes ?? [],
    };
    table.put(stored, effects);
    effects.emit({
      ...{ eventType: 'instance_changed_event', instanceId, condition: 'Provisioned', runSpecId: app.id },
      ...{ agentId: node, host: agentIp, runSpecVersion: app.version },
    });
  }

  /** Returns the apps concerned; ids that are unknown are left out. */
  killNamed(tasks: readonly string[], wipe: boolean, effects: Effects): Set<string> {
    const touched = new Set<string>();
    for (const task of tasks) {
      const instance = this.#parts.table.get(task);
      if (instance === undefined) continue;
      if (wipe) this.#reservations.giveUp(instance.stored.instanceId, effects);
      this.kill(instance, { isUrgent: false }, effects);
      touched.add(instance.stored.app);
    }
    return touched;
  }

  /** The volumes that no task of the app uses; the next tasks get others. */
  wipeFree(app: string, effects: Effects): void {
    for (const { instanceId } of this.freeReservations(app)) this.#reservations.giveUp(instanceId, effects);
  }

  /** Volumes that the agent of the node is to remove. */
  wipesOn(node: NodeId): readonly string[] {
    return this.#reservations.wipesOn(node);
  }

  wipesTaken(node: NodeId, volumes: readonly string[], effects: Effects): void {
    this.#reservations.taken(node, volumes, effects);
  }

  /** Forgets what was kept of an app that is no more. */
  forgetApp(app: string, effects: Effects): void {
    this.wipeFree(app, effects);
    this.delays.reset(app);
    if (this.#failures.delete(app)) effects.writes.set(appKeys.failure(app), undefined);
  }

  /** `isUrgent`: without draining. Asked again, it only becomes more urgent. */
  kill(instance: Instance, { isUrgent }: { readonly isUrgent: boolean }, effects: Effects): void {
    const { stored, record, isReachable, isLost } = instance;
    if (isLost) return this.#giveUp(instance, undefined, effects);
    const serves = record?.state === 'TASK_RUNNING' && isReachable && !isUrgent;
    const goal = serves ? 'draining' : 'killed';
    if (stored.launch.goal === 'killed' || stored.launch.goal === goal) return;
    const kept: InstanceGoal = this.#reservations.has(stored.instanceId) ? 'Stopped' : 'Decommissioned';
    this.#change(instance, { goal: kept, launch: { ...stored.launch, goal } }, effects);
  }

  #change(instance: Instance, change: Partial<StoredInstance>, effects: Effects): void {
    const { table } = this.#parts;
    table.put({ ...instance.stored, ...change }, effects);
    const after = table.get(instance.stored.taskId);
    if (after !== undefined) tellChanges(instance, after, undefined, effects);
  }

  withdrawn(tasks: readonly string[], effects: Effects): void {
    for (const task of tasks)
      if (this.#parts.table.get(task)?.stored.launch.goal === 'draining' && !this.#killAtMs.has(task))
        this.#killAtMs.set(task, effects.now.ms + this.#drainGraceMs);
  }

  /** Kills what has been withdrawn for long enough. */
  killWithdrawn(effects: Effects): void {
    for (const [task, atMs] of this.#killAtMs) {
      const leftMs = atMs - effects.now.ms;
      if (leftMs > 0) {
        effects.wakeIn(leftMs);
        continue;
      }
      this.#killAtMs.delete(task);
      const instance = this.#parts.table.get(task);
      if (instance !== undefined) this.kill(instance, { isUrgent: true }, effects);
    }
  }

  /** Returns the apps concerned. */
  takeRecords(
    tasks: ReadonlyMap<string, TaskRecord | undefined>,
    findApp: FindApp,
    effects: Effects,
  ): Set<string> {
    const { table } = this.#parts;
    const touched = new Set<string>();
    for (const [task, record] of tasks) {
      const before = table.get(task);
      if (before === undefined) {
        this.#strays.take(task, record, effects);
        continue;
      }
      table.setRecord(task, record);
      const after: Instance = { ...before, record };
      touched.add(after.stored.app);
      tellChanges(before, after, findApp(after.stored.app), effects);
      if (record !== undefined && isTerminal(record.state)) this.#ended(after, record, findApp, effects);
      else this.#killUnhealthy(after, effects);
    }
    return touched;
  }

  #killUnhealthy(instance: Instance, effects: Effects): void {
    if (tellUnhealthy(instance, effects)) this.kill(instance, { isUrgent: true }, effects);
  }

  #ended(instance: Instance, record: TaskRecord, findApp: FindApp, effects: Effects): void {
    const { stored } = instance;
    tellUnhealthy(instance, effects);
    this.#forget(stored, effects);
    const app = findApp(stored.app);
    // Its agent ends it, and we have wanted that perhaps: the last that is told of it says why.
    if (record.reason === UNHEALTHY_REASON) this.#failed(stored, record.state, record.message, effects);
    if (stored.goal !== 'Running') return;
    if (app !== undefined && BACK_OFF.has(record.state))
      this.delays.failed(app, stored.config, effects.now.ms);
    if (!FINE.has(record.state)) this.#failed(stored, record.state, record.message, effects);
  }

  #failed(stored: StoredInstance, state: TaskState, message: string, effects: Effects): void {
    const failure = {
      ...{ appId: stored.app, host: stored.agentIp, message, state, taskId: stored.taskId },
      ...{ timestamp: effects.now.iso, version: stored.version, slaveId: stored.node },
    };
    this.#failures.set(stored.app, failure);
    effects.writes.set(appKeys.failure(stored.app), failure);
  }

  #forget(stored: StoredInstance, effects: Effects): void {
    this.#killAtMs.delete(stored.taskId);
    this.#parts.table.remove(stored, effects);
    this.#parts.scheduler.freed();
  }

  /** Agents have come, gone, or changed in whether they are reached. Returns the apps concerned. */
  agentsChanged(
    change: {
      readonly before: ReadonlyMap<string, Instance | undefined>;
      readonly changed: ReadonlySet<NodeId>;
      readonly removed: ReadonlySet<NodeId>;
    },
    findApp: FindApp,
    effects: Effects,
  ): Set<string> {
    const { table } = this.#parts;
    const touched = this.#reservations.forgetNodes(change.removed, effects);
    for (const node of Array.from(table.nodes())) {
      const isRemoved = change.removed.has(node);
      if (!isRemoved && !change.changed.has(node)) continue;
      for (const instance of table.ofNode(node)) {
        touched.add(instance.stored.app);
        const before = change.before.get(instance.stored.taskId) ?? instance;
        if (isRemoved) this.#giveUp(instance, 'TASK_GONE_BY_OPERATOR', effects);
        else if (!instance.isLost && instance.stored.inactive === true) this.#returned(instance, effects);
        else tellChanges(before, instance, findApp(instance.stored.app), effects);
      }
    }
    return touched;
  }

  #returned(instance: Instance, effects: Effects): void {
    const { inactive: _inactive, ...stored } = instance.stored;
    this.#parts.table.put(stored, effects);
    const after = this.#parts.table.get(stored.taskId);
    if (after !== undefined) tellChanges({ ...instance, isLost: true }, after, undefined, effects);
  }

  /** Its agent will not be asked: should it come back, it ends what is no more in its list. */
  #giveUp(instance: Instance, state: TaskState | undefined, effects: Effects): void {
    const { stored } = instance;
    this.#forget(stored, effects);
    const message = state === undefined ? 'Its agent is lost' : 'Its agent was removed from the cluster';
    const told: TaskState = state ?? 'TASK_GONE';
    if (stored.goal === 'Running') this.#failed(stored, told, message, effects);
    effects.emit({
      ...{ eventType: 'status_update_event', slaveId: stored.node, taskId: stored.taskId, taskStatus: told },
      ...{
        message,
        appId: stored.app,
        host: stored.agentIp,
        ipAddresses: [],
        ports: [],
        version: stored.version,
      },
    });
    effects.emit({
      ...{ eventType: 'instance_changed_event', instanceId: stored.instanceId, condition: 'Gone' },
      ...{
        runSpecId: stored.app,
        agentId: stored.node,
        host: stored.agentIp,
        runSpecVersion: stored.version,
      },
    });
  }

  /** Instances on agents that are lost: replaced and forgotten as their apps want it. Returns the apps concerned. */
  judgeLost(findApp: FindApp, effects: Effects): Set<string> {
    const { agents, table } = this.#parts;
    const touched = new Set<string>();
    for (const node of agents.newlyLost(effects))
      for (const instance of table.ofNode(node)) {
        touched.add(instance.stored.app);
        tellChanges({ ...instance, isLost: false }, instance, undefined, effects);
      }
    for (const node of agents.lost())
      for (const instance of table.ofNode(node))
        if (this.#judge(instance, findApp(instance.stored.app), effects)) touched.add(instance.stored.app);
    return touched;
  }

  #judge(instance: Instance, app: App | undefined, effects: Effects): boolean {
    const { stored } = instance;
    if (stored.goal !== 'Running') {
      this.#giveUp(instance, undefined, effects);
      return true;
    }
    if (app === undefined) return false;
    const lostMs = this.#parts.agents.lostMs(stored.node, effects.now.ms);
    const verdict = unreachableVerdict(app.unreachableStrategy, lostMs);
    if (verdict.againMs !== undefined) effects.wakeIn(verdict.againMs);
    if (verdict.expunged) this.#giveUp(instance, undefined, effects);
    else if (verdict.inactive && stored.inactive !== true)
      this.#change(instance, { inactive: true }, effects);
    else return false;
    return true;
  }
}
