/**
 * A container's root: a copy-on-write view of the host's own root file system, or of an image's.
 *
 * overlayfs takes the directory itself as lower layer, not what is mounted below it: file systems mounted on, say,
 * /home are seen as the empty directories that they cover. What the container writes is in its upper directory.
 */
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { renderResolvConf } from '../model/dns.ts';
import { mustRun } from './command.ts';

const MOUNT_TIMEOUT_MS = 10_000;

export interface RootfsPaths {
  readonly upper: string;
  readonly work: string;
  readonly merged: string;
}

export function rootfsPaths(directory: string): RootfsPaths {
  return {
    upper: join(directory, 'upper'),
    work: join(directory, 'work'),
    merged: join(directory, 'rootfs'),
  };
}

export interface RootfsFiles {
  readonly hostname: string;
  /** Without prefix length. */
  readonly addresses: readonly string[];
  /** What is below; absent = the host's own root. */
  readonly lower?: string;
  /** The container is in the host's network, under the host's names. */
  readonly hostNames?: boolean;
}

/** `nameservers`: none = the host's own. */
export async function mountRootfs(
  paths: RootfsPaths,
  files: RootfsFiles & { readonly nameservers: readonly string[] },
): Promise<void> {
  for (const each of [join(paths.upper, 'etc'), paths.work, paths.merged])
    await mkdir(each, { recursive: true });
  // Before the mount: changing the upper directory below a mounted overlay is undefined.
  const etc = (name: string): string => join(paths.upper, 'etc', name);
  const ofHost = (name: string): Promise<string> => readFile(`/etc/${name}`, 'utf8').catch(() => '');
  await writeFile(
    etc('hostname'),
    files.hostNames === true ? await ofHost('hostname') : `${files.hostname}\n`,
  );
  await writeFile(etc('hosts'), files.hostNames === true ? await ofHost('hosts') : hostsFile(files));
  await writeFile(etc('resolv.conf'), await resolvConf(files.nameservers));
  const options = `lowerdir=${files.lower ?? '/'},upperdir=${paths.upper},workdir=${paths.work}`;
  await mustRun(['mount', '-t', 'overlay', 'portolan', '-o', options, paths.merged], {
    timeoutMs: MOUNT_TIMEOUT_MS,
  });
}

async function resolvConf(nameservers: readonly string[]): Promise<string> {
  if (nameservers.length > 0) return renderResolvConf(nameservers);
  return readFile('/etc/resolv.conf', 'utf8').catch(() => '');
}

/** In a root that is mounted: through the mount, for the same reason. */
export async function rewriteHosts(paths: RootfsPaths, files: RootfsFiles): Promise<void> {
  await writeFile(join(paths.merged, 'etc', 'hosts'), hostsFile(files));
}

export function hostsFile(files: RootfsFiles): string {
  const own = files.addresses.map((address) => `${address}\t${files.hostname}\n`);
  return `127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n${own.join('')}`;
}

/** Also when it is not mounted. */
export async function unmountRootfs(paths: RootfsPaths): Promise<void> {
  await unmount(paths.merged);
}

/** Takes every mount off `path`; one that is not there is no failure. */
export async function unmount(path: string): Promise<void> {
  const isMounted = async (): Promise<boolean> =>
    (await readFile('/proc/self/mountinfo', 'utf8')).split('\n').some((line) => line.split(' ')[4] === path);
  while (await isMounted()) await mustRun(['umount', '-l', path], { timeoutMs: MOUNT_TIMEOUT_MS });
}

/** A network namespace held by a bind mount, so that it lives until its attachment is deleted. */
export async function createNetns(path: string): Promise<void> {
  await mkdir(join(path, '..'), { recursive: true });
  await writeFile(path, '');
  await mustRun(['unshare', `--net=${path}`, 'ip', 'link', 'set', 'lo', 'up'], {
    timeoutMs: MOUNT_TIMEOUT_MS,
  });
}

export async function removeNetns(path: string): Promise<void> {
  await unmount(path);
  await rm(path, { force: true });
}
