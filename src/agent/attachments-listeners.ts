/** Which ports of the host processes listen on, read from /proc/net in the host's namespace. */
import { readFile } from 'node:fs/promises';
import { IpAddress } from '../base/ip.ts';
import type { Kernel } from '../kernel/types.ts';
import type { PortMapping } from '../model/endpoint.ts';
import { processHolding, socketsOfContainer } from './attachments-processes.ts';

export interface Listener {
  readonly address: IpAddress;
  readonly port: number;
  /** Of the socket: what a process's descriptors refer to. */
  readonly inode: number;
}

/** A mapping whose host port is taken, and the process that has it where it can be seen. */
export interface OccupiedPort {
  readonly mapping: PortMapping;
  readonly process: string | undefined;
}

/** `st` of include/net/tcp_states.h: TCP_LISTEN; UDP sockets that are bound and not connected are in TCP_CLOSE. */
const states = { tcp: '0A', udp: '07' } as const;

/**
 * Parses /proc/net/{tcp,tcp6,udp,udp6} (net/ipv4/tcp_ipv4.c, get_openreq4 and siblings): the address is printed as
 * 32-bit words in the machine's byte order, which is little endian wherever this runs.
 */
export function parseListeners(text: string, protocol: 'tcp' | 'udp'): Listener[] {
  const listeners: Listener[] = [];
  for (const line of text.split('\n')) {
    // sl local_address rem_address st queues timer retransmissions uid timeout inode
    const [sl = '', local = '', , state, , , , , , inode = ''] = line.trim().split(/ +/);
    const [, hex = '', port = ''] = /^([0-9A-F]+):([0-9A-F]{4})$/.exec(local) ?? [];
    if (!/^\d+:$/.test(sl) || state !== states[protocol] || (hex.length !== 8 && hex.length !== 32)) continue;
    listeners.push({ address: addressOf(hex), port: Number.parseInt(port, 16), inode: Number(inode) });
  }
  return listeners;
}

/** An IPv4 address that an IPv6 socket is bound to is the IPv4 address. */
function addressOf(hex: string): IpAddress {
  const words = hex.match(/.{8}/g) ?? [];
  const bytes = words.flatMap((word) => (word.match(/../g) ?? []).reverse());
  const all = Uint8Array.from(bytes, (byte) => Number.parseInt(byte, 16));
  return IpAddress.fromBytes(hex.startsWith(MAPPED) ? all.subarray(12) : all);
}
/** `::ffff:0:0/96` (RFC 4291, 2.5.5.2) as it is printed here. */
const MAPPED = '0000000000000000FFFF0000';

/** True when the mapping would take connections away from this listener. */
export function meets(mapping: PortMapping, listener: Omit<Listener, 'inode'>): boolean {
  if (listener.port !== mapping.hostPort) return false;
  return (
    mapping.hostIP === undefined ||
    listener.address.value === 0n ||
    String(listener.address) === mapping.hostIP
  );
}

/**
 * The first mapping whose host port a process already listens on. The tables are read only for ports that a probe does
 * not find free: they have a line for each socket of the host.
 *
 * What the runtime itself holds for this container does not count: podman listens on published ports to reserve them,
 * with a user namespace already before it calls ADD, and all the time when it disconnects and connects networks.
 */
export async function occupiedPort(
  kernel: Pick<Kernel, 'portPerhapsInUse'>,
  mappings: readonly PortMapping[],
  container: string,
): Promise<OccupiedPort | undefined> {
  for (const protocol of ['tcp', 'udp'] as const) {
    const doubtful = mappings.filter(
      (mapping) => mapping.protocol === protocol && kernel.portPerhapsInUse(protocol, mapping.hostPort),
    );
    if (doubtful.length === 0) continue;
    const occupied = await firstOccupied(doubtful, await hostListeners(protocol), container);
    if (occupied !== undefined) return occupied;
  }
  return undefined;
}

async function firstOccupied(
  mappings: readonly PortMapping[],
  listeners: readonly Listener[],
  container: string,
): Promise<OccupiedPort | undefined> {
  const met = listeners.filter((listener) => mappings.some((mapping) => meets(mapping, listener)));
  if (met.length === 0) return undefined;
  const reserved = await socketsOfContainer(container);
  const strange = met.find(({ inode }) => !reserved.has(inode));
  const mapping = mappings.find((each) => strange !== undefined && meets(each, strange));
  if (strange === undefined || mapping === undefined) return undefined;
  return { mapping, process: await processHolding(strange.inode) };
}

/** "thread-self": the main thread may be in a container's namespace for a moment, the thread that reads never is. */
async function hostListeners(protocol: 'tcp' | 'udp'): Promise<readonly Listener[]> {
  const read = (name: string): Promise<string> =>
    readFile(`/proc/thread-self/net/${name}`, 'latin1').catch((error: unknown) => {
      // A kernel without IPv6 has no tcp6.
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
      throw error;
    });
  const texts = await Promise.all([read(protocol), read(`${protocol}6`)]);
  return texts.flatMap((text) => parseListeners(text, protocol));
}
