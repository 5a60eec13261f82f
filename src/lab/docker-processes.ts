/** Finding and ending what a Docker daemon started, by what the kernel says: parents, cgroups, command lines. */
import { readdir, readFile, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { sleep } from '../base/clock.ts';

const CGROUPS = '/sys/fs/cgroup';
const POLL_MS = 20;
const MAX_ROUNDS = 100;

/** A zombie is dead: it only waits to be read. */
export async function isAlive(pid: number): Promise<boolean> {
  const stat = await statusOf(pid);
  return stat !== undefined && stat.state !== 'Z' && stat.state !== 'X';
}

export function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

export async function childrenOf(pid: number): Promise<readonly number[]> {
  const all = await Promise.all((await pids()).map(async (each) => ({ each, stat: await statusOf(each) })));
  return all.filter(({ stat }) => stat?.parent === pid).map(({ each }) => each);
}

/** proc(5) stat: the name in field 2 may hold anything, so fields count from the last parenthesis. */
async function statusOf(pid: number): Promise<{ state: string; parent: number } | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  const [state, parent] = text?.slice(text.lastIndexOf(')') + 2).split(' ') ?? [];
  return state === undefined ? undefined : { state, parent: Number(parent) };
}

async function pids(): Promise<readonly number[]> {
  return (await readdir('/proc')).filter((name) => /^[0-9]+$/.test(name)).map(Number);
}

/**
 * Kills everything in the cgroup and below, the shims of the containers in it, and removes it from every hierarchy.
 * Docker names a container's cgroup after its id, and a shim carries `-id ID`: so a shim whose daemon died is found.
 */
export async function removeCgroup(name: string): Promise<void> {
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const groups = await cgroupPaths(name);
    if (groups.length === 0) return;
    const ids = new Set(groups.map((path) => path.split('/').at(-1) ?? '').filter((id) => id.length === 64));
    for (const pid of await shimsOf(ids)) signal(pid, 'SIGKILL');
    for (const group of groups) {
      for (const pid of await membersOf(group)) signal(pid, 'SIGKILL');
      await rmdir(group).catch(() => undefined);
    }
    await sleep(POLL_MS);
  }
}

/** The cgroup in each hierarchy (v1) or in the only one (v2), deepest first. */
async function cgroupPaths(name: string): Promise<readonly string[]> {
  const hierarchies = (await readdir(CGROUPS)).map((each) => join(CGROUPS, each));
  const tops = [CGROUPS, ...hierarchies].map((each) => join(each, name));
  const trees = await Promise.all(tops.map(directoriesBelow));
  return trees.flat().toReversed();
}

async function directoriesBelow(path: string): Promise<readonly string[]> {
  const entries = await readdir(path, { withFileTypes: true }).catch(() => undefined);
  if (entries === undefined) return [];
  const below = entries.filter((entry) => entry.isDirectory()).map((entry) => join(path, entry.name));
  return [path, ...(await Promise.all(below.map(directoriesBelow))).flat()];
}

async function membersOf(group: string): Promise<readonly number[]> {
  const text = await readFile(join(group, 'cgroup.procs'), 'utf8').catch(() => '');
  return text.split('\n').filter(Boolean).map(Number);
}

async function shimsOf(ids: ReadonlySet<string>): Promise<readonly number[]> {
  if (ids.size === 0) return [];
  const found: number[] = [];
  for (const pid of await pids()) {
    const words = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0');
    const id = words[words.indexOf('-id') + 1] ?? '';
    if (words[0]?.includes('containerd-shim') === true && ids.has(id)) found.push(pid);
  }
  return found;
}
