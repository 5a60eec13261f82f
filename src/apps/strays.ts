/**
 * Tasks that run and that no instance stands for: given up with their agent, which came back with them.
 *
 * Their agent ends them, as they are in nobody's list; that end is all that is told of them. A task whose instance was
 * there until its end is no stray, though its record stays for a moment longer.
 */
import { isTerminal, type TaskRecord } from '../model/task.ts';
import type { Effects } from './effects.ts';
import { conditionOfState } from './instance.ts';
import { instanceIdOfTask } from './launch.ts';

export class Strays {
  /** The apps of those that run, by task. */
  readonly #running = new Map<string, string>();

  /** `record` is of a task without an instance; `undefined` = it is told of no more. */
  take(task: string, record: TaskRecord | undefined, effects: Effects): void {
    const instanceId = instanceIdOfTask(task);
    if (instanceId === undefined) return;
    if (record !== undefined && !isTerminal(record.state)) {
      this.#running.set(task, record.app);
      return;
    }
    const app = this.#running.get(task);
    if (app === undefined) return;
    this.#running.delete(task);
    const condition = record === undefined ? 'Gone' : conditionOfState(record.state);
    effects.emit({
      ...{ eventType: 'unknown_instance_terminated_event', instanceId, runSpecId: app, condition },
    });
  }
}
