/** One overlay as attachments see it. */
import { parsePrefix, type Prefix } from '../base/ip.ts';
import type { Mac } from '../base/mac.ts';
import type { AgentOverlay } from '../model/overlay.ts';
import { bridgeMac } from '../overlay/marks.ts';
import type { Subnet } from './attachments-addresses.ts';

export interface NetworkView {
  readonly name: string;
  readonly bridge: string;
  readonly bridgeMac: Mac;
  /** This host's part for containers of runtimes that speak CNI, IPv4 first. */
  readonly subnets: readonly Subnet[];
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
  const subnets = [bridge.ip, init.ipv6 ? bridge.ip6 : undefined].flatMap(subnetOf);
  const first = subnets[0];
  if (first === undefined) return undefined;
  return {
    name: overlay.info.name,
    bridge: bridge.name,
    bridgeMac: bridgeMac(first.gateway),
    subnets,
    mtu: init.mtu,
  };
}

function subnetOf(text: string | undefined): readonly Subnet[] {
  const subnet: Prefix | undefined = text === undefined ? undefined : parsePrefix(text);
  // The first host of the half is the gateway (reference "overlay network", section 5).
  const gateway = subnet?.at(1);
  return subnet === undefined || gateway === undefined ? [] : [{ subnet, gateway }];
}
