/** The Marathon API as the commands of `app`, `task` and `deployment` call it. */
import { z } from 'zod';
import type { CliContext } from './context.ts';

export interface MarathonCall {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  readonly path: string;
  readonly body?: unknown;
}

export async function callMarathon<T>(
  context: CliContext,
  schema: z.ZodType<T>,
  init: MarathonCall,
): Promise<T> {
  return schema.parse(await context.call(await context.masterApi(), init));
}

/** `/outer/web` as it stands in paths. */
export function appPath(id: string): string {
  return id.split('/').map(encodeURIComponent).join('/').replace(/^\/*/, '/');
}

export const deployed = z.object({ version: z.string(), deploymentId: z.string() });

const task = z.object({
  id: z.string(),
  appId: z.string(),
  host: z.string(),
  slaveId: z.string(),
  state: z.string(),
  ports: z.array(z.number()),
  ipAddresses: z.array(z.object({ ipAddress: z.string() })),
  stagedAt: z.string().optional(),
  startedAt: z.string().optional(),
  version: z.string(),
  healthCheckResults: z.array(z.object({ alive: z.boolean() })).optional(),
});
export type Task = z.infer<typeof task>;
export const tasks = z.object({ tasks: z.array(task) });

const app = z.object({
  id: z.string(),
  instances: z.number(),
  cpus: z.number(),
  mem: z.number(),
  version: z.string(),
  versionInfo: z.object({ lastConfigChangeAt: z.string() }),
  networks: z.array(z.object({ mode: z.string(), name: z.string().optional() })),
  tasksStaged: z.number(),
  tasksRunning: z.number(),
  tasksHealthy: z.number(),
  tasksUnhealthy: z.number(),
  deployments: z.array(z.object({ id: z.string() })),
  tasks: z.array(task).optional(),
  lastTaskFailure: z
    .object({ message: z.string(), state: z.string(), timestamp: z.string(), version: z.string() })
    .optional(),
});
export type AppStatus = z.infer<typeof app>;
export const apps = z.object({ apps: z.array(app) });
export const oneApp = z.object({ app });

const deployment = z.object({
  id: z.string(),
  version: z.string(),
  affectedApps: z.array(z.string()),
  currentStep: z.number(),
  totalSteps: z.number(),
  currentActions: z.array(z.object({ action: z.string(), app: z.string() })),
});
export type DeploymentStatus = z.infer<typeof deployment>;
export const deployments = z.array(deployment);

const waiting = z.object({
  app: z.object({ id: z.string() }),
  count: z.number(),
  delay: z.object({ timeLeftSeconds: z.number() }),
  reasons: z.array(z.object({ host: z.string(), message: z.string() })).default([]),
});
export type Waiting = z.infer<typeof waiting>;
export const queue = z.object({ queue: z.array(waiting) });
