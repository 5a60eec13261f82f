/**
 * MTUs from the underlay's, minus what VXLAN really adds (RFC 7348, section 5).
 *
 * Outer Ethernet is not counted: the underlay's MTU already is without it. Inner Ethernet 14 + VXLAN 8 + UDP 8 + outer
 * IP 20 or 40. The 54 bytes that DC/OS counted and its fixed 1420 are not repeated: too large loses packets silently,
 * too small wastes them.
 */
import type { Family } from '../base/ip.ts';

export const VXLAN_OVERHEAD: Readonly<Record<Family, number>> = { 4: 50, 6: 70 };
/** RFC 8200, section 5: the kernel takes IPv6 off a device below this. */
export const IPV6_MTU_MIN = 1280;

export interface MtuInput {
  readonly underlay: number;
  readonly family: Family;
  /** `overlay_mtu` of the agent's configuration. */
  readonly configured: number | undefined;
  /** `vtep_mtu` of the master's. */
  readonly vtep: number | undefined;
}

export interface Mtus {
  readonly vtep: number;
  /** Of bridges and container interfaces. */
  readonly container: number;
}

export function mtus({ underlay, family, configured, vtep }: MtuInput): Mtus {
  const fits = underlay - VXLAN_OVERHEAD[family];
  const device = Math.min(vtep ?? fits, fits);
  return { vtep: device, container: Math.min(configured ?? device, device) };
}
