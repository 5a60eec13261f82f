/** What the cluster's networks mean for VIPs: which spaces there are, and which addresses are taken. */
import {
  ip,
  parseInterfaceAddress,
  parseIp,
  parsePrefix,
  Prefix,
  prefix,
  type IpAddress,
} from '../base/ip.ts';
import { DNS_ADDRESSES } from '../model/dns.ts';
import type { Reserved } from '../vip/table.ts';
import type { RecordView } from './record-view.ts';

/** RFC 6890: nobody's to give. */
const special: readonly Reserved[] = [
  ...['0.0.0.0/8', '::/128'].map((text) => [text, 'no host at all'] as const),
  ...['127.0.0.0/8', '::1/128'].map((text) => [text, 'the loopback device'] as const),
  ...['169.254.0.0/16', 'fe80::/10'].map((text) => [text, 'single links (link-local addresses)'] as const),
  // No packet has such an address: programs that are given one speak IPv4.
  ...['::ffff:0:0/96'].map((text) => [text, 'IPv4 (mapped addresses)'] as const),
  ...['224.0.0.0/3', 'ff00::/8'].map((text) => [text, 'multicast and reserved ranges'] as const),
].map(([text, owner]) => ({ prefix: prefix(text), owner }));

const nameServers: readonly Reserved[] = DNS_ADDRESSES.map((text) => ({
  prefix: alone(ip(text)),
  owner: 'the DNS server of every host',
}));

interface NamedSpaces {
  readonly name: string;
  readonly spaces: readonly (string | undefined)[];
}

/** The spaces of all overlays: those that nodes tell of, and `more`. */
export function overlaySpaces(records: RecordView, more: readonly NamedSpaces[] = []): readonly Reserved[] {
  const told = records
    .overlays()
    .filter(({ node }) => !records.removed().has(node))
    .map(({ record }) => ({ name: record.overlay, spaces: [record.space, record.space6] }));
  const spaces = new Map<string, Reserved>();
  for (const { name, spaces: texts } of [...more, ...told])
    for (const text of texts) {
      const parsed = text === undefined || spaces.has(text) ? undefined : parsePrefix(text);
      if (text !== undefined && parsed !== undefined)
        spaces.set(text, { prefix: parsed, owner: `the overlay "${name}"` });
    }
  return Array.from(spaces.values());
}

/** Addresses that mean something else everywhere, the hosts', and the network of their VTEPs. */
export function hostAddresses(records: RecordView): readonly Reserved[] {
  const hosts = records.nodes().flatMap(({ name, address }) => {
    const parsed = parseIp(address);
    if (parsed === undefined) return [];
    return { prefix: alone(parsed), owner: `the host ${name}` };
  });
  return [...special, ...nameServers, ...hosts, ...vtepNetworks(records)];
}

/** A cluster has one of each family: any node tells which. */
function vtepNetworks(records: RecordView): readonly Reserved[] {
  const told = records.overlays().map(({ record }) => record);
  const addresses = [told[0]?.vtep_ip, told.find((each) => each.vtep_ip6 !== undefined)?.vtep_ip6];
  return addresses.flatMap((text) => {
    const network = text === undefined ? undefined : parseInterfaceAddress(text)?.prefix;
    return network === undefined ? [] : { prefix: network, owner: `the network ${String(network)} of VTEPs` };
  });
}

function alone(address: IpAddress): Prefix {
  return new Prefix(address, address.family === 4 ? 32 : 128);
}
