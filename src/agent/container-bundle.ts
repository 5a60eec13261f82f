/** What runc is given of a container: its root, mounted, and its configuration. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { containerCgroup } from '../runtime/cgroup.ts';
import { ociConfig } from '../runtime/oci.ts';
import { mountRootfs, rootfsPaths } from '../runtime/rootfs.ts';
import { bareAddresses } from './container-network.ts';
import type { ContainerRecord } from './container-record.ts';

export interface BundleInit {
  /** Of the container. */
  readonly directory: string;
  /** Directories of the host that the container must not see. */
  readonly hidden: readonly string[];
  /** None = the host's own. */
  readonly nameservers: readonly string[];
}

/** Once its addresses are known: they are in its `/etc/hosts`. */
export async function writeBundle(record: ContainerRecord, init: BundleInit): Promise<void> {
  const { directory, hidden, nameservers } = init;
  const { argv, env, cwd, user, limits, mounts, tty, lower, devices = [] } = record.program;
  const paths = rootfsPaths(directory);
  const hostNames = record.netns === undefined;
  await mountRootfs(paths, {
    hostname: record.hostname,
    addresses: bareAddresses(record),
    lower,
    hostNames,
    nameservers,
  });
  const config = ociConfig({
    argv,
    env,
    cwd,
    user,
    mounts,
    devices,
    hidden,
    terminal: tty,
    ...(limits === undefined ? {} : { limits }),
    ...(record.netns === undefined ? {} : { netns: record.netns, hostname: record.hostname }),
    rootfs: paths.merged,
    cgroup: containerCgroup(record.id),
  });
  await writeFile(join(directory, 'config.json'), JSON.stringify(config));
}
