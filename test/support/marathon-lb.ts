/**
 * What marathon-lb makes of `GET /v2/apps?embed=apps.tasks`: its rules, written down anew after its sources (get_apps in
 * marathon_lb.py, and utils.py).
 *
 * The schema names every member that it reads, and says which it cannot do without.
 */
import { z } from 'zod';

const mapping = z.object({ servicePort: z.int().optional(), containerPort: z.int() });
const task = z.object({
  id: z.string(),
  host: z.string().min(1),
  state: z.string(),
  ports: z.array(z.int()),
  ipAddresses: z.array(z.object({ ipAddress: z.string() })),
  healthCheckResults: z.array(z.object({ alive: z.boolean() })).optional(),
  stagedAt: z.string(),
  startedAt: z.string().optional(),
  version: z.string(),
});
const app = z.object({
  id: z.string(),
  labels: z.record(z.string(), z.string()),
  instances: z.int(),
  versionInfo: z.object({ lastScalingAt: z.string() }),
  networks: z.array(z.object({ mode: z.enum(['host', 'container/bridge', 'container']) })).min(1),
  // Neither may be null: it asks what is within.
  container: z
    .object({ docker: z.object({}).optional(), portMappings: z.array(mapping).default([]) })
    .optional(),
  portDefinitions: z.array(z.object({ port: z.int() })).optional(),
  healthChecks: z
    .array(
      z.object({
        ...{ protocol: z.string(), path: z.string().optional() },
        ...{ port: z.int().optional(), portIndex: z.int().optional() },
        ...{ intervalSeconds: z.number(), timeoutSeconds: z.number(), gracePeriodSeconds: z.number() },
        maxConsecutiveFailures: z.int(),
      }),
    )
    .default([]),
  tasks: z.array(task),
});
export const appsAnswer = z.object({ apps: z.array(app) });
type App = z.infer<typeof app>;
type Task = z.infer<typeof task>;

const EXCLUDED = new Set([
  ...['TASK_STAGING', 'TASK_STARTING', 'TASK_KILLING', 'TASK_FINISHED', 'TASK_FAILED', 'TASK_KILLED'],
  ...['TASK_ERROR', 'TASK_DROPPED', 'TASK_GONE', 'TASK_GONE_BY_OPERATOR', 'TASK_UNKNOWN'],
]);

export interface Service {
  readonly app: string;
  readonly groups: readonly string[];
  readonly port: number;
  readonly mode: 'http' | 'tcp';
  /** `address:port`, sorted. */
  readonly backends: readonly string[];
}

/** Those that have backends, by port. */
export function servicesOf({ apps }: z.infer<typeof appsAnswer>): readonly Service[] {
  return apps
    .flatMap((each) => {
      const tasks = each.tasks.filter((one) => isServing(each, one));
      return servicePorts(each).map((port, i) => ({
        ...{ app: each.id, groups: (each.labels['HAPROXY_GROUP'] ?? '').split(','), port },
        mode: modeOf(each, i),
        backends: tasks.flatMap((one) => backendOf(each, one, i)).toSorted(),
      }));
    })
    .filter(({ backends }) => backends.length > 0)
    .toSorted((a, b) => a.port - b.port);
}

function isServing({ healthChecks }: App, { state, healthCheckResults = [] }: Task): boolean {
  if (EXCLUDED.has(state)) return false;
  return healthChecks.length === 0 || healthCheckResults.some(({ alive }) => alive);
}

const modeOfNetwork = ({ networks }: App): string => networks.at(-1)?.mode ?? 'host';

function servicePorts(each: App): readonly number[] {
  const mapped = (each.container?.portMappings ?? []).flatMap(({ servicePort }) => servicePort ?? []);
  if (modeOfNetwork(each) !== 'host' && mapped.length > 0) return mapped;
  return (each.portDefinitions ?? []).map(({ port }) => port);
}

function backendOf(each: App, one: Task, index: number): string[] {
  const isOwn = modeOfNetwork(each) === 'container';
  const address = isOwn ? (one.ipAddresses[0]?.ipAddress ?? '') : one.host;
  const ports = isOwn
    ? (each.container?.portMappings ?? []).map(({ containerPort }) => containerPort)
    : one.ports;
  const port = ports[index];
  return port === undefined || address === '' ? [] : [`${address}:${port}`];
}

function modeOf({ healthChecks, labels }: App, index: number): 'http' | 'tcp' {
  const check = healthChecks.find(({ port, portIndex }) => port !== undefined || portIndex === index);
  const said = labels[`HAPROXY_${index}_MODE`];
  if (said === 'http' || said === 'tcp') return said;
  return /HTTP/.test(check?.protocol ?? '') ? 'http' : 'tcp';
}
