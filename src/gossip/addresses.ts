/** Where nodes say they can be reached, and addresses of peers in text form. */
import { z } from 'zod';
import { parseIp } from '../base/ip.ts';
import type { NodeId } from '../model/names.ts';
import { keys, recordNode, type GossipRecord } from '../model/record.ts';
import type { PeerAddress } from '../peer/types.ts';
import type { AddressText } from './links.ts';

/** Only what is needed here: a later version's record may hold more. */
const reachable = z.object({ address: z.string(), gossip_port: z.int().min(1).max(65_535) });

/** The address in a node's own record; `undefined` for every other record. */
export function announcedAddress(
  record: GossipRecord,
): { readonly node: NodeId; readonly address: AddressText } | undefined {
  const node = recordNode(record.key);
  if (node === undefined || record.key !== keys.node(node)) return undefined;
  const read = reachable.safeParse(record.value);
  if (!read.success || parseIp(read.data.address) === undefined) return undefined;
  return { node, address: formatPeerAddress({ host: read.data.address, port: read.data.gossip_port }) };
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
