/** Defaults: a definition in the new form becomes an `App` with every field resolved. Service ports may still be 0. */
import type { App, AppContainer, AppNetwork, AppVolume } from '../model/app.ts';
import { absoluteId } from './ids.ts';
import { refuse } from './issues.ts';
import type { Canonical, NetworkNames } from './migrate.ts';
import type { ContainerInput, PortMappingInput, VolumeInput } from './schema.ts';

export const NETWORK_NAME_MISSING = 'Network name must be specified when container network is selected.';
const SINGLE_INSTANCE = 'MARATHON_SINGLE_INSTANCE_APP';

export function isSingleInstance(labels: Readonly<Record<string, string>>): boolean {
  return labels[SINGLE_INSTANCE] === 'true';
}

/** `base` is the group that relative ids are in. */
export function resolve(
  input: Canonical & { readonly id: string },
  names: NetworkNames,
  { base, version }: { readonly base: string; readonly version: string },
): App {
  const id = absoluteId(input.id, base);
  const networks = resolveNetworks(input, names);
  const isHost = networks.every((network) => network.mode === 'host');
  const container = resolveContainer(input, networks, isHost);
  const isResident = container?.volumes.some((volume) => 'persistent' in volume) ?? false;
  const residency =
    input.residency ??
    (isResident
      ? { relaunchEscalationTimeoutSeconds: 3600, taskLostBehavior: 'WAIT_FOREVER' as const }
      : undefined);
  return {
    id,
    ...optional(input, ['cmd', 'args', 'user', 'tty', 'acceptedResourceRoles', 'taskKillGracePeriodSeconds']),
    cpus: input.cpus ?? 1,
    mem: input.mem ?? 128,
    disk: input.disk ?? 0,
    gpus: input.gpus ?? 0,
    instances: input.instances ?? 1,
    env: plainEnv(input.env ?? {}),
    labels: input.labels ?? {},
    executor: input.executor ?? '',
    role: input.role ?? '*',
    constraints: input.constraints ?? [],
    dependencies: (input.dependencies ?? []).map((dependency) => absoluteId(dependency, id)),
    fetch: input.fetch ?? [],
    backoffSeconds: input.backoffSeconds ?? 1,
    backoffFactor: input.backoffFactor ?? 1.15,
    maxLaunchDelaySeconds: input.maxLaunchDelaySeconds ?? 300,
    upgradeStrategy: resolveUpgrade(input, isResident),
    unreachableStrategy:
      input.unreachableStrategy ??
      (isResident ? 'disabled' : { inactiveAfterSeconds: 0, expungeAfterSeconds: 0 }),
    killSelection: input.killSelection ?? 'YOUNGEST_FIRST',
    requirePorts: isHost && (input.requirePorts ?? false),
    ...(residency === undefined ? {} : { residency }),
    healthChecks: resolveHealthChecks(input, hasPorts(input, container, isHost)),
    readinessChecks: (input.readinessChecks ?? []).map((check) => ({
      ...check,
      httpStatusCodesForReady:
        check.httpStatusCodesForReady.length === 0 ? [200] : check.httpStatusCodesForReady,
    })),
    networks,
    ...(container === undefined ? {} : { container }),
    ...(isHost ? { portDefinitions: input.portDefinitions ?? [defaultDefinition()] } : {}),
    version,
    versionInfo: { lastScalingAt: version, lastConfigChangeAt: version },
  };
}

function optional(input: Canonical, keys: readonly (keyof Canonical & keyof App)[]): Partial<App> {
  return Object.fromEntries(keys.filter((key) => input[key] !== undefined).map((key) => [key, input[key]]));
}

/** References to secrets have been refused by then. */
function plainEnv(env: NonNullable<Canonical['env']>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(env).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  );
}

const defaultDefinition = () => ({ port: 0, protocol: 'tcp' as const, name: 'default', labels: {} });
const defaultMapping = (): PortMappingInput => ({
  containerPort: 0,
  servicePort: 0,
  protocol: 'tcp',
  labels: {},
});

function resolveUpgrade(input: Canonical, isResident: boolean): App['upgradeStrategy'] {
  const isSingle = isSingleInstance(input.labels ?? {});
  const { minimumHealthCapacity, maximumOverCapacity } = input.upgradeStrategy ?? {};
  return {
    minimumHealthCapacity: minimumHealthCapacity ?? (isSingle ? 0 : isResident ? 0.5 : 1),
    maximumOverCapacity: maximumOverCapacity ?? (isSingle || isResident ? 0 : 1),
  };
}

function resolveNetworks(input: Canonical, names: NetworkNames): AppNetwork[] {
  const given = input.networks ?? [];
  if (given.length === 0) return [{ mode: 'host' }];
  return given.map(({ mode, name, labels }) => {
    const named = name ?? (mode === 'container' ? names.defaultNetwork : undefined);
    if (mode === 'container' && named === undefined) refuse('/networks', NETWORK_NAME_MISSING);
    return {
      mode,
      ...(named === undefined ? {} : { name: named }),
      ...(labels === undefined ? {} : { labels }),
    };
  });
}

function resolveContainer(
  input: Canonical,
  networks: readonly AppNetwork[],
  isHost: boolean,
): AppContainer | undefined {
  const given: ContainerInput | undefined =
    input.container ?? (isHost ? undefined : { type: 'MESOS', volumes: [] });
  if (given === undefined) return undefined;
  return {
    type: given.type,
    ...(given.docker === undefined ? {} : { docker: dockerOf(given.docker) }),
    volumes: given.volumes.map((volume) => resolveVolume(volume)),
    ...(isHost ? {} : { portMappings: resolveMappings(given, input, networks) }),
  };
}

function dockerOf({ image, forcePullImage, privileged, parameters }: NonNullable<ContainerInput['docker']>) {
  return { image, forcePullImage, privileged, parameters };
}

function resolveMappings(
  container: ContainerInput,
  input: Canonical,
  networks: readonly AppNetwork[],
): NonNullable<AppContainer['portMappings']> {
  const isBridge = networks.some((network) => network.mode === 'container/bridge');
  const given = container.portMappings ?? [{ ...defaultMapping(), name: 'default' }];
  const missing = Math.max(0, (input.portDefinitions ?? []).length - given.length);
  const all = [...given, ...Array.from({ length: missing }, () => defaultMapping())];
  return all.map((mapping) =>
    isBridge && mapping.hostPort === undefined ? { ...mapping, hostPort: 0 } : mapping,
  );
}

/** Volumes of other kinds have been refused by then. */
function resolveVolume({ containerPath, mode, hostPath, persistent }: VolumeInput): AppVolume {
  return persistent === undefined
    ? { containerPath, mode, hostPath: hostPath ?? '' }
    : { containerPath, mode, persistent };
}

function hasPorts(input: Canonical, container: AppContainer | undefined, isHost: boolean): boolean {
  return isHost ? input.portDefinitions?.length !== 0 : (container?.portMappings ?? []).length > 0;
}

function resolveHealthChecks(input: Canonical, hasPorts: boolean): App['healthChecks'] {
  return (input.healthChecks ?? []).map((check) => {
    const needsIndex =
      hasPorts && check.protocol !== 'COMMAND' && check.port === undefined && check.portIndex === undefined;
    return needsIndex ? { ...check, portIndex: 0 } : check;
  });
}
