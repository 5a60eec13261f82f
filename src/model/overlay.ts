/**
 * Overlays as masters and agents speak of them: the shapes of reference "overlay network", sections 1, 4 and 6.
 *
 * Optional members are absent, never null, when unset.
 */
import { z } from 'zod';
import { interfaceAddressText, macText, prefixText } from './text.ts';

/** One virtual network as configured. */
export const overlayInfo = z.strictObject({
  name: z.string(),
  subnet: prefixText.optional(),
  /** Length of the block given to each agent. */
  prefix: z.int().optional(),
  subnet6: prefixText.optional(),
  prefix6: z.int().optional(),
  enabled: z.boolean().default(true),
});
export type OverlayInfo = z.infer<typeof overlayInfo>;

/** The `network` section of the master's configuration, unchanged from DC/OS. */
export const networkConfig = z.strictObject({
  vtep_subnet: prefixText,
  vtep_subnet6: prefixText.optional(),
  vtep_mac_oui: z.string(),
  vtep_mtu: z.int().positive().optional(),
  overlays: z.array(overlayInfo),
});
export type NetworkConfig = z.infer<typeof networkConfig>;

export const bridgeInfo = z.strictObject({
  /** Device name: `m-<overlay>` or `d-<overlay>`. */
  name: z.string(),
  /** The half of the agent's block in CIDR form; its first host is the gateway. */
  ip: prefixText.optional(),
  ip6: prefixText.optional(),
});
export type BridgeInfo = z.infer<typeof bridgeInfo>;

export const vxlanInfo = z.strictObject({
  vni: z.int(),
  vtep_name: z.string(),
  vtep_ip: interfaceAddressText,
  vtep_ip6: interfaceAddressText.optional(),
  vtep_mac: macText,
  vtep_mtu: z.int().optional(),
});
export type VxlanInfo = z.infer<typeof vxlanInfo>;

export const overlayStatus = z.enum(['STATUS_INVALID', 'STATUS_CONFIGURING', 'STATUS_OK', 'STATUS_FAILED']);
export type OverlayStatus = z.infer<typeof overlayStatus>;

export const overlayState = z.strictObject({ status: overlayStatus, error: z.string().optional() });
export type OverlayState = z.infer<typeof overlayState>;

/** What one agent holds in one overlay. */
export const agentOverlay = z.strictObject({
  info: overlayInfo,
  subnet: prefixText.optional(),
  subnet6: prefixText.optional(),
  mesos_bridge: bridgeInfo.optional(),
  docker_bridge: bridgeInfo.optional(),
  backend: z.strictObject({ vxlan: vxlanInfo }),
  state: overlayState.optional(),
});
export type AgentOverlay = z.infer<typeof agentOverlay>;

/** The agent's own wishes, sent with its registration. */
export const agentNetworkConfig = z.strictObject({
  allocate_subnet: z.boolean().default(true),
  mesos_bridge: z.boolean().default(true),
  docker_bridge: z.boolean().default(true),
  /** MTU of container interfaces; absent = the underlay's minus the true overhead; larger is cut to that. */
  overlay_mtu: z.int().min(552).optional(),
  /** Milliseconds any external command may take. */
  command_timeout: z.int().positive().default(15_000),
  enable_ipv6: z.boolean().default(true),
});
export type AgentNetworkConfig = z.infer<typeof agentNetworkConfig>;

/**
 * The node-local network of the mode `container/bridge`, as the reference names it: every host has the same addresses
 * in it, which nobody else can reach, so that whatever leaves it bears the host's.
 */
export const LOCAL_BRIDGE = 'mesos-bridge';

export const VXLAN_VNI = 1024;
export const VXLAN_PORT = 64_000;
export const VTEP_NAME = 'vtep1024';

export function mesosBridgeName(overlay: string): string {
  return `m-${overlay}`;
}

export function dockerBridgeName(overlay: string): string {
  return `d-${overlay}`;
}

/** Where Docker puts containers that name no network, and those of the mode `container/bridge`. */
export const DOCKER_DEFAULT_BRIDGE = 'docker0';

/** Of Docker's bridge for an overlay, and of the one of its own. */
export function isDockerBridgeName(name: string): boolean {
  return name.startsWith('d-');
}
