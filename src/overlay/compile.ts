/**
 * From what the agent knows to what its kernel should hold: a pure function.
 *
 * Purpose: the one place where DC/OS's overlay layout (reference "overlay network", sections 5 and 7) is spelled out.
 * Invariants: the same input gives the same state in the same order; nothing here looks at the kernel.
 * Review notes: every object made here needs a mark (docs/OWNERSHIP.md). A remote node costs one neighbour, one FDB
 * entry and one route per block, never one per container.
 */
import { assert } from '../base/assert.ts';
import { InterfaceAddress, parseInterfaceAddress, parsePrefix, prefix } from '../base/ip.ts';
import type { IpAddress, Prefix } from '../base/ip.ts';
import { parseMac } from '../base/mac.ts';
import type { Mac } from '../base/mac.ts';
import { PROTOCOL_PORTOLAN, TABLE_HOSTS, TABLE_MAIN } from '../kernel/types.ts';
import type { Address, FdbEntry, Neighbour, Route, Rule } from '../kernel/types.ts';
import type { AgentOverlay, VxlanInfo } from '../model/overlay.ts';
import { VXLAN_PORT } from '../model/overlay.ts';
import { resolveClaims } from './claims.ts';
import type { Claims, OwnClaim, RemoteNode } from './claims.ts';
import { nothingDesired } from './desired.ts';
import type {
  CompileInput,
  DesiredLink,
  DesiredOverlay,
  DesiredPort,
  DesiredState,
  DesiredSysctl,
  Fault,
  Grant,
} from './desired.ts';
import { attachmentAlias, bridgeAlias, bridgeMac, VTEP_ALIAS } from './marks.ts';
import { IPV6_MTU_MIN, mtus } from './mtu.ts';
import { ruleset, rulesetSysctls } from './ruleset.ts';

/** Before the main table (32766) and before the rules VPN clients put right above it. */
export const RULE_PRIORITY = 4242;

interface Bridge {
  readonly name: string;
  readonly overlay: string;
  readonly gateways: readonly InterfaceAddress[];
}

interface Vtep {
  readonly name: string;
  readonly vni: number;
  readonly mac: Mac;
  readonly addresses: readonly InterfaceAddress[];
  readonly mtu: number;
}

/** The grant as values. */
interface Local {
  readonly vtep: Vtep;
  readonly bridges: readonly Bridge[];
  readonly overlays: readonly DesiredOverlay[];
  readonly containerMtu: number;
  readonly ipv6: boolean;
  readonly faults: readonly Fault[];
}

export function compile(input: CompileInput): DesiredState {
  const { grant } = input;
  if (grant === undefined || grant.overlays.length === 0) return nothingDesired;
  const local = parseGrant(input, grant);
  const claims = resolveClaims(ownClaim(input, grant, local), input.records, input.removed);
  const spaces = overlaySpaces(input, local);
  const ports = input.attachments.flatMap((attachment): DesiredPort[] => {
    const bridge = local.bridges.find((candidate) => candidate.overlay === attachment.overlay);
    if (bridge === undefined) return [];
    const alias = attachmentAlias(attachment.container, attachment.ifname);
    return [{ name: attachment.hostLink, bridge: bridge.name, alias, overlays: [attachment.overlay] }];
  });
  return {
    sysctls: sysctls(input, local),
    links: links(input, local),
    ports,
    addresses: addresses(local),
    ...remoteObjects(local, claims),
    rules: spaces.filter((space) => space.family === 4).map(hostsRule),
    table: ruleset({
      overlays4: spaces.filter((space) => space.family === 4),
      overlays6: spaces.filter((space) => space.family === 6),
      attachments: input.attachments,
    }),
    overlays: local.overlays,
    faults: [...local.faults, ...ownLosses(claims)],
    voided: claims.voided,
  };
}

function parseGrant(input: CompileInput, grant: Grant): Local {
  const backends = grant.overlays.map((overlay) => overlay.backend.vxlan);
  const first = backends[0];
  assert(first !== undefined, 'a grant with an overlay in it');
  const mtu = mtus({
    underlay: input.underlay.mtu,
    family: input.underlay.address.family,
    configured: input.network.overlay_mtu,
    vtep: first.vtep_mtu,
  });
  const ipv6 = input.network.enable_ipv6 && mtu.container >= IPV6_MTU_MIN;
  const tooSmall = input.network.enable_ipv6 && !ipv6;
  return {
    vtep: parseVtep(first, backends, mtu.vtep, ipv6),
    bridges: input.network.mesos_bridge
      ? grant.overlays.flatMap((overlay) => parseBridge(overlay, ipv6))
      : [],
    overlays: grant.overlays.map(parseOverlay),
    containerMtu: mtu.container,
    ipv6,
    faults: tooSmall ? grant.overlays.flatMap((overlay) => ipv6Fault(overlay, mtu.container)) : [],
  };
}

/** All overlays share one VTEP; those stored before the cluster had IPv6 do not name its IPv6 address. */
function parseVtep(first: VxlanInfo, backends: readonly VxlanInfo[], mtu: number, ipv6: boolean): Vtep {
  const mac = parseMac(first.vtep_mac);
  assert(mac !== undefined, 'a granted VTEP MAC');
  const text6 = backends.find((backend) => backend.vtep_ip6 !== undefined)?.vtep_ip6;
  const texts = [first.vtep_ip, ...(ipv6 && text6 !== undefined ? [text6] : [])];
  return {
    name: first.vtep_name,
    vni: first.vni,
    mac,
    mtu,
    addresses: texts.map((text) => {
      const parsed = parseInterfaceAddress(text);
      assert(parsed !== undefined, 'a granted VTEP address');
      return parsed;
    }),
  };
}

function parseBridge(overlay: AgentOverlay, ipv6: boolean): readonly Bridge[] {
  const info = overlay.mesos_bridge;
  if (info === undefined) return [];
  const halves = [info.ip, ipv6 ? info.ip6 : undefined].flatMap((text) =>
    text === undefined ? [] : [prefix(text)],
  );
  const gateways = halves.flatMap((half) => {
    const gateway = half.at(1);
    return gateway === undefined ? [] : [new InterfaceAddress(gateway, half.length)];
  });
  return gateways.length === 0 ? [] : [{ name: info.name, overlay: overlay.info.name, gateways }];
}

function parseOverlay({ info }: AgentOverlay): DesiredOverlay {
  return { name: info.name, spaces: prefixes([info.subnet, info.subnet6]) };
}

function ipv6Fault(overlay: AgentOverlay, mtu: number): readonly Fault[] {
  if (overlay.subnet6 === undefined) return [];
  const reason = `Cannot carry IPv6 over an MTU of ${mtu}: IPv6 needs ${IPV6_MTU_MIN}; raise the underlay's MTU or set enable_ipv6: false`;
  return [{ overlay: overlay.info.name, reason }];
}

function prefixes(texts: readonly (string | undefined)[]): readonly Prefix[] {
  return texts.flatMap((text) => {
    const parsed = text === undefined ? undefined : parsePrefix(text);
    return parsed === undefined ? [] : [parsed];
  });
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

/** The spaces of all overlays of the cluster, also those that this node has no block in. */
function overlaySpaces(input: CompileInput, local: Local): readonly Prefix[] {
  const spaces = new Map<string, Prefix>();
  for (const overlay of local.overlays) for (const space of overlay.spaces) spaces.set(String(space), space);
  for (const { node, record } of input.records) {
    if (input.removed.has(node)) continue;
    for (const text of [record.space, record.space6])
      if (text !== undefined && !spaces.has(text)) {
        const space = parsePrefix(text);
        if (space !== undefined && !space.contains(input.underlay.address)) spaces.set(text, space);
      }
  }
  return [...spaces.values()].sort((a, b) => (String(a) < String(b) ? -1 : 1));
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

interface RemoteObjects {
  readonly neighbours: readonly Neighbour[];
  readonly fdb: readonly FdbEntry[];
  readonly routes: readonly Route[];
}

function remoteObjects({ vtep, ipv6 }: Local, { remotes }: Claims): RemoteObjects {
  const neighbours: Neighbour[] = [];
  const fdb: FdbEntry[] = [];
  const routes: Route[] = [];
  for (const remote of remotes) {
    neighbours.push(neighbour(vtep.name, remote.vtep, remote.mac));
    if (ipv6 && remote.vtep6 !== undefined) neighbours.push(neighbour(vtep.name, remote.vtep6, remote.mac));
    // One entry serves both families: the inner MAC is the same.
    fdb.push({ link: vtep.name, mac: remote.mac, destination: remote.agent, permanent: true });
    routes.push(...remoteRoutes(vtep.name, ipv6, remote));
  }
  return { neighbours, fdb, routes };
}

function neighbour(link: string, address: IpAddress, mac: Mac): Neighbour {
  return { link, address, mac, permanent: true };
}

function remoteRoutes(link: string, ipv6: boolean, remote: RemoteNode): readonly Route[] {
  const metric = routeMetric(remote.vtep);
  const route = (destination: Prefix, table: number, gateway: IpAddress): Route => ({
    destination,
    table,
    protocol: PROTOCOL_PORTOLAN,
    metric,
    gateway,
    link,
    onlink: true,
  });
  const routes = remote.subnets.flatMap((subnet) => {
    const gateway = subnet.family === 4 ? remote.vtep : ipv6 ? remote.vtep6 : undefined;
    return gateway === undefined ? [] : [route(subnet, TABLE_MAIN, gateway)];
  });
  // Container -> remote host through the tunnel, so that the source stays the container's and replies come back.
  if (remote.ownsAgentAddress && remote.agent.family === 4)
    routes.push(route(new InterfaceAddress(remote.agent, 32).prefix, TABLE_HOSTS, remote.vtep));
  return routes;
}

/**
 * The kernel hashes next hops by device, protocol, scope and metric but not by gateway: with one metric for all, 10,000
 * routes share a bucket and cost 2 s instead of 0.2 s. The VTEP's low 24 bits, those of its MAC, differ between nodes.
 */
function routeMetric(vtep: IpAddress): number {
  return Number(vtep.value & 0xffffffn) + 1;
}

function hostsRule(space: Prefix): Rule {
  return {
    family: space.family,
    priority: RULE_PRIORITY,
    from: space,
    to: undefined,
    table: TABLE_HOSTS,
    protocol: PROTOCOL_PORTOLAN,
  };
}

/** Host-wide settings first; `plan` writes those of a device after making it. */
function sysctls(input: CompileInput, local: Local): readonly DesiredSysctl[] {
  const all = local.overlays.map(({ name }) => name);
  const ipv6 = local.overlays
    .filter(({ spaces }) => spaces.some(({ family }) => family === 6))
    .map(({ name }) => name);
  const devices = [
    { name: local.vtep.name, addresses: local.vtep.addresses, overlays: all },
    ...local.bridges.map((bridge) => ({
      name: bridge.name,
      addresses: bridge.gateways,
      overlays: [bridge.overlay],
    })),
  ];
  const result: DesiredSysctl[] = [{ key: 'net/ipv4/ip_forward', value: '1', overlays: all }];
  if (devices.some((device) => device.addresses.some(({ address }) => address.family === 6))) {
    // A forwarding host ignores router advertisements unless told otherwise, and would lose its own default route.
    const acceptRa = `net/ipv6/conf/${input.underlay.link}/accept_ra`;
    result.push({ key: acceptRa, value: '2', onlyIf: '1', overlays: [] });
    result.push({ key: 'net/ipv6/conf/all/forwarding', value: '1', overlays: ipv6 });
  }
  for (const device of devices) result.push(...deviceSysctls(device, device.name === local.vtep.name));
  for (const { key, value } of rulesetSysctls(local.bridges.map(({ name }) => name)))
    result.push({ key, value, overlays: all });
  return result;
}

interface Device {
  readonly name: string;
  readonly addresses: readonly InterfaceAddress[];
  readonly overlays: readonly string[];
}

function deviceSysctls({ name, addresses: own, overlays }: Device, vtep: boolean): readonly DesiredSysctl[] {
  const entry = (key: string, value: string): DesiredSysctl => ({ key, value, link: name, overlays });
  const result = [entry(`net/ipv4/conf/${name}/forwarding`, '1')];
  // Remote hosts answer containers from any of their addresses; the way back to some of those is not the tunnel.
  if (vtep) result.push(entry(`net/ipv4/conf/${name}/rp_filter`, '2'));
  if (own.some(({ address }) => address.family === 6)) {
    result.push(entry(`net/ipv6/conf/${name}/disable_ipv6`, '0'));
    // The addresses are granted, so nobody else can have them, and a gateway in detection is deaf for a second.
    result.push(entry(`net/ipv6/conf/${name}/accept_dad`, '0'));
  }
  return result;
}
