/**
 * Host ports as elements of four maps: per family, for any local address and for one.
 *
 * The key of a mapping is what a packet to this host is looked up by, the datum is where it goes.
 */
import { PortolanError } from '../base/errors.ts';
import { parseIp, type InterfaceAddress, type IpAddress } from '../base/ip.ts';
import type { NftElement, NftSet } from '../kernel/nft/types.ts';
import type { PortMapping as EndpointPort } from '../model/endpoint.ts';

export const portMap4: NftSet = {
  name: 'portMap4',
  key: ['inet_proto', 'inet_service'],
  data: ['ipv4_addr', 'inet_service'],
};
export const portMapOn4: NftSet = {
  name: 'portMapOn4',
  key: ['ipv4_addr', 'inet_proto', 'inet_service'],
  data: ['ipv4_addr', 'inet_service'],
};
export const portMap6: NftSet = {
  name: 'portMap6',
  key: ['inet_proto', 'inet_service'],
  data: ['ipv6_addr', 'inet_service'],
};
export const portMapOn6: NftSet = {
  name: 'portMapOn6',
  key: ['ipv6_addr', 'inet_proto', 'inet_service'],
  data: ['ipv6_addr', 'inet_service'],
};

export const portMapSets: readonly NftSet[] = [portMap4, portMapOn4, portMap6, portMapOn6];

export interface PortMapping {
  /** IP protocol number: 6, 17 or 132. */
  readonly protocol: number;
  readonly hostPort: number;
  /** Absent, or the unspecified address = every address of the host. */
  readonly hostAddress?: IpAddress;
  readonly to: IpAddress;
  readonly toPort: number;
}

/** A container's ports as records and runtimes give them. */
export interface PortHolder {
  readonly addresses: readonly InterfaceAddress[];
  readonly ports: readonly EndpointPort[];
}

const PROTOCOL_NUMBERS: Readonly<Record<EndpointPort['protocol'], number>> = { tcp: 6, udp: 17, sctp: 132 };

/** Each port for the first address of each family; with a host address, for the family of that. */
export function portMappingsOf({ addresses, ports }: PortHolder): readonly PortMapping[] {
  const targets = ([4, 6] as const).flatMap(
    (family) => addresses.find(({ address }) => address.family === family)?.address ?? [],
  );
  return ports.flatMap(({ hostPort, containerPort, protocol, hostIP }) => {
    const hostAddress = hostIP === undefined ? undefined : parseIp(hostIP);
    return targets
      .filter((to) => hostAddress === undefined || hostAddress.family === to.family)
      .map((to) => ({
        protocol: PROTOCOL_NUMBERS[protocol],
        hostPort,
        to,
        toPort: containerPort,
        ...(hostAddress === undefined ? {} : { hostAddress }),
      }));
  });
}

/** What a container has in the maps, for `Nft.change`; maps without an element of it are left out. */
export function portElements(
  holder: PortHolder,
): readonly { readonly set: NftSet; readonly elements: readonly NftElement[] }[] {
  const mappings = portMappingsOf(holder).map(portMappingElement);
  return portMapSets.flatMap((set) => {
    const elements = mappings.filter((mapping) => mapping.set === set).map(({ element }) => element);
    return elements.length === 0 ? [] : [{ set, elements }];
  });
}

/** The map that a mapping belongs to and its element there. */
export function portMappingElement(mapping: PortMapping): {
  readonly set: NftSet;
  readonly element: NftElement;
} {
  checkPortMapping(mapping);
  const { protocol, hostPort, hostAddress, to, toPort } = mapping;
  const data = [to, toPort];
  if (hostAddress === undefined || hostAddress.value === 0n)
    return { set: to.family === 4 ? portMap4 : portMap6, element: { key: [protocol, hostPort], data } };
  const set = to.family === 4 ? portMapOn4 : portMapOn6;
  return { set, element: { key: [hostAddress, protocol, hostPort], data } };
}

/** Protocols with ports where nft's `th dport` finds them: TCP, UDP, SCTP. */
const PROTOCOLS: readonly number[] = [6, 17, 132];

function checkPortMapping({ protocol, hostPort, hostAddress, to, toPort }: PortMapping): void {
  if (!PROTOCOLS.includes(protocol))
    throw invalid('protocol', `protocol ${protocol} has no ports`, 'use tcp, udp or sctp');
  for (const [field, port] of [
    ['hostPort', hostPort],
    ['containerPort', toPort],
  ] as const)
    if (!Number.isInteger(port) || port < 1 || port > 65_535)
      throw invalid(field, `${port} is no port`, 'use 1 to 65535');
  if (hostAddress !== undefined && hostAddress.family !== to.family)
    throw invalid(
      'hostIP',
      `"${String(hostAddress)}" and the container's address "${String(to)}" are of different families`,
      `use an IPv${to.family} address of the host or none`,
    );
}

const invalid = (field: string, what: string, remedy: string): PortolanError =>
  new PortolanError('invalid', `Mapping a host port: ${what}`, { field, remedy });
