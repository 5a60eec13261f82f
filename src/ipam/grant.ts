/**
 * What one node holds: a VTEP for all overlays and one block in each (reference "overlay network", section 3).
 *
 * Values here; `renderOverlays` gives the shape that agents and the HTTP API see.
 */
import { assert } from '../base/assert.ts';
import type { InterfaceAddress, IpAddress, Prefix } from '../base/ip.ts';
import { parseMac, type Mac } from '../base/mac.ts';
import type { NetworkSpace, OverlaySpace } from '../model/network-space.ts';
import {
  VTEP_NAME,
  VXLAN_VNI,
  dockerBridgeName,
  mesosBridgeName,
  type AgentOverlay,
  type BridgeInfo,
  type VxlanInfo,
} from '../model/overlay.ts';

/** A node's share of one overlay; without both subnets the node is only a gateway to it. */
export interface OverlayBlock {
  readonly overlay: string;
  readonly subnet?: Prefix;
  readonly subnet6?: Prefix;
  readonly mesosBridge: boolean;
  readonly dockerBridge: boolean;
}

export interface Grant {
  readonly vtepIp: InterfaceAddress;
  readonly vtepIp6?: InterfaceAddress;
  readonly vtepMac: Mac;
  /** In order of the configuration at the time each was given. */
  readonly overlays: readonly OverlayBlock[];
}

/** OUI followed by the low 24 bits of the VTEP's IPv4 address; unique since the VTEP network is /8 or longer. */
export function vtepMac(oui: string, address: IpAddress): Mac {
  const low = (address.value & 0xff_ffffn).toString(16).padStart(6, '0');
  const mac = parseMac(`${oui}:${low.slice(0, 2)}:${low.slice(2, 4)}:${low.slice(4)}`);
  assert(mac !== undefined, `"${oui}" is three bytes of a MAC`);
  return mac;
}

/** The overlays of `grant` in order of the configuration, without `state`. */
export function renderOverlays(network: NetworkSpace, grant: Grant): readonly AgentOverlay[] {
  const held = new Map(grant.overlays.map((block) => [block.overlay, block]));
  return network.overlays.flatMap((overlay) => {
    const block = held.get(overlay.name);
    return block === undefined ? [] : [renderOverlay(network, overlay, grant, block)];
  });
}

function renderOverlay(
  network: NetworkSpace,
  overlay: OverlaySpace,
  grant: Grant,
  block: OverlayBlock,
): AgentOverlay {
  return {
    info: overlay.info,
    ...(block.subnet === undefined ? {} : { subnet: String(block.subnet) }),
    ...(block.subnet6 === undefined ? {} : { subnet6: String(block.subnet6) }),
    ...(block.mesosBridge ? { mesos_bridge: bridge(mesosBridgeName(overlay.name), block, 0) } : {}),
    ...(block.dockerBridge ? { docker_bridge: bridge(dockerBridgeName(overlay.name), block, 1) } : {}),
    backend: { vxlan: renderVxlan(network, grant) },
  };
}

/** The Mesos bridge has the lower half, Docker's the upper, also when only one of them is wanted. */
function bridge(name: string, block: OverlayBlock, half: 0 | 1): BridgeInfo {
  const ip = block.subnet?.halves()?.[half];
  const ip6 = block.subnet6?.halves()?.[half];
  return {
    name,
    ...(ip === undefined ? {} : { ip: String(ip) }),
    ...(ip6 === undefined ? {} : { ip6: String(ip6) }),
  };
}

function renderVxlan(network: NetworkSpace, grant: Grant): VxlanInfo {
  return {
    vni: VXLAN_VNI,
    vtep_name: VTEP_NAME,
    vtep_ip: String(grant.vtepIp),
    ...(grant.vtepIp6 === undefined ? {} : { vtep_ip6: String(grant.vtepIp6) }),
    vtep_mac: grant.vtepMac,
    ...(network.vtepMtu === undefined ? {} : { vtep_mtu: network.vtepMtu }),
  };
}
