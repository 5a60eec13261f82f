/**
 * Control groups of containers, on hosts with cgroup v1, v2 or both.
 *
 * Every container of ours is in `/portolan/<id>` of each hierarchy; `runc delete` removes that, and this removes what
 * a crash left of it.
 */
import { readdir, readFile, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { sleep } from '../base/clock.ts';

const CGROUP_ROOT = '/sys/fs/cgroup';
export const CGROUP_PARENT = 'portolan';
/** A group can be removed only some time after its last process has gone. */
const REMOVE_ATTEMPTS = 100;
const REMOVE_PAUSE_MS = 20;

/** The path that runc is given. */
export function containerCgroup(id: string): string {
  return `/${CGROUP_PARENT}/${id}`;
}

/** Mount points of all hierarchies: one with cgroup v2 alone, one per controller with v1. */
async function hierarchies(): Promise<readonly string[]> {
  const names = await readdir(CGROUP_ROOT).catch((): string[] => []);
  if (names.includes('cgroup.controllers')) return [CGROUP_ROOT];
  return names.map((name) => join(CGROUP_ROOT, name));
}

/** Kills what is left in the container's groups and removes them, and the parent when it was the last. */
export async function removeContainerCgroups(id: string): Promise<void> {
  await Promise.all((await hierarchies()).map((root) => removeGroup(join(root, CGROUP_PARENT, id))));
}

/** Removes the empty parent; on real hosts it may stay, a lab leaves nothing. */
export async function removeCgroupParent(): Promise<void> {
  for (const root of await hierarchies()) await rmdir(join(root, CGROUP_PARENT)).catch(() => undefined);
}

/** Removes a group, the groups below it, and kills their processes. */
export async function removeGroup(path: string): Promise<void> {
  for (let attempt = 0; attempt < REMOVE_ATTEMPTS; attempt++) {
    for (const child of await childGroups(path)) await removeGroup(child);
    await killMembers(path);
    try {
      await rmdir(path);
      return;
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code === 'ENOENT' || code === 'ENOTDIR') return;
      if (code !== 'EBUSY' && code !== 'ENOTEMPTY') throw error;
      await sleep(REMOVE_PAUSE_MS);
    }
  }
}

async function childGroups(path: string): Promise<readonly string[]> {
  const entries = await readdir(path, { withFileTypes: true }).catch(() => []);
  return entries.filter((entry) => entry.isDirectory()).map((entry) => join(path, entry.name));
}

async function killMembers(path: string): Promise<void> {
  const text = await readFile(join(path, 'cgroup.procs'), 'utf8').catch(() => '');
  for (const pid of text
    .split('\n')
    .filter((line) => line !== '')
    .map(Number)) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      continue; // It has ended meanwhile.
    }
  }
}
