/**
 * `lab down`: leaves the machine as it was.
 *
 * It goes by what is there, not by `lab.json`, so that it also ends a lab that was half made or whose files are lost:
 * namespaces by their names, processes by the namespaces they are in, containers by their directories.
 */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { removeCgroupParent } from '../runtime/cgroup.ts';
import { signalProcess, waitForEnd } from '../runtime/process.ts';
import { hostDirectories, removeEmptyLabRoot, removeFile, removeLabDirectory } from './directory.ts';
import { releaseNamespace } from './host.ts';
import { requireRoot, type Say } from './lab.ts';
import { NETNS_DIR, isNamespaceOf, labPaths } from './paths.ts';
import { checkLabName } from './plan.ts';
import { powerOff } from './power.ts';
import { killAll, namespaceInodes } from './processes.ts';
import { listLabs, readLabState } from './state.ts';
import { removeEmptyNetnsDir } from './underlay.ts';

const END_TIMEOUT_MS = 5_000;

export async function labDown(name: string, say: Say): Promise<void> {
  requireRoot();
  const lab = labPaths(checkLabName(name));
  const namespaces = (await readdir(NETNS_DIR).catch(() => [])).filter((each) => isNamespaceOf(name, each));
  const labs = await listLabs();
  if (namespaces.length === 0 && !labs.includes(name)) return say(noSuchLab(name, labs));
  await endRecorded(name);
  const hosts = new Set([
    ...(await hostDirectories(lab)),
    ...namespaces.filter((each) => each !== lab.underlay).map((each) => each.slice(name.length + 1)),
  ]);
  await Promise.all([...hosts].map((host) => powerOff(name, host)));
  await removeCgroupParent();
  await killAll(await namespaceInodes([lab.underlayNetns]));
  await Promise.all(namespaces.map((each) => releaseNamespace(join(NETNS_DIR, each))));
  await removeEmptyNetnsDir();
  await removeLabDirectory(lab);
  await removeFile(lab.lock);
  await removeEmptyLabRoot();
  say(`lab "${name}" is gone`);
}

/** What is asked for is so already; whoever mistyped sees it. */
function noSuchLab(name: string, labs: readonly string[]): string {
  return `lab "${name}" is not there: ${labs.length === 0 ? 'no lab is' : `labs are ${labs.join(', ')}`}`;
}

/** What is not in any namespace of the lab's, such as a proxy that a crash left half recorded, has its identity here. */
async function endRecorded(name: string): Promise<void> {
  const recorded = (await readLabState(name).catch(() => undefined))?.processes ?? [];
  for (const each of recorded) signalProcess(each, 'SIGKILL');
  await waitForEnd(recorded, END_TIMEOUT_MS);
}
