/**
 * Tasks: what a master tells an agent to run (`TaskLaunch`), and what the agent tells everybody of it (`TaskRecord`).
 *
 * A launch is a level, not an event: the agent makes its host equal to the list of launches it was last given. A record
 * is published as `node/<id>/task/<task id>` by the agent that runs the task; masters, VIPs, names and `/state` all read
 * it. Ports and states follow the reference "VIPs and DNS", section 1, and "Marathon", sections 2.5 to 2.7.
 */
import { z } from 'zod';
import type { NodeId } from './names.ts';
import { ipText } from './text.ts';

export const taskStates = [
  'TASK_STAGING',
  'TASK_STARTING',
  'TASK_RUNNING',
  'TASK_KILLING',
  'TASK_FINISHED',
  'TASK_FAILED',
  'TASK_KILLED',
  'TASK_ERROR',
  'TASK_LOST',
  'TASK_DROPPED',
  'TASK_GONE',
  'TASK_GONE_BY_OPERATOR',
  'TASK_UNREACHABLE',
  'TASK_UNKNOWN',
] as const;
export type TaskState = (typeof taskStates)[number];

const LIVE: ReadonlySet<TaskState> = new Set([
  'TASK_STAGING',
  'TASK_STARTING',
  'TASK_RUNNING',
  'TASK_KILLING',
  'TASK_UNREACHABLE',
  'TASK_UNKNOWN',
]);

/** A task in a terminal state never runs again. */
export function isTerminal(state: TaskState): boolean {
  return !LIVE.has(state);
}

/** Of a task that was ended because its health checks did not pass. */
export const UNHEALTHY_REASON = 'REASON_TASK_HEALTH_CHECK_STATUS_UPDATED';

/** One port of one protocol. At least one of `container_port` and `host_port` is there. */
export const taskPort = z.object({
  name: z.string().optional(),
  protocol: z.enum(['tcp', 'udp']),
  /** The port inside the task's own network namespace; absent in host mode. */
  container_port: z.int().min(1).max(65_535).optional(),
  /** The port on the agent's address; absent for container-only ports. */
  host_port: z.int().min(1).max(65_535).optional(),
  /** Networks the mapping is limited to; absent = all of the task's. */
  networks: z.array(z.string()).optional(),
  /** Of the port: `VIP_0` and the like. */
  labels: z.record(z.string(), z.string()).default({}),
});
export type TaskPort = z.infer<typeof taskPort>;

export const taskNetwork = z.object({
  mode: z.enum(['host', 'bridge', 'container']),
  /** An overlay; with mode `container` only. */
  name: z.string().optional(),
  labels: z.record(z.string(), z.string()).default({}),
});
export type TaskNetwork = z.infer<typeof taskNetwork>;

export const healthCheck = z.object({
  protocol: z.enum(['HTTP', 'HTTPS', 'TCP', 'COMMAND', 'MESOS_HTTP', 'MESOS_HTTPS', 'MESOS_TCP']),
  path: z.string().optional(),
  /** As resolved at launch: where the check goes; absent for COMMAND. */
  port: z.int().min(1).max(65_535).optional(),
  command: z.string().optional(),
  grace_s: z.number().nonnegative(),
  interval_s: z.number().positive(),
  timeout_s: z.number().positive(),
  delay_s: z.number().nonnegative(),
  /** 0 = never kill for it. */
  max_failures: z.int().nonnegative(),
  ignore_1xx: z.boolean().default(false),
  ip_protocol: z.enum(['IPv4', 'IPv6']).default('IPv4'),
});
export type HealthCheck = z.infer<typeof healthCheck>;

export const readinessCheck = z.object({
  name: z.string(),
  protocol: z.enum(['HTTP', 'HTTPS']),
  path: z.string(),
  /** As resolved at launch. */
  port: z.int().min(1).max(65_535),
  interval_s: z.number().positive(),
  timeout_s: z.number().positive(),
  ready_codes: z.array(z.int()),
  preserve_last: z.boolean().default(false),
});
export type ReadinessCheck = z.infer<typeof readinessCheck>;

export const taskVolume = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('host'),
    container_path: z.string(),
    host_path: z.string(),
    read_only: z.boolean(),
  }),
  /** Survives the task; `id` is the same for every task that takes the place of this one. */
  z.object({
    kind: z.literal('persistent'),
    id: z.string(),
    container_path: z.string(),
    size_mib: z.number(),
    read_only: z.boolean(),
  }),
]);
export type TaskVolume = z.infer<typeof taskVolume>;

export const fetchUri = z.object({
  uri: z.string(),
  extract: z.boolean(),
  executable: z.boolean(),
  cache: z.boolean(),
  /** Relative to the sandbox. */
  dest_path: z.string().optional(),
});
export type FetchUri = z.infer<typeof fetchUri>;

/** Everything an agent needs to run one task; ports are resolved, the environment is complete. */
export const taskLaunch = z.object({
  id: z.string().min(1).max(255),
  /** Absolute id of the app: `/outer/sub/myapp`. */
  app: z.string(),
  /** Of the app definition, an RFC 3339 time. */
  version: z.string(),
  instance: z.string(),
  framework: z.string(),
  /** Discovery name: `myapp.sub.outer`. */
  name: z.string(),
  runtime: z.enum(['mesos', 'docker']),
  /** Neither: the image's own entry point. */
  shell: z.string().optional(),
  argv: z.array(z.string()).optional(),
  user: z.string().optional(),
  env: z.record(z.string(), z.string()),
  labels: z.record(z.string(), z.string()),
  image: z.object({ name: z.string(), force_pull: z.boolean() }).optional(),
  privileged: z.boolean().default(false),
  /** `docker run` parameters. */
  parameters: z.array(z.object({ key: z.string(), value: z.string() })).default([]),
  networks: z.array(taskNetwork).min(1),
  ports: z.array(taskPort),
  volumes: z.array(taskVolume).default([]),
  fetch: z.array(fetchUri).default([]),
  resources: z.object({ cpus: z.number(), mem_mib: z.number(), disk_mib: z.number(), gpus: z.int() }),
  tty: z.boolean().default(false),
  health_checks: z.array(healthCheck).default([]),
  readiness_checks: z.array(readinessCheck).default([]),
  kill_grace_s: z.number().nonnegative(),
  /** `draining`: weight 0 in every VIP, its names withdrawn, still running. `killed`: to be ended. */
  goal: z.enum(['running', 'draining', 'killed']),
});
export type TaskLaunch = z.infer<typeof taskLaunch>;

export const taskHealth = z.object({
  /** Of the launch's `health_checks`. */
  index: z.int().nonnegative(),
  alive: z.boolean(),
  consecutive_failures: z.int().nonnegative(),
  /** RFC 3339. */
  first_success: z.string().optional(),
  last_success: z.string().optional(),
  last_failure: z.string().optional(),
  last_failure_cause: z.string().optional(),
});
export type TaskHealth = z.infer<typeof taskHealth>;

/** What everybody knows of one task. Later versions may say more: unknown members are left out, not refused. */
export const taskRecord = z.object({
  id: z.string(),
  app: z.string(),
  version: z.string(),
  framework: z.string(),
  name: z.string(),
  runtime: z.enum(['mesos', 'docker']),
  state: z.enum(taskStates),
  /** Weight 0, no names: about to be ended. */
  draining: z.boolean().default(false),
  /** Absent = no check, or none has answered so far. */
  healthy: z.boolean().optional(),
  /** True where health checks that reach Mesos (all of ours do) are defined: no result yet counts as unhealthy. */
  checked: z.boolean().default(false),
  ready: z.boolean().optional(),
  health: z.array(taskHealth).default([]),
  message: z.string().max(1024).default(''),
  reason: z.string().optional(),
  exit_code: z.int().optional(),
  /** The runtime's id: the container of the endpoint records, Docker's container id. */
  container: z.string().optional(),
  networks: z.array(
    z.object({
      mode: z.enum(['host', 'bridge', 'container']),
      name: z.string().optional(),
      /** The task's own; in host mode the agent's. */
      addresses: z.array(ipText),
    }),
  ),
  ports: z.array(taskPort),
  /** RFC 3339. */
  staged_at: z.string(),
  started_at: z.string().optional(),
  /** Of the last change of state or health. */
  status_at: z.string(),
});
export type TaskRecord = z.infer<typeof taskRecord>;

/**
 * Its state as Marathon and Mesos tell it. A task that drains is on its way out: load balancers that read either leave it out
 * while it still serves, and lose nothing when it ends.
 */
export function toldState({ state, draining }: Pick<TaskRecord, 'state' | 'draining'>): TaskState {
  return state === 'TASK_RUNNING' && draining ? 'TASK_KILLING' : state;
}

export const taskKey = (node: NodeId, task: string): string => `node/${node}/task/${task}`;

/**
 * What an agent has to offer. Key `node/<id>/resources`.
 *
 * Later versions may say more: unknown members are left out, not refused.
 */
export const resourcesRecord = z.object({
  cpus: z.number(),
  mem_mib: z.number(),
  disk_mib: z.number(),
  gpus: z.int(),
  /** Host ports, both ends included. */
  ports: z.array(z.tuple([z.int(), z.int()])),
  attributes: z.record(z.string(), z.string()),
  region: z.string().optional(),
  zone: z.string().optional(),
  /** Runtimes that work on this host. */
  runtimes: z.array(z.enum(['mesos', 'docker'])),
  /** How many addresses tasks may have, by overlay, for each half of the block: free ones and those that tasks have. */
  task_addresses: z.record(z.string(), z.object({ mesos: z.int(), docker: z.int() })).default({}),
});
export type ResourcesRecord = z.infer<typeof resourcesRecord>;

export const resourcesKey = (node: NodeId): string => `node/${node}/resources`;

/**
 * `POST` by an agent over TLS to a master, answered when the node's list of launches is another than `have`, or after
 * `wait_ms`: the agent asks again at once. A task that is not in the list any more is forgotten, and killed if it runs.
 */
export const TASKS_PATH = '/v1/agents/tasks';
export const tasksRequest = z.object({
  node: z.string(),
  /** `revision` of the list that the agent has on disk; absent = none. */
  have: z.string().optional(),
  wait_ms: z.int().min(0).max(60_000),
});
export const tasksAnswer = z.object({
  revision: z.string(),
  /** Absent = unchanged. */
  tasks: z.array(taskLaunch).optional(),
  /** Persistent volumes to be removed from this host's disk, by id, as soon as no task uses them any more. */
  wipe: z.array(z.string()).default([]),
});
