/** The ports of one task, as they are once it has a place. */
import { randomBelow, type Random } from '../base/random.ts';
import { protocolsOf, type App } from '../model/app.ts';
import type { TaskPort } from '../model/task.ts';

/** One declared port. */
export interface ResolvedPort {
  readonly name: string | undefined;
  readonly protocols: readonly ('tcp' | 'udp')[];
  /** As the definition says it: 0 = any. */
  readonly declared: number;
  readonly hostPort: number | undefined;
  readonly containerPort: number | undefined;
  /** The container port was chosen here, as neither it nor a host port was asked for. */
  readonly isRandom: boolean;
  readonly labels: Readonly<Record<string, string>>;
  /** Empty = all of the task's networks. */
  readonly networks: readonly string[];
}

const FIRST_RANDOM = 1025;
const LAST_RANDOM = 65_535;

export function resolvePorts(
  app: App,
  hostPorts: readonly (number | undefined)[],
  random: Random,
): readonly ResolvedPort[] {
  if (app.portDefinitions !== undefined)
    return app.portDefinitions.map(({ port, protocol, name, labels }, i) => ({
      ...{ name, labels, declared: port, protocols: protocolsOf(protocol), networks: [], isRandom: false },
      ...{ hostPort: hostPorts[i], containerPort: undefined },
    }));
  const mappings = app.container?.portMappings ?? [];
  const taken = new Set(mappings.map(({ containerPort }) => containerPort));
  return mappings.map(({ containerPort, protocol, name, labels, networkNames }, i) => {
    const hostPort = hostPorts[i];
    const isRandom = containerPort === 0 && hostPort === undefined;
    const chosen = isRandom ? randomPort(taken, random) : hostPort;
    return {
      ...{ name, labels, declared: containerPort, protocols: protocolsOf(protocol), isRandom, hostPort },
      containerPort: containerPort === 0 ? chosen : containerPort,
      networks: networkNames ?? [],
    };
  });
}

function randomPort(taken: Set<number>, random: Random): number {
  for (;;) {
    const port = FIRST_RANDOM + randomBelow(random, LAST_RANDOM - FIRST_RANDOM + 1);
    if (taken.has(port)) continue;
    taken.add(port);
    return port;
  }
}

/** One for each protocol. */
export function taskPortsOf(ports: readonly ResolvedPort[]): TaskPort[] {
  return ports.flatMap(({ name, protocols, hostPort, containerPort, labels, networks }) =>
    protocols.map((protocol) => ({
      ...(name === undefined ? {} : { name }),
      protocol,
      ...(containerPort === undefined ? {} : { container_port: containerPort }),
      ...(hostPort === undefined ? {} : { host_port: hostPort }),
      ...(networks.length === 0 ? {} : { networks: [...networks] }),
      labels: { ...labels },
    })),
  );
}
