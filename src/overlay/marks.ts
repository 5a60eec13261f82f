/**
 * The marks by which an agent without memory knows its own devices (docs/OWNERSHIP.md).
 *
 * The mark is the device's `ifalias`: a name can be anybody's, an alias of this form is written by nobody else. Names
 * of containers cannot collide with the fixed marks, because the kind of the device belongs to the mark.
 */
import type { IpAddress } from '../base/ip.ts';
import type { Mac } from '../base/mac.ts';
import { ALIAS_PREFIX } from '../kernel/types.ts';

/** IFALIASZ of include/uapi/linux/if.h, without the terminating zero. */
const ALIAS_MAX = 255;

export const VTEP_ALIAS = `${ALIAS_PREFIX}:vtep`;
export const DNS_ALIAS = `${ALIAS_PREFIX}:dns`;
const bridgePrefix = `${ALIAS_PREFIX}:bridge/`;

/** Names of containers' host ends begin so; the mark decides, the name only says where not to look. */
export const HOST_LINK_PREFIX = 'pv';

export function isHostLinkName(name: string): boolean {
  return name.startsWith(HOST_LINK_PREFIX);
}

export function bridgeAlias(overlay: string): string {
  return `${bridgePrefix}${overlay}`;
}

/** The mark of the host's end of a container's veth pair. */
export function attachmentAlias(container: string, ifname: string): string {
  const room = ALIAS_MAX - ALIAS_PREFIX.length - ifname.length - 2;
  return `${ALIAS_PREFIX}:${container.slice(0, room)}/${ifname}`;
}

/** True for every alias that Portolan writes. */
export function isOurAlias(alias: string | undefined): boolean {
  return alias !== undefined && alias.startsWith(`${ALIAS_PREFIX}:`);
}

/** Of a bridge of ours: an overlay's, or the one that has the addresses of the DNS server. */
export function isBridgeAlias(alias: string | undefined): boolean {
  return alias !== undefined && (alias.startsWith(bridgePrefix) || alias === DNS_ALIAS);
}

/** True for `portolan:<container>/<ifname>`: the slash tells it from marks of other tools in this repository. */
export function isAttachmentAlias(alias: string | undefined): boolean {
  return isOurAlias(alias) && /^[^:]+:[^/]+\/[^/]+$/.test(alias ?? '');
}

/**
 * A bridge without a MAC of its own takes the lowest of its ports', so it would change whenever a container comes or
 * goes, and every container's ARP entry of the gateway with it. Locally administered (IEEE 802: bit 1 of byte 0).
 */
export function bridgeMac(gateway: IpAddress): Mac {
  const bytes = gateway.family === 4 ? gateway.bytes() : fold(gateway.bytes());
  return `02:50:${[...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(':')}` as Mac;
}

/** FNV-1a, 32 bits: the tail of an IPv6 gateway is ::1 in every block, so all of it has to count. */
function fold(bytes: Uint8Array): Uint8Array {
  let hash = 0x811c9dc5;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return Uint8Array.of(hash >>> 24, (hash >>> 16) & 255, (hash >>> 8) & 255, hash & 255);
}
