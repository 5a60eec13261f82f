/**
 * One task on its agent, from the order to run it until nobody asks for it any more: `step(event, now) -> effects`.
 *
 * Purpose: the one place that decides in which state a task is and what has to be done about it.
 * Invariants: states go forward only, and a terminal one is final; a task ends by its container's end, by a launch that
 * came to nothing, or by never having been started, and its record says which; it is forgotten only after its container
 * is removed. What was asked of the runtime is asked again after a restart of the agent, so every effect may be repeated.
 * Review notes: the shell (agent/tasks) turns effects into calls and answers every `launch` with `started` or `refused`.
 */
import { assert } from '../base/assert.ts';
import {
  isTerminal,
  UNHEALTHY_REASON,
  type TaskHealth,
  type TaskLaunch,
  type TaskRecord,
  type TaskState,
} from '../model/task.ts';
import { isHealthy } from './health.ts';

/** What the runtime knows of a container, as far as states depend on it. */
export interface SeenContainer {
  readonly runtimeId: string;
  readonly state: 'running' | 'ended' | 'lost';
  readonly exitCode?: number;
  readonly outOfMemory: boolean;
  readonly networks: TaskRecord['networks'];
}

export type TaskEvent =
  /** In the list of what shall run here; again when its goal has changed. */
  | { readonly type: 'wanted'; readonly launch: TaskLaunch }
  /** Not in the list any more. */
  | { readonly type: 'dropped' }
  /** After a restart of the agent: what is there of it. */
  | { readonly type: 'recovered'; readonly container: SeenContainer | undefined }
  /** Its container is being made. */
  | { readonly type: 'starting'; readonly runtimeId: string }
  | { readonly type: 'started'; readonly container: SeenContainer }
  /** The launch came to nothing and left nothing. */
  | Refusal
  /** Seen again: it may have ended, or have other addresses. */
  | { readonly type: 'seen'; readonly container: SeenContainer | undefined }
  | { readonly type: 'health'; readonly health: TaskHealth; readonly kill: boolean }
  | { readonly type: 'readiness'; readonly ready: boolean }
  | { readonly type: 'grace-over' }
  | { readonly type: 'removed' };

export interface Refusal {
  readonly type: 'refused';
  /** Dropped: what its master thought to be free here is not. */
  readonly state: 'TASK_FAILED' | 'TASK_DROPPED';
  readonly reason: string;
  readonly message: string;
}

export type TaskEffect =
  | { readonly do: 'launch' }
  /** Stops a launch under way. */
  | { readonly do: 'cancel' }
  | { readonly do: 'signal'; readonly signal: 'SIGTERM' | 'SIGKILL' }
  | { readonly do: 'arm-grace'; readonly delayMs: number }
  /** Begins health and readiness checks. */
  | { readonly do: 'watch' }
  | { readonly do: 'unwatch' }
  /** Gives back what the ended container holds. */
  | { readonly do: 'release' }
  /** Removes container and sandbox; answered by `removed`. */
  | { readonly do: 'remove' }
  /** The record has changed: to be kept on disk, and told. */
  | { readonly do: 'tell'; readonly durable: boolean }
  | { readonly do: 'forget' };

/** What is kept of a task over restarts of the agent. */
export interface TaskMemory {
  readonly launch: TaskLaunch;
  readonly record: TaskRecord;
  /** Not in the list any more. */
  readonly dropped: boolean;
  /** Why it is being ended, unless its launch says so. */
  readonly unhealthy?: string;
}

const MAX_MESSAGE = 1024;

export function stagedTask(launch: TaskLaunch, nowMs: number): TaskMemory {
  const at = new Date(nowMs).toISOString();
  return {
    launch,
    dropped: false,
    record: {
      id: launch.id,
      app: launch.app,
      version: launch.version,
      framework: launch.framework,
      name: launch.name,
      runtime: launch.runtime,
      state: 'TASK_STAGING',
      draining: launch.goal !== 'running',
      checked: launch.health_checks.length > 0,
      health: [],
      message: '',
      networks: launch.networks.map(({ mode, name }) => ({
        mode,
        ...(name === undefined ? {} : { name }),
        addresses: [],
      })),
      ports: launch.ports,
      staged_at: at,
      status_at: at,
    },
  };
}

export class TaskMachine {
  #memory: TaskMemory;
  /** A launch is under way, which will answer. */
  #launching = false;

  constructor(memory: TaskMemory) {
    this.#memory = memory;
  }

  get memory(): TaskMemory {
    return this.#memory;
  }

  get record(): TaskRecord {
    return this.#memory.record;
  }

  step(event: TaskEvent, nowMs: number): readonly TaskEffect[] {
    switch (event.type) {
      case 'wanted':
        return this.#wanted(event.launch, nowMs);
      case 'dropped':
        return this.#dropped(nowMs);
      case 'recovered':
        return this.#recovered(event.container, nowMs);
      case 'starting':
        return this.#starting(event.runtimeId, nowMs);
      case 'started':
        return this.#started(event.container, nowMs);
      case 'refused':
        return this.#refused(event, nowMs);
      case 'seen':
        return this.#seen(event.container, nowMs);
      case 'health':
        return this.#health(event.health, event.kill, nowMs);
      case 'readiness':
        return this.#readiness(event.ready, nowMs);
      case 'grace-over':
        return this.#is('TASK_KILLING') ? [{ do: 'signal', signal: 'SIGKILL' }] : [];
      case 'removed':
        return this.#memory.dropped ? [{ do: 'forget' }] : [];
    }
  }

  /** Begins a task that nothing is known of but its launch. */
  begin(nowMs: number): readonly TaskEffect[] {
    return this.#launchOrEnd(nowMs);
  }

  #is(...states: readonly TaskState[]): boolean {
    return states.includes(this.record.state);
  }

  get #mustEnd(): boolean {
    const { launch, dropped, unhealthy } = this.#memory;
    return dropped || launch.goal === 'killed' || unhealthy !== undefined;
  }

  #launchOrEnd(nowMs: number): readonly TaskEffect[] {
    if (this.#mustEnd) return this.#end('TASK_KILLED', { message: 'Killed before it was started' }, nowMs);
    this.#launching = true;
    return [{ do: 'tell', durable: false }, { do: 'launch' }];
  }

  #wanted(launch: TaskLaunch, nowMs: number): readonly TaskEffect[] {
    this.#memory = { ...this.#memory, launch };
    const draining = launch.goal !== 'running';
    const drained = draining !== this.record.draining && !isTerminal(this.record.state);
    if (drained) this.#change({ draining }, nowMs);
    const tell: readonly TaskEffect[] = drained ? [{ do: 'tell', durable: false }] : [];
    return [...tell, ...this.#killIfAsked(nowMs)];
  }

  #dropped(nowMs: number): readonly TaskEffect[] {
    if (this.#memory.dropped) return [];
    this.#memory = { ...this.#memory, dropped: true };
    if (isTerminal(this.record.state)) return [{ do: 'remove' }];
    return this.#killIfAsked(nowMs);
  }

  #killIfAsked(nowMs: number): readonly TaskEffect[] {
    if (!this.#mustEnd) return [];
    if (this.#launching) return [{ do: 'cancel' }];
    if (!this.#is('TASK_RUNNING')) return [];
    const { unhealthy } = this.#memory;
    const why = unhealthy === undefined ? {} : { reason: UNHEALTHY_REASON };
    this.#change({ state: 'TASK_KILLING', draining: true, message: unhealthy ?? '', ...why }, nowMs);
    const delayMs = this.#memory.launch.kill_grace_s * 1000;
    return [
      { do: 'unwatch' },
      { do: 'tell', durable: true },
      { do: 'signal', signal: 'SIGTERM' },
      { do: 'arm-grace', delayMs },
    ];
  }

  #recovered(container: SeenContainer | undefined, nowMs: number): readonly TaskEffect[] {
    if (isTerminal(this.record.state))
      return this.#memory.dropped ? [{ do: 'remove' }] : [{ do: 'tell', durable: false }];
    if (this.#is('TASK_STAGING', 'TASK_STARTING')) {
      // The agent ended in the middle of the launch; it is made anew where nothing whole is there.
      if (container === undefined) return this.#launchOrEnd(nowMs);
      this.#launching = true;
      return this.#started(container, nowMs);
    }
    const ended = this.#seen(container, nowMs);
    if (isTerminal(this.record.state)) return ended;
    if (this.#is('TASK_RUNNING'))
      return [{ do: 'tell', durable: false }, { do: 'watch' }, ...ended, ...this.#killIfAsked(nowMs)];
    return [
      { do: 'tell', durable: false },
      { do: 'signal', signal: 'SIGTERM' },
      { do: 'arm-grace', delayMs: this.#memory.launch.kill_grace_s * 1000 },
    ];
  }

  #starting(runtimeId: string, nowMs: number): readonly TaskEffect[] {
    if (!this.#launching) return [];
    this.#change({ state: 'TASK_STARTING', container: runtimeId }, nowMs);
    return [{ do: 'tell', durable: false }];
  }

  #started(container: SeenContainer, nowMs: number): readonly TaskEffect[] {
    assert(this.#launching, 'an answer to a launch');
    this.#launching = false;
    const { runtimeId, networks } = container;
    const started_at = new Date(nowMs).toISOString();
    this.#change({ state: 'TASK_RUNNING', container: runtimeId, networks, started_at }, nowMs);
    const running: readonly TaskEffect[] = [{ do: 'tell', durable: true }, { do: 'watch' }];
    return [...running, ...this.#seen(container, nowMs), ...this.#killIfAsked(nowMs)];
  }

  #refused({ state, reason, message }: Refusal, nowMs: number): readonly TaskEffect[] {
    this.#launching = false;
    if (this.#mustEnd)
      return this.#end('TASK_KILLED', { message: 'Killed while it was being started' }, nowMs);
    return this.#end(state, { reason, message }, nowMs);
  }

  #seen(container: SeenContainer | undefined, nowMs: number): readonly TaskEffect[] {
    if (!this.#is('TASK_RUNNING', 'TASK_KILLING')) return [];
    if (container?.state === 'running') return this.#moved(container, nowMs);
    const effects = this.#end(...this.#verdict(container), nowMs);
    return [{ do: 'unwatch' }, ...effects];
  }

  /** It was given other addresses, because its host had to give the old ones up. */
  #moved({ networks }: SeenContainer, nowMs: number): readonly TaskEffect[] {
    if (JSON.stringify(networks) === JSON.stringify(this.record.networks)) return [];
    this.#change({ networks }, nowMs);
    return [{ do: 'tell', durable: false }];
  }

  #verdict(container: SeenContainer | undefined): [TaskState, Partial<TaskRecord>] {
    const { exitCode } = container ?? {};
    const exit = exitCode === undefined ? {} : { exit_code: exitCode };
    if (this.#is('TASK_KILLING'))
      return [
        'TASK_KILLED',
        {
          ...exit,
          message: this.#memory.unhealthy ?? `Killed; ${howEnded(container)}`,
          ...(this.#memory.unhealthy === undefined ? {} : { reason: UNHEALTHY_REASON, healthy: false }),
        },
      ];
    if (exitCode === 0) return ['TASK_FINISHED', { ...exit, message: howEnded(container) }];
    return ['TASK_FAILED', { ...exit, ...whyFailed(container, this.#memory.launch) }];
  }

  #end(state: TaskState, say: Partial<TaskRecord>, nowMs: number): readonly TaskEffect[] {
    this.#launching = false;
    const { message = '', ...rest } = say;
    this.#change({ ...rest, state, draining: true, message: message.slice(0, MAX_MESSAGE) }, nowMs);
    const after: readonly TaskEffect[] = this.#memory.dropped ? [{ do: 'remove' }] : [{ do: 'release' }];
    return [{ do: 'tell', durable: true }, ...after];
  }

  #health(health: TaskHealth, kill: boolean, nowMs: number): readonly TaskEffect[] {
    if (!this.#is('TASK_RUNNING')) return [];
    const all = [...this.record.health.filter(({ index }) => index !== health.index), health];
    all.sort((a, b) => a.index - b.index);
    const before = this.record;
    const healthy = isHealthy(this.#memory.launch.health_checks.length, all);
    this.#memory = {
      ...this.#memory,
      record: { ...before, health: all, ...(healthy === undefined ? {} : { healthy }) },
    };
    const changed = worthTelling(before, this.record);
    if (changed) this.#change({}, nowMs);
    if (kill) {
      const { last_failure_cause = '', consecutive_failures } = health;
      const unhealthy = `Health check failed ${consecutive_failures} times in a row: ${last_failure_cause}`;
      this.#memory = { ...this.#memory, unhealthy };
    }
    return [...(changed ? [{ do: 'tell', durable: false } as const] : []), ...this.#killIfAsked(nowMs)];
  }

  #readiness(ready: boolean, nowMs: number): readonly TaskEffect[] {
    if (!this.#is('TASK_RUNNING') || this.record.ready === ready) return [];
    this.#change({ ready }, nowMs);
    return [{ do: 'tell', durable: false }];
  }

  #change(members: Partial<TaskRecord>, nowMs: number): void {
    const record = { ...this.record, ...members, status_at: new Date(nowMs).toISOString() };
    this.#memory = { ...this.#memory, record };
  }
}

/** The time of the last success moves with every answer: everybody would have to hear of it, and nobody asks. */
function worthTelling(before: TaskRecord, after: TaskRecord): boolean {
  const gist = ({ healthy, health }: TaskRecord): string =>
    JSON.stringify([
      healthy,
      health.map(({ index, alive, consecutive_failures, last_failure_cause }) => [
        index,
        alive,
        consecutive_failures,
        last_failure_cause,
      ]),
    ]);
  return gist(before) !== gist(after);
}

const SIGNAL_BASE = 128;
const SIGNALS: Readonly<Record<number, string>> = {
  1: 'Hangup',
  2: 'Interrupt',
  3: 'Quit',
  4: 'Illegal instruction',
  6: 'Aborted',
  7: 'Bus error',
  8: 'Floating point exception',
  9: 'Killed',
  11: 'Segmentation fault',
  13: 'Broken pipe',
  15: 'Terminated',
};

/** POSIX shell, section 2.8.2. */
const CONVENTIONS: Readonly<Record<number, string>> = {
  126: ', as of a command that cannot be executed',
  127: ', as of a command that is not found',
};

function howEnded(container: SeenContainer | undefined): string {
  const { exitCode } = container ?? {};
  if (exitCode === undefined) return 'its exit status is not known';
  const signal = SIGNALS[exitCode - SIGNAL_BASE];
  return signal === undefined
    ? `Command exited with status ${exitCode}${CONVENTIONS[exitCode] ?? ''}`
    : `Command terminated with signal ${signal}`;
}

function whyFailed(
  container: SeenContainer | undefined,
  launch: TaskLaunch,
): { readonly message: string; readonly reason: string } {
  if (container?.outOfMemory === true)
    return {
      message: `Memory limit exceeded: the task may use ${launch.resources.mem_mib} MiB; ${howEnded(container)}`,
      reason: 'REASON_CONTAINER_LIMITATION_MEMORY',
    };
  if (container === undefined)
    return { message: 'The container is gone: somebody removed it', reason: 'REASON_EXECUTOR_TERMINATED' };
  if (container.state === 'lost')
    return {
      message: 'The container was lost: its host went down, or its supervisor was killed with it',
      reason: 'REASON_EXECUTOR_TERMINATED',
    };
  return { message: howEnded(container), reason: 'REASON_COMMAND_EXECUTOR_FAILED' };
}
