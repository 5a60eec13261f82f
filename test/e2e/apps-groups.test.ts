/**
 * Groups, updates of every kind and the events that tell of them, on a lab: dependencies, dry runs, scaling by a factor,
 * versions; and health from the first answer until the task is replaced.
 */
import { execFile } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { request } from '../../src/http/client.ts';
import { labStart, labStop } from '../../src/lab/lab.ts';
import { labPaths } from '../../src/lab/paths.ts';
import { EventStream } from '../support/event-stream.ts';
import { TestLab } from '../support/lab.ts';

const lab = new TestLab('grp');
const socketPath = labPaths(lab.name).apiSocket;
const WAIT = { timeout: 90_000, interval: 200 };
const sleeper = { cmd: 'exec sleep 10000', cpus: 0.01, mem: 16 };
let stream: EventStream;
const closers: (() => void)[] = [];

async function call(method: 'GET' | 'POST' | 'PUT' | 'DELETE', path: string, body?: unknown) {
  const { status, body: answer } = await request({ socketPath }, { method, path, body, timeoutMs: 20_000 });
  return { status, answer };
}
const settled = (): Promise<void> =>
  expect.poll(async () => (await call('GET', '/v2/deployments')).answer, WAIT).toEqual([]);
async function changed(method: 'POST' | 'PUT' | 'DELETE', path: string, body?: unknown): Promise<void> {
  const { status, answer } = await call(method, path, body);
  expect({ status: Math.floor(status / 100), answer }).toMatchObject({
    status: 2,
    answer: { version: expect.any(String) as string, deploymentId: expect.any(String) as string },
  });
  await settled();
}
const apps = z.object({ apps: z.array(z.object({ id: z.string(), tasksRunning: z.int() })) });
const running = async (): Promise<Readonly<Record<string, number>>> => {
  const { answer } = await call('GET', '/v2/apps?id=/prod/');
  return Object.fromEntries(apps.parse(answer).apps.map(({ id, tasksRunning }) => [id, tasksRunning]));
};
const tasks = z.object({ tasks: z.array(z.object({ id: z.string(), state: z.string() })) });
const taskIds = async (app: string): Promise<readonly string[]> =>
  tasks.parse((await call('GET', `/v2/apps${app}/tasks`)).answer).tasks.map(({ id }) => id);
const action = (verb: string, app: string) => ({ action: `${verb}Application`, app });

beforeAll(async () => {
  await lab.up({ hosts: 2 });
  stream = await EventStream.open(socketPath);
  closers.push(() => stream.close());
});
afterAll(async () => {
  for (const close of closers) close();
  await lab.down();
});

describe('a group', () => {
  it('is started in the order of what depends on what', async () => {
    const front = { id: 'front', ...sleeper, instances: 2, dependencies: ['../../db/pg'] };
    const groups = [
      { id: 'db', apps: [{ id: 'pg', ...sleeper }] },
      { id: 'web', dependencies: ['/prod/db'], apps: [front, { id: '/prod/web/back', ...sleeper }] },
    ];
    await changed('POST', '/v2/groups', { id: '/prod', groups });
    expect(await running()).toEqual({ '/prod/db/pg': 1, '/prod/web/front': 2, '/prod/web/back': 1 });
    const told = stream.events.flatMap(({ eventType, taskStatus, appId, currentStep }) =>
      eventType === 'status_update_event' && taskStatus === 'TASK_RUNNING'
        ? [`${String(appId)} runs`]
        : eventType === 'deployment_step_success'
          ? [JSON.stringify(currentStep)]
          : [],
    );
    const step = (...actions: readonly object[]): string => JSON.stringify({ actions });
    const both = [action('Scale', '/prod/web/back'), action('Scale', '/prod/web/front')];
    expect(told.slice(0, 3)).toEqual([
      step(...['/prod/db/pg', '/prod/web/back', '/prod/web/front'].map((app) => action('Start', app))),
      '/prod/db/pg runs',
      step(action('Scale', '/prod/db/pg')),
    ]);
    expect(told.at(-1)).toBe(step(...both));
    expect(stream.types()).toEqual(expect.arrayContaining(['group_change_success', 'deployment_success']));
    expect(stream.of('group_change_success')[0]).toMatchObject({ groupId: '/prod' });
    expect(await call('POST', '/v2/groups', { id: '/prod' })).toEqual({
      status: 409,
      answer: { message: 'Group /prod is already created. Use PUT to change this group.' },
    });
    expect(await call('POST', '/v2/groups', { id: '/prod/db/pg' })).toEqual({
      status: 409,
      answer: { message: 'An app with the path /prod/db/pg already exists.' },
    });
  });

  it('is told with what is asked to be embedded', async () => {
    const keys = async (embed: string): Promise<readonly string[]> =>
      Object.keys((await call('GET', `/v2/groups/prod${embed}`)).answer as object).sort();
    const always = ['dependencies', 'enforceRole', 'id', 'version'];
    expect(await keys('')).toEqual(['apps', 'groups', 'pods', ...always].sort());
    expect(await keys('?embed=group.groups')).toEqual([...always, 'groups'].sort());
    expect(await keys('?embed=group.apps')).toEqual(['apps', ...always]);
    const tasksOf = z.object({ apps: z.array(z.object({ tasks: z.array(z.unknown()) })) });
    const { answer } = await call('GET', '/v2/groups/prod/web?embed=group.apps&embed=group.apps.tasks');
    expect(tasksOf.parse(answer).apps.map(({ tasks: each }) => each.length)).toEqual([1, 2]);
  });

  it('says what a change would do, and does nothing of it', async () => {
    const before = await running();
    const { answer } = await call('PUT', '/v2/groups/prod?dryRun=true', {
      apps: [{ id: 'new', ...sleeper }],
      groups: [{ id: 'db', apps: [{ id: 'pg', ...sleeper, env: { A: 'b' } }] }],
    });
    expect(answer).toEqual({
      steps: [
        { actions: [action('Stop', '/prod/web/back'), action('Stop', '/prod/web/front')] },
        { actions: [action('Start', '/prod/new')] },
        { actions: [action('Scale', '/prod/new'), action('Restart', '/prod/db/pg')] },
      ],
    });
    expect((await call('GET', '/v2/deployments')).answer).toEqual([]);
    expect(await running()).toEqual(before);
  });

  it('is multiplied, and goes back to a version', async () => {
    const versions = z.array(z.string());
    const [first] = versions.parse((await call('GET', '/v2/groups/prod/versions')).answer);
    const before = await running();
    await changed('PUT', '/v2/groups/prod', { scaleBy: 1.5 });
    expect(await running()).toEqual({ '/prod/db/pg': 2, '/prod/web/front': 3, '/prod/web/back': 2 });
    const after = versions.parse((await call('GET', '/v2/groups/prod/versions')).answer);
    expect(after).toHaveLength(2);
    expect(after[1]).toBe(first);
    const old = (await call('GET', `/v2/groups/prod/versions/${first ?? ''}`)).answer;
    expect(old).toMatchObject({ id: '/prod', version: first });
    await changed('PUT', '/v2/groups/prod', { version: first });
    expect(await running()).toEqual(before);
    expect(await call('PUT', '/v2/groups/prod', { version: '2001-01-01T00:00:00.000Z' })).toEqual({
      status: 404,
      answer: { message: "Group '/prod' does not exist in version 2001-01-01T00:00:00.000Z" },
    });
    expect(await call('PUT', '/v2/groups/prod', { scaleBy: 2, apps: [] })).toMatchObject({
      status: 422,
      answer: { details: [{ path: '/scaleBy' }] },
    });
  });

  it('may not depend on itself, and is removed with all that is in it', async () => {
    expect(await call('PUT', '/v2/groups/prod/db', { dependencies: ['/prod/web'] })).toMatchObject({
      status: 422,
      answer: { details: [{ path: '/', errors: ['Dependency graph has cyclic dependencies.'] }] },
    });
    await changed('DELETE', '/v2/groups/prod/web');
    expect(await running()).toEqual({ '/prod/db/pg': 1 });
    await changed('DELETE', '/v2/groups/prod');
    expect((await call('GET', '/v2/groups/prod')).status).toBe(404);
    expect(new Set(stream.of('app_terminated_event').map(({ appId }) => appId))).toEqual(
      new Set(['/prod/db/pg', '/prod/web/front', '/prod/web/back']),
    );
  });
});

describe('an app', () => {
  it('keeps what an update leaves out, unless it is to be replaced whole', async () => {
    const shown = async () =>
      z
        .object({ app: z.looseObject({ env: z.record(z.string(), z.string()), instances: z.int() }) })
        .parse((await call('GET', '/v2/apps/u')).answer).app;
    await changed('PUT', '/v2/apps/u', { ...sleeper, env: { X: '1' }, instances: 2 });
    const first = await taskIds('/u');
    await changed('PUT', '/v2/apps/u', { labels: { a: 'b' } });
    expect(await shown()).toMatchObject({ env: { X: '1' }, instances: 2, labels: { a: 'b' } });
    await changed('PUT', '/v2/apps/u?partialUpdate=false', sleeper);
    expect(await shown()).toMatchObject({ env: {}, instances: 1, labels: {} });
    for (const id of await taskIds('/u')) expect(first).not.toContain(id);
    expect((await call('PUT', '/v2/apps/u?partialUpdate=false', { instances: 2 })).status).toBe(422);
    await changed('DELETE', '/v2/apps/u');
  });

  it('moves from the network of its hosts to addresses of its own, and back, by upgrades', async () => {
    const placed = z.object({
      app: z.object({
        tasks: z.array(
          z.object({ host: z.string(), ipAddresses: z.array(z.object({ ipAddress: z.string() })) }),
        ),
      }),
    });
    const own = async (): Promise<readonly boolean[]> =>
      placed
        .parse((await call('GET', '/v2/apps/moves')).answer)
        .app.tasks.map(({ host, ipAddresses }) => ipAddresses[0]?.ipAddress !== host);
    const ports = [{ port: 0, name: 'http' }];
    await changed('PUT', '/v2/apps/moves', { ...sleeper, instances: 2, portDefinitions: ports });
    expect(await own()).toEqual([false, false]);
    const networks = [{ mode: 'container', name: 'dcos' }];
    await changed('PUT', '/v2/apps/moves', { networks, container: { type: 'MESOS' } });
    expect(await own()).toEqual([true, true]);
    await changed('PUT', '/v2/apps/moves', { networks: [{ mode: 'host' }] });
    expect(await own()).toEqual([false, false]);
    await changed('DELETE', '/v2/apps/moves');
  });

  it('that falls sick is told of at every turn, until another task has taken its place', async () => {
    const check = {
      ...{ protocol: 'COMMAND', command: { value: 'test -e /mnt/mesos/sandbox/well' }, delaySeconds: 0 },
      ...{ gracePeriodSeconds: 30, intervalSeconds: 1, timeoutSeconds: 10, maxConsecutiveFailures: 3 },
    };
    const sick = { id: '/sick', ...sleeper, cmd: 'touch well; exec sleep 10000', healthChecks: [check] };
    await changed('PUT', '/v2/apps/sick', sick);
    const [first = ''] = await taskIds('/sick');
    for (const host of ['agent1', 'agent2'])
      await lab.sh(host, 'rm -f /var/lib/portolan/agent/tasks/*/sandbox/well');
    await expect.poll(async () => (await taskIds('/sick')).includes(first), WAIT).toBe(false);
    const instanceId = first.replace(/\._app\.1$/, '');
    const own = stream.events.filter((event) => event['instanceId'] === instanceId);
    const told = own
      .filter(({ eventType }) => eventType.includes('health'))
      .map(({ eventType, alive, healthy, reason }) => [eventType, alive ?? healthy ?? reason]);
    expect(told).toEqual([
      ['instance_health_changed_event', true],
      ['health_status_changed_event', true],
      ['instance_health_changed_event', false],
      ['health_status_changed_event', false],
      ['failed_health_check_event', undefined],
      ['failed_health_check_event', undefined],
      ['failed_health_check_event', undefined],
      ['unhealthy_instance_kill_event', 'command exited with status 1: '],
    ]);
    const of = (type: string) => own.find(({ eventType }) => eventType === type);
    const version = expect.stringMatching(/^2.*Z$/) as string;
    expect(of('health_status_changed_event')).toMatchObject({ appId: '/sick', taskId: first, version });
    expect(of('failed_health_check_event')).toMatchObject({ appId: '/sick', healthCheck: check });
    expect(of('unhealthy_instance_kill_event')).toMatchObject({
      ...{ appId: '/sick', taskId: first, version, host: expect.stringMatching(/^10\./) as string },
      slaveId: expect.any(String) as string,
    });
    expect(stream.of('add_health_check_event')[0]).toMatchObject({ appId: '/sick', healthCheck: check });
    await changed('DELETE', '/v2/apps/sick');
    expect(stream.of('remove_health_check_event')[0]).toMatchObject({ appId: '/sick' });
  });
});

it('what a task writes is followed to its end, once, though its agent is killed meanwhile', async () => {
  const cmd = 'for i in 1 2 3; do echo line $i; done; while ! [ -e go ]; do sleep 0.1; done; echo end';
  await changed('PUT', '/v2/apps/talks', { ...sleeper, cmd, backoffSeconds: 3600 });
  const [id = ''] = await taskIds('/talks');
  let said = '';
  const followed = new Promise<number | null>((resolve) => {
    const api = ['--api', `unix://${socketPath}`];
    const child = execFile('bin/portolan', [...api, 'task', 'logs', '-f', id], () => resolve(child.exitCode));
    child.stdout?.on('data', (text: string) => (said += text));
  });
  await expect.poll(() => said, WAIT).toContain('line 3\n');
  for (const host of ['agent1', 'agent2']) await labStop(lab.name, host, 'SIGKILL');
  for (const host of ['agent1', 'agent2']) await labStart(lab.name, host, () => undefined);
  for (const host of ['agent1', 'agent2'])
    await lab.sh(
      host,
      'for d in /var/lib/portolan/agent/tasks/*/sandbox; do ! [ -d $d ] || touch $d/go; done',
    );
  expect(await followed).toBe(0);
  expect(said).toBe('line 1\nline 2\nline 3\nend\n');
});
