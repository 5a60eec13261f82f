/** Which ports of the host processes listen on, read from /proc/net in the host's namespace. */
import { readFile } from 'node:fs/promises';
import { IpAddress } from '../base/ip.ts';
import type { Kernel } from '../kernel/types.ts';
import type { PortMapping } from '../model/endpoint.ts';

export interface Listener {
  readonly address: IpAddress;
  readonly port: number;
}

/** `st` of include/net/tcp_states.h: TCP_LISTEN; UDP sockets that are bound and not connected are in TCP_CLOSE. */
const states = { tcp: '0A', udp: '07' } as const;

/**
 * Parses /proc/net/{tcp,tcp6,udp,udp6} (net/ipv4/tcp_ipv4.c, get_openreq4 and siblings): the address is printed as
 * 32-bit words in the machine's byte order, which is little endian wherever this runs.
 */
export function parseListeners(text: string, protocol: 'tcp' | 'udp'): Listener[] {
  const listeners: Listener[] = [];
  for (const match of text.matchAll(
    /^\s*\d+: ([0-9A-F]+):([0-9A-F]{4}) [0-9A-F]+:[0-9A-F]{4} ([0-9A-F]{2}) /gm,
  )) {
    const [, hex = '', port = '', state] = match;
    if (state !== states[protocol] || (hex.length !== 8 && hex.length !== 32)) continue;
    const words = hex.match(/.{8}/g) ?? [];
    const bytes = words.flatMap((word) => (word.match(/../g) ?? []).reverse());
    const address = IpAddress.fromBytes(Uint8Array.from(bytes, (byte) => Number.parseInt(byte, 16)));
    listeners.push({ address, port: Number.parseInt(port, 16) });
  }
  return listeners;
}

/** True when the mapping would take connections away from this listener. */
export function meets(mapping: PortMapping, listener: Listener): boolean {
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
 */
export async function occupiedPort(
  kernel: Pick<Kernel, 'portPerhapsInUse'>,
  mappings: readonly PortMapping[],
): Promise<PortMapping | undefined> {
  for (const protocol of ['tcp', 'udp'] as const) {
    const doubtful = mappings.filter(
      (mapping) => mapping.protocol === protocol && kernel.portPerhapsInUse(protocol, mapping.hostPort),
    );
    if (doubtful.length === 0) continue;
    const listeners = await hostListeners(protocol);
    const occupied = doubtful.find((mapping) => listeners.some((listener) => meets(mapping, listener)));
    if (occupied !== undefined) return occupied;
  }
  return undefined;
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
