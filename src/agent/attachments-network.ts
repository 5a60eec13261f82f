/** One overlay as attachments see it. */
import { parsePrefix, type Prefix } from '../base/ip.ts';
import type { Mac } from '../base/mac.ts';
import { LOCAL_BRIDGE, mesosBridgeName, type AgentOverlay } from '../model/overlay.ts';
import { bridgeMac } from '../overlay/marks.ts';
import type { Subnet } from './attachments-addresses.ts';

export interface NetworkSubnet extends Subnet {
  /** The whole overlay's, where the grant names it. */
  readonly space: Prefix | undefined;
}

export interface NetworkView {
  readonly name: string;
  readonly bridge: string;
  readonly bridgeMac: Mac;
  /** This host's part for containers of runtimes that speak CNI, IPv4 first. */
  readonly subnets: readonly NetworkSubnet[];
  readonly mtu: number;
  /** Absent = containers can be attached. */
  readonly notReady?: {
    readonly reason: string;
    /** Containers that are attached already suffer too. */
    readonly limited: boolean;
  };
}

/** The view of a granted overlay; `undefined` when it has no bridge for CNI. */
export function networkView(
  overlay: AgentOverlay,
  init: { readonly mtu: number; readonly ipv6: boolean },
): NetworkView | undefined {
  const bridge = overlay.mesos_bridge;
  if (bridge === undefined) return undefined;
  const { name, subnet, subnet6 } = overlay.info;
  const subnets = [...subnetOf(bridge.ip, subnet), ...(init.ipv6 ? subnetOf(bridge.ip6, subnet6) : [])];
  const first = subnets[0];
  if (first === undefined) return undefined;
  return {
    name,
    bridge: bridge.name,
    bridgeMac: bridgeMac(first.gateway),
    subnets,
    mtu: init.mtu,
  };
}

/** The view of the node-local bridge network. */
export function localBridgeView(subnet: Prefix, init: { readonly mtu: number }): NetworkView | undefined {
  const gateway = subnet.at(1);
  if (gateway === undefined) return undefined;
  return {
    name: LOCAL_BRIDGE,
    bridge: mesosBridgeName(LOCAL_BRIDGE),
    bridgeMac: bridgeMac(gateway),
    subnets: [{ subnet, gateway, space: undefined }],
    mtu: init.mtu,
  };
}

function subnetOf(text: string | undefined, whole: string | undefined): readonly NetworkSubnet[] {
  const subnet: Prefix | undefined = text === undefined ? undefined : parsePrefix(text);
  // The first host of the half is the gateway (reference "overlay network", section 5).
  const gateway = subnet?.at(1);
  if (subnet === undefined || gateway === undefined) return [];
  return [{ subnet, gateway, space: whole === undefined ? undefined : parsePrefix(whole) }];
}
