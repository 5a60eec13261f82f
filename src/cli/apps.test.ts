import { describe, expect, it } from 'vitest';
import { answerError } from './answer-error.ts';
import { definitionOf } from './definition-file.ts';
import { achieved, progressLines, stuckReasons, type Progress } from './deployment-progress.ts';
import { appPath, type AppStatus, type Task } from './marathon.ts';

const at = { file: 'web.json', query: '?force=false' };

describe('definitions in files', () => {
  it('are sent where they belong', () => {
    expect(definitionOf({ id: 'web', cmd: 'a' }, at)).toMatchObject({
      call: { method: 'PUT', path: '/v2/apps/web?force=false' },
      apps: ['/web'],
    });
    expect(definitionOf([{ id: '/a' }, { id: '/b' }], at)).toMatchObject({
      call: { path: '/v2/apps?force=false' },
      apps: ['/a', '/b'],
    });
    const group = {
      id: 'g',
      apps: [{ id: 'a' }],
      groups: [{ id: 'h', apps: [{ id: 'b' }, { id: '/g/h/c' }] }],
    };
    expect(definitionOf(group, at)).toMatchObject({
      call: { path: '/v2/groups/g?force=false' },
      apps: ['/g/a', '/g/h/b', '/g/h/c'],
    });
    expect(definitionOf({ groups: [group] }, at)).toMatchObject({ call: { path: '/v2/groups?force=false' } });
  });

  it('without an id are refused', () => {
    expect(() => definitionOf({ cmd: 'a' }, at)).toThrow('Cannot apply web.json: an app in it has no id');
    expect(() => definitionOf([null], at)).toThrow('has no id');
  });

  it('are refused where there are none', () => {
    for (const body of ['text', 5, null, []])
      expect(() => definitionOf(body, at)).toThrow('Cannot apply web.json: there is no app in it');
  });

  it('have ids that fit into paths', () => {
    expect(appPath('outer/we b')).toBe('/outer/we%20b');
  });
});

describe('error answers', () => {
  it('say what is wrong where', () => {
    const details = [
      { path: '/cpus', errors: ['error.min'] },
      { path: '/id', errors: ['must not be root'] },
    ];
    const error = answerError({ status: 422, body: { message: 'Object is not valid', details } });
    expect([error.code, error.message]).toEqual([
      'invalid',
      'Object is not valid: cpus: is less than it may be; id: must not be root',
    ]);
    expect(answerError({ status: 400, body: { message: 'Invalid JSON', details: 'no end' } }).message).toBe(
      'Invalid JSON: no end',
    );
    expect(answerError({ status: 404, body: { message: "App '/x' does not exist" } }).code).toBe('not-found');
    expect(answerError({ status: 500, body: 'oops' }).message).toBe('The API answered 500');
  });

  it('name the deployment that locks an app', () => {
    const error = answerError({
      status: 409,
      body: { message: 'App is locked by …', deployments: [{ id: 'd-1' }] },
    });
    expect([error.message, error.remedy]).toEqual([
      'App is locked',
      'wait for deployment d-1, or cancel it with --force',
    ]);
  });
});

const task = (version: string, state = 'TASK_RUNNING'): Task => ({
  id: `web.${version}`,
  appId: '/web',
  host: '10.0.0.11',
  slaveId: 'n1',
  state,
  ports: [],
  ipAddresses: [],
  version,
});
const web = (more: Partial<AppStatus> = {}): AppStatus => ({
  id: '/web',
  instances: 2,
  cpus: 1,
  mem: 128,
  version: '2026-02',
  versionInfo: { lastConfigChangeAt: '2026-02' },
  networks: [{ mode: 'container', name: 'dcos' }],
  tasksStaged: 0,
  tasksRunning: 1,
  tasksHealthy: 0,
  tasksUnhealthy: 0,
  deployments: [],
  tasks: [task('2026-02'), task('2026-01')],
  ...more,
});
const deployment = {
  id: 'd-1',
  version: '2026-02',
  affectedApps: ['/web'],
  currentStep: 1,
  totalSteps: 2,
  currentActions: [{ action: 'RestartApplication', app: '/web' }],
};
const waiting = (...messages: string[]) => ({
  app: { id: '/web' },
  count: 1,
  delay: { timeLeftSeconds: 0 },
  reasons: messages.map((message) => ({ host: 'agent1', message })),
});
const progress = (more: Partial<Progress> = {}): Progress => ({
  deployment,
  apps: [web()],
  queue: [],
  ...more,
});

describe('the progress of a deployment', () => {
  it('says step, counts and what is left of the old version', () => {
    expect(progressLines(progress())).toEqual([
      'step 1 of 2: replaces /web',
      '/web: 1 of 2 run, 1 of the old version left',
    ]);
    const checked = web({ tasksHealthy: 1, tasksUnhealthy: 1, tasksStaged: 1, tasks: [] });
    expect(progressLines(progress({ deployment: undefined, apps: [checked] }))).toEqual([
      '/web: 0 of 2 run, 1 healthy, 1 unhealthy, 1 starting',
    ]);
  });

  it('says why an app waits', () => {
    const queue = [
      waiting('agent1 has no free address in dcos', 'agent2 has no free address in dcos', 'c', 'd'),
    ];
    expect(progressLines(progress({ queue }))[1]).toBe(
      '/web: 1 of 2 run, 1 of the old version left, 1 waiting: agent1 has no free address in dcos; agent2 has no free address in dcos; c and 1 more',
    );
  });

  it('says what a delay after failures is for, in one line for all delays', () => {
    const lastTaskFailure = {
      ...{ message: 'no image', state: 'TASK_FAILED' },
      timestamp: '',
      version: '2026-02',
    };
    const delayed = (timeLeftSeconds: number) => ({
      ...waiting('agent1 is full'),
      delay: { timeLeftSeconds },
    });
    const lineOf = (seconds: number, failure = lastTaskFailure) =>
      progressLines(
        progress({
          apps: [web({ instances: 1, tasks: [], lastTaskFailure: failure })],
          queue: [delayed(seconds)],
        }),
      )[1];
    expect(lineOf(3)).toBe('/web: 0 of 1 run, 1 waiting after failures: no image');
    expect(lineOf(2)).toBe(lineOf(3));
    expect(lineOf(0)).toBe('/web: 0 of 1 run, 1 waiting: agent1 is full');
    expect(lineOf(2, { ...lastTaskFailure, version: '2026-01' })).toBe(
      '/web: 0 of 1 run, 1 waiting for 2 s after failures: agent1 is full',
    );
  });

  it('is measured by what it has achieved, not by what comes and goes', () => {
    const farther = (a: Progress, b: Progress): boolean => {
      const before = achieved(a);
      return achieved(b).some((value, i) => value > (before[i] ?? 0));
    };
    const start = progress({ apps: [web({ tasks: [task('2026-01')] })] });
    const tried = progress({ apps: [web({ tasks: [task('2026-01'), task('2026-02', 'TASK_STAGING')] })] });
    const runs = progress({ apps: [web({ tasks: [task('2026-01'), task('2026-02')] })] });
    const oldGone = progress({ apps: [web({ tasks: [task('2026-02')] })] });
    expect(farther(start, tried)).toBe(false);
    expect(farther(tried, runs)).toBe(true);
    expect(farther(runs, start)).toBe(false);
    expect(farther(runs, oldGone)).toBe(true);
    const many = progress({ apps: [web({ instances: 1, tasks: [task('2026-02'), task('2026-02')] })] });
    expect(farther(many, progress({ apps: [web({ instances: 1, tasks: [task('2026-02')] })] }))).toBe(true);
    expect(farther(start, progress({ deployment: { ...deployment, currentStep: 2 } }))).toBe(true);
  });

  it('knows reasons for being stuck', () => {
    const lastTaskFailure = {
      message: 'image not found',
      state: 'TASK_FAILED',
      timestamp: '',
      version: '2026-02',
    };
    const apps = [web({ tasksUnhealthy: 1, tasksStaged: 1, lastTaskFailure })];
    expect(stuckReasons(progress({ apps, queue: [waiting('agent1 has 0.1 cpus left')] }))).toEqual([
      '/web: 1 waiting: agent1 has 0.1 cpus left',
      '/web: the last task ended with TASK_FAILED: image not found',
      '/web: 1 are still being started',
      '/web: 1 do not pass their health checks',
    ]);
    const old = web({ lastTaskFailure: { ...lastTaskFailure, version: '2026-01' } });
    expect(stuckReasons(progress({ apps: [old] }))).toEqual([]);
  });
});
