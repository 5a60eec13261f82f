/**
 * Apps and groups as they are stored, scheduled and answered: Marathon's form of 1.5 and later, every default resolved.
 *
 * Input in any older or shorter form becomes this one in `apps/` (the reference "Marathon", sections 1 and 2). What is
 * only told about an app (counts, tasks, deployments) is not part of it.
 */
import { z } from 'zod';

const labels = z.record(z.string(), z.string());
const seconds = z.number().nonnegative();
/** `udp,tcp` is one port number on both. */
const appProtocol = z.enum(['tcp', 'udp', 'udp,tcp']);

/** The protocols of one declared port. */
export function protocolsOf(protocol: z.infer<typeof appProtocol>): readonly ('tcp' | 'udp')[] {
  return protocol === 'udp,tcp' ? ['udp', 'tcp'] : [protocol];
}

export const networkMode = z.enum(['host', 'container/bridge', 'container']);
export const appNetwork = z.object({
  mode: networkMode,
  /** The overlay, with mode `container` only; always there in that mode. */
  name: z.string().optional(),
  labels: labels.optional(),
});
export type AppNetwork = z.infer<typeof appNetwork>;

/** Of an app that has host mode. */
export const portDefinition = z.object({
  /** The service port; with `requirePorts` the host port too. */
  port: z.int(),
  protocol: appProtocol,
  name: z.string().optional(),
  labels,
});
export type PortDefinition = z.infer<typeof portDefinition>;

/** Of an app whose containers have a network namespace of their own. */
export const appPortMapping = z.object({
  /** 0 = the same as the host port; without one, chosen at launch. */
  containerPort: z.int(),
  /** Absent = no host port; 0 = any of the agent's. */
  hostPort: z.int().optional(),
  servicePort: z.int(),
  protocol: appProtocol,
  name: z.string().optional(),
  labels,
  /** Empty = all of the app's networks. */
  networkNames: z.array(z.string()).optional(),
});
export type AppPortMapping = z.infer<typeof appPortMapping>;

const constraint = z.array(z.string()).min(2).max(3);
export type Constraint = z.infer<typeof constraint>;

const persistentVolume = z.object({
  size: z.number(),
  type: z.enum(['root', 'path', 'mount']),
  maxSize: z.number().optional(),
  constraints: z.array(constraint),
});

export const appVolume = z.union([
  z.object({ containerPath: z.string(), mode: z.enum(['RO', 'RW']), hostPath: z.string() }),
  z.object({ containerPath: z.string(), mode: z.enum(['RO', 'RW']), persistent: persistentVolume }),
]);
export type AppVolume = z.infer<typeof appVolume>;

export const appDocker = z.object({
  image: z.string(),
  forcePullImage: z.boolean(),
  privileged: z.boolean(),
  parameters: z.array(z.object({ key: z.string(), value: z.string() })),
});

export const appContainer = z.object({
  type: z.enum(['MESOS', 'DOCKER']),
  /** The image; absent = the host's root, copied on write (MESOS only). */
  docker: appDocker.optional(),
  volumes: z.array(appVolume),
  /** Absent in host mode. */
  portMappings: z.array(appPortMapping).optional(),
});
export type AppContainer = z.infer<typeof appContainer>;

export const appHealthCheck = z.object({
  protocol: z.enum(['HTTP', 'HTTPS', 'TCP', 'COMMAND', 'MESOS_HTTP', 'MESOS_HTTPS', 'MESOS_TCP']),
  path: z.string().optional(),
  port: z.int().optional(),
  /** Of `portDefinitions` or `portMappings`. Not with `port`. */
  portIndex: z.int().optional(),
  command: z.object({ value: z.string() }).optional(),
  gracePeriodSeconds: seconds,
  intervalSeconds: seconds,
  timeoutSeconds: seconds,
  maxConsecutiveFailures: z.int(),
  delaySeconds: seconds,
  ignoreHttp1xx: z.boolean().optional(),
  ipProtocol: z.enum(['IPv4', 'IPv6']),
});
export type AppHealthCheck = z.infer<typeof appHealthCheck>;

export const appReadinessCheck = z.object({
  name: z.string(),
  protocol: z.enum(['HTTP', 'HTTPS']),
  path: z.string(),
  /** The name of a port of the app. */
  portName: z.string(),
  intervalSeconds: seconds,
  timeoutSeconds: seconds,
  httpStatusCodesForReady: z.array(z.int()),
  preserveLastResponse: z.boolean(),
});
export type AppReadinessCheck = z.infer<typeof appReadinessCheck>;

export const appFetch = z.object({
  uri: z.string(),
  extract: z.boolean(),
  executable: z.boolean(),
  cache: z.boolean(),
  destPath: z.string().optional(),
});

export const upgradeStrategy = z.object({
  minimumHealthCapacity: z.number().min(0).max(1),
  maximumOverCapacity: z.number().min(0).max(1),
});

export const unreachableStrategy = z.union([
  z.literal('disabled'),
  z.object({ inactiveAfterSeconds: z.int(), expungeAfterSeconds: z.int() }),
]);

export const app = z.object({
  /** Absolute: `/outer/web`. */
  id: z.string(),
  /** For a shell. */
  cmd: z.string().optional(),
  args: z.array(z.string()).optional(),
  cpus: z.number(),
  /** MiB. */
  mem: z.number(),
  /** MiB. */
  disk: z.number(),
  gpus: z.int(),
  instances: z.int().min(0),
  env: z.record(z.string(), z.string()),
  labels,
  executor: z.string(),
  user: z.string().optional(),
  tty: z.boolean().optional(),
  role: z.string(),
  acceptedResourceRoles: z.array(z.string()).optional(),
  constraints: z.array(constraint),
  /** Absolute ids of apps and groups. */
  dependencies: z.array(z.string()),
  fetch: z.array(appFetch),
  backoffSeconds: seconds,
  backoffFactor: z.number(),
  maxLaunchDelaySeconds: seconds,
  upgradeStrategy,
  unreachableStrategy,
  killSelection: z.enum(['YOUNGEST_FIRST', 'OLDEST_FIRST']),
  taskKillGracePeriodSeconds: seconds.optional(),
  /** Host mode: only on agents that have exactly the declared ports free. */
  requirePorts: z.boolean(),
  /** There when, and only when, there is a persistent volume. */
  residency: z.object({ relaunchEscalationTimeoutSeconds: z.int(), taskLostBehavior: z.string() }).optional(),
  healthChecks: z.array(appHealthCheck),
  readinessChecks: z.array(appReadinessCheck),
  networks: z.array(appNetwork).min(1),
  container: appContainer.optional(),
  /** In host mode only. */
  portDefinitions: z.array(portDefinition).optional(),
  /** Of this definition, an RFC 3339 time. */
  version: z.string(),
  versionInfo: z.object({ lastScalingAt: z.string(), lastConfigChangeAt: z.string() }),
});
export type App = z.infer<typeof app>;

export interface Group {
  /** Absolute; `/` is the root. */
  readonly id: string;
  readonly apps: readonly App[];
  readonly groups: readonly Group[];
  /** Absolute ids of apps and groups. */
  readonly dependencies: readonly string[];
  /** Of the tree when this group last changed, an RFC 3339 time. */
  readonly version: string;
  readonly enforceRole: boolean;
}

export const group: z.ZodType<Group> = z.object({
  id: z.string(),
  apps: z.array(app),
  groups: z.array(z.lazy(() => group)),
  dependencies: z.array(z.string()),
  version: z.string(),
  enforceRole: z.boolean(),
});

/** Every app of the tree, groups in order, a group's own apps first. */
export function* appsOf(tree: Group): Generator<App> {
  yield* tree.apps;
  for (const child of tree.groups) yield* appsOf(child);
}

/** Resident = with persistent volumes: its tasks stay where their data is. */
export function isResident(definition: App): boolean {
  return definition.residency !== undefined;
}
