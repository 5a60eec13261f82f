/**
 * Which processes have the sockets of a port: procfs lists a network namespace's sockets by inode (proc(5), /proc/net/udp),
 * and each process's files by it.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** Ids of processes; none where it cannot be told, as without root. Of TCP those that listen. */
export function portHolders(protocol: 'tcp' | 'udp', port: number): ReadonlySet<number> {
  const sockets = new Set(
    ['', '6'].flatMap((suffix) => inodes(`/proc/net/${protocol}${suffix}`, protocol, port)),
  );
  const found = new Set<number>();
  if (sockets.size === 0) return found;
  for (const name of readdirSync('/proc'))
    if (/^[0-9]+$/.test(name) && filesOf(name).some((file) => sockets.has(file))) found.add(Number(name));
  return found;
}

/** `st` of a socket that listens (include/net/tcp_states.h). */
const LISTEN = '0A';

/** As links to them read. */
function inodes(path: string, protocol: 'tcp' | 'udp', port: number): string[] {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  return readOr(path)
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    .filter(([, local = '', , state]) => local.endsWith(suffix) && (protocol === 'udp' || state === LISTEN))
    .map((columns) => `socket:[${columns[9]}]`);
}

/** A kernel without IPv6 has no such list. */
function readOr(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}

/** None of a process that has just ended, or is another user's. */
function filesOf(processId: string): string[] {
  try {
    const path = `/proc/${processId}/fd`;
    return readdirSync(path).map((fd) => readlinkOr(`${path}/${fd}`));
  } catch {
    return [];
  }
}

function readlinkOr(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}
