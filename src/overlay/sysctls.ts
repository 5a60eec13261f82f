/** The kernel settings that forwarding between containers, hosts and the tunnel needs. */
import type { InterfaceAddress } from '../base/ip.ts';
import type { CompileInput, DesiredSysctl } from './desired.ts';
import type { Local } from './grant.ts';
import { requiredSysctls } from './ruleset.ts';

/** Host-wide settings first; `plan` writes those of a device after making it. */
export function sysctls(input: CompileInput, local: Local): readonly DesiredSysctl[] {
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
  for (const device of devices) result.push(...deviceSysctls(device, ipv6, device.name === local.vtep.name));
  for (const { name, overlay } of local.bridges)
    for (const { key, value } of requiredSysctls({ overlays: [{ name: overlay, bridge: name }] }))
      result.push({ key, value, link: name, overlays: [overlay] });
  return result;
}

interface Device {
  readonly name: string;
  readonly addresses: readonly InterfaceAddress[];
  readonly overlays: readonly string[];
}

function deviceSysctls(
  { name, addresses: own, overlays }: Device,
  ipv6: readonly string[],
  vtep: boolean,
): readonly DesiredSysctl[] {
  const entry = (key: string, value: string): DesiredSysctl => ({ key, value, link: name, overlays });
  // A host without IPv6 carries the overlays that do without.
  const entry6 = (key: string, value: string): DesiredSysctl => ({
    ...entry(key, value),
    overlays: overlays.filter((overlay) => ipv6.includes(overlay)),
  });
  const result = [entry(`net/ipv4/conf/${name}/forwarding`, '1')];
  // Remote hosts answer containers from any of their addresses; the way back to some of those is not the tunnel. The greater
  // of a device's and the host's counts, so that strictness is for the device to take back; `2` looks a route up.
  if (vtep) {
    const instead = { where: 'net/ipv4/conf/all/rp_filter', is: '1', value: '2' };
    result.push({ ...entry(`net/ipv4/conf/${name}/rp_filter`, '0'), instead });
  }
  // Where there is a rule for routing, the kernel looks up a route to each packet's source, to find only whether that is an
  // address of this host: rules do it for less (ruleset.ts), unless a filter of reverse paths looks it up all the same.
  if (own.some(({ address }) => address.family === 4))
    result.push({ ...entry(`net/ipv4/conf/${name}/accept_local`, '1'), guarded: true });
  // The underlay's device has put the segments together already, outer headers and all: doing it again gains nothing.
  if (vtep) result.push(entry(`net/ethtool/${name}/gro`, '0'));
  if (own.some(({ address }) => address.family === 6)) {
    result.push(entry6(`net/ipv6/conf/${name}/disable_ipv6`, '0'));
    // The addresses are granted, so nobody else can have them, and a gateway in detection is deaf for a second.
    result.push(entry6(`net/ipv6/conf/${name}/accept_dad`, '0'));
  }
  return result;
}
