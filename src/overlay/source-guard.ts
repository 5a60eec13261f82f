/**
 * Rules against packets that claim to come from this host itself, on devices where the kernel does not look (`accept_local`).
 *
 * Purpose: where there are rules for routing, the kernel validates a source by looking up a route to it through all of
 * them, for each packet; what that finds out, where no filter of reverse paths is asked for, is whether the source is an
 * address of this host, or of no host at all. Containers' sources are told from these by comparisons alone.
 * Invariants: whatever the kernel would drop of what comes from these devices is dropped. A source that is not told to be a
 * container's is looked up in the kernel's own table of local addresses (`fib`), so that nobody needs to know those.
 * Review notes: addresses of this host in the space of an overlay are those of its bridges, and of Docker's, whose half of
 * the block is looked up; any other there would have to be told as well. Comparisons are raw, since each `ip saddr` in a table of
 * both families asks for the family first: what is compared of an IPv6 packet is some other part of its header, and what
 * follows a match asks.
 */
import type { IpAddress, Prefix } from '../base/ip.ts';
import type { NftSet } from '../kernel/nft/types.ts';

/** Devices whose packets' sources are validated here. */
export const acceptLocal: NftSet = { name: 'acceptLocal', key: ['ifname'] };

export interface GuardedOverlay {
  readonly space?: Prefix;
  readonly bridge?: string;
  readonly subnet?: Prefix;
  readonly dockerSubnet?: Prefix;
}

export interface SourceGuardInput {
  readonly overlays: readonly GuardedOverlay[];
  /** Of this host, wherever they are. */
  readonly own: readonly IpAddress[];
}

/** For every packet. */
export function sourceRules({ overlays, own }: SourceGuardInput): readonly string[] {
  const told = overlays.flatMap(({ space, subnet, dockerSubnet }) =>
    space === undefined || subnet === undefined || own.some((address) => space.contains(address))
      ? []
      : [{ space, subnet, dockerSubnet }],
  );
  const elsewhere = told.map(({ space }) => saddr(space, '!='));
  return [
    [...elsewhere, 'meta nfproto ipv4 jump sources'].join(' '),
    ...told.flatMap(({ subnet, dockerSubnet }) => [
      ...[subnet.at(1), subnet.last].flatMap((address) => (address === undefined ? [] : claimed(address))),
      ...(dockerSubnet === undefined ? [] : [`${saddr(dockerSubnet, '==')} meta nfproto ipv4 jump sources`]),
    ]),
  ];
}

const claimed = (address: IpAddress): string =>
  `@nh,96,32 ${hex(address.value)} meta nfproto ipv4 iifname @acceptLocal counter drop`;

/** Addresses of this host, broadcasts and the like. Zero is that of a DHCP client, which the kernel tells by itself. */
export const SOURCES_RULES: readonly string[] = [
  'iifname @acceptLocal ip saddr != 0.0.0.0 fib saddr type != unicast counter drop',
];

/** IPv4 sources begin at bit 96 of the header. Whole bytes are compared without a mask, but for three, which are no faster. */
function saddr({ network, length }: Prefix, operator: '==' | '!='): string {
  const shift = BigInt(32 - length);
  if ([8, 16, 32].includes(length)) return `@nh,96,${length} ${operator} ${hex(network.value >> shift)}`;
  return `@nh,96,32 & ${hex(((1n << 32n) - 1n) ^ ((1n << shift) - 1n))} ${operator} ${hex(network.value)}`;
}

const hex = (value: bigint): string => `0x${value.toString(16)}`;
