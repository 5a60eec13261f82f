/**
 * What each node is to run, and the long polls by which agents learn of it.
 *
 * Invariants: only what is in the store is answered; an answer is at most a few ms behind, so that what changes in a
 * burst is one list. A revision is a hash of the list: the same after a restart of the master.
 */
import { createHash } from 'node:crypto';
import type { Clock } from '../../base/clock.ts';
import type { NodeId } from '../../model/names.ts';
import type { TaskLaunch } from '../../model/task.ts';

const GATHER_MS = 2;

export interface AssignmentList {
  readonly revision: string;
  /** Absent = as the caller has it. */
  readonly tasks?: readonly TaskLaunch[];
  readonly wipe?: readonly string[];
}

/** What one node is told. */
export interface Assignment {
  readonly tasks: readonly TaskLaunch[];
  /** Persistent volumes to be removed. */
  readonly wipe: readonly string[];
}

const NOTHING: Assignment = { tasks: [], wipe: [] };

export class Assignments {
  readonly #clock: Clock;
  readonly #lists = new Map<NodeId, Assignment>();
  readonly #waiting = new Map<NodeId, Set<() => void>>();
  readonly #hashes = new WeakMap<TaskLaunch, string>();
  #closed = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  set(node: NodeId, assignment: Assignment): void {
    if (assignment.tasks.length + assignment.wipe.length === 0) this.#lists.delete(node);
    else this.#lists.set(node, assignment);
    const waiting = this.#waiting.get(node);
    this.#waiting.delete(node);
    for (const wake of waiting ?? []) wake();
  }

  /** Ends every poll: who asks again is told by whoever is there then. */
  close(): void {
    this.#closed = true;
    for (const waiting of this.#waiting.values()) for (const wake of waiting) wake();
    this.#waiting.clear();
  }

  /** Volumes that a node which has this revision on disk knows to be removed. */
  wipesKnown(node: NodeId, have: string | undefined): readonly string[] {
    const { wipe } = this.#lists.get(node) ?? NOTHING;
    return wipe.length > 0 && this.#revision(node) === have ? wipe : [];
  }

  /** Resolves when the list is another than `have`, or after `waitMs`. */
  async poll(
    node: NodeId,
    have: string | undefined,
    options: { readonly waitMs: number; readonly signal: AbortSignal },
  ): Promise<AssignmentList> {
    const untilMs = this.#clock.nowMs() + options.waitMs;
    while (this.#revision(node) === have && !this.#closed && !options.signal.aborted) {
      const leftMs = untilMs - this.#clock.nowMs();
      if (leftMs <= 0 || !(await this.#changed(node, leftMs, options.signal))) break;
      await new Promise<void>((resolve) => this.#clock.after(GATHER_MS, resolve));
    }
    const revision = this.#revision(node);
    return revision === have ? { revision } : { revision, ...(this.#lists.get(node) ?? NOTHING) };
  }

  /** False when the time is over, or the caller gone. */
  #changed(node: NodeId, timeoutMs: number, signal: AbortSignal): Promise<boolean> {
    return new Promise((resolve) => {
      const waiting = this.#waiting.get(node) ?? new Set();
      this.#waiting.set(node, waiting);
      const end = (changed: boolean): void => {
        waiting.delete(wake);
        timer.cancel();
        signal.removeEventListener('abort', giveUp);
        resolve(changed);
      };
      const wake = (): void => end(true);
      const giveUp = (): void => end(false);
      const timer = this.#clock.after(timeoutMs, giveUp);
      signal.addEventListener('abort', giveUp, { once: true });
      waiting.add(wake);
    });
  }

  #revision(node: NodeId): string {
    const { tasks, wipe } = this.#lists.get(node) ?? NOTHING;
    const hashes = [...tasks.map((task) => this.#hash(task)), ...wipe].sort();
    return createHash('sha256').update(hashes.join(' ')).digest('base64url').slice(0, 22);
  }

  #hash(task: TaskLaunch): string {
    const known = this.#hashes.get(task);
    if (known !== undefined) return known;
    const made = createHash('sha256').update(JSON.stringify(task)).digest('base64url');
    this.#hashes.set(task, made);
    return made;
  }
}
