/**
 * What runs tasks: runc under a supervisor of ours (`MESOS`), or Docker's daemon (`DOCKER`), behind one interface.
 *
 * Purpose: everything that starts, ends and looks after tasks speaks of orders and containers, and does not know which.
 * Invariants: a container has the id that it was ordered by, so that an agent without memory finds it; whoever ends, the
 * container goes on, and its exit status is still learnt; what `launch` rejects has left nothing behind; `signal`,
 * `release` and `remove` are harmless when the thing is not there or has ended.
 * Review notes: the contract suite (containerizer-contract.ts) runs on both.
 */
import type { TaskLaunch, TaskRecord } from '../model/task.ts';

export interface ContainerOrder {
  /** Hexadecimal, from the task's id. */
  readonly id: string;
  readonly launch: TaskLaunch;
  /** A directory of the host, the container sees it as `SANDBOX`. */
  readonly sandbox: string;
}

/** Where a task finds its sandbox, as with Mesos. */
export const SANDBOX = '/mnt/mesos/sandbox';

export type TaskNetworks = TaskRecord['networks'];

export interface TaskContainer {
  readonly id: string;
  readonly task: string;
  /** As endpoint records and the runtime's own tools name it. */
  readonly runtimeId: string;
  /** `lost`: its host went down under it, or its supervisor was killed as well. */
  readonly state: 'running' | 'ended' | 'lost';
  readonly exitCode?: number;
  /** The kernel has ended a process of it for want of memory. */
  readonly outOfMemory: boolean;
  /** In the order of the launch; in host mode without addresses. */
  readonly networks: TaskNetworks;
  /** A path of its network namespace; absent = the host's. */
  readonly netns?: string;
}

export interface LaunchOptions {
  /** Stops the launch where that is possible; then nothing is left of it. */
  readonly signal: AbortSignal;
  /** Images are there: the container itself is being made, under this id. */
  starting(runtimeId: string): void;
}

export interface ExecResult {
  readonly exitCode: number;
  /** Standard output and error, cut to a few kilobytes. */
  readonly output: string;
}

export interface Containerizer {
  readonly runtime: TaskLaunch['runtime'];
  /** Why it cannot work on this host now; `undefined` = it can. */
  problem(): Promise<string | undefined>;
  launch(order: ContainerOrder, options: LaunchOptions): Promise<TaskContainer>;
  find(id: string): Promise<TaskContainer | undefined>;
  /** All that were made for tasks, those of former agents included, ended or not. */
  list(): Promise<readonly TaskContainer[]>;
  signal(id: string, signal: 'SIGTERM' | 'SIGKILL'): Promise<void>;
  /** Gives back what an ended container holds (addresses, mounts); its log stays. */
  release(id: string): Promise<void>;
  /** Ends it at once if it runs, and removes everything of it. */
  remove(id: string): Promise<void>;
  /** The file that its log is written to, for `readLog`; rejects when there is no such container. */
  logPath(id: string): Promise<string>;
  /** Runs a shell command in the container; rejects when it takes longer. */
  exec(id: string, shell: string, options: { readonly timeoutMs: number }): Promise<ExecResult>;
  /** The words before `COMMAND ARG...` that run a command in the container with the caller's terminal. */
  execWords(id: string, options: { readonly terminal: boolean }): Promise<readonly string[]>;
}
