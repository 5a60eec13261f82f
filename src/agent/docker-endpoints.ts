/** Containers on our Docker networks as endpoints. */
import { compareIp } from '../base/ip.ts';
import type { Endpoint, PortMapping } from '../model/endpoint.ts';
import { isVipKey } from '../model/task-view.ts';
import type { DockerAttachment, DockerContainer, DockerPort, DockerRunning } from '../runtime/types.ts';

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

/** Only this host is meant by it. */
const isLoopback = ({ hostIp }: DockerPort): boolean =>
  hostIp !== undefined && (String(hostIp) === '::1' || String(hostIp).startsWith('127.'));

/**
 * Containers outside of our networks that are labelled with a VIP. On bridges of Docker's own they are backends by their
 * published ports, which is all that other hosts have of them, as Docker gives the same addresses on every host; in the
 * host's network (`--network host`) by any port, as there Docker publishes none. Those of no network, or in another container's,
 * publish nothing: they are told of so that somebody says that their labels do not hold.
 */
export function labelledEndpoints(
  running: readonly DockerRunning[],
  ours: ReadonlySet<string>,
): readonly Endpoint[] {
  return running.flatMap(({ id, name, labels, ports, networks }): readonly Endpoint[] => {
    const [network = 'none'] = networks;
    if (networks.some((each) => ours.has(each)) || !Object.keys(labels).some(isVipKey)) return [];
    const own = { container: id, ifname: network, network, name, labels, addresses: [] };
    if (network === 'host') return [{ ...own, mode: 'host', source: 'docker', ports: [] }];
    const published = ports.filter((port) => !isLoopback(port)).map(portMapping);
    return [{ ...own, mode: 'bridge', source: 'docker', ports: published }];
  });
}

function portMapping({ hostPort, containerPort, protocol, hostIp }: DockerPort): PortMapping {
  return {
    hostPort,
    containerPort,
    protocol,
    ...(hostIp === undefined ? {} : { hostIP: String(hostIp) }),
  };
}
