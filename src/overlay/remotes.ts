/**
 * What a remote node is in the kernel: a neighbour (VTEP address -> MAC), an FDB entry (MAC -> host address), a route per
 * block, and its host address in table 42 (reference "overlay network", section 7, step 4).
 */
import { InterfaceAddress } from '../base/ip.ts';
import type { IpAddress, Prefix } from '../base/ip.ts';
import type { Mac } from '../base/mac.ts';
import { PROTOCOL_PORTOLAN, TABLE_HOSTS, TABLE_MAIN } from '../kernel/types.ts';
import type { FdbEntry, Neighbour, Route } from '../kernel/types.ts';
import type { Claims, RemoteNode } from './claims.ts';
import type { Local } from './grant.ts';

export interface RemoteObjects {
  readonly neighbours: readonly Neighbour[];
  readonly fdb: readonly FdbEntry[];
  readonly routes: readonly Route[];
}

export function remoteObjects({ vtep, ipv6 }: Local, { remotes }: Claims): RemoteObjects {
  const neighbours: Neighbour[] = [];
  const fdb: FdbEntry[] = [];
  const routes: Route[] = [];
  for (const remote of remotes) {
    neighbours.push(neighbour(vtep.name, remote.vtep, remote.mac));
    if (ipv6 && remote.vtep6 !== undefined) neighbours.push(neighbour(vtep.name, remote.vtep6, remote.mac));
    // One entry serves both families: the inner MAC is the same.
    fdb.push({ link: vtep.name, mac: remote.mac, destination: remote.agent, permanent: true });
    routes.push(...remoteRoutes(vtep.name, ipv6, remote));
  }
  return { neighbours, fdb, routes };
}

function neighbour(link: string, address: IpAddress, mac: Mac): Neighbour {
  return { link, address, mac, permanent: true };
}

function remoteRoutes(link: string, ipv6: boolean, remote: RemoteNode): readonly Route[] {
  const metric = routeMetric(remote.vtep);
  const route = (destination: Prefix, table: number, gateway: IpAddress): Route => ({
    destination,
    table,
    protocol: PROTOCOL_PORTOLAN,
    metric,
    gateway,
    link,
    onlink: true,
  });
  const routes = remote.subnets.flatMap((subnet) => {
    const gateway = subnet.family === 4 ? remote.vtep : ipv6 ? remote.vtep6 : undefined;
    return gateway === undefined ? [] : [route(subnet, TABLE_MAIN, gateway)];
  });
  // Container -> remote host through the tunnel, so that the source stays the container's and replies come back.
  if (remote.ownsAgentAddress && remote.agent.family === 4)
    routes.push(route(new InterfaceAddress(remote.agent, 32).prefix, TABLE_HOSTS, remote.vtep));
  return routes;
}

/**
 * The kernel hashes next hops by device, protocol, scope and metric but not by gateway: with one metric for all, 10,000
 * routes share a bucket and cost 2 s instead of 0.2 s. The VTEP's low 24 bits, those of its MAC, differ between nodes.
 */
function routeMetric(vtep: IpAddress): number {
  return Number(vtep.value & 0xffffffn) + 1;
}
