/** A packet as rules see it at one hook, and what can be read from it. */
import type { IpAddress } from '../../base/ip.ts';
import type { TracePacket } from '../../model/trace.ts';

export interface PortRange {
  readonly from: number;
  readonly to: number;
}

/** net.ipv4.ip_local_port_range as Linux has it: one of them, nobody knows which. */
const EPHEMERAL: PortRange = { from: 32_768, to: 60_999 };

export interface FilterPacket {
  readonly family: 4 | 6;
  readonly protocol: TracePacket['protocol'];
  readonly source: IpAddress;
  readonly destination: IpAddress;
  /** Absent for icmp. */
  readonly ports?: { readonly source: PortRange; readonly destination: PortRange };
  /** Empty = there is none at this hook; `undefined` = not known. */
  readonly iif: string | undefined;
  readonly oif: string | undefined;
  readonly state: 'new' | 'established' | 'untracked' | 'invalid';
  /** Of a connection whose destination was translated. */
  readonly translated: boolean;
  readonly isAnswer: boolean;
  /** `undefined` = a rule has set it to what cannot be told. */
  readonly mark: number | undefined;
  /** What the routing says of an address: `fib ... type`. */
  addressType(address: IpAddress): 'local' | 'unicast' | 'multicast';
  /** Whether the way back to the source leaves by where the packet came from: `fib saddr . iif oif`. */
  hasReversePath(): boolean;
}

export function portsOf(packet: TracePacket, isAnswer: boolean): FilterPacket['ports'] | undefined {
  if (packet.protocol === 'icmp') return undefined;
  const service = isAnswer ? packet.sourcePort : packet.port;
  const known = service === undefined ? EPHEMERAL : { from: service, to: service };
  return isAnswer ? { source: known, destination: EPHEMERAL } : { source: EPHEMERAL, destination: known };
}

export type Operand =
  /** The packet has no such thing: nothing that is said of it holds. */
  | { readonly kind: 'absent' }
  | { readonly kind: 'unknown' }
  /** One thing, by each of its names. */
  | { readonly kind: 'names'; readonly names: readonly string[] }
  | { readonly kind: 'device'; readonly name: string }
  | { readonly kind: 'address'; readonly address: IpAddress }
  /** A number between these. */
  | { readonly kind: 'number'; readonly from: number; readonly to: number }
  /** `known`: flags of which it can be told whether they are set; absent = all. */
  | { readonly kind: 'flags'; readonly flags: readonly string[]; readonly known?: readonly string[] }
  | { readonly kind: 'tuple'; readonly operands: readonly Operand[] };

export const ABSENT: Operand = { kind: 'absent' };
export const UNKNOWN: Operand = { kind: 'unknown' };

export const names = (...all: readonly string[]): Operand => ({ kind: 'names', names: all });
const device = (name: string | undefined): Operand =>
  name === undefined ? UNKNOWN : { kind: 'device', name };
const address = (value: IpAddress): Operand => ({ kind: 'address', address: value });
const range = (value: PortRange | undefined): Operand =>
  value === undefined ? ABSENT : { kind: 'number', ...value };

/** By the names of nft: `meta iifname`, `ip saddr`, `tcp dport`, `ct state`. */
export function readField(packet: FilterPacket, field: string): Operand {
  const [of = '', key = ''] = field.split(' ');
  switch (of) {
    case 'meta':
      return readMeta(packet, key);
    case 'ip':
      return packet.family === 4 ? readHeader(packet, key) : ABSENT;
    case 'ip6':
      return packet.family === 6 ? readHeader(packet, key) : ABSENT;
    case 'tcp':
    case 'udp':
      return packet.protocol === of ? readTransport(packet, key) : ABSENT;
    case 'th':
      return readTransport(packet, key);
    case 'icmp':
    case 'icmpv6':
      return readIcmp(packet, of, key);
    case 'ct':
      return readConnection(packet, key);
    default:
      return UNKNOWN;
  }
}

function readMeta(packet: FilterPacket, key: string): Operand {
  switch (key) {
    case 'iifname':
    case 'iif':
      return device(packet.iif);
    case 'oifname':
    case 'oif':
      return device(packet.oif);
    case 'l4proto':
      return protocolNames(packet);
    case 'nfproto':
      return packet.family === 4 ? names('ipv4', '2') : names('ipv6', '10');
    case 'protocol':
      return packet.family === 4 ? names('ip', '2048') : names('ip6', '34525');
    case 'pkttype':
      return names('host', 'unicast', '0');
    case 'mark':
      return packet.mark === undefined ? UNKNOWN : { kind: 'number', from: packet.mark, to: packet.mark };
    default:
      return UNKNOWN;
  }
}

function readHeader(packet: FilterPacket, key: string): Operand {
  switch (key) {
    case 'saddr':
      return address(packet.source);
    case 'daddr':
      return address(packet.destination);
    case 'protocol':
    case 'nexthdr':
      return protocolNames(packet);
    case 'version':
      return names(String(packet.family));
    default:
      return UNKNOWN;
  }
}

function readTransport({ protocol, ports, isAnswer }: FilterPacket, key: string): Operand {
  if (key === 'sport') return range(ports?.source);
  if (key === 'dport') return range(ports?.destination);
  if (key === 'flags' && protocol === 'tcp')
    return { kind: 'flags', flags: isAnswer ? ['syn', 'ack'] : ['syn'] };
  return UNKNOWN;
}

function readIcmp({ family, protocol, isAnswer }: FilterPacket, of: string, key: string): Operand {
  if (protocol !== 'icmp' || (of === 'icmp') !== (family === 4)) return ABSENT;
  if (key !== 'type') return UNKNOWN;
  if (isAnswer) return names('echo-reply', family === 4 ? '0' : '129');
  return names('echo-request', family === 4 ? '8' : '128');
}

function readConnection({ state, translated, isAnswer }: FilterPacket, key: string): Operand {
  if (key === 'state') return { kind: 'flags', flags: [state] };
  if (key === 'direction') return isAnswer ? names('reply', '1') : names('original', '0');
  if (key !== 'status') return UNKNOWN;
  const flags = [...(translated ? ['dnat'] : []), ...(isAnswer ? ['seen-reply'] : [])];
  return { kind: 'flags', flags, known: ['dnat', 'seen-reply'] };
}

function protocolNames({ family, protocol }: FilterPacket): Operand {
  if (protocol === 'tcp') return names('tcp', '6');
  if (protocol === 'udp') return names('udp', '17');
  return family === 4 ? names('icmp', '1') : names('ipv6-icmp', 'icmpv6', '58');
}
