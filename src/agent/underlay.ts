/**
 * The underlay: which of the host's addresses others reach it at, on which link, with which MTU.
 *
 * The address is the configured one, or the source the kernel would use towards the first master. It is looked up
 * again whenever links or addresses change, since an MTU or an address may change under a running agent.
 */
import { createSocket } from 'node:dgram';
import { PortolanError } from '../base/errors.ts';
import { parseIp, type IpAddress } from '../base/ip.ts';
import type { Kernel } from '../kernel/types.ts';
import { VTEP_NAME } from '../model/overlay.ts';

export interface Underlay {
  readonly address: IpAddress;
  readonly link: string;
  readonly mtu: number;
}

export interface UnderlayInit {
  readonly address: string | undefined;
  /** `host:port` of the masters, to find the way to. */
  readonly masters: readonly string[];
}

/** Rejects with `invalid` when no interface carries the address, `unavailable` when no route leads to a master yet. */
export async function findUnderlay(kernel: Kernel, init: UnderlayInit): Promise<Underlay> {
  const address = init.address === undefined ? await sourceTowards(init.masters) : parseIp(init.address);
  if (address === undefined) throw noRoute(init.masters);
  const holder = (await kernel.addresses()).find((each) => each.address.address.equals(address));
  const link = holder === undefined ? undefined : await kernel.link(holder.link);
  if (link === undefined || link.name === VTEP_NAME)
    throw new PortolanError(
      'invalid',
      `Cannot use underlay address "${String(address)}": no interface has it`,
      {
        field: 'address',
        remedy: "set it to an address of this host's that other hosts can reach",
      },
    );
  return { address, link: link.name, mtu: link.mtu };
}

function noRoute(masters: readonly string[]): PortolanError {
  return new PortolanError(
    'unavailable',
    `Cannot find this host's address: no route to ${masters.join(', ') || 'any master'}`,
    {
      field: 'address',
      remedy: 'set "address" (or "masters") in the agent\'s configuration, or bring the network up',
    },
  );
}

/** Connecting a UDP socket sends nothing; it only makes the kernel choose route and source. */
async function sourceTowards(masters: readonly string[]): Promise<IpAddress | undefined> {
  for (const master of masters) {
    const host = master.slice(0, master.lastIndexOf(':')).replace(/^\[|\]$/g, '');
    const found = await sourceFor(host);
    if (found !== undefined) return found;
  }
  return undefined;
}

function sourceFor(host: string): Promise<IpAddress | undefined> {
  return new Promise((resolve) => {
    const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
    const done = (found: IpAddress | undefined): void => {
      socket.close();
      resolve(found);
    };
    socket.once('error', () => done(undefined));
    socket.connect(9, host, () => done(parseIp(socket.address().address)));
  });
}
