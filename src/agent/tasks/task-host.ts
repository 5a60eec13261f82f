/**
 * What is done on this host for a task: directory and sandbox, launch, and what is left to do when it has ended.
 *
 * Invariants: a task's id names its container and its directory, so that nothing has to be remembered to find them; every
 * call may be repeated; a launch that is rejected has left no container.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { sleep } from '../../base/clock.ts';
import { isPortolanError, PortolanError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { TaskLaunch, TaskRecord } from '../../model/task.ts';
import type { Containerizer, LaunchOptions, TaskContainer } from '../../runtime/containerizer.ts';
import { emptySandbox, fetchUri } from '../../runtime/fetch.ts';
import type { FetchCache } from '../../runtime/fetch-cache.ts';
import type { EndedTasks } from './ended-tasks.ts';
import { Slots } from './slots.ts';

/** Launches at once: more make none of them quicker, since most of it is work of this host. */
const LAUNCHES = 8;
/** Of a launch for which no address is free. */
const MAX_ATTEMPTS = 10;
const AGAIN_MS = 500;

/** A container's id, from its task's. */
export function containerIdOf(task: string): string {
  return createHash('sha256').update(task).digest('hex').slice(0, 32);
}

export interface TaskHostComponents {
  readonly log: Log;
  readonly containerizers: readonly Containerizer[];
  readonly ended: EndedTasks;
  readonly fetchCache: FetchCache;
}

export interface TaskHostInit {
  /** Holds a directory for each task, with its sandbox. */
  readonly root: string;
  /** Rejects when a port of the host that the task is to have is taken. */
  refuseTakenPorts(launch: TaskLaunch, container: string): Promise<void>;
}

export class TaskHost {
  readonly #components: TaskHostComponents;
  readonly #init: TaskHostInit;
  readonly #slots = new Slots(LAUNCHES);

  constructor(components: TaskHostComponents, init: TaskHostInit) {
    this.#components = components;
    this.#init = init;
  }

  /** Throws when this host has no such runtime. */
  containerizer({ runtime }: TaskLaunch): Containerizer {
    const found = this.#find(runtime);
    if (found !== undefined) return found;
    throw new PortolanError('unavailable', `Cannot run the task: this host has no runtime for "${runtime}"`, {
      remedy:
        runtime === 'docker' ? 'set docker.enabled to true and start dockerd' : 'install runc and conmon',
    });
  }

  #find(runtime: TaskLaunch['runtime']): Containerizer | undefined {
    return this.#components.containerizers.find((each) => each.runtime === runtime);
  }

  /** Waits for its turn. */
  launch(launch: TaskLaunch, options: LaunchOptions): Promise<TaskContainer> {
    return this.#slots.run(() => this.#launchNow(launch, options));
  }

  async #launchNow(launch: TaskLaunch, options: LaunchOptions): Promise<TaskContainer> {
    options.signal.throwIfAborted();
    const id = containerIdOf(launch.id);
    const containerizer = this.containerizer(launch);
    const problem = await containerizer.problem();
    if (problem !== undefined)
      throw new PortolanError(
        'unavailable',
        `Cannot run the task: ${launch.runtime} does not work on this host: ${problem}`,
      );
    await this.#init.refuseTakenPorts(launch, id);
    const sandbox = join(this.#init.root, id, 'sandbox');
    await emptySandbox(sandbox);
    const { signal } = options;
    const { fetchCache: cache } = this.#components;
    for (const wish of launch.fetch) await fetchUri(wish, sandbox, { cache, signal });
    return this.#withAddresses(() => containerizer.launch({ id, launch, sandbox }, options), options);
  }

  /** A task that has ended is told before its address is free again: the one that takes its place waits for that. */
  async #withAddresses(
    launch: () => Promise<TaskContainer>,
    { signal }: LaunchOptions,
  ): Promise<TaskContainer> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await launch();
      } catch (error) {
        if (attempt === MAX_ATTEMPTS || !isPortolanError(error, 'exhausted')) throw error;
      }
      await sleep(AGAIN_MS, signal);
    }
  }

  /** Gives back what the ended container holds. A task whose runtime is gone from this host has nothing there. */
  async release(launch: TaskLaunch): Promise<void> {
    await this.#find(launch.runtime)?.release(containerIdOf(launch.id));
  }

  /** Removes the container of a task that nobody asks for any more; what it has written is kept for a time. */
  async remove(launch: TaskLaunch, record: TaskRecord): Promise<void> {
    const container = containerIdOf(launch.id);
    const containerizer = this.#find(launch.runtime);
    // A container that was never made, or is gone, has written nothing.
    const log = await containerizer?.logPath(container).catch(() => undefined);
    await this.#components.ended.keep({ record, container }, log);
    await containerizer?.remove(container);
  }

  /** Containers of tasks that nothing is known of: their agent lost its memory. */
  async removeStrangers(known: ReadonlySet<string>): Promise<void> {
    const { containerizers, log } = this.#components;
    for (const containerizer of containerizers) {
      const containers = await containerizer.list().catch(() => []);
      for (const { id, task } of containers.filter((each) => !known.has(each.id))) {
        log.warn('Removing the container of a task that is not known', { task, container: id });
        await containerizer.remove(id).catch((error: unknown) => {
          log.warn('Cannot remove it; the next start tries again', { task, container: id, error });
        });
      }
    }
  }
}
