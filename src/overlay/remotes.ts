/**
 * What a remote node is in the kernel: a neighbour (VTEP address -> MAC), an FDB entry (MAC -> host address), a route per
 * block, and its host address in table 42 (reference "overlay network", section 7, step 4).
 */
import { Prefix } from '../base/ip.ts';
import type { IpAddress } from '../base/ip.ts';
import type { Mac } from '../base/mac.ts';
import { PROTOCOL_PORTOLAN, TABLE_HOSTS, TABLE_MAIN } from '../kernel/types.ts';
import type { FdbEntry, Neighbour, Route } from '../kernel/types.ts';
import type { NodeId } from '../model/names.ts';
import type { Claims, RemoteNode } from './claims.ts';
import type { Local } from './grant.ts';
import { SLICE } from './slice.ts';

export interface RemoteObjects {
  readonly neighbours: readonly Neighbour[];
  readonly fdb: readonly FdbEntry[];
  readonly routes: readonly Route[];
}

/** The objects of each node, as long as the node is the same. */
export class RemoteMemory {
  #objects = new Map<NodeId, KnownRemote>();

  /** Of all nodes, in slices; those of earlier ones are forgotten. */
  *objectsOf(local: TunnelEnd, remotes: readonly RemoteNode[]): Generator<undefined, RemoteObjects> {
    const known = this.#objects;
    const now = new Map<NodeId, KnownRemote>();
    const all = { neighbours: [] as Neighbour[], fdb: [] as FdbEntry[], routes: [] as Route[] };
    let count = 0;
    for (const remote of remotes) {
      if (count++ % SLICE === 0) yield;
      const before = known.get(remote.node);
      const each = before !== undefined && isSame(before, local, remote) ? before : make(local, remote);
      now.set(remote.node, each);
      for (const known of each.neighbours) all.neighbours.push(known);
      all.fdb.push(each.fdb);
      for (const route of each.routes) all.routes.push(route);
    }
    this.#objects = now;
    return all;
  }
}

interface KnownRemote {
  readonly local: TunnelEnd;
  readonly remote: RemoteNode;
  readonly neighbours: readonly Neighbour[];
  readonly fdb: FdbEntry;
  readonly routes: readonly Route[];
}

/** What the objects of remote nodes depend on here. */
interface TunnelEnd {
  readonly link: string;
  readonly ipv6: boolean;
}

/** In slices. */
export function remoteObjects(
  { vtep, ipv6 }: Local,
  { remotes }: Claims,
  memory: RemoteMemory,
): Generator<undefined, RemoteObjects> {
  return memory.objectsOf({ link: vtep.name, ipv6 }, remotes);
}

/** Values of one record are the same objects in every compilation (record-parser.ts). */
function isSame({ local, remote: before }: KnownRemote, { link, ipv6 }: TunnelEnd, now: RemoteNode): boolean {
  return (
    local.link === link &&
    local.ipv6 === ipv6 &&
    before.vtep === now.vtep &&
    before.vtep6 === now.vtep6 &&
    before.mac === now.mac &&
    before.agent === now.agent &&
    before.ownsAgentAddress === now.ownsAgentAddress &&
    before.subnets.length === now.subnets.length &&
    before.subnets.every((subnet, at) => subnet === now.subnets[at])
  );
}

function make(local: TunnelEnd, remote: RemoteNode): KnownRemote {
  const { link, ipv6 } = local;
  const neighbours = [neighbour(link, remote.vtep, remote.mac)];
  if (ipv6 && remote.vtep6 !== undefined) neighbours.push(neighbour(link, remote.vtep6, remote.mac));
  const routes: Route[] = [];
  addRoutes(routes, link, ipv6, remote);
  // One entry serves both families: the inner MAC is the same.
  const fdb = { link, mac: remote.mac, destination: remote.agent, permanent: true };
  return { local, remote, neighbours, fdb, routes };
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
