/**
 * The checks of a `network` section (reference "overlay network", section 1), and the two that the old system lacked:
 * overlays against the VTEP and host networks, and `prefix` missing or shorter than the subnet's own mask.
 *
 * Each refusal names the field as written in the file and says what to do.
 */
import { PortolanError } from '../base/errors.ts';
import { parsePrefix, prefix, type Family, type Prefix } from '../base/ip.ts';
import { parseMac } from '../base/mac.ts';
import type { FamilySpace, NetworkSpace, OverlaySpace } from './network-space.ts';
import { LOCAL_BRIDGE, type NetworkConfig, type OverlayInfo } from './overlay.ts';

/** A network that the host is already in or routes to, and where that was seen: `eth0`, `route via eth0`. */
export interface HostNetwork {
  readonly prefix: Prefix;
  readonly source: string;
}

/** 15 bytes of a device name (IFNAMSIZ - 1) minus the bridge prefix `m-` or `d-`. */
const MAX_NAME_LENGTH = 13;
/** Docker's own, and the network that every host has to itself. */
const RESERVED_NAMES = ['host', 'bridge', 'default', 'none', LOCAL_BRIDGE];
/** A half block needs network, gateway, one container and, in IPv4, broadcast. */
const LONGEST_BLOCK: Readonly<Record<Family, number>> = { 4: 29, 6: 125 };
const MIN_VTEP_LENGTH = 8;
const MAX_OVERLAYS = 256;

/** Never addresses of containers: this network, loopback, link-local, multicast and beyond (RFC 6890). */
const SPECIAL: readonly HostNetwork[] = [
  { prefix: prefix('0.0.0.0/8'), source: '"this network", RFC 791' },
  { prefix: prefix('127.0.0.0/8'), source: 'loopback' },
  { prefix: prefix('169.254.0.0/16'), source: 'link-local addresses' },
  { prefix: prefix('224.0.0.0/3'), source: 'multicast and reserved addresses' },
  { prefix: prefix('::/64'), source: 'loopback and unspecified addresses' },
  { prefix: prefix('fe80::/10'), source: 'link-local addresses' },
  { prefix: prefix('ff00::/8'), source: 'multicast addresses' },
];

/** Returns the spaces as values or throws 'invalid' for the first field at fault. */
export function validateNetwork(
  config: NetworkConfig,
  hostNetworks: readonly HostNetwork[] = [],
): NetworkSpace {
  const vtep = vtepSubnet(config.vtep_subnet, 4, 'network.vtep_subnet');
  const vtep6 =
    config.vtep_subnet6 === undefined
      ? undefined
      : vtepSubnet(config.vtep_subnet6, 6, 'network.vtep_subnet6');
  const oui = parseOui(config.vtep_mac_oui);
  checkNames(config.overlays);
  const overlays = config.overlays.map((info, i) => overlaySpace(info, `network.overlays[${i}]`));
  const space = { vtep, vtep6, oui, vtepMtu: config.vtep_mtu, overlays };
  checkIntersections(space, [...SPECIAL, ...hostNetworks]);
  return space;
}

function invalid(field: string, message: string, remedy: string): PortolanError {
  return new PortolanError('invalid', message, { field, remedy });
}

function network(text: string, family: Family, field: string): Prefix {
  const parsed = parsePrefix(text);
  if (parsed?.family === family) return parsed;
  throw invalid(
    field,
    `Cannot use ${field} "${text}": not an IPv${family} network without host bits`,
    `write it like ${family === 4 ? '9.0.0.0/8' : 'fd01:b::/64'}`,
  );
}

function vtepSubnet(text: string, family: Family, field: string): Prefix {
  const parsed = network(text, family, field);
  const longest = family === 4 ? 30 : 126;
  if (parsed.length >= MIN_VTEP_LENGTH && parsed.length <= longest) return parsed;
  const why = 'the last 24 bits of a VTEP address make its MAC, and each node needs one address';
  throw invalid(
    field,
    `Cannot use ${field} "${text}": its prefix length must be within ${MIN_VTEP_LENGTH} and ${longest} (${why})`,
    'choose a network of that size, for example 44.128.0.0/20 for 4094 nodes',
  );
}

function parseOui(text: string): string {
  const field = 'network.vtep_mac_oui';
  const mac = parseMac(text);
  const remedy = 'write three bytes and three zero bytes, such as 70:B3:D5:00:00:00';
  if (mac === undefined || !mac.endsWith(':00:00:00'))
    throw invalid(field, `Cannot use ${field} "${text}": not a MAC whose last three bytes are 0`, remedy);
  // IEEE 802-2014, 8.2.2: the lowest bit of the first byte marks group addresses.
  if ((Number.parseInt(mac.slice(0, 2), 16) & 1) === 1)
    throw invalid(field, `Cannot use ${field} "${text}": it is a multicast address`, remedy);
  return mac.slice(0, 8);
}

function checkNames(overlays: readonly OverlayInfo[]): void {
  const add = 'add an overlay, for example {name: dcos, subnet: 9.0.0.0/8, prefix: 24}';
  if (overlays.length === 0)
    throw invalid('network.overlays', 'Cannot use network.overlays: no overlay is given', add);
  if (overlays.length > MAX_OVERLAYS)
    throw invalid('network.overlays', `Cannot use more than ${MAX_OVERLAYS} overlays`, 'remove some');
  const seen = new Set<string>();
  for (const [i, { name }] of overlays.entries()) {
    const field = `network.overlays[${i}].name`;
    const problem = seen.has(name) ? 'another overlay has this name' : nameProblem(name);
    if (problem !== undefined)
      throw invalid(field, `Cannot use overlay name "${name}": ${problem}`, 'choose another name');
    seen.add(name);
  }
}

function nameProblem(name: string): string | undefined {
  if (RESERVED_NAMES.includes(name)) return `reserved, as are ${RESERVED_NAMES.join(', ')}`;
  if (name.length > MAX_NAME_LENGTH)
    return `longer than ${MAX_NAME_LENGTH} characters (a device is named m-NAME, at most 15)`;
  return /^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(name)
    ? undefined
    : 'only letters, digits, "_", "." and "-" are allowed, the first a letter or digit';
}

function overlaySpace(info: OverlayInfo, field: string): OverlaySpace {
  const v4 = familySpace(info, 4, field);
  const v6 = familySpace(info, 6, field);
  if (v4 === undefined && v6 === undefined)
    throw invalid(
      `${field}.subnet`,
      `Cannot use overlay "${info.name}": it has neither subnet nor subnet6`,
      'give it a subnet and a prefix',
    );
  return { name: info.name, info, v4, v6, enabled: info.enabled };
}

function familySpace(info: OverlayInfo, family: Family, field: string): FamilySpace | undefined {
  const suffix = family === 4 ? '' : '6';
  const text = family === 4 ? info.subnet : info.subnet6;
  const length = family === 4 ? info.prefix : info.prefix6;
  const lengthField = `${field}.prefix${suffix}`;
  const at = `Cannot use overlay "${info.name}": `;
  if (text === undefined) {
    if (length === undefined) return undefined;
    throw invalid(
      lengthField,
      `${at}prefix${suffix} without subnet${suffix}`,
      `add subnet${suffix} or remove it`,
    );
  }
  const space = network(text, family, `${field}.subnet${suffix}`);
  const longest = LONGEST_BLOCK[family];
  const range = `choose one within ${space.length} and ${longest}`;
  if (length === undefined) throw invalid(lengthField, `${at}prefix${suffix} is missing`, range);
  if (length < space.length)
    throw invalid(lengthField, `${at}prefix${suffix} ${length} is shorter than the mask of ${text}`, range);
  if (length > longest)
    throw invalid(lengthField, `${at}prefix${suffix} ${length} leaves no address for containers`, range);
  return { space, length };
}

interface Claim extends HostNetwork {
  readonly field: string;
}

/** Every pair of networks that must not share an address; few enough to compare each with each. */
function checkIntersections(space: NetworkSpace, others: readonly HostNetwork[]): void {
  const vteps = [claim(space.vtep, 'network.vtep_subnet'), claim(space.vtep6, 'network.vtep_subnet6')].flat();
  const overlays = space.overlays.flatMap(({ v4, v6 }, i) => [
    ...claim(v4?.space, `network.overlays[${i}].subnet`),
    ...claim(v6?.space, `network.overlays[${i}].subnet6`),
  ]);
  const seen: HostNetwork[] = [...others];
  for (const mine of [...vteps, ...overlays]) {
    const other = seen.find((each) => each.prefix.overlaps(mine.prefix));
    if (other !== undefined) throw intersection(mine, other);
    seen.push(mine);
  }
}

function claim(found: Prefix | undefined, field: string): Claim[] {
  return found === undefined ? [] : [{ prefix: found, source: field, field }];
}

function intersection(mine: Claim, other: HostNetwork): PortolanError {
  return invalid(
    mine.field,
    `Cannot use ${mine.field} "${String(mine.prefix)}": it intersects ${String(other.prefix)} (${other.source})`,
    'choose a network that nothing else uses',
  );
}
