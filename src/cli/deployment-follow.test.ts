import { describe, expect, it } from 'vitest';
import { PortolanError } from '../base/errors.ts';
import type { CliContext } from './context.ts';
import { followDeployment } from './deployment-follow.ts';

interface Moment {
  /** Absent = the deployment is over. */
  readonly step?: number;
  /** Absent = the app is gone. */
  readonly running?: number;
  readonly waiting?: string;
}

/** An API that is at the next of `moments` each time deployments are asked for, and stays at the last. */
function contextOf(moments: readonly Moment[]) {
  const said: string[] = [];
  let at = -1;
  const now = (): Moment => moments[Math.min(at, moments.length - 1)] ?? {};
  const call = (_target: unknown, { path }: { readonly path: string }): Promise<unknown> => {
    if (path === '/v2/deployments') {
      at += 1;
      const { step } = now();
      return Promise.resolve(step === undefined ? [] : [deployment(step)]);
    }
    const { running, waiting } = now();
    if (path === '/v2/queue') return Promise.resolve({ queue: waiting === undefined ? [] : [item(waiting)] });
    if (running !== undefined) return Promise.resolve({ app: web(running) });
    return Promise.reject(new PortolanError('not-found', "App '/web' does not exist"));
  };
  const context = {
    masterApi: () => Promise.resolve({ socketPath: '/none' }),
    call,
    say: (line: string) => void said.push(line),
  } as unknown as CliContext;
  return { context, said };
}

const deployment = (currentStep: number) => ({
  id: 'd-1',
  version: 'v',
  affectedApps: ['/web'],
  currentStep,
  totalSteps: 2,
  currentActions: [{ action: 'ScaleApplication', app: '/web' }],
});
const item = (message: string) => ({
  app: { id: '/web' },
  count: 1,
  delay: { timeLeftSeconds: 0 },
  reasons: [{ host: 'agent1', message }],
});
const web = (running: number) => ({
  id: '/web',
  instances: 2,
  cpus: 1,
  mem: 128,
  version: 'v',
  versionInfo: { lastConfigChangeAt: 'v' },
  networks: [],
  tasksStaged: 0,
  tasksRunning: running,
  tasksHealthy: 0,
  tasksUnhealthy: 0,
  deployments: [],
  tasks: Array.from({ length: running }, (_, i) => ({
    ...{ id: `t${i}`, appId: '/web', host: 'h', slaveId: 'n', state: 'TASK_RUNNING' },
    ...{ ports: [], ipAddresses: [], version: 'v' },
  })),
});

const init = { deploymentId: 'd-1', apps: ['/web'], patienceMs: 30_000 };

describe('followDeployment', () => {
  it('says each change once, and ends with the deployment', async () => {
    const { context, said } = contextOf([{ step: 1, running: 1 }, { step: 1, running: 1 }, { running: 2 }]);
    await followDeployment(context, init);
    expect(said).toEqual(['step 1 of 2: scales /web', '/web: 1 of 2 run', '/web: 2 of 2 run']);
  });

  it('ends when its apps are gone', async () => {
    const { context } = contextOf([{ step: 1, running: 1 }, {}]);
    await followDeployment(context, init);
  });

  it('gives up with the reason when nothing changes any more', async () => {
    const { context } = contextOf([{ step: 1, running: 1, waiting: 'agent1 has no free address in dcos' }]);
    await expect(followDeployment(context, { ...init, patienceMs: 0 })).rejects.toMatchObject({
      code: 'unavailable',
      message:
        'Deployment d-1 is stuck: it has come no farther for 0 s: /web: 1 waiting: agent1 has no free address in dcos',
      remedy: expect.stringContaining('portolan deployment cancel d-1') as string,
    });
  });

  it('says that a deployment was cancelled', async () => {
    const { context } = contextOf([{ step: 1, running: 1 }, { running: 1 }]);
    await expect(followDeployment(context, init)).rejects.toMatchObject({
      code: 'conflict',
      message: 'Deployment d-1 has ended before it was done: /web has 1 of 2',
    });
  });

  it('hands on what goes wrong on the way', async () => {
    const { context } = contextOf([]);
    const call = () => Promise.reject(new PortolanError('unavailable', 'Cannot reach the API'));
    await expect(followDeployment({ ...context, call }, init)).rejects.toThrow('Cannot reach the API');
  });
});
