/** Where a lab keeps its things, and how its namespaces are called. */
import { join } from 'node:path';

export const LAB_ROOT = '/run/portolan-lab';
/** Where `ip -n NAME` looks for network namespaces. */
export const NETNS_DIR = '/run/netns';

export interface LabPaths {
  readonly lab: string;
  /** Mount point of the lab's own file system or bind mount. */
  readonly dir: string;
  readonly lock: string;
  readonly state: string;
  readonly apiSocket: string;
  readonly proxyLog: string;
  /** Name of the namespace that holds the underlay bridge. */
  readonly underlay: string;
  readonly underlayNetns: string;
}

export interface HostPaths {
  readonly name: string;
  /** Name of its network namespace. */
  readonly namespace: string;
  readonly dir: string;
  readonly netns: string;
  readonly mountns: string;
  readonly utsns: string;
  /** Becomes the host's `/run`; lost at reboot. */
  readonly run: string;
  /** Kept at reboot. */
  readonly disk: string;
  readonly log: string;
  readonly bootId: string;
  readonly agentSocket: string;
  readonly apiSocket: string;
}

export function labPaths(lab: string): LabPaths {
  const dir = join(LAB_ROOT, lab);
  const underlay = `${lab}-underlay`;
  return {
    lab,
    dir,
    lock: join(LAB_ROOT, `${lab}.lock`),
    state: join(dir, 'lab.json'),
    apiSocket: join(dir, 'api.sock'),
    proxyLog: join(dir, 'proxy.log'),
    underlay,
    underlayNetns: join(NETNS_DIR, underlay),
  };
}

export function hostPaths(lab: string, host: string): HostPaths {
  const dir = join(LAB_ROOT, lab, 'hosts', host);
  const namespace = `${lab}-${host}`;
  return {
    name: host,
    namespace,
    dir,
    netns: join(NETNS_DIR, namespace),
    mountns: join(dir, 'ns', 'mnt'),
    utsns: join(dir, 'ns', 'uts'),
    run: join(dir, 'run'),
    disk: join(dir, 'disk'),
    log: join(dir, 'log'),
    bootId: join(dir, 'boot_id'),
    agentSocket: join(dir, 'run', 'portolan', 'agent.sock'),
    apiSocket: join(dir, 'run', 'portolan', 'api.sock'),
  };
}

/** Whether a network namespace of this name belongs to `lab`; lab `a` must not take those of lab `a-b`. */
export function isNamespaceOf(lab: string, namespace: string): boolean {
  return (
    namespace.startsWith(`${lab}-`) &&
    /^(underlay|(master|agent)[0-9]+)$/.test(namespace.slice(lab.length + 1))
  );
}
