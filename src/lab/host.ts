/**
 * A lab host's namespaces and mounts.
 *
 * A host is three namespaces: network, mount and UTS, each held by a bind mount of its nsfs file, so that the host
 * exists without a process. What a real host has of its own, this one has too: `/run` (lost at reboot), `/etc`, `/opt`
 * and `/var/lib` (copy-on-write, kept at reboot), a `/sys` that shows its devices, and a boot id.
 * `ip netns exec` is never used: it mounts a new /sys without the cgroups that container runtimes need.
 *
 * Invariants: nothing is mounted in the root mount namespace but the lab's directory and the nsfs files.
 */
import { randomUUID } from 'node:crypto';
import { mkdir, rm, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { mustRun, runCommand } from '../runtime/command.ts';
import { NETNS_DIR, type HostPaths } from './paths.ts';

const SETUP_TIMEOUT_MS = 20_000;
/** statfs(2) f_type of a namespace file. */
const NSFS_MAGIC = 0x6e736673;
/** Directories that are copy-on-write views of the machine's. */
const overlaid = ['etc', 'opt', 'var-lib'] as const;
/** Directories that need a real file system below them: overlay mounts, databases. */
const bound = ['portolan', 'docker', 'containerd'] as const;

/**
 * Runs inside the new namespaces, with the host's directory as $1 and its name as $2.
 * `/run` is covered last, because the host's directory itself lies below it.
 */
const setupScript = `
host=$1; name=$2
hostname "$name"
# Copies of other hosts' and labs' mounts came along; they would hold those namespaces after their end.
inherited=$(cut -d' ' -f5 /proc/self/mountinfo | grep '^/run/' | grep -vxF "\${host%/hosts/*}" | sort -r)
[ -z "$inherited" ] || umount -l $inherited 2>/dev/null || true
over() {
  mount -t overlay overlay -o "lowerdir=$1,upperdir=$host/disk/$2/upper,workdir=$host/disk/$2/work" "$1"
}
over /etc etc
over /opt opt
over /var/lib var-lib
for each in portolan docker containerd; do
  mkdir -p "/var/lib/$each"
  mount --bind "$host/disk/$each" "/var/lib/$each"
done
mkdir -p /opt/cni/bin /etc/cni/net.d /etc/portolan
mount --rbind /sys/fs/cgroup "$host/cgroup"
mount -t sysfs sysfs /sys
mount --rbind "$host/cgroup" /sys/fs/cgroup
umount -R -l "$host/cgroup"
mount --bind "$host/boot_id" /proc/sys/kernel/random/boot_id
mount --bind "$host/run" /run
mkdir -p /run/lock /run/netns
ip link set lo up
`;

/** True when all three namespaces are held. */
export async function hostExists(host: HostPaths): Promise<boolean> {
  const held = await Promise.all([host.netns, host.mountns, host.utsns].map(isNamespaceFile));
  return held.every(Boolean);
}

export async function isNamespaceFile(path: string): Promise<boolean> {
  const info = await statfs(path).catch(() => undefined);
  return info?.type === NSFS_MAGIC;
}

/** Makes the host's namespaces and mounts; its disk is kept when there is one. */
export async function createHost(host: HostPaths): Promise<void> {
  await mkdir(NETNS_DIR, { recursive: true });
  await mkdir(join(host.dir, 'ns'), { recursive: true });
  await Promise.all([
    ...overlaid.flatMap((each) => [
      mkdir(join(host.disk, each, 'upper'), { recursive: true }),
      mkdir(join(host.disk, each, 'work'), { recursive: true }),
    ]),
    ...bound.map((each) => mkdir(join(host.disk, each), { recursive: true })),
    ...[host.run, host.log, join(host.dir, 'cgroup')].map((dir) => mkdir(dir, { recursive: true })),
    ...[host.netns, host.mountns, host.utsns].map((path) => writeFile(path, '')),
    writeFile(host.bootId, `${randomUUID()}\n`),
  ]);
  await mustRun(
    [
      'unshare',
      `--net=${host.netns}`,
      `--mount=${host.mountns}`,
      `--uts=${host.utsns}`,
      'sh',
      '-ec',
      setupScript,
      'lab-host',
      host.dir,
      host.name,
    ],
    { timeoutMs: SETUP_TIMEOUT_MS },
  );
}

/** Lets go of the namespaces, which end with their last process, and forgets what a host forgets at power off. */
export async function destroyHost(host: HostPaths): Promise<void> {
  await Promise.all([host.netns, host.mountns, host.utsns].map(releaseNamespace));
  await rm(host.run, { recursive: true, force: true });
}

/** Unmounts a namespace file and removes it; also one that is only a file, or is not there. */
export async function releaseNamespace(path: string): Promise<void> {
  if (await isNamespaceFile(path)) await runCommand(['umount', '-l', path], { timeoutMs: SETUP_TIMEOUT_MS });
  await rm(path, { force: true });
}

/** The words that run a command inside the host. No namespace of processes is entered, so nsenter execs in place. */
export function enterHost(host: HostPaths): readonly string[] {
  return ['nsenter', `--net=${host.netns}`, `--mount=${host.mountns}`, `--uts=${host.utsns}`, '--'];
}
