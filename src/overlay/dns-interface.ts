/**
 * Where this host's DNS server is reached: addresses on a device of their own, without translation and tracking.
 *
 * Any device would do, since an address of the host is the host's on all of them; on one of our own, what is ours is
 * known without memory. It is a bridge without ports: the `dummy` kind is a module that not every host has. The
 * addresses are whole prefixes, so no route to anywhere else comes with them, and every container reaches them by its
 * gateway, which is this host.
 */
import { InterfaceAddress, type IpAddress } from '../base/ip.ts';
import type { Mac } from '../base/mac.ts';
import type { NftChain } from '../kernel/nft/types.ts';
import type { Address } from '../kernel/types.ts';
import type { DesiredLink, DesiredSysctl } from './desired.ts';
import { DNS_ALIAS } from './marks.ts';

export const DNS_LINK = 'p-dns';
/** Locally administered; nobody is ever asked for it. */
const MAC = '02:50:00:00:00:35' as Mac;
const MTU = 1500;

export interface DnsListen {
  readonly addresses: readonly IpAddress[];
  readonly port: number;
}

export function dnsLinks({ addresses }: DnsListen): readonly DesiredLink[] {
  if (addresses.length === 0) return [];
  return [{ name: DNS_LINK, link: { kind: 'bridge' }, mtu: MTU, mac: MAC, alias: DNS_ALIAS, overlays: [] }];
}

export function dnsAddresses({ addresses }: DnsListen): readonly Address[] {
  return addresses.map((address) => ({
    link: DNS_LINK,
    address: new InterfaceAddress(address, address.family === 4 ? 32 : 128),
  }));
}

export function dnsSysctls({ addresses }: DnsListen): readonly DesiredSysctl[] {
  if (addresses.every(({ family }) => family === 4)) return [];
  return [{ key: `net/ipv6/conf/${DNS_LINK}/disable_ipv6`, value: '0', link: DNS_LINK, overlays: [] }];
}

/**
 * The port is compared first, once for both families: nearly every packet fails there, and every packet of every
 * connection comes here.
 */
export function dnsQueryRules({ addresses, port }: DnsListen): readonly string[] {
  return addresses.length === 0 ? [] : [`th dport ${port} jump ${QUERIES}`];
}

/** Only where this host sends: what it has sent to itself stays untracked when it arrives. */
export function dnsAnswerRules({ addresses, port }: DnsListen): readonly string[] {
  return addresses.length === 0 ? [] : [`th sport ${port} jump ${ANSWERS}`];
}

const [QUERIES, ANSWERS] = ['dns-queries', 'dns-answers'];

/** What the rules lead to. */
export function dnsChains({ addresses }: DnsListen): readonly NftChain[] {
  if (addresses.length === 0) return [];
  const rules = (end: 'saddr' | 'daddr'): readonly string[] =>
    ([4, 6] as const).flatMap((family) => {
      const list = addresses.filter((address) => address.family === family).map(String);
      return list.length === 0
        ? []
        : [`${family === 4 ? 'ip' : 'ip6'} ${end} { ${list.join(', ')} } notrack`];
    });
  return [
    { name: QUERIES, rules: rules('daddr') },
    { name: ANSWERS, rules: rules('saddr') },
  ];
}
