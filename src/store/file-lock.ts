/**
 * One process at a time, by a lock file that names its holder.
 *
 * The name is process id, start time and boot id, so that a lock left by `kill -9` or a power cut is told from a held
 * one although process ids are used again. Node has no flock(2); an abstract socket would not be seen from another
 * network namespace.
 */
import { randomUUID } from 'node:crypto';
import { link, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { PortolanError } from '../base/errors.ts';

export interface FileLock {
  release(): Promise<void>;
}

const MAX_ATTEMPTS = 5;

/** Takes the lock at `path` or rejects with 'conflict' naming the process that has it. */
export async function lockFile(path: string): Promise<FileLock> {
  const own = await processName(process.pid);
  // Callers in one process do not share a draft.
  const draft = `${path}.${randomUUID()}`;
  await writeFile(draft, `${own ?? process.pid}\n`, { mode: 0o600 });
  try {
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      // link(2) makes the name and its content appear in one step, and only when there is no such name.
      if (await created(link(draft, path))) return { release: () => rm(path, { force: true }) };
      await removeStale(path);
    }
  } finally {
    await rm(draft, { force: true });
  }
  throw new PortolanError('conflict', `Cannot lock "${path}": others keep taking it`);
}

async function created(linked: Promise<void>): Promise<boolean> {
  try {
    await linked;
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

async function removeStale(path: string): Promise<void> {
  const holder = await holderOf(path);
  if (holder === undefined) return;
  const pid = Number.parseInt(holder, 10);
  if (Number.isInteger(pid) && (await processName(pid)) === holder) {
    throw new PortolanError(
      'conflict',
      `Cannot open "${path.replace(/\.lock$/, '')}": process ${pid} has it`,
      {
        remedy: `stop process ${pid} first; only one process may use this state`,
        details: { pid },
      },
    );
  }
  // Moved aside before it is removed: should another process have taken the lock in between, its lock is put back.
  const aside = `${path}.stale.${randomUUID()}`;
  await rename(path, aside).catch(() => undefined);
  if ((await holderOf(aside)) !== holder) await link(aside, path).catch(() => undefined);
  await rm(aside, { force: true });
}

async function holderOf(path: string): Promise<string | undefined> {
  const text = await readFile(path, 'utf8').catch(() => undefined);
  return text?.trim();
}

/** `undefined` when there is no such process; one that has ended and waits to be reaped holds nothing any more. */
async function processName(pid: number): Promise<string | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  if (stat === undefined) return undefined;
  // proc(5): the name, field 2, is in parentheses and may hold anything; field 3 is the state, 22 the start time.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  if (fields[0] === 'Z' || fields[0] === 'X') return undefined;
  const startTime = fields[19] ?? '';
  const bootId = await readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => '');
  return `${pid} ${startTime} ${bootId.trim()}`.trim();
}
