/**
 * The two nft tables of the VIPs: rules that never change, and the sets that do (DESIGN decision 9).
 *
 * How a new connection to a VIP goes: `services` says by address, protocol and port how many slots the VIP has; the
 * chain for that number draws one; `slots` says by address, protocol, port and slot where to. All that changes is
 * elements, and every rule is there whether there are VIPs or not.
 *
 * Invariants: only the first packet of a connection comes here, so that replacing elements never moves an established
 * one, and that no other packet pays for VIPs: there is no base chain but those of NAT; sources are kept between
 * containers, except for a backend that calls its own VIP; a connection to the address of a VIP that is not translated
 * is refused where it would be, and never routed.
 * Review notes: nft has no variable modulus, hence a chain for each number of slots and share of them. What `services`
 * answers has to be kept between two rules: in the packet's priority, which routing sets anew after this, since marks and
 * connection marks belong to others; it is put back to none. Our chains come before those of `inet portolan` and Docker
 * (priorities -110 and 90 instead of -100 and 100): the first that translates decides. `snat to ip saddr` keeps the source
 * for good, so that no later chain masquerades it. Refusing in NAT needs Linux 5.9. A packet that belongs to no connection
 * (out of its window, say) is let go by and ends at the VIPs' route: an answer would end the connection that it was of. A
 * connection from before the rules is known already and does not come here; the agent has it forgotten (agent/vips.ts).
 */
import type { IpAddress, Prefix } from '../base/ip.ts';
import type { NftChain, NftSet, NftTable, NftTableRef } from '../kernel/nft/types.ts';

export const VIP_TABLE: NftTableRef = { family: 'inet', name: 'portolan_vip' };
/** Sends answers between two containers of one bridge through the host, which has to translate them. */
export const VIP_BRIDGE_TABLE: NftTableRef = { family: 'bridge', name: 'portolan_vip' };

/** Up to this many backends each has exactly its share. */
export const EXACT_SLOTS = 100;
/** Above it, slots are handed out in turn. */
export const MANY_SLOTS = 2048;
/** With affinity to the client's address: a backend that comes or goes moves no more clients than it has slots. */
export const AFFINE_SLOTS = 256;
/**
 * The slots of all VIPs are shared out over so many sets, since the kernel's dump of a set walks from its beginning for
 * each part of 32 KiB: reading four sets takes a quarter of the time that one with all their elements takes.
 */
export const SHARES = 4;
/** VIPs of less than this many slots, and those of fixed numbers, have the share of their key; others that of the number. */
const MIXED_SLOTS = 16;
/** In `services`: what is drawn is the client's, not chance's. */
const AFFINE = 0x1_0000;
/** In `services`: the share, where it is the key's. */
const SHARE = 0x2_0000;
/** The same on every host and after every restart: a client's backend stays. */
const HASH_SEED = 0x706f_7274;

export type Suffix = '4' | '6';
const suffixes: readonly Suffix[] = ['4', '6'];
const words = { 4: 'ip', 6: 'ip6' } as const;
const address = (suffix: Suffix): 'ipv4_addr' | 'ipv6_addr' => (suffix === '4' ? 'ipv4_addr' : 'ipv6_addr');

/** VIP -> `serviceValue`. A VIP that is not in it is refused. */
export const servicesSet = (suffix: Suffix): NftSet => ({
  name: `services${suffix}`,
  key: [address(suffix), 'inet_proto', 'inet_service'],
  data: ['classid'],
});
/** VIP and slot -> backend, of the VIPs of one share. */
export const slotsSet = (suffix: Suffix, share: number): NftSet => ({
  name: `slots${suffix}-${share}`,
  key: [address(suffix), 'inet_proto', 'inet_service', 'slot'],
  data: [address(suffix), 'inet_service'],
});
/** VIPs, counting their new connections: an element stays for as long as its VIP does. */
export const countedSet = (suffix: Suffix): NftSet => ({
  name: `counted${suffix}`,
  key: [address(suffix), 'inet_proto', 'inet_service'],
  counter: true,
});
/** Each local backend with itself. */
export const hairpinSet = (suffix: Suffix): NftSet => ({
  name: `hairpin${suffix}`,
  key: [address(suffix), address(suffix)],
});
/** All addresses of VIPs: the ranges of named ones, and those that labels give. */
const vipsSet = (suffix: Suffix): NftSet => ({
  name: `vips${suffix}`,
  key: [address(suffix)],
  interval: true,
});
const overlaysSet = (suffix: Suffix): NftSet => ({
  name: `overlays${suffix}`,
  key: [address(suffix)],
  interval: true,
});
/** Local backends -> address of their bridge. */
export const bridgedSet = (suffix: Suffix): NftSet => ({
  name: `bridged${suffix}`,
  key: [address(suffix), 'inet_proto', 'inet_service'],
  data: ['ether_addr'],
});

export interface VipRulesetInput {
  /** Ranges of named VIPs and addresses that labels give, outermost and in order. */
  readonly vips: readonly Prefix[];
  /** The whole spaces of all overlays. */
  readonly overlays: readonly Prefix[];
}

export function vipRuleset({ vips, overlays }: VipRulesetInput): NftTable {
  const of = (prefixes: readonly Prefix[], suffix: Suffix): { key: [Prefix] }[] =>
    prefixes.filter(({ family }) => String(family) === suffix).map((prefix) => ({ key: [prefix] }));
  const sets = suffixes.flatMap((suffix) => [
    { ...servicesSet(suffix), elements: [] },
    ...Array.from({ length: SHARES }, (_, share) => ({ ...slotsSet(suffix, share), elements: [] })),
    { ...countedSet(suffix), elements: [] },
    { ...hairpinSet(suffix), elements: [] },
    { ...vipsSet(suffix), elements: of(vips, suffix) },
    { ...overlaysSet(suffix), elements: of(overlays, suffix) },
  ]);
  return { ...VIP_TABLE, sets, chains: chains() };
}

export function vipBridgeRuleset(): NftTable {
  const sets = suffixes.map((suffix) => ({ ...bridgedSet(suffix), elements: [] }));
  const rules = suffixes.map(
    (suffix) =>
      `ether daddr set ${words[suffix]} saddr . meta l4proto . th sport map @bridged${suffix} meta pkttype set host`,
  );
  return {
    ...VIP_BRIDGE_TABLE,
    sets,
    chains: [
      { name: 'answers', base: { type: 'filter', hook: 'prerouting', priority: BRIDGE_DSTNAT }, rules },
    ],
  };
}

const BRIDGE_DSTNAT = -300;
const BEFORE_DSTNAT = -110;
const BEFORE_SRCNAT = 90;

function chains(): readonly NftChain[] {
  return [
    ...suffixes.flatMap((suffix) => [...drawChains(suffix), pickChain(suffix), sourceChain(suffix)]),
    {
      name: 'refuse',
      rules: ['meta l4proto tcp reject with tcp reset', 'reject with icmpx type port-unreachable'],
    },
    ...(['prerouting', 'output'] as const).map((hook): NftChain => ({
      name: `nat-${hook}`,
      base: { type: 'nat', hook, priority: BEFORE_DSTNAT },
      rules: suffixes.map((suffix) => `${words[suffix]} daddr @vips${suffix} goto pick${suffix}`),
    })),
    {
      name: 'nat-postrouting',
      base: { type: 'nat', hook: 'postrouting', priority: BEFORE_SRCNAT },
      rules: suffixes.map(
        (suffix) =>
          `ct status & dnat == dnat ct original ${words[suffix]} daddr @vips${suffix} goto source${suffix}`,
      ),
    },
  ];
}

/**
 * Counts the connection and draws in the chain for the VIP's number of slots. Refuses what comes back from there or does
 * not go: a VIP without slots, ports and protocols that none has, a priority that the sender had set.
 */
function pickChain(suffix: Suffix): NftChain {
  const key = `${words[suffix]} daddr . meta l4proto . th dport`;
  const targets = draws().map(({ name, value }) => `${classid(value)} : jump ${name}${suffix}`);
  return {
    name: `pick${suffix}`,
    rules: [
      `${key} @counted${suffix}`,
      `meta priority set ${key} map @services${suffix}`,
      `meta priority vmap { ${targets.join(', ')} }`,
      'goto refuse',
    ],
  };
}

interface Draw {
  readonly name: string;
  /** In `services`. */
  readonly value: number;
  readonly modulus: number;
  readonly share: number;
}

const draws = (): readonly Draw[] =>
  [
    ...Array.from({ length: EXACT_SLOTS }, (_, i) => ({
      name: `draw${i + 1}`,
      modulus: i + 1,
      affine: false,
    })),
    { name: 'draw-many', modulus: MANY_SLOTS, affine: false },
    { name: 'hash', modulus: AFFINE_SLOTS, affine: true },
    { name: 'hash-many', modulus: MANY_SLOTS, affine: true },
  ].flatMap(({ name, modulus, affine }) =>
    sharesOf(modulus).map((share) => ({
      name: `${name}-${share}-`,
      value: serviceValue(modulus, affine, share),
      modulus,
      share,
    })),
  );

const isMixed = (slots: number): boolean => slots < MIXED_SLOTS || slots > EXACT_SLOTS;
/** A backend more or less seldom moves all of them to another set. */
const shareOfNumber = (slots: number): number => Math.floor(slots / MIXED_SLOTS) % SHARES;

function sharesOf(slots: number): readonly number[] {
  return isMixed(slots) ? Array.from({ length: SHARES }, (_, share) => share) : [shareOfNumber(slots)];
}

/** Which of the sets of slots a VIP has, whose packed address, protocol and port this is. */
export function shareOf(key: string, slots: number): number {
  if (!isMixed(slots)) return shareOfNumber(slots);
  let hash = 0;
  for (let at = 0; at < key.length; at++) hash ^= key.charCodeAt(at);
  return (hash ^ (hash >>> 2) ^ (hash >>> 4) ^ (hash >>> 6)) % SHARES;
}

/** What `services` says of a VIP. */
export function serviceValue(slots: number, affine: boolean, share: number): number {
  return slots | (affine ? AFFINE : 0) | (isMixed(slots) ? share * SHARE : 0);
}

function drawChains(suffix: Suffix): readonly NftChain[] {
  const word = words[suffix];
  return draws().map(({ name, value, modulus, share }) => {
    const slot =
      (value & AFFINE) === 0
        ? `numgen random mod ${modulus}`
        : `jhash ${word} saddr mod ${modulus} seed ${HASH_SEED}`;
    const key = `${word} daddr . meta l4proto . th dport . ${slot}`;
    return {
      name: `${name}${suffix}`,
      rules: [`meta priority set none dnat ${word} to ${key} map @slots${suffix}-${share}`],
    };
  });
}

const classid = (value: number): string => `${(value >>> 16).toString(16)}:${(value & 0xffff).toString(16)}`;

/**
 * A backend that calls itself would answer itself directly. Within the overlays sources are kept. The host's own
 * connections have the address of the tunnel's end, which other hosts may not send back to by the way they came.
 */
function sourceChain(suffix: Suffix): NftChain {
  const word = words[suffix];
  return {
    name: `source${suffix}`,
    rules: [
      `${word} saddr . ${word} daddr @hairpin${suffix} masquerade`,
      `${word} saddr @overlays${suffix} ${word} daddr @overlays${suffix} snat ${word} to ${word} saddr`,
      'fib saddr type local oifname != "lo" masquerade',
    ],
  };
}

/** Sorted, and without those within another. */
export function outermost(prefixes: readonly Prefix[]): readonly Prefix[] {
  const sorted = prefixes.toSorted((a, b) => a.length - b.length);
  const kept: Prefix[] = [];
  for (const prefix of sorted) if (!kept.some((each) => each.contains(prefix.network))) kept.push(prefix);
  return kept.toSorted((a, b) => (String(a) < String(b) ? -1 : 1));
}

export const suffixOf = ({ family }: IpAddress): Suffix => (family === 4 ? '4' : '6');
