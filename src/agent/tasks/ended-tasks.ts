/**
 * The sandboxes and logs of tasks that have ended and that nobody asks for any more, kept for a time as a Mesos agent keeps
 * them: who wants to know why a task failed comes after it.
 *
 * A task's directory holds `sandbox/`, and from then on `log` and `ended.json`, which is written last.
 * Invariants: only files are kept; container, addresses, mounts and cgroup are gone. They are bounded by age, the less of
 * it the fuller the disk, and by number; what cannot be kept, as on a full disk, is removed. A directory of a task that is
 * neither known nor written down as ended is what a crash left, and is removed at the start.
 */
import { copyFile, mkdir, readdir, readFile, rename, rm, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { Clock, Timer } from '../../base/clock.ts';
import type { Log } from '../../base/log.ts';
import type { ContainerLogs } from '../../model/container.ts';
import { taskRecord, type TaskRecord } from '../../model/task.ts';
import { readLog } from '../../runtime/container-log.ts';

/** As Mesos looks at its disk. */
const SWEEP_MS = 60_000;

export interface EndedTask {
  readonly record: TaskRecord;
  /** Names its directory. */
  readonly container: string;
  readonly endedMs: number;
}

export interface EndedTasksInit {
  /** Holds a directory for each task. */
  readonly root: string;
  /** 0 = nothing is kept. */
  readonly keepMs: number;
  /** Part of the disk that is to stay free: nothing is kept beyond it. */
  readonly diskHeadroom: number;
  readonly max: number;
  /** Part of the disk of `root` that is used; absent = as the kernel says. */
  readonly diskUsed?: () => Promise<number>;
}

const stored = z.object({ record: taskRecord, ended_ms: z.number() });

export class EndedTasks {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #init: EndedTasksInit;
  /** By task, the one that ended first in front. */
  readonly #ended = new Map<string, EndedTask>();
  #timer: Timer | undefined;
  #closed = false;

  constructor(components: { readonly clock: Clock; readonly log: Log }, init: EndedTasksInit) {
    this.#clock = components.clock;
    this.#log = components.log;
    this.#init = init;
  }

  /** `known`: directories of the tasks that an agent still has. */
  async open(known: ReadonlySet<string>): Promise<void> {
    const { root } = this.#init;
    const names = await readdir(root).catch(() => []);
    const found: EndedTask[] = [];
    for (const container of names.filter((name) => !known.has(name))) {
      const ended = await this.#read(container);
      if (ended === undefined) await rm(join(root, container), { recursive: true, force: true });
      else found.push(ended);
    }
    found.sort((a, b) => a.endedMs - b.endedMs);
    for (const ended of found) this.#ended.set(ended.record.id, ended);
    await this.#sweepLater();
  }

  async #read(container: string): Promise<EndedTask | undefined> {
    const text = await readFile(join(this.#init.root, container, 'ended.json'), 'utf8').catch(() => '');
    const parsed = text === '' ? undefined : stored.safeParse(JSON.parse(text));
    if (parsed?.success !== true) return undefined;
    return { record: parsed.data.record, container, endedMs: parsed.data.ended_ms };
  }

  /** Takes over the directory of a task, whose container is to be removed after that; `log` is the file of what it wrote. */
  async keep(
    task: { readonly record: TaskRecord; readonly container: string },
    log: string | undefined,
  ): Promise<void> {
    const { record, container } = task;
    const directory = join(this.#init.root, container);
    if (this.#ended.has(record.id)) return;
    try {
      if (this.#init.keepMs <= 0) throw new Error('nothing is kept');
      await mkdir(directory, { recursive: true });
      await copyLog(log, join(directory, 'log'));
      const endedMs = this.#clock.wallMs();
      const ended = join(directory, 'ended.json');
      await writeFile(`${ended}.new`, JSON.stringify({ record, ended_ms: endedMs }));
      await rename(`${ended}.new`, ended);
      this.#ended.set(record.id, { record, container, endedMs });
    } catch (error) {
      if (this.#init.keepMs > 0)
        this.#log.warn('Cannot keep the sandbox of a task that has ended', { task: record.id, error });
      await rm(directory, { recursive: true, force: true });
    }
    if (this.#ended.size > this.#init.max) await this.sweep();
  }

  /** By id, or the beginning of an id that only one has. */
  find(reference: string): EndedTask | undefined {
    const exact = this.#ended.get(reference);
    if (exact !== undefined || reference === '') return exact;
    const begins = [...this.#ended.values()].filter(({ record }) => record.id.startsWith(reference));
    return begins.length === 1 ? begins[0] : undefined;
  }

  /** The one that ended last in front. */
  list(): readonly EndedTask[] {
    return [...this.#ended.values()].reverse();
  }

  async logs({ container }: EndedTask, from: number): Promise<ContainerLogs> {
    const { entries, next } = await readLog(join(this.#init.root, container, 'log'), from);
    return { entries: [...entries], next };
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  async #sweepLater(): Promise<void> {
    await this.sweep();
    if (!this.#closed) this.#timer = this.#clock.after(SWEEP_MS, () => void this.#sweepLater());
  }

  /** Removes what has been kept for long enough. */
  async sweep(): Promise<void> {
    const all = [...this.#ended.values()];
    if (all.length === 0) return;
    const { root, diskUsed = () => usedPart(root) } = this.#init;
    const over = overdue(all, { ...this.#init, nowMs: this.#clock.wallMs(), diskUsed: await diskUsed() });
    for (const { record, container } of over) {
      this.#ended.delete(record.id);
      await rm(join(root, container), { recursive: true, force: true }).catch((error: unknown) =>
        this.#log.warn('Cannot remove the sandbox of a task that has ended', { task: record.id, error }),
      );
    }
  }
}

/** What is to go of `ended`, which has the first that ended in front. */
export function overdue(
  ended: readonly EndedTask[],
  now: {
    readonly nowMs: number;
    readonly keepMs: number;
    readonly diskUsed: number;
    readonly diskHeadroom: number;
    readonly max: number;
  },
): readonly EndedTask[] {
  // Mesos' rule (slave/gc: `gc_delay * max(0, 1 - gc_disk_headroom - usage)`).
  const maxAgeMs = now.keepMs * Math.max(0, 1 - now.diskHeadroom - now.diskUsed);
  const tooMany = ended.length - now.max;
  return ended.filter(({ endedMs }, i) => i < tooMany || now.nowMs - endedMs >= maxAgeMs);
}

async function usedPart(directory: string): Promise<number> {
  const { blocks, bavail } = await statfs(directory);
  return blocks === 0 ? 0 : 1 - bavail / blocks;
}

/** As it is: who has read the log up to some byte goes on in the copy from there. */
async function copyLog(from: string | undefined, to: string): Promise<void> {
  if (from === undefined) return writeFile(to, '', { mode: 0o600 });
  try {
    await copyFile(from, to);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    await writeFile(to, '', { mode: 0o600 });
  }
}
