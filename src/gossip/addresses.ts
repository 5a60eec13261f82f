/** Where nodes say they can be reached, and addresses of peers in text form. */
import { parseIp } from '../base/ip.ts';
import type { NodeId } from '../model/names.ts';
import { keys, recordNode, type GossipRecord } from '../model/record.ts';
import type { PeerAddress } from '../peer/types.ts';
import type { AddressText } from './links.ts';

/** The node whose own record it is; `undefined` for every other record. */
export function introducedNode({ key }: GossipRecord): NodeId | undefined {
  const node = recordNode(key);
  return node === undefined || key !== keys.node(node) ? undefined : node;
}

/**
 * The address in a node's own record. Read by hand, as there are as many as nodes, and only what is needed here: a later
 * version's may hold more.
 */
export function announcedAddress({ value }: GossipRecord): AddressText | undefined {
  const { address, gossip_port: port } = (value ?? {}) as { address?: unknown; gossip_port?: unknown };
  if (typeof address !== 'string' || parseIp(address) === undefined) return undefined;
  if (typeof port !== 'number' || !Number.isInteger(port) || port < 1 || port > 65_535) return undefined;
  return formatPeerAddress({ host: address, port });
}

export function formatPeerAddress(address: PeerAddress): AddressText {
  return address.host.includes(':') ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`;
}

/** Parses `10.0.0.1:62501`, `[fd01::1]:62501`, `host:62501`; `undefined` otherwise. */
export function parsePeerAddress(text: AddressText): PeerAddress | undefined {
  const match = /^(?:\[([0-9a-f:]+)\]|([^:[\]]+)):([0-9]{1,5})$/i.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  return host === undefined || port < 1 || port > 65_535 ? undefined : { host, port };
}
