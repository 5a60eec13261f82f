/**
 * Old form to new form: `ipAddress`, `docker.network`, `docker.portMappings`, `ports` and `uris` become networks,
 * port mappings, port definitions and fetch (the reference "Marathon", section 2.3). Only what was given is translated;
 * defaults come later, after an update has met the stored app.
 */
import { refuseAny, type Issue } from './issues.ts';
import type { AppInput, ContainerInput, IpAddressInput, PortMappingInput } from './schema.ts';

export interface NetworkNames {
  /** Of a `container` network without a name; absent = such a network is refused. */
  readonly defaultNetwork?: string;
  /** An `ipAddress` with this network name means the bridge. */
  readonly bridge: string;
}

/** The new form. Nothing in it is resolved. */
export type Canonical = Omit<AppInput, 'uris' | 'ipAddress' | 'ports'>;

type Networks = NonNullable<AppInput['networks']>;

export function migrate(input: AppInput, names: NetworkNames): Canonical {
  refuseAny(oldFormIssues(input));
  const { uris, ipAddress, ports, ...rest } = input;
  const networks = migrateNetworks(input, names);
  const container = migrateContainer(input);
  const portDefinitions =
    input.portDefinitions ?? ports?.map((port) => ({ port, protocol: 'tcp' as const, labels: {} }));
  const fetch = uris === undefined || uris.length === 0 ? input.fetch : uris.map((uri) => fetched(uri));
  return {
    ...rest,
    ...(networks === undefined ? {} : { networks }),
    ...(container === undefined ? {} : { container }),
    ...(portDefinitions === undefined ? {} : { portDefinitions }),
    ...(fetch === undefined ? {} : { fetch }),
  };
}

function oldFormIssues(input: AppInput): Issue[] {
  const { ipAddress, container, ports = [], portDefinitions = [] } = input;
  const networks = input.networks ?? [];
  const issues: Issue[] = [];
  const rule = (broken: boolean, path: string, error: string): void => {
    if (broken) issues.push({ path, errors: [error] });
  };
  const fixed = ports.filter((port) => port !== 0);
  rule(
    ipAddress?.discovery !== undefined && container?.type === 'DOCKER',
    '/ipAddress',
    'ipAddress/discovery is not allowed for Docker containers',
  );
  rule(
    (input.uris ?? []).length > 0 && (input.fetch ?? []).length > 0,
    '/uris',
    'may not be set in conjunction with fetch',
  );
  rule(new Set(fixed).size !== fixed.length, '/', 'ports must be unique');
  rule(
    ipAddress !== undefined && (ports.length > 0 || portDefinitions.length > 0),
    '/',
    'cannot specify both an IP address and port',
  );
  const same =
    ports.length === portDefinitions.length && ports.every((p, i) => p === portDefinitions[i]?.port);
  rule(
    ports.length > 0 && portDefinitions.length > 0 && !same,
    '/',
    'cannot specify both ports and port definitions',
  );
  rule(
    container?.docker?.network !== undefined && networks.length > 0,
    '/',
    'must not specify both container.docker.network and networks',
  );
  rule(ipAddress !== undefined && networks.length > 0, '/', 'must not specify both networks and ipAddress');
  return [...issues, ...oldContainerIssues(container)];
}

function oldContainerIssues(container: ContainerInput | undefined): Issue[] {
  const docker = container?.docker;
  if (docker === undefined) return [];
  const issues: Issue[] = [];
  const rule = (broken: boolean, path: string, error: string): void => {
    if (broken) issues.push({ path, errors: [error] });
  };
  const both = (docker.portMappings ?? []).length > 0 && (container?.portMappings ?? []).length > 0;
  rule(both, '/container', 'cannot specify both portMappings and docker.portMappings');
  rule(docker.credential !== undefined, '/container/docker/credential', 'must be empty');
  rule(
    docker.network === 'NONE',
    '/container/docker/network',
    'unsupported docker network type NONE: use HOST, BRIDGE or USER',
  );
  if (container?.type === 'MESOS') {
    rule(docker.network !== undefined, '/container/docker/network', 'must be empty');
    rule(docker.parameters.length > 0, '/container/docker/parameters', 'must be empty');
    rule(docker.portMappings !== undefined, '/container/docker/portMappings', 'must be empty');
  }
  return issues;
}

function migrateNetworks(input: AppInput, names: NetworkNames): Networks | undefined {
  const { ipAddress } = input;
  const docker = input.container?.docker?.network;
  if (ipAddress === undefined) {
    if (docker === undefined) return input.networks;
    if (docker === 'HOST') return [{ mode: 'host' }];
    return [{ mode: docker === 'BRIDGE' ? 'container/bridge' : 'container' }];
  }
  if (docker === 'HOST') return [{ mode: 'host' }];
  const labels = labelsOf(ipAddress);
  const isBridge = docker === undefined ? ipAddress.networkName === names.bridge : docker === 'BRIDGE';
  if (isBridge) return [{ mode: 'container/bridge', ...labels }];
  const { networkName: name } = ipAddress;
  return [{ mode: 'container', ...(name === undefined ? {} : { name }), ...labels }];
}

/** The groups that once isolated containers from each other live on as the network label `groups`. */
function labelsOf(ipAddress: IpAddressInput): { labels?: Record<string, string> } {
  const { groups } = ipAddress;
  const labels = groups.length === 0 ? ipAddress.labels : { groups: groups.join(','), ...ipAddress.labels };
  return Object.keys(labels).length === 0 ? {} : { labels };
}

/** An app that asks for an address of its own has a container, whether it says so or not. */
function migrateContainer(input: AppInput): ContainerInput | undefined {
  const given: ContainerInput | undefined =
    input.container ?? (input.ipAddress === undefined ? undefined : { type: 'MESOS', volumes: [] });
  if (given === undefined) return undefined;
  const portMappings = given.docker?.portMappings ?? given.portMappings;
  const { docker, portMappings: _old, ...rest } = given;
  const migrated: ContainerInput = {
    ...rest,
    ...(docker === undefined ? {} : { docker: withoutOldMembers(docker) }),
    ...(portMappings === undefined ? {} : { portMappings }),
  };
  return withDiscovery(migrated, input.ipAddress);
}

function withoutOldMembers(docker: NonNullable<ContainerInput['docker']>): ContainerInput['docker'] {
  const { network: _network, portMappings: _portMappings, ...rest } = docker;
  return rest;
}

function withDiscovery(container: ContainerInput, ipAddress: IpAddressInput | undefined): ContainerInput {
  const ports = ipAddress?.discovery?.ports ?? [];
  if (ports.length === 0) return container;
  if ((container.portMappings ?? []).length > 0)
    refuseAny([
      {
        path: '/',
        errors: ['container.portMappings and ipAddress.discovery.ports must not both be set'],
      },
    ]);
  const portMappings: PortMappingInput[] = ports.map(({ number, name, protocol, labels }) => ({
    containerPort: number,
    servicePort: 0,
    name,
    protocol,
    labels,
  }));
  return { ...container, portMappings };
}

const ARCHIVE = /\.(tgz|tar\.gz|tbz2|tar\.bz2|txz|tar\.xz|zip)$/;

function fetched(uri: string): NonNullable<AppInput['fetch']>[number] {
  return { uri, extract: ARCHIVE.test(uri), executable: false, cache: false };
}
