/** Docker in lab hosts: one daemon per agent, with what it keeps on the host's disk. */
import { join } from 'node:path';
import { DNS_ADDRESSES } from '../model/dns.ts';
import { processIdentity } from '../runtime/process.ts';
import { startDockerd, type DockerdInit } from './dockerd.ts';
import { enterHost } from './host.ts';
import { hostPaths, type HostPaths } from './paths.ts';
import { runningDaemon } from './daemons.ts';
import type { LabHost, LabState } from './state.ts';

/** Each host's containers have a cgroup of their own on the machine that all hosts share. */
export function dockerCgroup(host: HostPaths): string {
  return `/portolan-lab-${host.namespace}`;
}

/** The daemon's socket as the root mount namespace sees it. */
export function dockerSocket(host: HostPaths): string {
  return join(host.run, 'docker.sock');
}

function dockerdInit(host: HostPaths): DockerdInit {
  return {
    enter: enterHost(host),
    dataRoot: '/var/lib/docker',
    execRoot: '/run/docker',
    socket: '/run/docker.sock',
    reach: dockerSocket(host),
    log: join(host.log, 'dockerd.log'),
    dns: DNS_ADDRESSES.filter((address) => !address.includes(':')),
    hasDefaultBridge: true,
    cgroup: dockerCgroup(host),
  };
}

/** Starts a daemon on every agent of `hosts` that has none; resolves to the new ones. */
export async function startMissingDockers(
  state: LabState,
  hosts: readonly LabHost[],
): Promise<readonly LabState['processes'][number][]> {
  const missing = hosts.filter(
    (host) => host.role === 'agent' && runningDaemon(state, host.name, 'dockerd') === undefined,
  );
  return Promise.all(
    missing.map(async (host) => {
      const dockerd = await startDockerd(dockerdInit(hostPaths(state.name, host.name)));
      await dockerd.ready();
      const startTime = processIdentity(dockerd.pid)?.startTime ?? 0;
      return { host: host.name, kind: 'dockerd' as const, pid: dockerd.pid, startTime };
    }),
  );
}
