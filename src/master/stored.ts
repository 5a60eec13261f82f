/**
 * The master's part of the store.
 *
 * | key | value |
 * |---|---|
 * | `cluster/id` | `{id}`, made once |
 * | `cluster/epoch` | `{epoch}`, written with every change: the last fencing epoch, and what tells one writer from two |
 * | `cluster/network` | the network as published to agents |
 * | `cluster/masters` | `{masters}`, as published |
 * | `nodes/<id>` | a node: who it is, where it was last, what it holds |
 * | `removed/<id>` | a node that the operator removed; its id never comes back |
 * | `networks/<name>` | an overlay added through the API |
 */
import { z } from 'zod';
import { parseInterfaceAddress, parsePrefix } from '../base/ip.ts';
import { parseMac } from '../base/mac.ts';
import { PortolanError } from '../base/errors.ts';
import type { Grant, OverlayBlock } from '../ipam/grant.ts';
import type { NodeId } from '../model/names.ts';
import { agentNetworkConfig, overlayInfo } from '../model/overlay.ts';
import { interfaceAddressText, ipText, macText, prefixText } from '../model/text.ts';
import type { StoreEntry } from '../store/types.ts';

export const storeKeys = {
  clusterId: 'cluster/id',
  epoch: 'cluster/epoch',
  network: 'cluster/network',
  masters: 'cluster/masters',
  nodes: 'nodes/',
  node: (id: string) => `nodes/${id}`,
  removed: 'removed/',
  removedNode: (id: string) => `removed/${id}`,
  networks: 'networks/',
  overlay: (name: string) => `networks/${name}`,
} as const;

const nodeId = z.string().regex(/^n[a-z2-7]{25}$/) as unknown as z.ZodType<NodeId>;

const storedBlock = z.strictObject({
  overlay: z.string(),
  subnet: prefixText.optional(),
  subnet6: prefixText.optional(),
  mesos_bridge: z.boolean(),
  docker_bridge: z.boolean(),
});

export const storedNode = z.strictObject({
  node: nodeId,
  name: z.string(),
  address: ipText,
  gossip_port: z.int(),
  api_port: z.int(),
  network_config: agentNetworkConfig,
  grant_epoch: z.int(),
  /** The node that registered with this node's address after it. */
  superseded_by: nodeId.optional(),
  vtep_ip: interfaceAddressText,
  vtep_ip6: interfaceAddressText.optional(),
  vtep_mac: macText,
  blocks: z.array(storedBlock),
});
type StoredNode = z.infer<typeof storedNode>;

export const storedRemoval = z.strictObject({
  node: nodeId,
  name: z.string(),
  address: ipText,
  grant_epoch: z.int(),
});
export type Removal = z.infer<typeof storedRemoval>;

export const storedEpoch = z.strictObject({ epoch: z.int().nonnegative() });
export const storedOverlay = overlayInfo;

/** A node as the master knows it: identity, last whereabouts, grant. */
export type NodeEntry = Omit<StoredNode, 'vtep_ip' | 'vtep_ip6' | 'vtep_mac' | 'blocks' | 'superseded_by'> & {
  readonly superseded_by: NodeId | undefined;
  readonly grant: Grant;
};

export function encodeNode(entry: NodeEntry): string {
  const { grant, superseded_by, ...rest } = entry;
  const stored: StoredNode = {
    ...rest,
    ...(superseded_by === undefined ? {} : { superseded_by }),
    vtep_ip: String(grant.vtepIp),
    ...(grant.vtepIp6 === undefined ? {} : { vtep_ip6: String(grant.vtepIp6) }),
    vtep_mac: grant.vtepMac,
    blocks: grant.overlays.map(({ overlay, subnet, subnet6, mesosBridge, dockerBridge }) => ({
      overlay,
      ...(subnet === undefined ? {} : { subnet: String(subnet) }),
      ...(subnet6 === undefined ? {} : { subnet6: String(subnet6) }),
      mesos_bridge: mesosBridge,
      docker_bridge: dockerBridge,
    })),
  };
  return JSON.stringify(stored);
}

export function decodeNode(stored: StoreEntry): NodeEntry {
  const { vtep_ip, vtep_ip6, vtep_mac, blocks, superseded_by, ...rest } = decodeStored(storedNode, stored);
  const grant: Grant = {
    vtepIp: wanted(parseInterfaceAddress(vtep_ip), stored),
    ...(vtep_ip6 === undefined ? {} : { vtepIp6: wanted(parseInterfaceAddress(vtep_ip6), stored) }),
    vtepMac: wanted(parseMac(vtep_mac), stored),
    overlays: blocks.map((block) => decodeBlock(block, stored)),
  };
  return { ...rest, superseded_by, grant };
}

function decodeBlock(block: z.infer<typeof storedBlock>, stored: StoreEntry): OverlayBlock {
  const { overlay, subnet, subnet6, mesos_bridge, docker_bridge } = block;
  return {
    overlay,
    ...(subnet === undefined ? {} : { subnet: wanted(parsePrefix(subnet), stored) }),
    ...(subnet6 === undefined ? {} : { subnet6: wanted(parsePrefix(subnet6), stored) }),
    mesosBridge: mesos_bridge,
    dockerBridge: docker_bridge,
  };
}

/** Parses a stored value; one that does not fit its schema is damage or another version's, never ignored. */
export function decodeStored<Schema extends z.ZodType>(schema: Schema, stored: StoreEntry): z.output<Schema> {
  try {
    return schema.parse(JSON.parse(stored.value));
  } catch (error) {
    throw unreadable(stored, error);
  }
}

function wanted<T>(value: T | undefined, stored: StoreEntry): T {
  if (value === undefined) throw unreadable(stored, undefined);
  return value;
}

function unreadable({ key }: StoreEntry, cause: unknown): PortolanError {
  return new PortolanError(
    'corrupt',
    `Cannot read key "${key}" of the store: it is not what this version writes`,
    {
      field: key,
      remedy: 'use the version of Portolan that wrote it, or restore the state directory from a backup',
      cause,
    },
  );
}
