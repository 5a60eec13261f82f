/**
 * Which processes belong to a lab or to one of its hosts.
 *
 * Not by what was recorded, which a crash can lose, but by what the kernel knows: a process inside one of the host's
 * namespaces, or a descendant of one (containers have namespaces of their own, their supervisor has the host's).
 */
import { readdirSync, statSync } from 'node:fs';
import { readProcessStat, signalProcess, waitForEnd, type ProcessIdentity } from '../runtime/process.ts';
import { isNamespaceFile } from './host.ts';

/** A killed process may start one more child before it dies; each round finds what the last one missed. */
const MAX_ROUNDS = 20;
const ROUND_MS = 500;

/** Inode numbers of those of `paths` that are namespaces. */
export async function namespaceInodes(paths: readonly string[]): Promise<ReadonlySet<number>> {
  const inodes = new Set<number>();
  for (const path of paths) if (await isNamespaceFile(path)) inodes.add(statSync(path).ino);
  return inodes;
}

interface KnownProcess extends ProcessIdentity {
  readonly parent: number;
}

/** Everything that runs in the namespaces, and its descendants; never this process or one above it. */
export function processesIn(namespaces: ReadonlySet<number>): readonly ProcessIdentity[] {
  if (namespaces.size === 0) return [];
  const all = allProcesses();
  const inside = new Set(all.filter((each) => isInside(each.pid, namespaces)).map((each) => each.pid));
  // Parents are mostly listed before their children; a few more passes catch those that are not.
  for (let before = -1; before !== inside.size;) {
    before = inside.size;
    for (const each of all) if (inside.has(each.parent)) inside.add(each.pid);
  }
  for (const pid of ownLine(all)) inside.delete(pid);
  return all.filter((each) => inside.has(each.pid));
}

function allProcesses(): readonly KnownProcess[] {
  return readdirSync('/proc')
    .filter((name) => /^[0-9]+$/.test(name))
    .flatMap((name) => readProcessStat(Number(name)) ?? [])
    .filter((stat) => stat.state !== 'Z');
}

function isInside(pid: number, namespaces: ReadonlySet<number>): boolean {
  return ['net', 'mnt', 'uts'].some((kind) => {
    try {
      return namespaces.has(statSync(`/proc/${pid}/ns/${kind}`).ino);
    } catch {
      return false; // It has ended meanwhile.
    }
  });
}

function ownLine(all: readonly KnownProcess[]): readonly number[] {
  const parents = new Map(all.map((each) => [each.pid, each.parent]));
  const line: number[] = [];
  for (let pid: number | undefined = process.pid; pid !== undefined && pid > 0; pid = parents.get(pid))
    line.push(pid);
  return line;
}

/** Kills everything in the namespaces; resolves to what could not be killed. */
export async function killAll(namespaces: ReadonlySet<number>): Promise<readonly ProcessIdentity[]> {
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const found = processesIn(namespaces);
    if (found.length === 0) return [];
    for (const each of found) signalProcess(each, 'SIGKILL');
    await waitForEnd(found, ROUND_MS);
  }
  return processesIn(namespaces);
}
