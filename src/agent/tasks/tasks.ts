/**
 * The tasks of this agent: what the masters want to run here, brought about by containerizers.
 *
 * Purpose: the shell around the machine of each task (apps/task-core.ts): effects become calls, calls become events.
 * Invariants: a launch is on disk before anything of it is made, so that a restarted agent finds or removes all of it;
 * without a master the tasks of the last list go on; closing changes nothing for running tasks; a task's id names its
 * container and its sandbox, nothing else has to be remembered to find them.
 * Review notes: events of one task are handled one at a time, in the order they come; an effect that fails is logged and
 * tried again by the next look at the containers.
 */
import {
  stagedTask,
  TaskMachine,
  type TaskEffect,
  type TaskEvent,
  type TaskMemory,
} from '../../apps/task-core.ts';
import type { Clock, Timer } from '../../base/clock.ts';
import { describeError, isPortolanError, PortolanError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import { isTerminal, type TaskLaunch, type TaskRecord } from '../../model/task.ts';
import type { ContainerLogs } from '../../model/container.ts';
import { readLog } from '../../runtime/container-log.ts';
import type { Containerizer } from '../../runtime/containerizer.ts';
import type { EndedTask, EndedTasks } from './ended-tasks.ts';
import type { PersistentVolumes } from './persistent-volumes.ts';
import type { ProbeComponents } from './probes.ts';
import { TaskChecks } from './task-checks.ts';
import { containerIdOf, type TaskHost } from './task-host.ts';
import type { TaskPublisher } from './task-publisher.ts';
import type { TaskStore } from './task-store.ts';

/** Of the state of running containers. */
const LOOK_MS = 500;

export interface TasksComponents extends ProbeComponents {
  readonly clock: Clock;
  readonly log: Log;
  readonly store: TaskStore;
  readonly publisher: TaskPublisher;
  readonly host: TaskHost;
  readonly ended: EndedTasks;
  readonly volumes: Pick<PersistentVolumes, 'wipe'>;
}

export interface TasksInit {
  agentIp(): string;
}

interface Task {
  readonly id: string;
  readonly container: string;
  readonly machine: TaskMachine;
  /** The launch under way. */
  launch: { readonly abort: AbortController; readonly done: Promise<void> } | undefined;
  /** Its container could not be looked at since the start of this agent. */
  recovering: boolean;
  /** The last failure that was logged: one that lasts must not fill the log. */
  said: string;
  grace: Timer | undefined;
  checks: TaskChecks | undefined;
  /** The effects under way; the next event waits for them. */
  turn: Promise<void>;
  /** An effect has failed and is to be tried again. */
  owed: TaskEffect | undefined;
}

export class Tasks {
  readonly #components: TasksComponents;
  readonly #init: TasksInit;
  readonly #tasks = new Map<string, Task>();
  /** Of the list that is taken: one that could not be kept on disk is asked for again. */
  #revision: string | undefined;
  /** Under way; the tasks are not to wait for it. */
  #wiping: Promise<void> | undefined;
  /** The last failure that was logged, as with those of a task. */
  #saidOfWipes = '';
  #timer: Timer | undefined;
  #closed = false;

  constructor(components: TasksComponents, init: TasksInit) {
    this.#components = components;
    this.#init = init;
  }

  /** Finds what former agents left, and goes on with it. */
  async open(): Promise<void> {
    const { store, publisher, host, ended } = this.#components;
    this.#revision = store.revision;
    const memories = store.load();
    publisher.begin(new Set(memories.map(({ launch }) => launch.id)));
    for (const memory of memories) this.#adopt(memory);
    const known = new Set([...this.#tasks.values()].map(({ container }) => container));
    await host.removeStrangers(known);
    await ended.open(known);
    for (const task of this.#tasks.values()) {
      task.recovering = true;
      await this.#look(task);
    }
    this.#lookLater();
  }

  /** Of the last list; `undefined` = there was none. */
  get revision(): string | undefined {
    return this.#revision;
  }

  /**
   * The list of what shall run here, as of `revision`; resolves when it is on disk. The volumes of `wipe` are removed as
   * soon as no task of this host uses them any more.
   */
  async assign(
    revision: string,
    launches: readonly TaskLaunch[],
    wipe: readonly string[] = [],
  ): Promise<void> {
    const { store, clock } = this.#components;
    const wanted = new Map(launches.map((launch) => [launch.id, launch]));
    const nowMs = clock.wallMs();
    const fresh = launches
      .filter(({ id }) => !this.#tasks.has(id))
      .map((launch) => stagedTask(launch, nowMs));
    const changed = [...this.#tasks.values()].flatMap(({ id, machine }): TaskMemory[] => {
      const { memory } = machine;
      const launch = wanted.get(id);
      if (launch === undefined) return memory.dropped ? [] : [{ ...memory, dropped: true }];
      return launch.goal === memory.launch.goal ? [] : [{ ...memory, launch }];
    });
    await store.keepList(revision, [...fresh, ...changed], wipe);
    this.#revision = revision;
    for (const memory of fresh) this.#begin(this.#adopt(memory));
    for (const { launch, dropped } of changed) {
      const task = this.#tasks.get(launch.id);
      if (task !== undefined) this.#handle(task, dropped ? { type: 'dropped' } : { type: 'wanted', launch });
    }
    this.#lookLater();
  }

  list(): readonly TaskRecord[] {
    return [...this.#tasks.values()].map((task) => this.#recordOf(task));
  }

  /** As endpoints name them, of tasks that have not ended. */
  liveContainers(): ReadonlySet<string> {
    const live = [...this.#tasks.values()].filter(({ machine }) => !isTerminal(machine.record.state));
    return new Set(
      live.flatMap(({ container, machine }) => [container, machine.record.container ?? container]),
    );
  }

  /** What is known of a task of this host, also of one that has ended and is kept. */
  record(reference: string): TaskRecord {
    const task = this.#find(reference);
    return task === undefined ? this.#wantedEnded(reference).record : this.#recordOf(task);
  }

  /** What it has written, from byte `from` of its log on; a piece at a time. */
  async logs(reference: string, from: number): Promise<ContainerLogs> {
    const task = this.#find(reference);
    if (task === undefined) return this.#components.ended.logs(this.#wantedEnded(reference), from);
    const { entries, next } = await readLog(await this.#containerizer(task).logPath(task.container), from);
    return { entries: [...entries], next };
  }

  /** The words before `COMMAND ARG...` that run a command in its container with the caller's terminal. */
  async execWords(reference: string, options: { readonly terminal: boolean }): Promise<readonly string[]> {
    const task = this.#find(reference);
    if (task !== undefined) return this.#containerizer(task).execWords(task.container, options);
    const { record } = this.#wantedEnded(reference);
    throw new PortolanError('conflict', `Cannot run a command in task "${record.id}": it has ended`, {
      remedy: `see "portolan task logs ${record.id}"`,
    });
  }

  /** By id, or the beginning of an id that only one has. */
  #find(reference: string): Task | undefined {
    const begins = [...this.#tasks.values()].filter(({ id }) => reference !== '' && id.startsWith(reference));
    return this.#tasks.get(reference) ?? (begins.length === 1 ? begins[0] : undefined);
  }

  #wantedEnded(reference: string): EndedTask {
    const found = this.#components.ended.find(reference);
    if (found !== undefined) return found;
    throw new PortolanError('not-found', `Cannot find task "${reference}" on this host`, {
      field: 'task',
      remedy: 'see "portolan task ls"',
    });
  }

  #recordOf({ machine }: Task): TaskRecord {
    return withHostAddress(machine.record, this.#init.agentIp());
  }

  /** Ends everything at once, after `close`: this node has no place in the cluster any more. The next agent clears up. */
  async forgetAll(): Promise<void> {
    const memories: TaskMemory[] = [];
    for (const task of this.#tasks.values()) {
      await this.#containerizer(task)
        .signal(task.container, 'SIGKILL')
        .catch((error: unknown) => this.#failed(task, 'kill', error));
      memories.push({ ...task.machine.memory, dropped: true });
    }
    await this.#components.store.keepList(undefined, memories, []);
  }

  /** Launches under way are undone, and left to the next agent; what runs is let be. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    this.#components.ended.close();
    for (const task of this.#tasks.values()) {
      task.grace?.cancel();
      task.checks?.stop();
      task.launch?.abort.abort(new Error('the agent is ending'));
    }
    await Promise.all([...this.#tasks.values()].map(({ launch }) => launch?.done ?? Promise.resolve()));
    await this.#wiping;
  }

  #adopt(memory: TaskMemory): Task {
    const { id } = memory.launch;
    const task: Task = {
      id,
      container: containerIdOf(id),
      machine: new TaskMachine(memory),
      launch: undefined,
      recovering: false,
      said: '',
      grace: undefined,
      checks: undefined,
      turn: Promise.resolve(),
      owed: undefined,
    };
    this.#tasks.set(id, task);
    return task;
  }

  #begin(task: Task): void {
    this.#perform(task, task.machine.begin(this.#components.clock.wallMs()));
  }

  #containerizer(task: Task): Containerizer {
    return this.#components.host.containerizer(task.machine.memory.launch);
  }

  #handle(task: Task, event: TaskEvent): void {
    if (this.#tasks.get(task.id) !== task) return;
    const before = task.machine.record.state;
    const effects = task.machine.step(event, this.#components.clock.wallMs());
    const { state, message } = task.machine.record;
    if (state !== before)
      this.#components.log.info('Task changed', {
        task: task.id,
        state,
        ...(message === '' ? {} : { message }),
      });
    this.#perform(task, effects);
  }

  #perform(task: Task, effects: readonly TaskEffect[]): void {
    for (const effect of effects)
      if (effect.do === 'cancel') task.launch?.abort.abort(new Error('the task was killed'));
      else task.turn = task.turn.then(() => this.#try(task, effect));
  }

  async #try(task: Task, effect: TaskEffect): Promise<void> {
    try {
      await this.#bringAbout(task, effect);
    } catch (error) {
      this.#failed(task, effect.do, error);
      task.owed = effect;
    }
  }

  #failed(task: Task, what: string, error: unknown): void {
    const saying = `${what}: ${describeError(error)}`;
    if (task.said === saying) return;
    task.said = saying;
    this.#components.log.warn('Something of a task has failed and will be tried again', {
      task: task.id,
      what,
      error,
    });
  }

  async #bringAbout(task: Task, effect: TaskEffect): Promise<void> {
    const { publisher, store, clock, host } = this.#components;
    const { launch } = task.machine.memory;
    switch (effect.do) {
      case 'launch':
        // Not waited for: what comes meanwhile may stop it.
        this.#launch(task);
        return;
      case 'cancel':
        return;
      case 'signal':
        return this.#containerizer(task).signal(task.container, effect.signal);
      case 'arm-grace':
        task.grace?.cancel();
        task.grace = clock.after(effect.delayMs, () => this.#handle(task, { type: 'grace-over' }));
        return;
      case 'watch':
        return this.#watch(task);
      case 'unwatch':
        task.checks?.stop();
        task.checks = undefined;
        return;
      case 'release':
        task.grace?.cancel();
        return host.release(launch);
      case 'remove':
        task.grace?.cancel();
        await host.remove(launch, this.#recordOf(task));
        this.#handle(task, { type: 'removed' });
        return;
      case 'tell':
        // A disk that is full must not keep the others from hearing of it.
        if (effect.durable)
          await store.keep(task.machine.memory).catch((error: unknown) => this.#failed(task, 'keep', error));
        else store.keepLazily(task.machine.memory);
        publisher.task(this.#recordOf(task));
        return;
      case 'forget':
        store.forget(task.id);
        publisher.withdrawTask(task.id);
        this.#tasks.delete(task.id);
    }
  }

  #launch(task: Task): void {
    const abort = new AbortController();
    const done = this.#components.host
      .launch(task.machine.memory.launch, {
        signal: abort.signal,
        starting: (runtimeId) => this.#handle(task, { type: 'starting', runtimeId }),
      })
      .then(
        (container): TaskEvent => ({ type: 'started', container }),
        (error: unknown): TaskEvent => {
          const message = describeError(error);
          return isPortolanError(error, 'exhausted')
            ? { type: 'refused', state: 'TASK_DROPPED', reason: 'REASON_INVALID_OFFERS', message }
            : { type: 'refused', state: 'TASK_FAILED', reason: 'REASON_CONTAINER_LAUNCH_FAILED', message };
        },
      )
      .then((event) => {
        task.launch = undefined;
        // The next agent finds it as it was left.
        if (!this.#closed) this.#handle(task, event);
      });
    task.launch = { abort, done };
  }

  async #watch(task: Task): Promise<void> {
    const containerizer = this.#containerizer(task);
    const container = await containerizer.find(task.container);
    if (container === undefined || task.checks !== undefined) return;
    const { launch } = task.machine.memory;
    if (launch.health_checks.length + launch.readiness_checks.length === 0) return;
    task.checks = new TaskChecks(this.#components, {
      launch,
      containerizer,
      container,
      agentIp: () => this.#init.agentIp(),
      record: () => task.machine.record,
      onHealth: (health, kill) => this.#handle(task, { type: 'health', health, kill }),
      onReadiness: (ready) => this.#handle(task, { type: 'readiness', ready }),
    });
    task.checks.start();
  }

  /** As long as there is something to look at: an idle host does not wake up for it. */
  #lookLater(): void {
    const isIdle = this.#tasks.size === 0 && this.#components.store.wipes.length === 0;
    if (this.#closed || isIdle || this.#timer !== undefined) return;
    this.#timer = this.#components.clock.after(LOOK_MS, () => {
      void this.lookAtAll().finally(() => {
        this.#timer = undefined;
        this.#lookLater();
      });
    });
  }

  /** At every container, and again at what could not be done. */
  async lookAtAll(): Promise<void> {
    for (const task of this.#tasks.values()) {
      const { owed } = task;
      task.owed = undefined;
      if (owed === undefined) await this.#look(task);
      else this.#perform(task, [owed]);
    }
    this.#wiping ??= this.#wipe().finally(() => (this.#wiping = undefined));
  }

  async #wipe(): Promise<void> {
    const { store, volumes, log } = this.#components;
    const inUse = new Set([...this.#tasks.values()].flatMap((task) => volumesInUse(task.machine)));
    for (const id of store.wipes.filter((each) => !inUse.has(each)))
      try {
        await volumes.wipe(id);
        await store.forgetWipe(id);
        log.info('Persistent volume removed', { volume: id });
      } catch (error) {
        const saying = describeError(error);
        if (this.#saidOfWipes !== saying)
          log.warn('Cannot remove a persistent volume', { volume: id, error });
        this.#saidOfWipes = saying;
      }
  }

  async #look(task: Task): Promise<void> {
    const { state } = task.machine.record;
    const runs = state === 'TASK_RUNNING' || state === 'TASK_KILLING';
    if (this.#closed || !(runs || task.recovering)) return;
    try {
      // An ended task needs nothing of its runtime, which may be gone.
      const container = isTerminal(state) ? undefined : await this.#containerizer(task).find(task.container);
      const type = task.recovering ? 'recovered' : 'seen';
      task.recovering = false;
      this.#handle(task, { type, container });
    } catch (error) {
      this.#failed(task, 'look', error);
    }
  }
}

function volumesInUse({ memory: { launch, record } }: TaskMachine): readonly string[] {
  if (isTerminal(record.state)) return [];
  return launch.volumes.flatMap((volume) => (volume.kind === 'persistent' ? [volume.id] : []));
}

/** A task in the host's network has the host's address. */
function withHostAddress(record: TaskRecord, agentIp: string): TaskRecord {
  const networks = record.networks.map((network) =>
    network.mode === 'host' ? { ...network, addresses: [agentIp] } : network,
  );
  return { ...record, networks };
}
