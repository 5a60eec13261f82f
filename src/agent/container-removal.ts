/**
 * Ending containers with everything of theirs: one under an agent, or all of them on a host that has none any more.
 *
 * Every step is harmless when the thing is not there, whatever step of its making a crash came after.
 */
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { removeCgroupParent, removeContainerCgroups } from '../runtime/cgroup.ts';
import { isRunning, type ProcessIdentity } from '../runtime/process.ts';
import { removeNetns, rootfsPaths, unmountRootfs } from '../runtime/rootfs.ts';
import { containerPaths, deleteContainer } from '../runtime/runc.ts';
import { listDirectories, readRecord } from './container-record.ts';

export interface ContainerPlaces {
  readonly stateDir: string;
  readonly runDir: string;
}

/** A directory for each container. */
export function containersRoot({ stateDir }: Pick<ContainerPlaces, 'stateDir'>): string {
  return join(stateDir, 'containers');
}

export function runcRoot({ runDir }: Pick<ContainerPlaces, 'runDir'>): string {
  return join(runDir, 'runc');
}

export function netnsPath({ runDir }: Pick<ContainerPlaces, 'runDir'>, id: string): string {
  return join(runDir, 'netns', id);
}

/** Containers do not outlive the host's boot. */
export async function currentBoot(): Promise<string> {
  return (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
}

/** In the order in which things hold one another; `release` gives its addresses back. */
export async function destroyContainer(
  places: ContainerPlaces,
  id: string,
  container: { readonly process: ProcessIdentity | undefined; release(): Promise<void> },
): Promise<void> {
  const directory = join(containersRoot(places), id);
  await deleteContainer(containerPaths(directory, id, runcRoot(places)), container.process);
  await removeContainerCgroups(id);
  await container.release();
  await removeNetns(netnsPath(places, id));
  await unmountRootfs(rootfsPaths(directory));
  await rm(directory, { recursive: true, force: true });
}

/** Names of the containers that run. */
export async function runningContainers(places: ContainerPlaces): Promise<readonly string[]> {
  const boot = await currentBoot();
  const names: string[] = [];
  for (const id of await listDirectories(containersRoot(places))) {
    const record = await readRecord(join(containersRoot(places), id));
    if (record?.process !== undefined && record.boot === boot && isRunning(record.process))
      names.push(record.name);
  }
  return names;
}

/** Ends and removes all containers of a host whose agent does not run; their devices are the caller's to remove. */
export async function destroyAllContainers(places: ContainerPlaces): Promise<readonly string[]> {
  const boot = await currentBoot();
  const names: string[] = [];
  for (const id of await listDirectories(containersRoot(places))) {
    const record = await readRecord(join(containersRoot(places), id));
    await destroyContainer(places, id, {
      process: record?.boot === boot ? record.process : undefined,
      release: () => Promise.resolve(),
    });
    names.push(record?.name ?? id);
  }
  await removeCgroupParent();
  return names;
}
