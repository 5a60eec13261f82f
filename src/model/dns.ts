/**
 * The DNS section of an agent's configuration, and what everybody knows of its server (reference "VIPs and DNS",
 * section 6).
 */
import { z } from 'zod';
import { parseIp, type IpAddress } from '../base/ip.ts';
import { label } from './dns-name.ts';
import { ipText } from './text.ts';

export const DNS_PORT = 53;
/** Below it are the names of VIPs. */
export const VIP_DOMAIN = 'l4lb.thisdcos.directory';
/** The addresses of DC/OS: the same on every host, reached from that host alone. */
export const DNS_ADDRESSES = ['198.51.100.1', '198.51.100.2', '198.51.100.3', 'fd01:d::c633:6401'] as const;
/** What an agent's API answers on 127.0.0.1, as the node daemon of DC/OS did. */
export const LOCAL_API_PORT = 62_080;

export interface DnsUpstream {
  readonly address: IpAddress;
  readonly port: number;
}

/** `10.0.0.2`, `10.0.0.2:5353`, `fd00::1`, `[fd00::1]:5353`. */
export function parseUpstream(text: string): DnsUpstream | undefined {
  const plain = parseIp(text);
  if (plain !== undefined) return { address: plain, port: DNS_PORT };
  const [, host = '', digits = ''] =
    /^(?:\[(?=.*:.*:)|(?!.*:.*:))([^[\]]+?)\]?:([0-9]{1,5})$/.exec(text) ?? [];
  const address = parseIp(host);
  const port = Number(digits);
  if (address === undefined || port < 1 || port > 65_535) return undefined;
  if ((address.family === 6) !== text.startsWith('[')) return undefined;
  return { address, port };
}

/** Names that are answered by Portolan itself: forwarding them elsewhere would never happen. */
const OWN_ZONES = ['thisdcos.directory', 'thisdcos.global', 'mesos', 'zk', 'spartan', 'localhost'];

const upstream = z.string().refine((text) => parseUpstream(text) !== undefined, {
  error: (issue) => `"${String(issue.input)}" is no server: write ADDRESS, ADDRESS:PORT or [IPV6]:PORT`,
});

/** Servers by zone, without the last dot of its name. */
const forwardZones = z.record(z.string(), z.array(upstream).min(1).max(16)).superRefine((zones, context) => {
  for (const zone of Object.keys(zones)) {
    const problem = zoneProblem(zone);
    if (problem !== undefined) context.addIssue({ code: 'custom', path: [zone], message: problem });
  }
});

/** RFC 1035, section 2.3.4, of a name as text. */
export const NAME_BYTES_MAX = 253;
const NAME = /^[a-z0-9_][a-z0-9_-]{0,62}(\.[a-z0-9_][a-z0-9_-]{0,62})*$/;
const isName = (name: string): boolean => NAME.test(name) && name.length <= NAME_BYTES_MAX;
const bareName = (text: string): string => text.toLowerCase().replace(/\.$/, '');

/** Zones that are made of what the cluster has. */
const MADE_ZONES = ['l4lb', 'dclb', 'dcos', 'mesos'].map((word) => `${word}.thisdcos.directory`);

const alias = z.strictObject({
  type: z.literal('cname').default('cname'),
  name: z
    .string()
    .refine((text) => label(text) !== '', 'leaves nothing for a DNS name: use letters and digits'),
  value: z.string().refine((text) => isName(bareName(text)), {
    error: (issue) => `"${String(issue.input)}" is no name that it could lead to`,
  }),
});

/** Other words for names, by zone: `{corp.thisdcos.directory: [{name: db, value: db.marathon.l4lb.thisdcos.directory}]}`. */
const customZones = z.record(z.string(), z.array(alias).max(1000)).superRefine((zones, context) => {
  for (const [zone, records] of Object.entries(zones)) {
    const problem = customZoneProblem(zone, records);
    if (problem !== undefined) context.addIssue({ code: 'custom', path: [zone], message: problem });
  }
});

function customZoneProblem(text: string, records: readonly z.infer<typeof alias>[]): string | undefined {
  const zone = bareName(text);
  if (!isName(zone) || !zone.endsWith('.thisdcos.directory'))
    return `"${text}" is no zone of one's own: write NAME.thisdcos.directory`;
  if (MADE_ZONES.some((made) => zone === made || zone.endsWith(`.${made}`)))
    return `"${text}" is made of what the cluster has: choose another name`;
  const words = records.map(({ name }) => label(name));
  const twice = words.find((word, index) => words.indexOf(word) !== index);
  if (twice !== undefined) return `"${twice}" is there twice`;
  const long = words.find((word) => !isName(`${word}.${zone}`));
  return long === undefined ? undefined : `"${long}.${zone}" is too long for a name`;
}

function zoneProblem(text: string): string | undefined {
  const zone = bareName(text);
  if (!isName(zone))
    return `"${text}" is no zone: write labels of letters, digits and "-" with dots between, such as corp.example`;
  return OWN_ZONES.some((own) => zone === own || zone.endsWith(`.${own}`))
    ? `"${text}" is answered by Portolan itself: leave it out`
    : undefined;
}

const differ = (list: readonly string[]): boolean =>
  new Set(list.map((text) => String(parseIp(text)))).size === list.length;
const TWICE = { error: 'an address is there twice' };

const seconds = z.int().min(0).max(86_400);

export const dnsConfig = z.strictObject({
  enabled: z.boolean().default(true),
  /** Where the server listens. They are put on an interface of this host's; nobody else can reach them. */
  addresses: z
    .array(ipText)
    .min(1)
    .max(8)
    .refine(differ, TWICE)
    .default([...DNS_ADDRESSES]),
  /** Where it listens besides, for others: addresses that this host has anyway. DC/OS did so on masters. */
  host_addresses: z.array(ipText).max(8).refine(differ, TWICE).default([]),
  port: z.int().min(1).max(65_535).default(DNS_PORT),
  /** Whom to ask for all other names; absent = the name servers of /etc/resolv.conf, but for ourselves. */
  upstreams: z.array(upstream).max(16).optional(),
  /** Servers by zone. Of several zones that a name is in, the longest is meant. */
  forward_zones: forwardZones.default({}),
  zones: customZones.default({}),
  /** Seconds that others may keep names of `thisdcos.directory`. */
  ttl: seconds.default(5),
  /** Seconds that others may keep names of `mesos`. */
  mesos_ttl: seconds.default(60),
});
export type DnsConfig = z.infer<typeof dnsConfig>;

/** A server that does not answer is given up soon, as another one will. */
export const RESOLVER_OPTIONS = ['timeout:1', 'attempts:3'] as const;

/** resolv.conf(5) of a host or container that asks these servers, as DC/OS wrote it. */
export function renderResolvConf(servers: readonly string[]): string {
  return `${servers.map((server) => `nameserver ${server}\n`).join('')}options ${RESOLVER_OPTIONS.join(' ')}\n`;
}
