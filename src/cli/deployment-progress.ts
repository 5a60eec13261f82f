/** What a deployment is doing, in lines for people, and whether it is getting anywhere. No I/O, no clock. */
import type { AppStatus, DeploymentStatus, Waiting } from './marathon.ts';

export interface Progress {
  /** Absent = the deployment is over. */
  readonly deployment: DeploymentStatus | undefined;
  /** The apps it is about, as far as they are still there. */
  readonly apps: readonly AppStatus[];
  readonly queue: readonly Waiting[];
}

const MAX_REASONS = 3;

/** One line for each app, and one for the step. */
export function progressLines({ deployment, apps, queue }: Progress): readonly string[] {
  const lines = apps.map((app) => appLine(app, queue));
  if (deployment === undefined) return lines;
  const actions = deployment.currentActions.map(({ action, app }) => `${verb(action)} ${app}`).join(', ');
  const step = `step ${Math.min(deployment.currentStep, deployment.totalSteps)} of ${deployment.totalSteps}`;
  return [actions === '' ? step : `${step}: ${actions}`, ...lines];
}

function verb(action: string): string {
  const verbs: Readonly<Record<string, string>> = {
    StartApplication: 'starts',
    StopApplication: 'stops',
    ScaleApplication: 'scales',
    RestartApplication: 'replaces',
  };
  return verbs[action] ?? action;
}

function appLine(app: AppStatus, queue: readonly Waiting[]): string {
  const { current, old } = generations(app);
  const parts = [`${app.id}: ${current} of ${app.instances} run`];
  if (app.tasksHealthy + app.tasksUnhealthy > 0) parts.push(`${app.tasksHealthy} healthy`);
  if (app.tasksUnhealthy > 0) parts.push(`${app.tasksUnhealthy} unhealthy`);
  if (app.tasksStaged > 0) parts.push(`${app.tasksStaged} starting`);
  if (old > 0) parts.push(`${old} of the old version left`);
  const waits = queue.find((item) => item.app.id === app.id);
  if (waits !== undefined) parts.push(waitingText(waits, failureOf(app)?.message));
  return parts.join(', ');
}

/** How the last task ended of the app as it is now. */
function failureOf({ lastTaskFailure, versionInfo }: AppStatus): AppStatus['lastTaskFailure'] {
  const isOfNow = lastTaskFailure !== undefined && lastTaskFailure.version >= versionInfo.lastConfigChangeAt;
  return isOfNow ? lastTaskFailure : undefined;
}

/** Tasks of the app as it is now, and of what it was before. */
function generations(app: AppStatus): { readonly current: number; readonly old: number } {
  const running = (app.tasks ?? []).filter((task) => task.state === 'TASK_RUNNING');
  const current = running.filter((task) => task.version >= app.versionInfo.lastConfigChangeAt).length;
  return { current, old: running.length - current };
}

/** `failure`: what a delay after failures is for, told in place of what else there is and how long it takes. */
function waitingText({ count, delay, reasons }: Waiting, failure?: string): string {
  if (delay.timeLeftSeconds > 0 && failure !== undefined)
    return `${count} waiting after failures: ${failure}`;
  const shown = [...new Set(reasons.map((reason) => reason.message))];
  const more = shown.length > MAX_REASONS ? ` and ${shown.length - MAX_REASONS} more` : '';
  const why = shown.slice(0, MAX_REASONS).join('; ');
  const delayed =
    delay.timeLeftSeconds > 0 ? ` for ${Math.ceil(delay.timeLeftSeconds)} s after failures` : '';
  return `${count} waiting${delayed}${why === '' ? '' : `: ${why}${more}`}`;
}

/**
 * How far it is, each number the greater the farther. A task that comes and goes again and again takes nothing farther,
 * though the counts never stand still.
 */
export function achieved({ deployment, apps }: Progress): readonly number[] {
  const total = (count: (app: AppStatus) => number): number => apps.reduce((sum, app) => sum + count(app), 0);
  return [
    deployment?.currentStep ?? 0,
    total((app) => Math.min(generations(app).current, app.instances)),
    total((app) => Math.min(app.tasksHealthy, app.instances)),
    -total((app) => generations(app).old + Math.max(0, generations(app).current - app.instances)),
    -apps.length,
  ];
}

/** Why nothing moves any more, as far as anybody can tell. */
export function stuckReasons({ apps, queue }: Progress): readonly string[] {
  const reasons: string[] = [];
  for (const app of apps) {
    const waits = queue.find((item) => item.app.id === app.id);
    if (waits !== undefined) reasons.push(`${app.id}: ${waitingText(waits)}`);
    const failure = failureOf(app);
    if (failure !== undefined)
      reasons.push(`${app.id}: the last task ended with ${failure.state}: ${failure.message}`);
    if (app.tasksStaged > 0) reasons.push(`${app.id}: ${app.tasksStaged} are still being started`);
    if (app.tasksUnhealthy > 0)
      reasons.push(`${app.id}: ${app.tasksUnhealthy} do not pass their health checks`);
  }
  return reasons;
}
