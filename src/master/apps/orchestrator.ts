/**
 * The orchestrator: apps, deployments and instances, in the masters' store.
 *
 * Purpose: the shell of `apps/core.ts`. It gathers what agents tell, hands it to the core, stores what the core writes, and
 * then makes the rest known: lists to agents, events to listeners. It has no rules of its own.
 * Invariants: what is answered, told or handed to an agent is in the store; effects of steps are made known in their
 * order; after a failed commit memory is thrown away and read again, and until then everybody is told to come back.
 * Review notes: commits carry a key of their own as a condition, so that two masters on one store cannot mix.
 */
import { InstanceViews } from './instance-view.ts';
import { AppsCore, type CoreEvent, type CoreInit } from '../../apps/core.ts';
import { reverted } from '../../apps/deployments.ts';
import type { Effects } from '../../apps/effects.ts';
import { uuidOf } from '../../apps/launch.ts';
import { appKeys } from '../../apps/store-keys.ts';
import { findApp, groupVersions } from '../../apps/tree.ts';
import type { Clock, Timer } from '../../base/clock.ts';
import { isPortolanError, PortolanError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { Random } from '../../base/random.ts';
import type { App, Group } from '../../model/app.ts';
import type { AppEvent, Deployment, InstanceView, QueueItem } from '../../model/deployment.ts';
import type { NodeId } from '../../model/names.ts';
import type { TaskRecord } from '../../model/task.ts';
import type { RecordView } from '../../node/record-view.ts';
import type { RecordExchange } from '../../node/record-exchange.ts';
import type { Store, StoreOperation } from '../../store/types.ts';
import { CommitQueue } from '../commits.ts';
import { drainingAgents, schedulerAgents } from './agents-view.ts';
import { Assignments, type Assignment, type AssignmentList } from './assignments.ts';
import { Drainer, type DrainerComponents } from './drainer.ts';
import { loadApps } from './load.ts';
import type { Trees } from './trees.ts';
import type { Deployed, Orchestrator } from './types.ts';

/** News of records come in bursts; one step takes a whole one. */
const GATHER_MS = 5;
const RECOVERY_DELAY_MS = 1000;

type Change = (root: Group, version: string) => Group;

export interface OrchestratorComponents {
  readonly store: Store;
  readonly exchange: Pick<
    RecordExchange,
    'get' | 'records' | 'subscribe' | 'isReachable' | 'subscribeMembers'
  >;
  /** Of the same exchange. */
  readonly view: RecordView;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly askApplied: DrainerComponents['ask'];
}

/** What a recovery replaces at once. */
interface Live {
  readonly core: AppsCore;
  readonly trees: Trees;
  readonly commits: CommitQueue;
}

export class AppOrchestrator implements Orchestrator {
  readonly #components: OrchestratorComponents;
  readonly #init: CoreInit;
  readonly #view: RecordView;
  readonly #drainer: Drainer;
  readonly #assignments: Assignments;
  readonly #views = new InstanceViews();
  readonly #listeners = new Set<(event: AppEvent) => void>();
  readonly #closers: (() => void)[];
  #live: Live | undefined;
  #closed = false;
  #writes = 0;
  #lastVersionMs = 0;
  #wake: Timer | undefined;
  #gather: Timer | undefined;
  /** Ids of records: `<node>/<task>`. */
  #changedTasks = new Set<string>();
  #agentsChanged = false;

  /** Rejects when the store is damaged. */
  static async open(components: OrchestratorComponents, init: CoreInit): Promise<AppOrchestrator> {
    const orchestrator = new AppOrchestrator(components, init);
    try {
      await orchestrator.#load();
      return orchestrator;
    } catch (error) {
      orchestrator.close();
      throw error;
    }
  }

  private constructor(components: OrchestratorComponents, init: CoreInit) {
    this.#components = components;
    this.#init = init;
    const { exchange, clock, log, askApplied } = components;
    this.#assignments = new Assignments(clock);
    this.#view = components.view;
    this.#drainer = new Drainer({
      ...{ exchange, clock, log, ask: askApplied },
      agents: () => drainingAgents(this.#view),
    });
    this.#closers = [
      exchange.subscribe('', (changes) => {
        if (changes.some(({ key }) => isOfAgents(key))) this.#note([], true);
      }),
      this.#view.subscribeTasks(({ tasks, resources }) => this.#note(tasks, resources.size > 0)),
      exchange.subscribeMembers(() => this.#note([], true)),
      () => this.#drainer.close(),
      () => this.#assignments.close(),
    ];
  }

  close(): void {
    this.#closed = true;
    this.#live = undefined;
    this.#wake?.cancel();
    this.#gather?.cancel();
    for (const closer of this.#closers.splice(0)) closer();
  }

  root(): Group {
    return this.#ready().core.root;
  }

  rootAt(version: string): Group | undefined {
    return this.#ready().trees.at(version);
  }

  groupVersions(id: string): readonly string[] {
    return groupVersions(this.#ready().trees.all(), id);
  }

  app(id: string): App | undefined {
    return findApp(this.root(), id);
  }

  versions(id: string): readonly string[] {
    return this.#ready().trees.versions(id);
  }

  appAt(id: string, version: string): App | undefined {
    return this.#ready().trees.appAt(id, version);
  }

  async deploy(change: Change, options: Parameters<Orchestrator['deploy']>[1]): Promise<Deployed> {
    const { core, trees } = this.#ready();
    const event = this.#deployEvent(change, options);
    const { version, id } = event;
    try {
      await this.#step(event, () => {
        const inUse = core.running().flatMap(({ stored }) => [stored.version, stored.originalVersion]);
        return trees.add(core.root, new Set(inUse));
      });
    } catch (error) {
      this.#tellRefused(error, version);
      throw error;
    }
    return { version, deploymentId: id };
  }

  #tellRefused(error: unknown, version: string): void {
    if (!isPortolanError(error)) return;
    const { message: reason } = error;
    const groupId = error.details?.['groupId'];
    if (typeof groupId !== 'string') return;
    const timestamp = new Date(this.#components.clock.wallMs()).toISOString();
    this.#tell([{ eventType: 'group_change_failed', groupId, version, reason, timestamp }]);
  }

  #tell(events: readonly AppEvent[]): void {
    for (const told of events) for (const listener of this.#listeners) listener(told);
  }

  #deployEvent(change: Change, { force, restart = [], kill = [] }: Parameters<Orchestrator['deploy']>[1]) {
    const version = this.#nextVersion();
    const target = change(this.root(), version);
    const id = uuidOf(this.#components.random);
    return { kind: 'deploy' as const, id, version, target, force, restart, kill };
  }

  /** Rises also where the clock does not. */
  #nextVersion(): string {
    const last = Math.max(this.#lastVersionMs, Date.parse(this.root().version));
    this.#lastVersionMs = Math.max(this.#components.clock.wallMs(), last + 1);
    return new Date(this.#lastVersionMs).toISOString();
  }

  plan(change: Change): Deployment {
    return this.#ready().core.plan(this.#deployEvent(change, { force: true }));
  }

  deployments(): readonly Deployment[] {
    return this.#ready().core.deployments();
  }

  async cancel(deploymentId: string, { force }: { readonly force: boolean }): Promise<Deployed | undefined> {
    const deployment = this.#ready()
      .core.running()
      .find(({ id }) => id === deploymentId);
    if (!force && deployment !== undefined) {
      return this.deploy((root, version) => reverted(root, deployment, version), { force: true });
    }
    await this.#step({ kind: 'cancel', id: deploymentId });
    return undefined;
  }

  instances(app?: string): readonly InstanceView[] {
    return this.#ready()
      .core.instances(app)
      .map((instance) => this.#views.of(instance));
  }

  instance(taskId: string): InstanceView | undefined {
    const instance = this.#ready().core.instance(taskId);
    return instance === undefined ? undefined : this.#views.of(instance);
  }

  lastTaskFailure(app: string): Readonly<Record<string, unknown>> | undefined {
    return this.#ready().core.lastFailure(app);
  }

  async kill(
    tasks: readonly string[],
    { wipe, wipeApp }: { readonly wipe: boolean; readonly wipeApp?: string | undefined },
  ): Promise<void> {
    await this.#step({ kind: 'kill', tasks, wipe, wipeApp });
  }

  queue(): readonly QueueItem[] {
    return this.#ready().core.queue(this.#components.clock.nowMs());
  }

  resetDelay(app: string): boolean {
    if (!this.#ready().core.waits(app)) return false;
    this.#stepQuietly({ kind: 'reset-delay', app });
    return true;
  }

  subscribe(listener: (event: AppEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Its tasks go elsewhere and none come, or that is over. */
  async setDrained(node: NodeId, drained: boolean): Promise<void> {
    await this.#step({ kind: 'drain-agent', node, drained });
  }

  isDrained(node: NodeId): boolean {
    return this.#ready().core.isDrained(node);
  }

  poll(
    node: NodeId,
    have: string | undefined,
    options: { readonly waitMs: number; readonly signal: AbortSignal },
  ): Promise<AssignmentList> {
    this.#ready();
    const volumes = this.#assignments.wipesKnown(node, have);
    if (volumes.length > 0) this.#stepQuietly({ kind: 'wipes-taken', node, volumes });
    return this.#assignments.poll(node, have, options);
  }

  #ready(): Live {
    if (this.#live !== undefined) return this.#live;
    throw new PortolanError('unavailable', 'Cannot answer: the master is reading its store', {
      remedy: 'try again in a second; see the log of the master when it lasts',
    });
  }

  async #load(): Promise<void> {
    const { store, random } = this.#components;
    const { trees, state, writerRevision } = await loadApps(store);
    if (this.#closed) return;
    const core = new AppsCore({ random }, this.#init, state);
    const commits = new CommitQueue(
      { store },
      {
        epochKey: appKeys.writer,
        epochRevision: writerRevision,
        epoch: () => (this.#writes += 1),
        onFailure: (error) => this.#demote(error),
      },
    );
    this.#live = { core, trees, commits };
    for (const node of new Set([...state.instances, ...state.wipes].map((each) => each.node)))
      this.#assignments.set(node, assignmentOf(core, node));
    this.#changedTasks = new Set(this.#view.tasks().map(({ id }) => id));
    this.#agentsChanged = true;
    this.#takeNews();
    this.#drain();
  }

  /** Memory may be ahead of the store now: forget it and read again. */
  #demote(error: unknown): void {
    this.#live = undefined;
    if (this.#closed) return;
    this.#components.log.error('A commit of the apps failed; reading the store again', { error });
    void this.#loadAgain();
  }

  async #loadAgain(): Promise<void> {
    const { log, clock } = this.#components;
    try {
      await this.#load();
    } catch (error) {
      log.error('Cannot read the apps from the store; trying again', { error });
      clock.after(RECOVERY_DELAY_MS, () => void this.#loadAgain());
    }
  }

  /** Something was told: of these tasks, of agents too perhaps. */
  #note(tasks: Iterable<string>, ofAgents: boolean): void {
    for (const task of tasks) this.#changedTasks.add(task);
    this.#agentsChanged ||= ofAgents;
    this.#gather ??= this.#components.clock.after(GATHER_MS, () => {
      this.#gather = undefined;
      this.#takeNews();
    });
  }

  #takeNews(): void {
    if (this.#live === undefined) return;
    const tasks = this.#changedTasks;
    this.#changedTasks = new Set();
    if (this.#agentsChanged) {
      this.#agentsChanged = false;
      const agents = schedulerAgents(this.#view, this.#components.exchange);
      this.#stepQuietly({ kind: 'agents', agents, removed: this.#view.removed() });
    }
    const records = this.#recordsOf(tasks);
    if (records.size > 0) this.#stepQuietly({ kind: 'records', tasks: records });
  }

  /** Of our instances only as told by the agent that each was given to. */
  #recordsOf(ids: ReadonlySet<string>): Map<string, TaskRecord | undefined> {
    const records = new Map<string, TaskRecord | undefined>();
    for (const id of ids) {
      const cut = id.indexOf('/');
      const task = id.slice(cut + 1);
      const instance = this.#live?.core.instance(task);
      if (instance !== undefined && instance.stored.node !== id.slice(0, cut)) continue;
      records.set(task, this.#view.task(id)?.task);
    }
    return records;
  }

  #stepQuietly(event: CoreEvent): void {
    this.#step(event).catch((error: unknown) => {
      if (!this.#closed)
        this.#components.log.error('Cannot take a step with the apps', { event: event.kind, error });
    });
  }

  /** Resolves when what it decided is in the store and made known. `more` is written in the same transaction. */
  async #step(event: CoreEvent, more?: () => readonly StoreOperation[]): Promise<void> {
    const { core, commits } = this.#ready();
    const { clock } = this.#components;
    const effects = core.step(event, { ms: clock.nowMs(), iso: new Date(clock.wallMs()).toISOString() });
    const lists = Array.from(effects.nodes, (node) => [node, assignmentOf(core, node)] as const);
    this.#wakeFor(effects);
    await commits.commit([...operationsOf(effects), ...(more?.() ?? [])]);
    for (const [node, tasks] of lists) this.#assignments.set(node, tasks);
    this.#tell(effects.events);
    if (lists.length > 0) this.#drain();
  }

  #wakeFor({ wakeAtMs }: Effects): void {
    this.#wake?.cancel();
    if (wakeAtMs === undefined) return;
    const { clock } = this.#components;
    const inMs = Math.max(1, Math.ceil(wakeAtMs - clock.nowMs()));
    this.#wake = clock.after(inMs, () => this.#stepQuietly({ kind: 'tick' }));
  }

  #drain(): void {
    const draining =
      this.#live?.core.instances().filter(({ stored }) => stored.launch.goal === 'draining') ?? [];
    this.#drainer.watch(
      draining.map(({ stored }) => stored),
      (taskId) => this.#stepQuietly({ kind: 'withdrawn', tasks: [taskId] }),
    );
  }
}

/** Where agents are, and which blocks they have; what they offer comes with the tasks. */
function isOfAgents(key: string): boolean {
  return key.startsWith('cluster/removed/') || /^node\/[^/]+\/(node|overlay\/)/.test(key);
}

function assignmentOf(core: AppsCore, node: NodeId): Assignment {
  return { tasks: core.ofNode(node).map(({ stored }) => stored.launch), wipe: core.wipesOn(node) };
}

function operationsOf({ writes }: Effects): StoreOperation[] {
  return Array.from(writes, ([key, value]) =>
    value === undefined ? { do: 'delete', key } : { do: 'put', key, value: JSON.stringify(value) },
  );
}
