/** Following a deployment until it is done, or until it is plain that it is stuck. */
import { sleep } from '../base/clock.ts';
import { isPortolanError, PortolanError } from '../base/errors.ts';
import type { CliContext } from './context.ts';
import { achieved, progressLines, stuckReasons, type Progress } from './deployment-progress.ts';
import { appPath, apps, callMarathon, deployments, oneApp, queue, type AppStatus } from './marathon.ts';

const POLL_MS = 500;
const MAX_SINGLE = 10;

export interface FollowInit {
  readonly deploymentId: string;
  /** Absolute ids of the apps that the deployment is about. */
  readonly apps: readonly string[];
  /** Without getting any farther for so long it counts as stuck. */
  readonly patienceMs: number;
}

/** Tells each change in a line, once; rejects with what it waits for when it is stuck, or was cancelled. */
export async function followDeployment(context: CliContext, init: FollowInit): Promise<void> {
  const told = new Set<string>();
  let best: readonly number[] = [];
  let sinceMs = performance.now();
  for (;;) {
    const progress = await look(context, init);
    for (const line of progressLines(progress)) {
      if (told.has(line)) continue;
      told.add(line);
      context.say(line);
    }
    if (progress.deployment === undefined) {
      mustBeDone(progress, init);
      return;
    }
    const now = achieved(progress);
    if (now.some((value, i) => value > (best[i] ?? -Infinity))) sinceMs = performance.now();
    best = now.map((value, i) => Math.max(value, best[i] ?? -Infinity));
    if (performance.now() - sinceMs > init.patienceMs) throw stuck(progress, init);
    await sleep(POLL_MS);
  }
}

async function look(context: CliContext, init: FollowInit): Promise<Progress> {
  // The deployment first: what is told of its apps after its end is how it ended.
  const running = await callMarathon(context, deployments, { method: 'GET', path: '/v2/deployments' });
  const told = await readApps(context, init.apps);
  const waits = await callMarathon(context, queue, { method: 'GET', path: '/v2/queue' });
  return {
    deployment: running.find((deployment) => deployment.id === init.deploymentId),
    apps: told,
    queue: waits.queue,
  };
}

/** Few are asked for one by one: a cluster may have thousands. Those that are gone are left out. */
async function readApps(context: CliContext, ids: readonly string[]): Promise<readonly AppStatus[]> {
  if (ids.length > MAX_SINGLE) {
    const path = '/v2/apps?embed=apps.tasks&embed=apps.lastTaskFailure';
    const all = await callMarathon(context, apps, { method: 'GET', path });
    return all.apps.filter((app) => ids.includes(app.id));
  }
  const found = ids.map((id) =>
    callMarathon(context, oneApp, { method: 'GET', path: `/v2/apps${appPath(id)}` }).catch(
      (error: unknown) => {
        if (isPortolanError(error, 'not-found')) return undefined;
        throw error;
      },
    ),
  );
  return (await Promise.all(found)).flatMap((each) => each?.app ?? []);
}

function stuck(progress: Progress, { deploymentId, patienceMs }: FollowInit): PortolanError {
  const reasons = stuckReasons(progress);
  const why = reasons.length === 0 ? 'nobody tells why' : reasons.join('; ');
  const standstill = `it has come no farther for ${Math.round(patienceMs / 1000)} s`;
  return new PortolanError('unavailable', `Deployment ${deploymentId} is stuck: ${standstill}: ${why}`, {
    remedy: `it goes on by itself when that is mended; "portolan deployment cancel ${deploymentId}" takes it back`,
  });
}

/** A deployment that another one took the place of, or that was cancelled, is over without being done. */
function mustBeDone(progress: Progress, { deploymentId }: FollowInit): void {
  const short = progress.apps.filter((app) => app.tasksRunning < app.instances);
  if (short.length === 0) return;
  const list = short.map((app) => `${app.id} has ${app.tasksRunning} of ${app.instances}`).join(', ');
  throw new PortolanError('conflict', `Deployment ${deploymentId} has ended before it was done: ${list}`, {
    remedy: 'it was cancelled, or another deployment took its place: see "portolan deployment ls"',
  });
}
