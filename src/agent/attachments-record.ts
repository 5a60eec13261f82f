/** What the journal keeps of one attachment: everything needed to check it, publish it and undo it without memory. */
import { createHash, hash } from 'node:crypto';
import { z } from 'zod';
import { PortolanError } from '../base/errors.ts';
import { interfaceAddress, type InterfaceAddress, type IpAddress } from '../base/ip.ts';
import { parseMac, type Mac } from '../base/mac.ts';
import { portMapping, type Endpoint } from '../model/endpoint.ts';
import { interfaceAddressText, ipText, macText, prefixText } from '../model/text.ts';
import type { Attachment } from '../overlay/desired.ts';
import { HOST_LINK_PREFIX } from '../overlay/marks.ts';

export const attachmentRecord = z.strictObject({
  container: z.string(),
  ifname: z.string(),
  network: z.string(),
  /** `pending`: ADD is under way or died. `ready`: answered. `doomed`: DEL has begun. */
  state: z.enum(['pending', 'ready', 'doomed']),
  hostLink: z.string(),
  bridge: z.string(),
  netns: z.string(),
  /** Inode of the namespace: its identity, for its path may come to mean another one. */
  inode: z.int(),
  addresses: z.array(interfaceAddressText),
  /** One for each address, in the same order. */
  gateways: z.array(ipText),
  mac: macText,
  hostMac: macText,
  mtu: z.int(),
  /** What its configuration allows at most. */
  mtuLimit: z.int().optional(),
  /** Metric of its default routes: not 0 where the container had a default route already. */
  metric: z.int(),
  /** The whole overlay, one network for each address, as far as known. */
  spaces: z.array(prefixText).default([]),
  routes: z.array(z.strictObject({ destination: prefixText, gateway: ipText })),
  ports: z.array(portMapping),
  labels: z.record(z.string(), z.string()),
  name: z.string().optional(),
  network_info: z.json().optional(),
  owner: z.string(),
});
export type AttachmentRecord = z.infer<typeof attachmentRecord>;

export const ATTACHMENT_KEYS = 'attachment/';

export function readAttachment(key: string, value: unknown): AttachmentRecord {
  const parsed = attachmentRecord.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new PortolanError(
    'corrupt',
    `Cannot read "${key}" of the journal: ${z.prettifyError(parsed.error)}`,
    {
      field: key,
      remedy: 'start the version of the agent that wrote it, or restore the journal from a backup',
    },
  );
}

/** Neither a container id nor an interface name may hold a slash, so the key is unambiguous. */
export function attachmentKey(container: string, ifname: string): string {
  return `${ATTACHMENT_KEYS}${container}/${ifname}`;
}

export function attachmentId(record: { readonly container: string; readonly ifname: string }): string {
  return `${record.container}/${record.ifname}`;
}

/** Name of the host's end: 15 characters at most (IFNAMSIZ), the same for the same container and interface. */
export function hostLinkName(container: string, ifname: string): string {
  const digest = hash('sha256', `${container}/${ifname}`, 'hex');
  return `${HOST_LINK_PREFIX}${digest.slice(0, 13)}`;
}

/**
 * The MAC that belongs to an address: whoever gets the address again gets the MAC again, so no neighbour's cache is ever
 * wrong. Locally administered unicast (IEEE 802); the first byte tells container ends from host ends.
 */
export function macOfAddress(address: IpAddress, end: 'container' | 'host'): Mac {
  const first = end === 'container' ? '0a' : '0e';
  const tail =
    address.family === 4
      ? Uint8Array.of(0x70, ...address.bytes())
      : createHash('sha256').update(address.bytes()).digest().subarray(0, 5);
  const bytes = Array.from(tail, (byte) => byte.toString(16).padStart(2, '0'));
  return parseMac([first, ...bytes].join(':')) as Mac;
}

export function addressesOf({ addresses }: AttachmentRecord): readonly InterfaceAddress[] {
  const read = readAddresses.get(addresses);
  if (read !== undefined) return read;
  const fresh = addresses.map((text) => interfaceAddress(text));
  readAddresses.set(addresses, fresh);
  return fresh;
}

/** By the list in the record, which every later state of the attachment shares: each is asked for a dozen times. */
const readAddresses = new WeakMap<readonly string[], readonly InterfaceAddress[]>();

/** As the compiler of the overlay's desired state wants it. */
export function toDesired(record: AttachmentRecord): Attachment {
  return {
    container: record.container,
    ifname: record.ifname,
    overlay: record.network,
    hostLink: record.hostLink,
    addresses: addressesOf(record),
    // While it is made and unmade, its elements are the attachment's own business.
    ports: record.state === 'ready' ? record.ports : [],
  };
}

/** As other nodes get to know it. */
export function toEndpoint(record: AttachmentRecord): Endpoint {
  return {
    container: record.container,
    ifname: record.ifname,
    network: record.network,
    source: 'cni',
    ...(record.name === undefined ? {} : { name: record.name }),
    addresses: [...record.addresses],
    mac: record.mac,
    ports: [...record.ports],
    labels: { ...record.labels },
    ...(record.network_info === undefined ? {} : { network_info: record.network_info }),
  };
}
