/**
 * Processes by pid and start time.
 *
 * A pid alone may be a stranger's tomorrow; with its start time (field 22 of proc(5) `stat`) it names one process.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { sleep } from '../base/clock.ts';

export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks after boot. */
  readonly startTime: number;
}

interface ProcessStat extends ProcessIdentity {
  readonly state: string;
  readonly parent: number;
}

/** Reads proc(5) `stat`; `undefined` when there is no such process. The name may hold spaces and brackets. */
export function readProcessStat(pid: number): ProcessStat | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return undefined; // Gone: ENOENT, or ESRCH between open and read.
  }
  return { pid, ...parseStat(text) };
}

function parseStat(text: string): Omit<ProcessStat, 'pid'> {
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return { state: fields[0] ?? '', parent: Number(fields[1]), startTime: Number(fields[19]) };
}

/** The identity of a running process; a zombie has ended. */
export function processIdentity(pid: number): ProcessIdentity | undefined {
  const stat = readProcessStat(pid);
  if (stat === undefined || stat.state === 'Z' || stat.state === 'X') return undefined;
  return { pid, startTime: stat.startTime };
}

export function isRunning(identity: ProcessIdentity): boolean {
  return processIdentity(identity.pid)?.startTime === identity.startTime;
}

/**
 * Another one whenever the process has read or written, be it files or sockets. `undefined` while one of its threads waits
 * for a disk, which may take long and tells nothing of the network, and when it has ended.
 */
export function ioMark(pid: number): string | undefined {
  try {
    const threads = readdirSync(`/proc/${pid}/task`).map((thread) =>
      readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8'),
    );
    if (threads.some((stat) => parseStat(stat).state === 'D')) return undefined;
    return readFileSync(`/proc/${pid}/io`, 'utf8').split('\n').slice(0, 2).join('\n');
  } catch {
    return undefined; // Gone, or a thread that ended between the two reads.
  }
}

/** Signals exactly this process; false when it has ended. */
export function signalProcess(identity: ProcessIdentity, signal: NodeJS.Signals): boolean {
  if (!isRunning(identity)) return false;
  try {
    process.kill(identity.pid, signal);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
}

/** Waits until all have ended; resolves to those that have not within `timeoutMs`. */
export async function waitForEnd(
  identities: readonly ProcessIdentity[],
  timeoutMs: number,
): Promise<readonly ProcessIdentity[]> {
  const end = performance.now() + timeoutMs;
  for (;;) {
    const left = identities.filter(isRunning);
    if (left.length === 0 || performance.now() >= end) return left;
    await sleep(10);
  }
}
