/** The lab's directory: a private mount of its own, which namespace files and overlay mounts need. */
import { mkdir, readdir, readFile, rm, rmdir, statfs } from 'node:fs/promises';
import { mustRun } from '../runtime/command.ts';
import { LAB_ROOT, type LabPaths } from './paths.ts';

const TIMEOUT_MS = 60_000;
/** statfs(2) f_type of overlayfs, which cannot hold the upper directory of another overlay. */
const OVERLAYFS_MAGIC = 0x794c7630;

export async function isMountPoint(path: string): Promise<boolean> {
  // proc(5) `mountinfo`: the mount point is field 5. Lab names hold nothing that is escaped there.
  const lines = (await readFile('/proc/self/mountinfo', 'utf8')).split('\n');
  return lines.some((line) => line.split(' ')[4] === path);
}

export async function ensureLabDirectory(lab: LabPaths): Promise<void> {
  await mkdir(lab.dir, { recursive: true });
  if (await isMountPoint(lab.dir)) return;
  const { type } = await statfs(lab.dir);
  // Private: a mount namespace can be held only by a file on a mount that does not propagate into it.
  const mount =
    type === OVERLAYFS_MAGIC
      ? ['mount', '-t', 'tmpfs', '-o', 'mode=755', 'portolan-lab', lab.dir]
      : ['mount', '--bind', lab.dir, lab.dir];
  await mustRun(mount, { timeoutMs: TIMEOUT_MS });
  await mustRun(['mount', '--make-rprivate', lab.dir], { timeoutMs: TIMEOUT_MS });
}

/** Unmounts and removes the directory; hosts must have been destroyed before. */
export async function removeLabDirectory(lab: LabPaths): Promise<void> {
  while (await isMountPoint(lab.dir))
    await mustRun(['umount', '-R', '-l', lab.dir], { timeoutMs: TIMEOUT_MS });
  // One file system: should anything still be mounted below, its contents are not ours to remove.
  await mustRun(['rm', '-rf', '--one-file-system', '--', lab.dir], { timeoutMs: TIMEOUT_MS });
}

/** Removes the directory of all labs when this was the last. */
export async function removeEmptyLabRoot(): Promise<void> {
  const left = await readdir(LAB_ROOT).catch(() => ['?']);
  if (left.length === 0) await rmdir(LAB_ROOT).catch(() => undefined);
}

/** Names of the hosts that have a directory, whatever `lab.json` says. */
export async function hostDirectories(lab: LabPaths): Promise<readonly string[]> {
  return readdir(`${lab.dir}/hosts`).catch(() => []);
}

export async function removeFile(path: string): Promise<void> {
  await rm(path, { force: true });
}
