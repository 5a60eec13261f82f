/** The DNS section of the configuration as values. */
import { readFileSync } from 'node:fs';
import { parseIp, type IpAddress } from '../base/ip.ts';
import type { AgentConfig } from '../model/config.ts';
import { DNS_PORT, parseUpstream, type DnsUpstream } from '../model/dns.ts';
import type { CustomZones } from '../dns/cluster-names.ts';
import { label } from '../model/dns-name.ts';
import type { ForwardingRules } from '../dns/upstreams.ts';
import type { DnsListen } from '../overlay/dns-interface.ts';

/** Where the server listens, and on its own device; nowhere when it is switched off. */
export function dnsListen({ dns, network_config: network }: AgentConfig): DnsListen {
  const addresses = dns.enabled ? parsedAll(dns.addresses) : [];
  return {
    addresses: addresses.filter(({ family }) => family === 4 || network.enable_ipv6),
    port: dns.port,
  };
}

/** All addresses that it listens on: those of the host's that the operator names, too. */
export function dnsServes(config: AgentConfig): DnsListen {
  const { addresses, port } = dnsListen(config);
  if (addresses.length === 0) return { addresses, port };
  return { addresses: [...addresses, ...parsedAll(config.dns.host_addresses)], port };
}

function parsedAll(texts: readonly string[]): IpAddress[] {
  return texts.flatMap((text) => parseIp(text) ?? []);
}

export function customZones({ dns }: AgentConfig): CustomZones {
  const lower = (name: string): string => name.toLowerCase().replace(/\.$/, '');
  return new Map(
    Object.entries(dns.zones).map(([zone, records]) => [
      lower(zone),
      new Map(records.map(({ name, value }) => [label(name), lower(value)])),
    ]),
  );
}

/** resolv.conf(5) reads no more. */
const SERVERS_MAX = 3;

/** The servers that a container with these addresses is told of: those it has a way to. */
export function serversFor({ addresses }: DnsListen, own: readonly IpAddress[]): readonly string[] {
  return addresses
    .filter(({ family }) => own.some((each) => each.family === family))
    .slice(0, SERVERS_MAX)
    .map(String);
}

/** `resolvConf`: the text of the host's own. */
export function forwardingRules(config: AgentConfig, resolvConf: string): ForwardingRules {
  const { dns } = config;
  const own = parsedAll([...dns.addresses, ...dns.host_addresses]);
  const parsed = (texts: readonly string[]): DnsUpstream[] =>
    texts.flatMap((text) => parseUpstream(text) ?? []);
  // Asking ourselves would go round for ever.
  const foreign = (list: readonly DnsUpstream[]): DnsUpstream[] =>
    list.filter(({ address, port }) => port !== dns.port || !own.some((each) => each.equals(address)));
  const zones = Object.entries(dns.forward_zones).map(
    ([zone, servers]) => [zone.toLowerCase().replace(/\.$/, ''), foreign(parsed(servers))] as const,
  );
  const upstreams = dns.upstreams === undefined ? nameServers(resolvConf) : parsed(dns.upstreams);
  return { upstreams: foreign(upstreams), zones: new Map(zones) };
}

/** resolv.conf(5). An address with a zone id is none that we could ask from every interface. */
function nameServers(text: string): DnsUpstream[] {
  return text.split('\n').flatMap((line) => {
    const [keyword, server = ''] = line.trim().split(/\s+/);
    const address: IpAddress | undefined = keyword === 'nameserver' ? parseIp(server) : undefined;
    return address === undefined ? [] : [{ address, port: DNS_PORT }];
  });
}

export function readResolvConf(path = '/etc/resolv.conf'): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
