/**
 * What a remote node is in the kernel: a neighbour (VTEP address -> MAC), an FDB entry (MAC -> host address), a route per
 * block, and its host address in table 42 (reference "overlay network", section 7, step 4).
 */
import { Prefix } from '../base/ip.ts';
import type { IpAddress } from '../base/ip.ts';
import type { Mac } from '../base/mac.ts';
import { PROTOCOL_PORTOLAN, TABLE_HOSTS, TABLE_MAIN } from '../kernel/types.ts';
import type { FdbEntry, Neighbour, Route } from '../kernel/types.ts';
import type { Claims, RemoteNode } from './claims.ts';
import type { Local } from './grant.ts';
import { SLICE } from './slice.ts';

export interface RemoteObjects {
  readonly neighbours: readonly Neighbour[];
  readonly fdb: readonly FdbEntry[];
  readonly routes: readonly Route[];
}

/** In slices. */
export function* remoteObjects(
  { vtep, ipv6 }: Local,
  { remotes }: Claims,
): Generator<undefined, RemoteObjects> {
  const neighbours: Neighbour[] = [];
  const fdb: FdbEntry[] = [];
  const routes: Route[] = [];
  let count = 0;
  for (const remote of remotes) {
    if (count++ % SLICE === 0) yield;
    neighbours.push(neighbour(vtep.name, remote.vtep, remote.mac));
    if (ipv6 && remote.vtep6 !== undefined) neighbours.push(neighbour(vtep.name, remote.vtep6, remote.mac));
    // One entry serves both families: the inner MAC is the same.
    fdb.push({ link: vtep.name, mac: remote.mac, destination: remote.agent, permanent: true });
    addRoutes(routes, vtep.name, ipv6, remote);
  }
  return { neighbours, fdb, routes };
}

function neighbour(link: string, address: IpAddress, mac: Mac): Neighbour {
  return { link, address, mac, permanent: true };
}

function addRoutes(routes: Route[], link: string, ipv6: boolean, remote: RemoteNode): void {
  const metric = routeMetric(remote.vtep);
  for (const subnet of remote.subnets) {
    const gateway = subnet.family === 4 ? remote.vtep : ipv6 ? remote.vtep6 : undefined;
    if (gateway !== undefined) routes.push(remoteRoute(subnet, TABLE_MAIN, metric, gateway, link));
  }
  // Container -> remote host through the tunnel, so that the source stays the container's and replies come back.
  if (remote.ownsAgentAddress && remote.agent.family === 4)
    routes.push(remoteRoute(new Prefix(remote.agent, 32), TABLE_HOSTS, metric, remote.vtep, link));
}

function remoteRoute(
  destination: Prefix,
  table: number,
  metric: number,
  gateway: IpAddress,
  link: string,
): Route {
  return { destination, table, protocol: PROTOCOL_PORTOLAN, metric, gateway, link, onlink: true };
}

/**
 * The kernel hashes next hops by device, protocol, scope and metric but not by gateway: with one metric for all, 10,000
 * routes share a bucket and cost 2 s instead of 0.2 s. The VTEP's low 24 bits, those of its MAC, differ between nodes.
 */
function routeMetric(vtep: IpAddress): number {
  return (Number(vtep.bits) & 0xffffff) + 1;
}
