/** The grant as values: the VTEP that all overlays share, and this node's bridges. */
import { assert } from '../base/assert.ts';
import { InterfaceAddress, parseInterfaceAddress, parsePrefix, prefix } from '../base/ip.ts';
import type { IpAddress, Prefix } from '../base/ip.ts';
import { parseMac } from '../base/mac.ts';
import type { Mac } from '../base/mac.ts';
import { LOCAL_BRIDGE, mesosBridgeName, type AgentOverlay, type VxlanInfo } from '../model/overlay.ts';
import type { CompileInput, DesiredOverlay, Fault, Grant } from './desired.ts';
import { IPV6_MTU_MIN, mtus } from './mtu.ts';

export interface Bridge {
  readonly name: string;
  readonly overlay: string;
  /** The Mesos half of the block, with the first host of it. */
  readonly gateways: readonly InterfaceAddress[];
}

export interface Vtep {
  readonly name: string;
  readonly vni: number;
  readonly mac: Mac;
  readonly addresses: readonly InterfaceAddress[];
  readonly mtu: number;
}

/** The grant as values. */
export interface Local {
  readonly vtep: Vtep;
  readonly bridges: readonly Bridge[];
  readonly overlays: readonly DesiredOverlay[];
  readonly containerMtu: number;
  readonly ipv6: boolean;
  readonly faults: readonly Fault[];
}

export function parseGrant(input: CompileInput, grant: Grant): Local {
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
      ? [...grant.overlays.flatMap((overlay) => parseBridge(overlay, ipv6)), ...localBridge(input, grant)]
      : [],
    overlays: [...grant.overlays.map(parseOverlay), ...localNetwork(input)],
    containerMtu: mtu.container,
    ipv6,
    faults: [
      ...(tooSmall ? grant.overlays.flatMap((overlay) => ipv6Fault(overlay, mtu.container)) : []),
      ...grant.overlays.flatMap((overlay) => overlapFault(overlay, input.underlay.address)),
      ...localBridgeFault(input, grant),
    ],
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

/** Beside the overlays, and made like one; that it has no space of the cluster's is what sets it apart. */
function localBridge(input: CompileInput, grant: Grant): readonly Bridge[] {
  const { localBridge: subnet } = input;
  const gateway = subnet?.at(1);
  if (subnet === undefined || gateway === undefined || localBridgeFault(input, grant).length > 0) return [];
  const name = mesosBridgeName(LOCAL_BRIDGE);
  return [{ name, overlay: LOCAL_BRIDGE, gateways: [new InterfaceAddress(gateway, subnet.length)] }];
}

/** The rest of the host works all the same; what wants that bridge is told. */
function localBridgeFault({ localBridge: subnet, underlay }: CompileInput, grant: Grant): readonly Fault[] {
  if (subnet === undefined) return [];
  const spaces = grant.overlays.flatMap((overlay) => parseOverlay(overlay).spaces);
  const space = spaces.find((each) => each.overlaps(subnet));
  const inside = subnet.contains(underlay.address);
  if (space === undefined && !inside) return [];
  const what =
    space === undefined ? `this host's own address ${String(underlay.address)}` : `overlay ${String(space)}`;
  const reason = `local_bridge ${String(subnet)} overlaps ${what}: give it another space in the agent's configuration`;
  return [{ overlay: LOCAL_BRIDGE, reason }];
}

function localNetwork({ localBridge: subnet, network }: CompileInput): readonly DesiredOverlay[] {
  return subnet === undefined || !network.mesos_bridge ? [] : [{ name: LOCAL_BRIDGE, spaces: [] }];
}

function parseOverlay({ info }: AgentOverlay): DesiredOverlay {
  return { name: info.name, spaces: prefixes([info.subnet, info.subnet6]) };
}

function ipv6Fault(overlay: AgentOverlay, mtu: number): readonly Fault[] {
  if (overlay.subnet6 === undefined) return [];
  const reason = `Cannot carry IPv6 over an MTU of ${mtu}: IPv6 needs ${IPV6_MTU_MIN}; raise the underlay's MTU or set enable_ipv6: false`;
  return [{ overlay: overlay.info.name, reason }];
}

export function prefixes(texts: readonly (string | undefined)[]): readonly Prefix[] {
  return texts.flatMap((text) => {
    const parsed = text === undefined ? undefined : parsePrefix(text);
    return parsed === undefined ? [] : [parsed];
  });
}

/** Re-checked with every compilation, since a host may change its address. */
function overlapFault(overlay: AgentOverlay, address: IpAddress): readonly Fault[] {
  return parseOverlay(overlay)
    .spaces.filter((space) => space.contains(address))
    .map((space) => ({
      overlay: overlay.info.name,
      reason: `overlay ${String(space)} contains this host's own address ${String(address)}: give the overlay another space`,
    }));
}
