/**
 * VIPs as elements of the sets in ruleset.ts, packed as the kernel lays them out.
 *
 * Purpose: a pure function of one VIP, so that what changes with it is compared with what it was and nothing else.
 * Invariants: elements are written as `kernel/nft/packed.ts` would (the test says so): text, one character per byte,
 * components padded to four, priorities and slots in host order.
 */
import type { IpAddress } from '../base/ip.ts';
import { macBytes, type Mac } from '../base/mac.ts';
import { lookup2 } from './addresses.ts';
import type { Protocol, VipBackend } from './claims.ts';
import {
  AFFINE_SLOTS,
  bridgedSet,
  countedSet,
  EXACT_SLOTS,
  hairpinSet,
  MANY_SLOTS,
  servicesSet,
  serviceValue,
  SHARES,
  shareOf,
  slotsSet,
  suffixOf,
  type Suffix,
} from './ruleset.ts';
import type { Vip } from './table.ts';

export interface VipElement {
  readonly table: 'inet' | 'bridge';
  readonly set: string;
  readonly key: string;
  readonly data: string;
}

/**
 * Backends that new and established connections may have: the reachable ones, or all when none is. Established ones
 * to the others are not cut; whoever is unreachable cuts them by itself.
 */
export function usableBackends(backends: readonly VipBackend[]): readonly VipBackend[] {
  const reachable = backends.filter((backend) => backend.reachable);
  return reachable.length > 0 ? reachable : backends;
}

/** `bridgeMac`: of the bridge that a local container is on; absent where it is on none. */
export function renderVip(vip: Vip, bridgeMac: (container: IpAddress) => Mac | undefined): VipElement[] {
  const elements: VipElement[] = [];
  const usable = usableBackends(vip.backends);
  for (const address of vip.addresses) renderAddress(vip, address, usable, elements);
  for (const backend of vip.backends)
    if (backend.local && vip.addresses.length > 0) elements.push(...renderLocal(vip, backend, bridgeMac));
  return elements;
}

/** Adds the elements of one address, with few objects besides: VIPs are rendered anew with each of their changes. */
function renderAddress(
  vip: Vip,
  address: IpAddress,
  usable: readonly VipBackend[],
  elements: VipElement[],
): void {
  const suffix = suffixOf(address);
  const key = countedKey(vip, address);
  elements.push({ table: 'inet', set: setNames[suffix].counted, key, data: '' });
  const targets = new Set<string>();
  for (const each of usable)
    if (each.weight > 0 && each.address.family === address.family)
      targets.add(packAddress(each.address) + packPort(each.port));
  const slots = fillSlots(Array.from(targets), vip.affinity);
  if (slots.length === 0) return;
  const share = shareOf(key, slots.length);
  const value = serviceValue(slots.length, vip.affinity === 'client', share);
  elements.push({ table: 'inet', set: setNames[suffix].services, key, data: packHostOrder(value) });
  const set = setNames[suffix].slots[share] ?? '';
  for (let slot = 0; slot < slots.length; slot++)
    elements.push({ table: 'inet', set, key: key + packHostOrder(slot), data: slots[slot] ?? '' });
}

/** Names of the sets, made once. */
const setNamesOf = (
  suffix: Suffix,
): { readonly counted: string; readonly services: string; readonly slots: readonly string[] } => ({
  counted: countedSet(suffix).name,
  services: servicesSet(suffix).name,
  slots: Array.from({ length: SHARES }, (_, share) => slotsSet(suffix, share).name),
});
const setNames = { 4: setNamesOf('4'), 6: setNamesOf('6') };

/** What is at each slot. */
function fillSlots(targets: readonly string[], affinity: Vip['affinity']): readonly string[] {
  if (targets.length === 0) return [];
  if (affinity === 'client') return hashSlots(targets);
  if (targets.length <= EXACT_SLOTS) return targets;
  return Array.from({ length: MANY_SLOTS }, (_, slot) => targets[slot % targets.length] ?? '');
}

/** Each slot is the target's that wants it most (rendezvous hashing): one target more or less moves only its own. */
function hashSlots(targets: readonly string[]): readonly string[] {
  const count = targets.length <= EXACT_SLOTS ? AFFINE_SLOTS : MANY_SLOTS;
  const seeds = targets.map((target) => lookup2(Buffer.from(target, 'latin1')));
  return Array.from({ length: count }, (_, slot) => {
    const wishes = seeds.map((seed) => mix(seed, slot));
    return targets[wishes.indexOf(Math.max(...wishes))] ?? '';
  });
}

/** The last steps of MurmurHash3. */
function mix(seed: number, slot: number): number {
  let hash = Math.imul(seed ^ slot, 0x9e37_79b1);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85eb_ca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

function renderLocal(
  vip: Vip,
  { address, port }: VipBackend,
  bridgeMac: (container: IpAddress) => Mac | undefined,
): VipElement[] {
  const suffix = suffixOf(address);
  const packed = packAddress(address);
  const hairpin = { table: 'inet' as const, set: hairpinSet(suffix).name, key: packed + packed, data: '' };
  const mac = bridgeMac(address);
  if (mac === undefined) return [hairpin];
  const key = packed + packProtocol(vip.protocol) + packPort(port);
  return [
    hairpin,
    { table: 'bridge', set: bridgedSet(suffix).name, key, data: String.fromCharCode(...macBytes(mac)) },
  ];
}

/** IPv4 without an array between: a VIP's elements are packed anew with each of its changes. */
function packAddress(address: IpAddress): string {
  const { bits } = address;
  if (typeof bits !== 'number') return String.fromCharCode(...address.bytes());
  return String.fromCharCode(bits >>> 24, (bits >>> 16) & 255, (bits >>> 8) & 255, bits & 255);
}
const packPort = (port: number): string => String.fromCharCode(port >>> 8, port & 255, 0, 0);

const IPPROTO = { tcp: 6, udp: 17 } as const;
export const protocolNumber = (protocol: Protocol): number => IPPROTO[protocol];
const packProtocol = (protocol: Protocol): string => String.fromCharCode(IPPROTO[protocol], 0, 0, 0);

const isLittleEndian = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;
function packHostOrder(value: number): string {
  const [a, b, c, d] = [value & 255, (value >>> 8) & 255, (value >>> 16) & 255, value >>> 24];
  return isLittleEndian ? String.fromCharCode(a, b, c, d) : String.fromCharCode(d, c, b, a);
}

/** The key under which a VIP's connections are counted. */
export function countedKey(vip: Vip, address: IpAddress): string {
  return packAddress(address) + packProtocol(vip.protocol) + packPort(vip.port);
}
