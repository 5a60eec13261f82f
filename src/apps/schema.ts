/**
 * App and group definitions as clients send them: Marathon's old and new form, everything that can be left out optional.
 *
 * Members that nobody knows are dropped, as Marathon drops them: what was read from the API can be sent back whole.
 */
import { z } from 'zod';
import { networkMode } from '../model/app.ts';

const NAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const NETWORK_NAME = /^[a-z0-9]([-_a-z0-9]*[a-z0-9])?$/;

const labels = z.record(z.string(), z.string());
const anyPort = z.int().min(0).max(65_535);
const portName = z.string().min(1).max(63).regex(NAME);
const networkName = z.string().min(1).max(63).regex(NETWORK_NAME);
const protocol = z
  .enum(['tcp', 'udp', 'udp,tcp', 'tcp,udp'])
  .transform((given) => (given === 'tcp,udp' ? ('udp,tcp' as const) : given));
const seconds = z.int().min(0);
const constraints = z.array(z.array(z.string()));
const uri = z.string().min(1).max(1024);

const networkInput = z.object({
  mode: networkMode.default('container'),
  name: networkName.optional(),
  labels: labels.optional(),
});

const portDefinitionInput = z.object({
  port: anyPort.default(0),
  protocol: protocol.default('tcp'),
  name: portName.optional(),
  labels: labels.default({}),
});

const portMappingInput = z.object({
  containerPort: anyPort.default(0),
  hostPort: anyPort.optional(),
  servicePort: anyPort.default(0),
  protocol: protocol.default('tcp'),
  name: portName.optional(),
  labels: labels.default({}),
  networkNames: z.array(networkName).optional(),
});
export type PortMappingInput = z.infer<typeof portMappingInput>;

const volumeInput = z.object({
  containerPath: z.string(),
  hostPath: z.string().optional(),
  mode: z.enum(['RO', 'RW']).default('RW'),
  persistent: z
    .object({
      size: z.number().min(0),
      type: z.enum(['root', 'path', 'mount']).default('root'),
      maxSize: z.number().min(0).optional(),
      constraints: constraints.default([]),
    })
    .optional(),
  external: z.looseObject({}).optional(),
  secret: z.string().optional(),
});
export type VolumeInput = z.infer<typeof volumeInput>;

const dockerInput = z.object({
  image: z.string().min(1).max(1024),
  forcePullImage: z.boolean().default(false),
  privileged: z.boolean().default(false),
  parameters: z.array(z.object({ key: z.string().min(1), value: z.string() })).default([]),
  pullConfig: z.looseObject({}).optional(),
  credential: z.looseObject({}).optional(),
  /** Old form. */
  network: z.enum(['HOST', 'BRIDGE', 'USER', 'NONE']).optional(),
  /** Old form. */
  portMappings: z.array(portMappingInput).optional(),
});

const containerInput = z.object({
  type: z.enum(['MESOS', 'DOCKER']).default('DOCKER'),
  docker: dockerInput.optional(),
  appc: z.looseObject({}).optional(),
  volumes: z.array(volumeInput).default([]),
  portMappings: z.array(portMappingInput).optional(),
  linuxInfo: z.looseObject({}).optional(),
});
export type ContainerInput = z.infer<typeof containerInput>;

const healthCheckInput = z.object({
  protocol: z
    .enum(['HTTP', 'HTTPS', 'TCP', 'COMMAND', 'MESOS_HTTP', 'MESOS_HTTPS', 'MESOS_TCP'])
    .default('HTTP'),
  path: z.string().optional(),
  port: anyPort.optional(),
  portIndex: anyPort.optional(),
  command: z.object({ value: z.string() }).optional(),
  gracePeriodSeconds: seconds.default(300),
  intervalSeconds: seconds.default(60),
  timeoutSeconds: seconds.default(20),
  maxConsecutiveFailures: z.int().min(0).default(3),
  delaySeconds: seconds.default(15),
  ignoreHttp1xx: z.boolean().optional(),
  ipProtocol: z.enum(['IPv4', 'IPv6']).default('IPv4'),
});

const readinessCheckInput = z.object({
  name: z.string().min(1).default('readinessCheck'),
  protocol: z.enum(['HTTP', 'HTTPS']).default('HTTP'),
  path: z.string().min(1).max(1024).default('/'),
  portName: z.string().default('http-api'),
  intervalSeconds: seconds.default(30),
  timeoutSeconds: seconds.default(10),
  httpStatusCodesForReady: z.array(z.int().min(100).max(999)).default([]),
  preserveLastResponse: z.boolean().default(false),
});

const fetchInput = z.object({
  uri,
  extract: z.boolean().default(true),
  executable: z.boolean().default(false),
  cache: z.boolean().default(false),
  destPath: z.string().min(1).max(1024).optional(),
});

const ipAddressInput = z.object({
  networkName: z.string().min(1).optional(),
  groups: z.array(z.string()).default([]),
  labels: labels.default({}),
  discovery: z
    .object({
      ports: z
        .array(
          z.object({
            number: anyPort.default(0),
            name: portName,
            protocol: protocol.default('tcp'),
            labels: labels.default({}),
          }),
        )
        .default([]),
    })
    .optional(),
});
export type IpAddressInput = z.infer<typeof ipAddressInput>;

const fraction = z.number().min(0).max(1);

/** An update; a new app is the same with `id`. */
export const appInput = z.object({
  id: z.string().min(1).optional(),
  cmd: z.string().min(1).optional(),
  args: z.array(z.string()).optional(),
  cpus: z.number().min(0.001).optional(),
  mem: z.number().min(0).optional(),
  disk: z.number().min(0).optional(),
  gpus: z.int().min(0).optional(),
  instances: z.int().min(0).optional(),
  env: z.record(z.string(), z.union([z.string(), z.object({ secret: z.string() })])).optional(),
  secrets: z.record(z.string(), z.looseObject({})).optional(),
  labels: labels.optional(),
  executor: z.string().optional(),
  user: z.string().optional(),
  tty: z.boolean().optional(),
  role: z.string().optional(),
  acceptedResourceRoles: z.array(z.string()).optional(),
  constraints: constraints.optional(),
  dependencies: z.array(z.string().min(1)).optional(),
  fetch: z.array(fetchInput).optional(),
  /** Old form. */
  uris: z.array(uri).optional(),
  backoffSeconds: z.number().min(0).optional(),
  backoffFactor: z.number().min(1).optional(),
  maxLaunchDelaySeconds: z.number().min(0).optional(),
  upgradeStrategy: z
    .object({ minimumHealthCapacity: fraction.optional(), maximumOverCapacity: fraction.optional() })
    .optional(),
  unreachableStrategy: z
    .union([
      z.literal('disabled'),
      z.object({
        inactiveAfterSeconds: seconds.default(0),
        expungeAfterSeconds: seconds.default(0),
      }),
    ])
    .optional(),
  killSelection: z.enum(['YOUNGEST_FIRST', 'OLDEST_FIRST']).optional(),
  taskKillGracePeriodSeconds: seconds.optional(),
  requirePorts: z.boolean().optional(),
  residency: z
    .object({
      relaunchEscalationTimeoutSeconds: seconds.default(3600),
      taskLostBehavior: z.enum(['WAIT_FOREVER', 'RELAUNCH_AFTER_TIMEOUT']).default('WAIT_FOREVER'),
    })
    .optional(),
  healthChecks: z.array(healthCheckInput).optional(),
  readinessChecks: z.array(readinessCheckInput).optional(),
  networks: z.array(networkInput).optional(),
  container: containerInput.optional(),
  portDefinitions: z.array(portDefinitionInput).optional(),
  /** Old form. */
  ports: z.array(anyPort).optional(),
  /** Old form. */
  ipAddress: ipAddressInput.optional(),
  /** Of an update: the version to go back to. */
  version: z.string().optional(),
});
export type AppInput = z.infer<typeof appInput>;

export const appsInput = z.array(appInput);

export interface GroupInput {
  readonly id?: string | undefined;
  readonly apps?: readonly AppInput[] | undefined;
  readonly groups?: readonly GroupInput[] | undefined;
  readonly dependencies?: readonly string[] | undefined;
  readonly enforceRole?: boolean | undefined;
  readonly scaleBy?: number | undefined;
  readonly version?: string | undefined;
}

export const groupInput: z.ZodType<GroupInput> = z.object({
  id: z.string().min(1).optional(),
  apps: appsInput.optional(),
  groups: z.array(z.lazy(() => groupInput)).optional(),
  dependencies: z.array(z.string().min(1)).optional(),
  enforceRole: z.boolean().optional(),
  scaleBy: z.number().min(0).optional(),
  version: z.string().optional(),
});

export const killInput = z.object({ ids: z.array(z.string()) });
