/** Containers on our Docker networks as endpoints. */
import { compareIp } from '../base/ip.ts';
import type { Endpoint, PortMapping } from '../model/endpoint.ts';
import type { DockerAttachment, DockerContainer, DockerPort } from '../runtime/types.ts';

/**
 * Docker does not tell by which name an interface is known inside its container, and that depends on the order of
 * attachments; the network's name is unique per container, so it stands for the interface.
 */
export function dockerEndpoint(
  network: string,
  attachment: DockerAttachment,
  container: DockerContainer,
): Endpoint {
  const { addresses, mac } = attachment;
  return {
    container: attachment.container,
    ifname: network,
    network,
    source: 'docker',
    name: container.name,
    addresses: addresses.toSorted((a, b) => compareIp(a.address, b.address)).map(String),
    ...(mac === undefined ? {} : { mac }),
    ports: container.ports.map(portMapping),
    labels: container.labels,
  };
}

function portMapping({ hostPort, containerPort, protocol, hostIp }: DockerPort): PortMapping {
  return {
    hostPort,
    containerPort,
    protocol,
    ...(hostIp === undefined ? {} : { hostIP: String(hostIp) }),
  };
}
