/** What the nft table is made from: the overlays of the cluster and the host ports of local containers. */
import { parseIp, parsePrefix } from '../base/ip.ts';
import type { Prefix } from '../base/ip.ts';
import { elementKey } from '../kernel/nft/types.ts';
import type { NftTable } from '../kernel/nft/types.ts';
import { VXLAN_PORT } from '../model/overlay.ts';
import type { Attachment, CompileInput } from './desired.ts';
import { prefixes } from './grant.ts';
import type { Local } from './grant.ts';
import { portMappingElement } from './port-map.ts';
import type { PortMapping } from './port-map.ts';
import { ruleset } from './ruleset.ts';
import type { RulesetOverlay } from './ruleset.ts';

const protocols = { tcp: 6, udp: 17, sctp: 132 } as const;

export function compileTable(input: CompileInput, local: Local): NftTable {
  return ruleset({
    overlays: overlays(input, local),
    vtep: local.vtep.name,
    vxlanPort: VXLAN_PORT,
    underlay: input.underlay.address,
    underlayLink: input.underlay.link,
    mtu: local.containerMtu,
    portMappings: portMappings(input.attachments),
    dns: input.dns,
  });
}

/** Also those that this node has no block in: containers reach them too, and are not masqueraded towards them. */
function overlays(input: CompileInput, local: Local): readonly RulesetOverlay[] {
  const byName = new Map<string, RulesetOverlay>();
  for (const { name, spaces } of local.overlays) {
    const bridge = local.bridges.find(({ overlay }) => overlay === name);
    byName.set(name, {
      name,
      ...family('space', 4, spaces),
      ...family('space6', 6, spaces),
      ...(bridge === undefined ? {} : { bridge: bridge.name }),
      ...family('subnet', 4, bridge?.gateways.map((gateway) => gateway.prefix) ?? []),
      ...family('subnet6', 6, bridge?.gateways.map((gateway) => gateway.prefix) ?? []),
      ...family('dockerSubnet', 4, dockerSubnets(input, name)),
    });
  }
  for (const { node, record } of input.records) {
    if (byName.has(record.overlay) || input.removed.has(node)) continue;
    const spaces = [record.space, record.space6].flatMap((text) =>
      text === undefined ? [] : (parsePrefix(text) ?? []),
    );
    const foreign = spaces.filter((space) => !space.contains(input.underlay.address));
    const { overlay: name } = record;
    byName.set(name, { name, ...family('space', 4, foreign), ...family('space6', 6, foreign) });
  }
  return [...byName.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

function dockerSubnets({ grant }: CompileInput, name: string): readonly Prefix[] {
  const granted = grant?.overlays.find(({ info }) => info.name === name);
  return prefixes([granted?.docker_bridge?.ip]);
}

function family<K extends string, T extends { readonly family: number }>(
  key: K,
  wanted: 4 | 6,
  values: readonly T[],
): { readonly [key in K]?: T } {
  const value = values.find((each) => each.family === wanted);
  return (value === undefined ? {} : { [key]: value }) as { readonly [key in K]?: T };
}

/** The CNI side refuses a host port that is taken; should two meet here all the same, the first keeps it. */
function portMappings(attachments: readonly Attachment[]): readonly PortMapping[] {
  const taken = new Map<string, PortMapping>();
  for (const attachment of attachments)
    for (const mapping of mappingsOf(attachment)) {
      const { set, element } = portMappingElement(mapping);
      const key = `${set.name} ${elementKey({ key: element.key })}`;
      if (!taken.has(key)) taken.set(key, mapping);
    }
  return [...taken.values()];
}

function mappingsOf({ addresses, ports }: Attachment): readonly PortMapping[] {
  return ports.flatMap(({ hostPort, containerPort, protocol, hostIP }) => {
    const hostAddress = hostIP === undefined ? undefined : parseIp(hostIP);
    return addresses
      .filter(({ address }) => hostAddress === undefined || hostAddress.family === address.family)
      .map(({ address: to }) => ({
        protocol: protocols[protocol],
        hostPort,
        ...(hostAddress === undefined ? {} : { hostAddress }),
        to,
        toPort: containerPort,
      }));
  });
}
