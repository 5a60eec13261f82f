/** The registry as others see it: the DC/OS shape of reference "overlay network", section 6, and our own rows. */
import { renderOverlays } from '../ipam/grant.ts';
import type { NodeId } from '../model/names.ts';
import type { AgentOverlay, NetworkConfig, OverlayInfo } from '../model/overlay.ts';
import { keys, nodeRecord, recordNode, type GossipRecord, type NodeRecord } from '../model/record.ts';
import { shownUntil } from '../trust/record-signatures.ts';
import type { Registry } from './registry.ts';
import { noSuchOverlay } from './refusals.ts';
import type { NodeEntry } from './stored.ts';

export interface OverlayMasterState {
  readonly network: NetworkConfig;
  /** Absent when there is none. */
  readonly agents?: readonly { readonly ip: string; readonly overlays: readonly AgentOverlay[] }[];
}

export function overlayMasterState(registry: Registry): OverlayMasterState {
  const agents = registry.ledger
    .nodes()
    .map((entry) => ({ ip: entry.address, overlays: overlaysOf(registry, entry) }));
  return { network: registry.network, ...(agents.length === 0 ? {} : { agents }) };
}

function overlaysOf(registry: Registry, entry: NodeEntry): readonly AgentOverlay[] {
  const states = registry.states(entry.node);
  return renderOverlays(registry.ledger.pool.network, entry.grant).map((overlay) => {
    const state = states.get(overlay.info.name);
    return state === undefined ? overlay : { ...overlay, state };
  });
}

export interface NodeView {
  readonly id: NodeId;
  readonly name: string;
  /** As the node itself publishes it; absent while nothing was heard of it. */
  readonly role?: NodeRecord['role'];
  /** Where it was last; another node may have this address by now: then see `superseded_by`. */
  readonly address: string;
  readonly superseded_by?: NodeId;
  readonly gossip_port: number;
  readonly api_port: number;
  readonly grant_epoch: number;
  readonly vtep_ip: string;
  readonly vtep_ip6?: string;
  readonly vtep_mac: string;
  readonly network_config: NodeEntry['network_config'];
  /** Blocks by overlay, as every agent lists them. */
  readonly overlays: Readonly<Record<string, string>>;
  readonly agent_overlays: readonly AgentOverlay[];
}

export type Roles = ReadonlyMap<NodeId, NodeRecord['role']>;

export function rolesOf(records: Iterable<GossipRecord>): Roles {
  const roles = new Map<NodeId, NodeRecord['role']>();
  for (const { key, value } of records) {
    const node = recordNode(key);
    if (node === undefined || key !== keys.node(node)) continue;
    const parsed = nodeRecord.safeParse(value);
    if (parsed.success) roles.set(node, parsed.data.role);
  }
  return roles;
}

/** The certificate that a node shows with its records; of one that shows none, nothing. */
export function certificateOf(signer: Iterable<GossipRecord>): {
  readonly certificate?: { /** ISO 8601 */ readonly expires: string };
} {
  for (const record of signer) {
    const until = shownUntil(record);
    if (until !== undefined) return { certificate: { expires: new Date(until).toISOString() } };
  }
  return {};
}

export function nodeView(registry: Registry, roles: Roles, entry: NodeEntry): NodeView {
  const { grant } = entry;
  const role = roles.get(entry.node);
  return {
    id: entry.node,
    name: entry.name,
    ...(role === undefined ? {} : { role }),
    address: entry.address,
    ...(entry.superseded_by === undefined ? {} : { superseded_by: entry.superseded_by }),
    gossip_port: entry.gossip_port,
    api_port: entry.api_port,
    grant_epoch: entry.grant_epoch,
    vtep_ip: String(grant.vtepIp),
    ...(grant.vtepIp6 === undefined ? {} : { vtep_ip6: String(grant.vtepIp6) }),
    vtep_mac: grant.vtepMac,
    network_config: entry.network_config,
    overlays: Object.fromEntries(
      grant.overlays.map(({ overlay, subnet, subnet6 }) => [overlay, blockText(subnet, subnet6)]),
    ),
    agent_overlays: overlaysOf(registry, entry),
  };
}

function blockText(...subnets: readonly unknown[]): string {
  return subnets
    .filter((subnet) => subnet !== undefined)
    .map(String)
    .join(' ');
}

export type NetworkView = OverlayInfo & {
  readonly source: 'file' | 'api';
  /** Nodes that hold a block, and how many more can: at most what JSON numbers count, as an IPv6 overlay may have more. */
  readonly nodes: number;
  readonly free_blocks: number;
};

const MOST_COUNTED = BigInt(Number.MAX_SAFE_INTEGER);

export function networkViews(registry: Registry): readonly NetworkView[] {
  return registry.network.overlays.map((info) => {
    const { held, free } = registry.ledger.pool.usage(info.name);
    const { enabled, ...rest } = info;
    const source = registry.isConfigured(info.name) ? 'file' : 'api';
    const freeBlocks = Number(free < MOST_COUNTED ? free : MOST_COUNTED);
    return { ...rest, enabled, source, nodes: held, free_blocks: freeBlocks };
  });
}

export type NetworkDetail = NetworkView & {
  readonly holders: readonly {
    readonly node: NodeId;
    readonly name: string;
    readonly address: string;
    readonly subnet?: string;
    readonly subnet6?: string;
  }[];
};

export function networkDetail(registry: Registry, name: string): NetworkDetail {
  const view = networkViews(registry).find((each) => each.name === name);
  if (view === undefined) throw noSuchOverlay(name);
  const holders = registry.ledger.nodes().flatMap((entry) => {
    const block = entry.grant.overlays.find(({ overlay }) => overlay === name);
    if (block === undefined) return [];
    const { subnet, subnet6 } = block;
    return {
      node: entry.node,
      name: entry.name,
      address: entry.address,
      ...(subnet === undefined ? {} : { subnet: String(subnet) }),
      ...(subnet6 === undefined ? {} : { subnet6: String(subnet6) }),
    };
  });
  return { ...view, holders };
}
