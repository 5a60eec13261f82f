/**
 * The nftables table `inet portolan` as a pure function of what the agent has.
 *
 * Purpose: masquerading, host ports, MSS clamping and the care that VXLAN and `route_localnet` need; the port mapper
 * of the reference without a rule per mapping.
 * Invariants: overlays and mappings are elements of sets and maps, so that one mapping more is one element more
 * (`portMappingElement` with `Nft.change`); the number of rules depends on nothing but the overlays that have a bridge here,
 * for the comparisons that tell containers' sources (source-guard.ts). Within the overlays nobody's address is
 * ever translated, but for a connection that comes back to the bridge it came from.
 * Review notes: a `drop` in any table of a hook is final, an `accept` is not: this table cannot undo the drops of
 * another one. NAT is decided by the first packet of a connection and remembered, so rules may be replaced under
 * traffic. With br_netfilter a connection translated back to its own bridge is not routed but bridged, so a container
 * reaches itself by its host port only if its bridge port has hairpin mode. VIPs have a table of their own (vip/ruleset.ts).
 */
import { comparePrefix, type IpAddress, type Prefix } from '../base/ip.ts';
import type { NftChain, NftElement, NftSet, NftTable, NftTableRef } from '../kernel/nft/types.ts';
import { dockerBridgeName } from '../model/overlay.ts';
export { portElements, portMappingsOf, type PortMapping } from './port-map.ts';
import { dnsAnswerRules, dnsChains, dnsQueryRules, type DnsListen } from './dns-interface.ts';
import { portMappingElement, portMapSets, type PortMapping } from './port-map.ts';
import { acceptLocal, SOURCES_RULES, sourceRules } from './source-guard.ts';

export const TABLE_REF: NftTableRef = { family: 'inet', name: 'portolan' };

/** The whole spaces of all overlays. */
export const overlays4: NftSet = { name: 'overlays4', key: ['ipv4_addr'], interval: true };
export const overlays6: NftSet = { name: 'overlays6', key: ['ipv6_addr'], interval: true };
/** What only this host can reach: the node-local bridge's own. */
export const local4: NftSet = { name: 'local4', key: ['ipv4_addr'], interval: true };
/** What containers send by: the VTEP, and every bridge of an overlay, ours and Docker's. */
export const inside: NftSet = { name: 'inside', key: ['ifname'] };
/** Our bridges of this host, which have `route_localnet`. */
export const bridges: NftSet = { name: 'bridges', key: ['ifname'] };
/** Source and destination on the same bridge: each local subnet with itself. */
export const sameBridge4: NftSet = { name: 'sameBridge4', key: ['ipv4_addr', 'ipv4_addr'], interval: true };
export const sameBridge6: NftSet = { name: 'sameBridge6', key: ['ipv6_addr', 'ipv6_addr'], interval: true };

export interface RulesetOverlay {
  readonly name: string;
  readonly space?: Prefix;
  readonly space6?: Prefix;
  /** `m-<name>`, with its part of this host's block; absent when this host has no block of the overlay. */
  readonly bridge?: string;
  readonly subnet?: Prefix;
  readonly subnet6?: Prefix;
  /** Docker's part of the block. */
  readonly dockerSubnet?: Prefix;
}

export interface RulesetInput {
  readonly overlays: readonly RulesetOverlay[];
  /** Name of the VXLAN device. */
  readonly vtep: string;
  readonly vxlanPort: number;
  /** This host's end of every tunnel, and the device that has it. */
  readonly underlay: IpAddress;
  readonly underlayLink: string;
  /** Of the overlays' bridges, which is no more than the tunnel's. */
  readonly mtu: number;
  readonly portMappings: readonly PortMapping[];
  /** What is sent to and from there needs no connection tracking. */
  readonly dns: DnsListen;
}

export interface RequiredSysctl {
  readonly key: string;
  readonly value: string;
}

/** What the rules need of the kernel: a host port by 127.0.0.1 must be allowed to leave by the bridge. */
export function requiredSysctls({ overlays }: Pick<RulesetInput, 'overlays'>): readonly RequiredSysctl[] {
  return bridgeNames(overlays).map((bridge) => ({
    key: `net/ipv4/conf/${bridge}/route_localnet`,
    value: '1',
  }));
}

/**
 * Every packet of every container meets the base chains: they hold few rules, each beginning with the comparison that
 * most packets fail; what only some need is in chains of its own.
 */
export function ruleset(input: RulesetInput): NftTable {
  return { ...TABLE_REF, sets: sets(input), chains: chains(input) };
}

function sets({ overlays, vtep, portMappings }: RulesetInput): NftTable['sets'] {
  const mappings = portMappings.map(portMappingElement);
  const local = overlays.filter(({ bridge }) => bridge !== undefined);
  return [
    { ...overlays4, elements: outermost(overlays.map(({ space }) => space)).map(alone) },
    { ...overlays6, elements: outermost(overlays.map(({ space6 }) => space6)).map(alone) },
    { ...local4, elements: outermost(local.map(unreachable)).map(alone) },
    { ...inside, elements: insideNames(overlays, vtep).map((name) => ({ key: [name] })) },
    { ...bridges, elements: bridgeNames(overlays).map((name) => ({ key: [name] })) },
    {
      ...acceptLocal,
      elements: [...bridgeNames(overlays), vtep].toSorted().map((name) => ({ key: [name] })),
    },
    { ...sameBridge4, elements: outermost(local.map(({ subnet }) => subnet)).map(withItself) },
    { ...sameBridge6, elements: outermost(local.map(({ subnet6 }) => subnet6)).map(withItself) },
    ...portMapSets.map((set) => ({
      ...set,
      elements: mappings.filter((mapping) => mapping.set === set).map(({ element }) => element),
    })),
  ];
}

/** A bridge whose network has no space of the cluster's: nobody else has a route to it. */
const unreachable = ({ space, space6, subnet }: RulesetOverlay): Prefix | undefined =>
  space === undefined && space6 === undefined ? subnet : undefined;
const alone = (prefix: Prefix): NftElement => ({ key: [prefix] });
const withItself = (prefix: Prefix): NftElement => ({ key: [prefix, prefix] });

const bridgeNames = (overlays: readonly RulesetOverlay[]): readonly string[] =>
  [...new Set(overlays.flatMap(({ bridge }) => bridge ?? []))].toSorted();

const insideNames = (overlays: readonly RulesetOverlay[], vtep: string): readonly string[] =>
  [
    ...new Set([vtep, ...bridgeNames(overlays), ...overlays.map(({ name }) => dockerBridgeName(name))]),
  ].sort();

/** In order, and without those within another, as intervals must not overlap. */
function outermost(prefixes: readonly (Prefix | undefined)[]): readonly Prefix[] {
  const kept: Prefix[] = [];
  const sorted = prefixes.filter((prefix) => prefix !== undefined).toSorted(comparePrefix);
  for (const prefix of sorted) if (kept.at(-1)?.overlaps(prefix) !== true) kept.push(prefix);
  return kept;
}

/** Priorities of base chains, by the names of nft(8). */
const RAW = -300;
const MANGLE = -150;
const DSTNAT = -100;
const SRCNAT = 100;

function chains(input: RulesetInput): readonly NftChain[] {
  return [
    {
      name: 'raw-prerouting',
      base: filter('prerouting', RAW),
      rules: [
        `udp dport ${input.vxlanPort} jump outer`,
        ...dnsQueryRules(input.dns),
        TO_LOOPBACK,
        ...sourceRules({ ...input, own: [input.underlay, ...input.dns.addresses] }),
      ],
    },
    { name: 'sources', rules: [FROM_LOOPBACK, ...SOURCES_RULES] },
    {
      name: 'raw-output',
      base: filter('output', RAW),
      rules: [
        `udp dport ${input.vxlanPort} ${ofTunnel(input, 'saddr')}`,
        ...dnsQueryRules(input.dns),
        ...dnsAnswerRules(input.dns),
      ],
    },
    { name: 'outer', rules: outerRules(input) },
    { name: 'nat-prerouting', base: nat('prerouting', DSTNAT), rules: [TO_THIS_HOST] },
    { name: 'nat-output', base: nat('output', DSTNAT), rules: [TO_THIS_HOST] },
    { name: 'nat-postrouting', base: nat('postrouting', SRCNAT), rules: masqueradeRules(input) },
    { name: 'mangle-forward', base: filter('forward', MANGLE), rules: [TO_CLAMP] },
    { name: 'clamp', rules: clampRules(input) },
    { name: 'host-ports', rules: hostPortRules() },
    ...dnsChains(input.dns),
  ];
}

const filter = (
  hook: 'prerouting' | 'output' | 'forward',
  priority: number,
): NonNullable<NftChain['base']> => ({
  type: 'filter',
  hook,
  priority,
  policy: 'accept',
});
const nat = (
  hook: 'prerouting' | 'output' | 'postrouting',
  priority: number,
): NonNullable<NftChain['base']> => ({
  type: 'nat',
  hook,
  priority,
  policy: 'accept',
});

/**
 * `route_localnet` lets packets of a bridge reach 127/8 and come from it; nobody may use that. Answers to connections
 * from 127/8 are addressed to the bridge here, as conntrack translates them back only later. Every packet is compared, so one
 * byte comes first, where an IPv6 packet has another.
 */
const TO_LOOPBACK = '@nh,128,8 127 ip daddr 127.0.0.0/8 iifname @bridges counter drop';
const FROM_LOOPBACK = 'ip saddr 127.0.0.0/8 iifname @bridges counter drop';

/**
 * The outer packets of VXLAN need no connection tracking, and no other rule here. They come from the underlay, nearly
 * always by the same device, to this host's end of the tunnels; whatever else comes for this host on that port is from
 * nobody who may speak there: the kernel's tunnel asks neither for address nor sender, and would unwrap a container's frames
 * of any source. Containers may use the same port among themselves and towards others. One comparison of an address costs
 * a tenth of looking up both in the sets of overlays, for every packet of the tunnel.
 */
function outerRules(input: RulesetInput): readonly string[] {
  const known = ofTunnel(input, 'daddr');
  return [
    `iifname "${input.underlayLink}" ${known}`,
    `iifname != @inside ${known}`,
    'fib daddr type != unicast counter drop',
  ];
}

function ofTunnel({ underlay }: RulesetInput, end: 'saddr' | 'daddr'): string {
  return `${underlay.family === 4 ? 'ip' : 'ip6'} ${end} ${String(underlay)} notrack accept`;
}

const TO_THIS_HOST = 'fib daddr type local jump host-ports';

/**
 * A mapping for one host address comes before one for all. `::1` is left alone: IPv6 has no `route_localnet`, so
 * nothing sent to it may leave the host.
 */
function hostPortRules(): readonly string[] {
  return [
    'meta nfproto ipv4 dnat ip to ip daddr . meta l4proto . th dport map @portMapOn4',
    'meta nfproto ipv4 dnat ip to meta l4proto . th dport map @portMap4',
    'ip6 daddr ::1 return',
    'meta nfproto ipv6 dnat ip6 to ip6 daddr . meta l4proto . th dport map @portMapOn6',
    'meta nfproto ipv6 dnat ip6 to meta l4proto . th dport map @portMap6',
  ];
}

/**
 * In order: the host's own connections by 127/8 get the bridge's address, or the container would answer to itself;
 * connections back to their own bridge get it, or the answer would take the short way and miss the translation;
 * IPv4 from an overlay to anything outside all overlays gets the host's (reference: IPv6 does not), except by the
 * VTEP, where remote hosts know the way back to the container; whatever leaves the node-local bridge gets the address
 * of the device that it leaves by, whose way back everybody knows. Were that from there to the port of VXLAN, other hosts
 * would take it for this host's own; it goes no further than the overlays.
 */
function masqueradeRules({ vtep, vxlanPort }: RulesetInput): readonly string[] {
  return [
    `udp dport ${vxlanPort} ip saddr @local4 ip daddr != @local4 oifname != @inside counter drop`,
    'ct status dnat ip saddr 127.0.0.0/8 oifname @bridges masquerade',
    'ct status dnat ip saddr . ip daddr @sameBridge4 masquerade',
    'ct status dnat ip6 saddr . ip6 daddr @sameBridge6 masquerade',
    `ip saddr @overlays4 ip daddr != @overlays4 oifname != { "lo", "${vtep}" } masquerade`,
    'ip saddr @local4 ip daddr != @local4 oifname != "lo" masquerade',
  ];
}

/**
 * Only ever lowers the size; found by addresses, so that Docker's bridges of an overlay are covered as well. `rt mtu` looks
 * up two routes, which costs more than all other rules that a connection meets: between containers, where the way is
 * known, only a size that is too large comes so far, and nothing is set twice.
 */
function clampRules({ mtu }: RulesetInput): readonly string[] {
  const families = [
    ['ip', '@overlays4', mtu - IPV4_TCP_BYTES],
    ['ip6', '@overlays6', mtu - IPV6_TCP_BYTES],
  ] as const;
  return families.flatMap(([word, set, fits]) => [
    `${word} saddr ${set} ${word} daddr ${set} tcp option maxseg size <= ${fits} accept`,
    `${word} saddr ${set} tcp option maxseg size set rt mtu accept`,
    `${word} daddr ${set} tcp option maxseg size set rt mtu accept`,
  ]);
}

/** Headers without options, as the size counts them (RFC 9293, 3.7.1). */
const [IPV4_TCP_BYTES, IPV6_TCP_BYTES] = [40, 60];

/**
 * `tcp flags & (syn | rst) == syn`, without asking each packet for its protocol first: what is no TCP has no such option, and
 * is let go by there.
 */
const TO_CLAMP = '@th,104,8 & 0x6 == 0x2 jump clamp';
