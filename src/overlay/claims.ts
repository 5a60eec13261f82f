/**
 * Who holds what: from the records of all nodes to the remote nodes that are believed.
 *
 * Two live holders of one block or VTEP are impossible while records come from one committed store; they meet here
 * only when one of them is stale (a node cut off while its block was given away, a restored backup). The grant's
 * fencing epoch decides: the higher is the true one. Equal epochs, which no master gives, fall to the lower node id,
 * so that every node decides alike.
 */
import type { IpAddress, Prefix } from '../base/ip.ts';
import type { Mac } from '../base/mac.ts';
import type { NodeId } from '../model/names.ts';
import type { NodeOverlayRecord, VoidClaim } from './desired.ts';
import type { ParsedRecord, RecordParser } from './record-parser.ts';

/** A remote node as the kernel has to know it. */
export interface RemoteNode {
  readonly node: NodeId;
  readonly vtep: IpAddress;
  readonly vtep6: IpAddress | undefined;
  readonly mac: Mac;
  readonly agent: IpAddress;
  /** Blocks behind its VTEP, of both families. */
  readonly subnets: readonly Prefix[];
  /** False when a newer grant claims the same underlay address. */
  readonly ownsAgentAddress: boolean;
}

/** What this node itself holds: it takes part in the contest like everyone else. */
export interface OwnClaim {
  readonly node: NodeId;
  readonly epoch: number;
  readonly agent: IpAddress;
  readonly vteps: readonly IpAddress[];
  readonly mac: Mac;
  readonly blocks: readonly { readonly overlay: string; readonly subnet: Prefix }[];
}

export interface OwnLoss {
  readonly overlay: string | undefined;
  readonly what: string;
  readonly holder: NodeId;
}

export interface Claims {
  readonly remotes: readonly RemoteNode[];
  readonly voided: readonly VoidClaim[];
  /** What of this node's own grant a newer one claims. */
  readonly lost: readonly OwnLoss[];
}

interface Claimant {
  readonly node: NodeId;
  readonly epoch: number;
  readonly records: readonly ParsedRecord[];
}

/** Decides all claims; the result does not depend on the order of the records. */
export function resolveClaims(
  own: OwnClaim,
  records: readonly NodeOverlayRecord[],
  removed: ReadonlySet<NodeId>,
  parser: RecordParser,
): Claims {
  const held = new Map<string, NodeId>();
  const voided: VoidClaim[] = [];
  const lost: OwnLoss[] = [];
  const remotes: RemoteNode[] = [];
  for (const claimant of [...gather(own, records, removed, parser)].sort(newestFirst)) {
    if (claimant.node === own.node) lost.push(...claimOwn(held, own));
    else {
      const remote = claimRemote(held, own, claimant, (reason) =>
        voided.push({ node: claimant.node, reason }),
      );
      if (remote !== undefined) remotes.push(remote);
    }
  }
  remotes.sort((a, b) => (a.node < b.node ? -1 : 1));
  return { remotes, voided, lost };
}

function newestFirst(a: Claimant, b: Claimant): number {
  return b.epoch - a.epoch || (a.node < b.node ? -1 : 1);
}

function gather(
  own: OwnClaim,
  records: readonly NodeOverlayRecord[],
  removed: ReadonlySet<NodeId>,
  parser: RecordParser,
): Iterable<Claimant> {
  const byNode = new Map<NodeId, { node: NodeId; epoch: number; records: ParsedRecord[] }>();
  byNode.set(own.node, { node: own.node, epoch: own.epoch, records: [] });
  for (const { node, record } of records) {
    if (node === own.node || removed.has(node)) continue;
    const claimant = byNode.get(node);
    if (claimant === undefined)
      byNode.set(node, { node, epoch: record.grant_epoch, records: [parser.parse(record)] });
    else {
      claimant.records.push(parser.parse(record));
      claimant.epoch = Math.max(claimant.epoch, record.grant_epoch);
    }
  }
  for (const claimant of byNode.values())
    claimant.records.sort((a, b) => (a.record.overlay < b.record.overlay ? -1 : 1));
  return byNode.values();
}

function claimOwn(held: Map<string, NodeId>, own: OwnClaim): readonly OwnLoss[] {
  const lost: OwnLoss[] = [];
  for (const key of [...own.vteps.map(String), own.mac]) {
    const holder = held.get(key);
    if (holder === undefined) held.set(key, own.node);
    else lost.push({ overlay: undefined, what: `VTEP ${key}`, holder });
  }
  for (const { overlay, subnet } of own.blocks) {
    const holder = held.get(String(subnet));
    if (holder === undefined) held.set(String(subnet), own.node);
    else lost.push({ overlay, what: `subnet ${String(subnet)}`, holder });
  }
  return lost;
}

function claimRemote(
  held: Map<string, NodeId>,
  own: OwnClaim,
  claimant: Claimant,
  refuse: (reason: string) => void,
): RemoteNode | undefined {
  const place = placeOf(claimant.records);
  if (typeof place === 'string') {
    refuse(place);
    return undefined;
  }
  if (place.agent.family !== own.agent.family) {
    refuse(`its address ${String(place.agent)} is of another family than this node's ${String(own.agent)}`);
    return undefined;
  }
  // An earlier identity of this very host: sending to it would be sending to ourselves.
  if (place.agent.equals(own.agent)) {
    refuse(`its address ${String(place.agent)} is this node's own`);
    return undefined;
  }
  const keys = [place.vtep, ...(place.vtep6 === undefined ? [] : [place.vtep6])].map(String);
  const taken = [...keys, place.mac].find((key) => held.has(key));
  if (taken !== undefined) {
    refuse(`VTEP ${taken} is held by ${held.get(taken) ?? ''} with a newer grant`);
    return undefined;
  }
  for (const key of [...keys, place.mac]) held.set(key, claimant.node);
  return {
    node: claimant.node,
    ...place,
    subnets: claimSubnets(held, own, claimant, refuse),
    ownsAgentAddress: claimOnce(held, `agent ${String(place.agent)}`, claimant.node),
  };
}

function claimOnce(held: Map<string, NodeId>, key: string, node: NodeId): boolean {
  if (held.has(key)) return false;
  held.set(key, node);
  return true;
}

interface Place {
  readonly vtep: IpAddress;
  readonly vtep6: IpAddress | undefined;
  readonly mac: Mac;
  readonly agent: IpAddress;
}

/** An overlay stored before the cluster had IPv6 carries no IPv6 VTEP, so any of the node's records may. */
function placeOf(records: readonly ParsedRecord[]): Place | string {
  const newest = records.reduce((a, b) => (b.record.grant_epoch > a.record.grant_epoch ? b : a));
  const with6 = records.find(({ record }) => record.vtep_ip6 !== undefined);
  const { vtep, mac, agent, record } = newest;
  if (vtep?.family !== 4) return `its VTEP address "${record.vtep_ip}" is no IPv4 address`;
  if (with6 !== undefined && with6.vtep6?.family !== 6)
    return `its VTEP address "${with6.record.vtep_ip6 ?? ''}" is no IPv6 address`;
  if (mac === undefined) return `its VTEP MAC "${record.vtep_mac}" is no MAC address`;
  if (agent === undefined) return `its address "${record.agent_ip}" is no IP address`;
  return { vtep, vtep6: with6?.vtep6, mac, agent };
}

function claimSubnets(
  held: Map<string, NodeId>,
  own: OwnClaim,
  claimant: Claimant,
  refuse: (reason: string) => void,
): readonly Prefix[] {
  const subnets: Prefix[] = [];
  for (const { record, blocks } of claimant.records)
    for (const { subnet, space } of blocks) {
      // A block outside its overlay would take over routes that are not the overlay's to have.
      if (space === undefined || subnet.length < space.length || !space.contains(subnet.network))
        refuse(`subnet ${String(subnet)} lies outside overlay "${record.overlay}"`);
      else if (subnet.contains(own.agent))
        refuse(`subnet ${String(subnet)} contains this node's address ${String(own.agent)}`);
      else if (!claimOnce(held, String(subnet), claimant.node))
        refuse(`subnet ${String(subnet)} is held by ${held.get(String(subnet)) ?? ''} with a newer grant`);
      else subnets.push(subnet);
    }
  return subnets;
}
