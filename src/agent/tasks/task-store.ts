/**
 * What an agent keeps of its tasks over its own restarts and the absence of masters: its journal.
 *
 * A list of launches is written in one turn with its revision, so that the two agree after a crash at any point.
 */
import { z } from 'zod';
import type { TaskMemory } from '../../apps/task-core.ts';
import type { Log } from '../../base/log.ts';
import { taskLaunch, taskRecord } from '../../model/task.ts';
import type { Journal } from '../../store/types.ts';

const TASK_KEYS = 'task/';
const REVISION_KEY = 'tasks-revision';
const WIPES_KEY = 'tasks-wipes';

const stored = z.object({
  launch: taskLaunch,
  record: taskRecord,
  dropped: z.boolean(),
  unhealthy: z.string().optional(),
});

export class TaskStore {
  readonly #journal: Journal;
  readonly #log: Log;

  constructor(components: { readonly journal: Journal; readonly log: Log }) {
    this.#journal = components.journal;
    this.#log = components.log;
  }

  /** Of the last list; `undefined` = there was none. */
  get revision(): string | undefined {
    const value = this.#journal.get(REVISION_KEY);
    return typeof value === 'string' ? value : undefined;
  }

  load(): readonly TaskMemory[] {
    return [...this.#journal.entries(TASK_KEYS)].flatMap(([key, value]) => {
      const parsed = stored.safeParse(value);
      if (parsed.success) return [parsed.data as TaskMemory];
      this.#log.error('A task that was written by another version is not understood and is left alone', {
        key,
      });
      return [];
    });
  }

  /** Persistent volumes that are to be removed from this host, and are not yet. */
  get wipes(): readonly string[] {
    const parsed = z.array(z.string()).safeParse(this.#journal.get(WIPES_KEY));
    return parsed.success ? parsed.data : [];
  }

  async keepList(
    revision: string | undefined,
    tasks: readonly TaskMemory[],
    wipe: readonly string[],
  ): Promise<void> {
    const entries = tasks.map((task) => [keyOf(task), task] as const);
    await this.#journal.write({
      ...Object.fromEntries(entries),
      [REVISION_KEY]: revision,
      ...(wipe.length === 0 ? {} : { [WIPES_KEY]: [...new Set([...this.wipes, ...wipe])] }),
    });
  }

  async forgetWipe(id: string): Promise<void> {
    const left = this.wipes.filter((each) => each !== id);
    await this.#journal.write({ [WIPES_KEY]: left.length === 0 ? undefined : left });
  }

  async keep(task: TaskMemory): Promise<void> {
    await this.#journal.write({ [keyOf(task)]: task });
  }

  keepLazily(task: TaskMemory): void {
    this.#journal.writeLazily({ [keyOf(task)]: task });
  }

  forget(id: string): void {
    this.#journal.writeLazily({ [`${TASK_KEYS}${id}`]: undefined });
  }
}

function keyOf(task: TaskMemory): string {
  return `${TASK_KEYS}${task.launch.id}`;
}
