/** Names of addresses: `3.1.0.9.in-addr.arpa` (RFC 1035, 3.5), and the 32 nibbles of `ip6.arpa` (RFC 3596, 2.5). */
import { IpAddress, parseIp } from '../base/ip.ts';

const V4_LABELS = 4;
const V6_LABELS = 32;

export function reverseName(address: IpAddress): string {
  if (address.family === 4) return `${[...address.bytes()].toReversed().join('.')}.in-addr.arpa`;
  const nibbles = address.value.toString(16).padStart(V6_LABELS, '0');
  return `${[...nibbles].toReversed().join('.')}.ip6.arpa`;
}

/**
 * The address that the labels name; where they name a whole network, its first address. `undefined` for anything else.
 */
export function addressOfReverse(labels: readonly string[]): IpAddress | undefined {
  const parts = labels.slice(0, -2).toReversed();
  if (labels.at(-1) !== 'arpa' || parts.length === 0) return undefined;
  if (labels.at(-2) === 'in-addr' && parts.length <= V4_LABELS)
    return parseIp([...parts, ...Array<string>(V4_LABELS - parts.length).fill('0')].join('.'));
  if (labels.at(-2) === 'ip6' && parts.length <= V6_LABELS && parts.every((part) => /^[0-9a-f]$/.test(part)))
    return new IpAddress(6, BigInt(`0x${parts.join('').padEnd(V6_LABELS, '0')}`));
  return undefined;
}
