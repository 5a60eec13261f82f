/** Tasks as Marathon tells of them, and what is counted of an app's tasks. */
import type { App } from '../../model/app.ts';
import type { InstanceView } from '../../model/deployment.ts';
import type { TaskHealth } from '../../model/task.ts';

export interface TaskCounts {
  readonly tasksStaged: number;
  readonly tasksRunning: number;
  readonly tasksHealthy: number;
  readonly tasksUnhealthy: number;
}

/** Instances that wait for a place have no task, and are not counted. */
export function taskCounts(instances: readonly InstanceView[]): TaskCounts {
  let tasksStaged = 0;
  let tasksRunning = 0;
  let tasksHealthy = 0;
  let tasksUnhealthy = 0;
  for (const { state, record } of instances) {
    const health = record?.health ?? [];
    if (state === 'TASK_STAGING') tasksStaged += 1;
    if (state === 'TASK_RUNNING') tasksRunning += 1;
    if (health.length === 0) continue;
    if (health.every((result) => result.alive)) tasksHealthy += 1;
    else tasksUnhealthy += 1;
  }
  return { tasksStaged, tasksRunning, tasksHealthy, tasksUnhealthy };
}

export function taskJson(instance: InstanceView, role: string): object {
  const { stagedAt, startedAt, region, zone, record } = instance;
  const health = record?.health ?? [];
  return {
    id: instance.taskId,
    appId: instance.app,
    host: instance.agentIp,
    slaveId: instance.node,
    state: instance.state,
    ports: instance.ports,
    servicePorts: instance.servicePorts,
    ipAddresses: instance.ipAddresses,
    stagedAt,
    ...(startedAt === undefined ? {} : { startedAt }),
    version: instance.version,
    ...(health.length === 0
      ? {}
      : { healthCheckResults: health.map((result) => healthJson(result, instance.instanceId)) }),
    localVolumes: instance.localVolumes,
    ...(region === undefined ? {} : { region }),
    ...(zone === undefined ? {} : { zone }),
    role,
  };
}

function healthJson(result: TaskHealth, instanceId: string): object {
  return {
    alive: result.alive,
    consecutiveFailures: result.consecutive_failures,
    firstSuccess: result.first_success ?? null,
    lastSuccess: result.last_success ?? null,
    lastFailure: result.last_failure ?? null,
    lastFailureCause: result.last_failure_cause ?? null,
    instanceId,
  };
}

/** Of the tasks that run the app as it is now, of those that do not, of those started after the last scaling, and of all. */
export function taskStats(app: App, instances: readonly InstanceView[], nowMs: number): object {
  const { lastScalingAt, lastConfigChangeAt } = app.versionInfo;
  const isCurrent = (instance: InstanceView): boolean => instance.version >= lastConfigChangeAt;
  const groups: Readonly<Record<string, readonly InstanceView[]>> = {
    startedAfterLastScaling: instances.filter((each) => each.stagedAt >= lastScalingAt),
    withLatestConfig: instances.filter((each) => isCurrent(each)),
    withOutdatedConfig: instances.filter((each) => !isCurrent(each)),
    totalSummary: instances,
  };
  const filled = Object.entries(groups).filter(([, members]) => members.length > 0);
  return Object.fromEntries(filled.map(([name, members]) => [name, { stats: statsOf(members, nowMs) }]));
}

function statsOf(instances: readonly InstanceView[], nowMs: number): object {
  const { tasksStaged, tasksRunning, tasksHealthy, tasksUnhealthy } = taskCounts(instances);
  const lives = instances
    .flatMap((each) => (each.startedAt === undefined ? [] : (nowMs - Date.parse(each.startedAt)) / 1000))
    .sort((a, b) => a - b);
  const averageSeconds = lives.reduce((sum, life) => sum + life, 0) / Math.max(1, lives.length);
  return {
    counts: { staged: tasksStaged, running: tasksRunning, healthy: tasksHealthy, unhealthy: tasksUnhealthy },
    ...(lives.length === 0
      ? {}
      : { lifeTime: { averageSeconds, medianSeconds: lives[Math.floor(lives.length / 2)] ?? 0 } }),
  };
}
