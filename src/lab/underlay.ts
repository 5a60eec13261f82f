/**
 * The network between lab hosts: one bridge in a namespace of its own, one port per host.
 *
 * Invariants: no address outside 10.0.0.0/24, no route out; the namespace has no link to the root namespace.
 */
import { mkdir, readdir, rmdir, writeFile } from 'node:fs/promises';
import { mustRun, runCommand } from '../runtime/command.ts';
import { isNamespaceFile } from './host.ts';
import { NETNS_DIR, type LabPaths } from './paths.ts';
import { UNDERLAY_PREFIX_LENGTH, type HostPlan } from './plan.ts';

const TIMEOUT_MS = 20_000;
const BRIDGE = 'underlay';
const TABLE = 'portolan_lab';
/** The one interface of a lab host. */
export const HOST_INTERFACE = 'eth0';

export async function ensureUnderlay(lab: LabPaths): Promise<void> {
  if (!(await isNamespaceFile(lab.underlayNetns))) {
    await mkdir(NETNS_DIR, { recursive: true });
    await writeFile(lab.underlayNetns, '');
    await mustRun(['unshare', `--net=${lab.underlayNetns}`, 'ip', 'link', 'set', 'lo', 'up'], {
      timeoutMs: TIMEOUT_MS,
    });
  }
  const links = await portNames(lab);
  if (links.has(BRIDGE)) return;
  await batch(lab.underlay, [`link add ${BRIDGE} type bridge forward_delay 0`, `link set ${BRIDGE} up`]);
}

async function portNames(lab: LabPaths): Promise<ReadonlySet<string>> {
  const text = await mustRun(['ip', '-n', lab.underlay, '-j', 'link'], { timeoutMs: TIMEOUT_MS });
  return new Set((JSON.parse(text) as { ifname: string }[]).map((link) => link.ifname));
}

/** Plugs in every host that has no port yet, and brings every interface to its address. */
export async function connectHosts(lab: LabPaths, hosts: readonly HostPlan[]): Promise<void> {
  const ports = await portNames(lab);
  const missing = hosts.filter((host) => !ports.has(host.name));
  await batch(
    lab.underlay,
    missing.flatMap((host) => [
      `link add ${host.name} type veth peer name ${HOST_INTERFACE} netns ${lab.lab}-${host.name}`,
      `link set ${host.name} master ${BRIDGE} up`,
    ]),
  );
  await Promise.all(
    hosts.map((host) =>
      batch(`${lab.lab}-${host.name}`, [
        `address replace ${host.address}/${UNDERLAY_PREFIX_LENGTH} dev ${HOST_INTERFACE}`,
        `link set ${HOST_INTERFACE} up`,
      ]),
    ),
  );
}

/** From here on nothing that the host says is heard. */
export async function silenceHost(lab: LabPaths, host: string): Promise<void> {
  if (!(await isNamespaceFile(lab.underlayNetns))) return;
  await runCommand(['ip', '-n', lab.underlay, 'link', 'set', host, 'down'], { timeoutMs: TIMEOUT_MS });
}

/** Pulls the plug at once; without it the pair would linger until the kernel reaps the host's namespace. */
export async function disconnectHost(lab: LabPaths, host: string): Promise<void> {
  if (!(await isNamespaceFile(lab.underlayNetns))) return;
  await runCommand(['ip', '-n', lab.underlay, 'link', 'delete', host], { timeoutMs: TIMEOUT_MS });
}

async function batch(namespace: string, lines: readonly string[]): Promise<void> {
  if (lines.length === 0) return;
  await mustRun(['ip', '-n', namespace, '-batch', '-'], {
    input: `${lines.join('\n')}\n`,
    timeoutMs: TIMEOUT_MS,
  });
}

/**
 * Frames between the hosts named and the others are dropped, both ways; an empty list heals.
 * (The bridge's own port isolation knows only one group.)
 */
export function renderPartition(hosts: readonly string[]): string {
  const clear = `table bridge ${TABLE} {}\ndelete table bridge ${TABLE}\n`;
  if (hosts.length === 0) return clear;
  const ports = `{ ${hosts.map((host) => `"${host}"`).join(', ')} }`;
  return `${clear}table bridge ${TABLE} {
  chain forward {
    type filter hook forward priority 0; policy accept;
    iifname ${ports} oifname != ${ports} drop
    iifname != ${ports} oifname ${ports} drop
  }
}
`;
}

export async function applyPartition(lab: LabPaths, hosts: readonly string[]): Promise<void> {
  await mustRun(['nsenter', `--net=${lab.underlayNetns}`, '--', 'nft', '-f', '-'], {
    input: renderPartition(hosts),
    timeoutMs: TIMEOUT_MS,
  });
}

/** Removes the directory of namespace names when nobody has one there. */
export async function removeEmptyNetnsDir(): Promise<void> {
  const names = await readdir(NETNS_DIR).catch(() => ['?']);
  if (names.length === 0) await rmdir(NETNS_DIR).catch(() => undefined); // A mount point stays.
}
