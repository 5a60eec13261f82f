/**
 * The tasks that have names, by the words that their names lead to (task-words.ts).
 *
 * Purpose: says which tasks a name may be of, and whether it exists because of something below it.
 * Invariants: a task that comes or goes costs a few entries, however many names it has and whatever else is there.
 */
import type { ViewedTask } from '../model/task-view.ts';
import { ROOT_KEY } from './name.ts';
import { countRecords, type TaskCounts } from './task-counts.ts';
import { taskTitle } from './task-names.ts';
import { familyOf, namesAbove, taskWords, type NamesAbove, type Place } from './task-words.ts';
import { DCOS, MESOS } from './zones.ts';

interface Filed {
  readonly words: readonly string[];
  readonly above: NamesAbove;
  readonly counts: TaskCounts;
}

export class TaskIndex {
  readonly #tasks = new Map<string, Filed>();
  /** Most words have one task. */
  readonly #words = new Map<string, string | Set<string>>();
  readonly #above = { everywhere: new Counts(), inMesos: new Counts() };
  readonly #addresses = { 4: 0, 6: 0 };
  readonly #zones = { [DCOS]: 0, [MESOS]: 0 };

  /** How many records tasks have in each zone. */
  get zoneCounts(): TaskCounts {
    return this.#zones;
  }

  ids(): Iterable<string> {
    return this.#tasks.keys();
  }

  /** A task as it is now; `undefined`: gone. Answers the words of it, before and now, whose names may be others. */
  put(id: string, viewed: ViewedTask | undefined): readonly string[] {
    const before = this.#tasks.get(id);
    const now = viewed === undefined ? undefined : filedOf(viewed);
    // What is there before and after does not go in between.
    if (now !== undefined) this.#file(id, now);
    if (before !== undefined) this.#remove(id, before, now);
    if (now === undefined) this.#tasks.delete(id);
    else this.#tasks.set(id, now);
    return [...(before?.words ?? []), ...(now?.words ?? [])];
  }

  /** The tasks that may have a name. */
  tasksAt({ words }: Place): Iterable<string> {
    const [only, ...more] = words.flatMap((word) => this.#words.get(word) ?? []);
    if (only === undefined) return [];
    if (more.length === 0) return typeof only === 'string' ? [only] : only;
    return new Set([only, ...more].flatMap((each) => (typeof each === 'string' ? each : Array.from(each))));
  }

  /** Whether something is below the name, whose key it is. Of a network's name it is enough that there are addresses. */
  hasBelow(key: string, { inZones, network }: Place): boolean {
    if (network !== undefined) return this.#addresses[network] > 0;
    return (
      inZones.some((each) => (each === ROOT_KEY ? this.#tasks.size > 0 : this.#above.everywhere.has(each))) ||
      this.#above.inMesos.has(key)
    );
  }

  #file(id: string, filed: Filed): void {
    for (const word of filed.words) {
      const there = this.#words.get(word);
      if (there === undefined) this.#words.set(word, id);
      else if (typeof there !== 'string') there.add(id);
      else if (there !== id) this.#words.set(word, new Set([there, id]));
    }
    this.#count(filed, 1);
  }

  #remove(id: string, before: Filed, now: Filed | undefined): void {
    for (const word of before.words) {
      if (now?.words.includes(word) === true) continue;
      const there = this.#words.get(word);
      if (typeof there !== 'string') there?.delete(id);
      if (there === id || (typeof there !== 'string' && there?.size === 0)) this.#words.delete(word);
    }
    this.#count(before, -1);
  }

  #count({ words, above, counts }: Filed, step: 1 | -1): void {
    for (const key of above.everywhere) this.#above.everywhere.add(key, step);
    for (const key of above.inMesos) this.#above.inMesos.add(key, step);
    for (const word of words) {
      const family = familyOf(word);
      if (family !== undefined) this.#addresses[family] += step;
    }
    this.#zones[DCOS] += step * counts[DCOS];
    this.#zones[MESOS] += step * counts[MESOS];
  }
}

function filedOf(viewed: ViewedTask): Filed | undefined {
  const title = taskTitle(viewed);
  if (title === undefined) return undefined;
  return {
    words: taskWords(viewed, title),
    above: namesAbove(viewed, title),
    counts: countRecords(viewed, title),
  };
}

/** How often each is there. */
class Counts {
  readonly #counts = new Map<string, number>();

  has(key: string): boolean {
    return this.#counts.has(key);
  }

  add(key: string, step: 1 | -1): void {
    const count = (this.#counts.get(key) ?? 0) + step;
    if (count === 0) this.#counts.delete(key);
    else this.#counts.set(key, count);
  }
}
