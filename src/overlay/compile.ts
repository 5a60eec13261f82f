/**
 * From what the agent knows to what its kernel should hold: a pure function.
 *
 * Purpose: the one place where DC/OS's overlay layout (reference "overlay network", sections 5 and 7) is spelled out.
 * Invariants: the same input gives the same state in the same order; nothing here looks at the kernel.
 * Review notes: every object made here needs a mark (docs/OWNERSHIP.md). A remote node costs one neighbour, one FDB
 * entry and one route per block, never one per container.
 */
import { assert } from '../base/assert.ts';
import { comparePrefix, parsePrefix } from '../base/ip.ts';
import type { Prefix } from '../base/ip.ts';
import { PROTOCOL_PORTOLAN, TABLE_HOSTS, TABLE_MAIN } from '../kernel/types.ts';
import type { Address, Route, Rule } from '../kernel/types.ts';
import { VXLAN_PORT } from '../model/overlay.ts';
import { resolveClaims } from './claims.ts';
import type { Claims, OwnClaim } from './claims.ts';
import { nothingDesired } from './desired.ts';
import { dnsAddresses, dnsLinks, dnsSysctls } from './dns-interface.ts';
import type { CompileInput, DesiredLink, DesiredPort, DesiredState, Fault, Grant } from './desired.ts';
import { parseGrant, prefixes } from './grant.ts';
import type { Bridge, Local } from './grant.ts';
import { attachmentAlias, bridgeAlias, bridgeMac, VTEP_ALIAS } from './marks.ts';
import { CompileMemory, type HostObjects } from './compile-memory.ts';
import { remoteObjects } from './remotes.ts';
import { drain } from './slice.ts';
import { sysctls } from './sysctls.ts';
import { compileTable } from './table.ts';

/** Before the main table (32766) and before the rules VPN clients put right above it. */
export const RULE_PRIORITY = 4242;
/** Between containers no route to a host is looked for first: that saves every packet between hosts a table at each look-up. */
export const WITHIN_PRIORITY = RULE_PRIORITY - 1;
/** Above those of VTEPs, which have 24 bits. */
const VIP_METRIC = 0x100_0001;

export function compile(input: CompileInput): DesiredState {
  return drain(compileSliced(input, new CompileMemory()));
}

/** As `compile`, in slices; what has not changed since the last compilation with `memory` is the same objects. */
export function* compileSliced(
  input: CompileInput,
  memory: CompileMemory,
): Generator<undefined, DesiredState> {
  const { grant } = input;
  if (grant === undefined || grant.overlays.length === 0)
    return { ...nothingDesired, ports: ports(input, []) };
  const { local, ...host } = yield* memory.host(input, () => hostObjects(input, grant));
  const own = ownClaim(input, grant, local);
  const claims = yield* resolveClaims(own, input.records, input.removed, memory.parser);
  const remote = yield* remoteObjects(local, claims, memory.remotes);
  return {
    ...host,
    ...remote,
    routes: [...host.routes, ...remote.routes],
    faults: [...host.faults, ...ownLosses(claims)],
    voided: claims.voided,
  };
}

function hostObjects(input: CompileInput, grant: Grant): HostObjects {
  const local = parseGrant(input, grant);
  return {
    local,
    sysctls: [...sysctls(input, local), ...dnsSysctls(input.dns)],
    links: [...links(input, local), ...dnsLinks(input.dns)],
    ports: ports(input, local.bridges),
    addresses: [...addresses(local), ...dnsAddresses(input.dns)],
    routes: vipRoutes(input, local),
    rules: rules(overlaySpaces4(input, local)),
    table: compileTable(input, local),
    overlays: local.overlays,
    faults: local.faults,
  };
}

function ownClaim(input: CompileInput, grant: Grant, local: Local): OwnClaim {
  return {
    node: input.node,
    epoch: grant.epoch,
    agent: input.underlay.address,
    vteps: local.vtep.addresses.map(({ address }) => address),
    mac: local.vtep.mac,
    blocks: grant.overlays.flatMap((overlay) =>
      prefixes([overlay.subnet, overlay.subnet6]).map((subnet) => ({ overlay: overlay.info.name, subnet })),
    ),
  };
}

/** Local containers keep their network: the block is not ours to give up before the master says so. */
function ownLosses({ lost }: Claims): readonly Fault[] {
  return lost.map(({ overlay, what, holder }) => ({
    overlay,
    reason: `${what} of this node is also held by node ${holder} with a newer grant: register with the master again`,
  }));
}

/** The IPv4 spaces of all overlays of the cluster, also those that this node has no block in. */
function overlaySpaces4(input: CompileInput, local: Local): readonly Prefix[] {
  const spaces = new Map<string, Prefix>();
  for (const overlay of local.overlays) for (const space of overlay.spaces) spaces.set(String(space), space);
  for (const { node, record } of input.records) {
    if (input.removed.has(node) || record.space === undefined || spaces.has(record.space)) continue;
    const space = parsePrefix(record.space);
    if (space !== undefined && !space.contains(input.underlay.address)) spaces.set(record.space, space);
  }
  return [...spaces.values()].filter((space) => space.family === 4).sort(comparePrefix);
}

function ports({ attachments }: CompileInput, bridges: readonly Bridge[]): readonly DesiredPort[] {
  return attachments.map(({ container, ifname, overlay, hostLink }) => ({
    name: hostLink,
    bridge: bridges.find((bridge) => bridge.overlay === overlay)?.name,
    alias: attachmentAlias(container, ifname),
    overlays: [overlay],
  }));
}

function links(input: CompileInput, local: Local): readonly DesiredLink[] {
  const { vtep } = local;
  const all = local.overlays.map(({ name }) => name);
  const device: DesiredLink = {
    name: vtep.name,
    link: {
      kind: 'vxlan',
      vni: vtep.vni,
      local: input.underlay.address,
      port: VXLAN_PORT,
      learning: false,
    },
    mtu: vtep.mtu,
    mac: vtep.mac,
    alias: VTEP_ALIAS,
    overlays: all,
  };
  const bridges = local.bridges.map((bridge): DesiredLink => {
    const gateway = bridge.gateways[0]?.address;
    assert(gateway !== undefined, 'a bridge with a gateway');
    return {
      name: bridge.name,
      link: { kind: 'bridge' },
      mtu: local.containerMtu,
      mac: bridgeMac(gateway),
      alias: bridgeAlias(bridge.overlay),
      overlays: [bridge.overlay],
    };
  });
  return [device, ...bridges];
}

function addresses({ vtep, bridges }: Local): readonly Address[] {
  return [
    ...vtep.addresses.map((address) => ({ link: vtep.name, address })),
    ...bridges.flatMap(({ name, gateways }) => gateways.map((address) => ({ link: name, address }))),
  ];
}

/** Nothing is ever sent there: it is translated, or refused, before. */
function vipRoutes({ vips }: CompileInput, { vtep }: Local): readonly Route[] {
  const families = new Set(vtep.addresses.map(({ address }) => address.family));
  return vips
    .filter(({ family }) => families.has(family))
    .map((destination) => ({
      destination,
      table: TABLE_MAIN,
      protocol: PROTOCOL_PORTOLAN,
      metric: VIP_METRIC,
      gateway: undefined,
      link: vtep.name,
      onlink: false,
    }));
}

function rules(spaces: readonly Prefix[]): readonly Rule[] {
  const rule = (space: Prefix, priority: number, to: Prefix | undefined, table: number): Rule => ({
    family: space.family,
    priority,
    from: space,
    to,
    table,
    protocol: PROTOCOL_PORTOLAN,
  });
  return [
    ...spaces.map((space) => rule(space, WITHIN_PRIORITY, space, TABLE_MAIN)),
    ...spaces.map((space) => rule(space, RULE_PRIORITY, undefined, TABLE_HOSTS)),
  ];
}
