/**
 * Who holds what: from the records of all nodes to the remote nodes that are believed.
 *
 * Two live holders of one block or VTEP are impossible while records come from one committed store; they meet here
 * only when one of them is stale (a node cut off while its block was given away, a restored backup). The grant's
 * fencing epoch decides: the higher is the true one. Equal epochs, which no master gives, fall to the lower node id,
 * so that every node decides alike. That order, oldest first, is also the order of the result, which therefore does not
 * depend on the order of the records.
 */
import type { IpAddress, Prefix } from '../base/ip.ts';
import type { Mac } from '../base/mac.ts';
import type { NodeId } from '../model/names.ts';
import type { NodeOverlayRecord, VoidClaim } from './desired.ts';
import { SLICE } from './slice.ts';
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

/** IPv4 by its number: text of thousands of nodes would be made and hashed for nothing. */
type Key = number | string;

/** Who holds what so far. */
interface Held {
  readonly vteps: Map<Key, NodeId>;
  readonly macs: Map<Mac, NodeId>;
  readonly blocks: Map<Key, NodeId>;
  readonly agents: Map<Key, NodeId>;
}

/** Decides all claims, in slices; the result does not depend on the order of the records. */
export function* resolveClaims(
  own: OwnClaim,
  records: readonly NodeOverlayRecord[],
  removed: ReadonlySet<NodeId>,
  parser: RecordParser,
): Generator<undefined, Claims> {
  const held: Held = { vteps: new Map(), macs: new Map(), blocks: new Map(), agents: new Map() };
  const voided: VoidClaim[] = [];
  const lost: OwnLoss[] = [];
  const remotes: RemoteNode[] = [];
  const claimants = yield* gather(own, records, removed, parser);
  let count = 0;
  for (const claimant of claimants.sort(newestFirst)) {
    if (count++ % SLICE === 0) yield;
    if (claimant.node === own.node) lost.push(...claimOwn(held, own));
    else {
      const remote = claimRemote(held, own, claimant, (reason) =>
        voided.push({ node: claimant.node, reason }),
      );
      if (remote !== undefined) remotes.push(remote);
    }
  }
  return { remotes: remotes.reverse(), voided, lost };
}

function newestFirst(a: Claimant, b: Claimant): number {
  return b.epoch - a.epoch || (a.node < b.node ? -1 : 1);
}

function* gather(
  own: OwnClaim,
  records: readonly NodeOverlayRecord[],
  removed: ReadonlySet<NodeId>,
  parser: RecordParser,
): Generator<undefined, Claimant[]> {
  const byNode = new Map<NodeId, { node: NodeId; epoch: number; records: ParsedRecord[] }>();
  byNode.set(own.node, { node: own.node, epoch: own.epoch, records: [] });
  let count = 0;
  for (const { node, record } of records) {
    if (count++ % SLICE === 0) yield;
    if (node === own.node || removed.has(node)) continue;
    const claimant = byNode.get(node);
    if (claimant === undefined)
      byNode.set(node, { node, epoch: record.grant_epoch, records: [parser.parse(record)] });
    else {
      claimant.records.push(parser.parse(record));
      claimant.records.sort((a, b) => (a.record.overlay < b.record.overlay ? -1 : 1));
      claimant.epoch = Math.max(claimant.epoch, record.grant_epoch);
    }
  }
  return [...byNode.values()];
}

function addressKey(address: IpAddress): Key {
  return typeof address.bits === 'number' ? address.bits : String(address);
}

/** Below 2^38: exact. */
function blockKey({ network, length }: Prefix): Key {
  return typeof network.bits === 'number' ? network.bits * 64 + length : `${String(network)}/${length}`;
}

function claimOwn(held: Held, own: OwnClaim): readonly OwnLoss[] {
  const lost: OwnLoss[] = [];
  const claim = <K>(map: Map<K, NodeId>, key: K, overlay: string | undefined, what: string): void => {
    const holder = map.get(key);
    if (holder === undefined) map.set(key, own.node);
    else lost.push({ overlay, what, holder });
  };
  for (const vtep of own.vteps) claim(held.vteps, addressKey(vtep), undefined, `VTEP ${String(vtep)}`);
  claim(held.macs, own.mac, undefined, `VTEP ${own.mac}`);
  for (const { overlay, subnet } of own.blocks)
    claim(held.blocks, blockKey(subnet), overlay, `subnet ${String(subnet)}`);
  return lost;
}

function claimRemote(
  held: Held,
  own: OwnClaim,
  { node, records }: Claimant,
  refuse: (reason: string) => void,
): RemoteNode | undefined {
  const place = placeOf(records);
  const objection = typeof place === 'string' ? place : (objectionTo(place, own) ?? takenBy(held, place));
  if (typeof place === 'string' || objection !== undefined) {
    refuse(objection ?? '');
    return undefined;
  }
  const { vtep, vtep6, mac, agent } = place;
  held.vteps.set(addressKey(vtep), node);
  if (vtep6 !== undefined) held.vteps.set(addressKey(vtep6), node);
  held.macs.set(mac, node);
  const subnets = claimSubnets(held, own, node, records, refuse);
  const ownsAgentAddress = claimOnce(held.agents, addressKey(agent), node);
  return { node, vtep, vtep6, mac, agent, subnets, ownsAgentAddress };
}

function objectionTo({ agent }: Place, own: OwnClaim): string | undefined {
  if (agent.family !== own.agent.family)
    return `its address ${String(agent)} is of another family than this node's ${String(own.agent)}`;
  // An earlier identity of this very host: sending to it would be sending to ourselves.
  return agent.equals(own.agent) ? `its address ${String(agent)} is this node's own` : undefined;
}

function takenBy({ vteps, macs }: Held, { vtep, vtep6, mac }: Place): string | undefined {
  const holders = [
    { what: vtep, holder: vteps.get(addressKey(vtep)) },
    { what: vtep6, holder: vtep6 === undefined ? undefined : vteps.get(addressKey(vtep6)) },
    { what: mac, holder: macs.get(mac) },
  ];
  const taken = holders.find(({ holder }) => holder !== undefined);
  return taken === undefined
    ? undefined
    : `VTEP ${String(taken.what)} is held by ${taken.holder ?? ''} with a newer grant`;
}

function claimOnce<K>(held: Map<K, NodeId>, key: K, node: NodeId): boolean {
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
  { blocks: held }: Held,
  own: OwnClaim,
  node: NodeId,
  records: readonly ParsedRecord[],
  refuse: (reason: string) => void,
): readonly Prefix[] {
  const subnets: Prefix[] = [];
  for (const { record, blocks } of records)
    for (const { subnet, space } of blocks) {
      // A block outside its overlay would take over routes that are not the overlay's to have.
      if (space === undefined || subnet.length < space.length || !space.contains(subnet.network))
        refuse(`subnet ${String(subnet)} lies outside overlay "${record.overlay}"`);
      else if (subnet.contains(own.agent))
        refuse(`subnet ${String(subnet)} contains this node's address ${String(own.agent)}`);
      else if (!claimOnce(held, blockKey(subnet), node))
        refuse(`subnet ${String(subnet)} is held by ${held.get(blockKey(subnet)) ?? ''} with a newer grant`);
      else subnets.push(subnet);
    }
  return subnets;
}
