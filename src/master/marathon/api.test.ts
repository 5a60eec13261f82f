import { describe, expect, it } from 'vitest';
import { marathonBed, running } from '../../../test/support/marathon-bed.ts';

const x = { id: '/x', cmd: 'sleep 100' };
const isoTime = expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/) as string;
const deployment = { version: isoTime, deploymentId: expect.any(String) as string };

describe('POST /v2/apps', () => {
  it('answers 201 with the whole app, where it is and its deployment', async () => {
    const { call } = marathonBed();
    const { status, headers, body } = await call('POST', '/v2/apps', x);
    expect(status).toBe(201);
    expect(headers.get('location')).toBe('/v2/apps/x');
    const id = headers.get('marathon-deployment-id');
    expect(body).toMatchObject({
      id: '/x',
      cmd: 'sleep 100',
      networks: [{ mode: 'host' }],
      portDefinitions: [{ port: 10_000, name: 'default', protocol: 'tcp' }],
      tasksStaged: 0,
      tasksRunning: 0,
      tasksHealthy: 0,
      tasksUnhealthy: 0,
      deployments: [{ id }],
      tasks: [],
    });
  });

  it('refuses an id that is taken', async () => {
    const { call, orchestrator } = marathonBed();
    await call('POST', '/v2/apps', x);
    orchestrator.finish();
    expect(await call('POST', '/v2/apps', x)).toMatchObject({
      status: 409,
      body: { message: 'An app with id [/x] already exists.' },
    });
  });

  it.each([
    ['{', 400, { message: 'Invalid JSON', details: expect.any(String) as string }],
    ['', 400, { message: 'Please specify data in JSON format', details: 'the body is empty' }],
    [
      '{"id":"/x","instances":"2","cmd":"sleep 1"}',
      400,
      { message: 'Invalid JSON', details: [{ path: '/instances', errors: ['error.expected.jsnumber'] }] },
    ],
    [
      '{"id":"/x","instances":-2,"cmd":"sleep 1"}',
      422,
      { message: 'Object is not valid', details: [{ path: '/instances', errors: ['error.min'] }] },
    ],
    [
      '{"id":"/x"}',
      422,
      {
        message: 'Object is not valid',
        details: [
          {
            path: '/',
            errors: ["AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'."],
          },
        ],
      },
    ],
    ['[]', 400, { message: 'Invalid JSON', details: [{ path: '/', errors: ['error.expected.jsobject'] }] }],
  ])('refuses %s', async (text, status, body) => {
    const { call, orchestrator } = marathonBed();
    expect(await call('POST', '/v2/apps', text)).toMatchObject({ status, body });
    expect(orchestrator.asked).toEqual([]);
  });

  it('refuses other types than JSON', async () => {
    const { call } = marathonBed();
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    const { status, body } = await call('POST', '/v2/apps', '{}', headers);
    expect(status).toBe(415);
    expect(body).toMatchObject({ message: 'Please specify data in JSON format' });
  });
});

describe('GET /v2/apps', () => {
  const filled = async () => {
    const bed = marathonBed();
    await bed.call('POST', '/v2/apps', { ...x, labels: { env: 'prod' } });
    await bed.call('POST', '/v2/apps', { id: '/g/y', args: ['server'], labels: { env: 'test' } });
    bed.orchestrator.finish();
    const alive = {
      index: 0,
      alive: true,
      consecutive_failures: 0,
      last_success: '2026-01-01T00:00:03.000Z',
    };
    bed.orchestrator.put(running('/x', 1, { health: [alive] }));
    bed.orchestrator.put(running('/x', 2, { state: 'TASK_STAGING' }));
    bed.orchestrator.put(running('/x', 3, { health: [{ ...alive, alive: false, consecutive_failures: 2 }] }));
    return bed;
  };
  const ids = (body: unknown): string[] => (body as { apps: { id: string }[] }).apps.map((app) => app.id);

  it('counts tasks and lists them when asked', async () => {
    const { call } = await filled();
    const { body } = await call('GET', '/v2/apps?embed=apps.tasks');
    const [app] = (body as { apps: { id: string; tasks: { id: string }[] }[] }).apps;
    expect(app).toMatchObject({
      id: '/x',
      tasksStaged: 1,
      tasksRunning: 2,
      tasksHealthy: 1,
      tasksUnhealthy: 1,
      deployments: [],
    });
    expect(app?.tasks[0]).toEqual({
      id: 'x.instance-00000000-0000-0000-0000-000000000001._app.1',
      appId: '/x',
      host: '10.0.0.1',
      slaveId: 'n1',
      state: 'TASK_RUNNING',
      ports: [31_001],
      servicePorts: [10_000],
      ipAddresses: [{ ipAddress: '9.0.1.2', protocol: 'IPv4' }],
      stagedAt: '2026-01-01T00:00:01.000Z',
      startedAt: '2026-01-01T00:00:02.000Z',
      version: '2026-01-01T00:00:00.002Z',
      healthCheckResults: [
        {
          alive: true,
          consecutiveFailures: 0,
          firstSuccess: null,
          lastSuccess: '2026-01-01T00:00:03.000Z',
          lastFailure: null,
          lastFailureCause: null,
          instanceId: 'x.instance-00000000-0000-0000-0000-000000000001',
        },
      ],
      localVolumes: [],
      role: '*',
    });
    const plain = await call('GET', '/v2/apps');
    expect((plain.body as { apps: object[] }).apps[0]).not.toHaveProperty('tasks');
  });

  it.each([
    ['?id=y', ['/g/y']],
    ['?cmd=SLEEP', ['/x']],
    ['?cmd=none', []],
    ['?label=env', ['/x', '/g/y']],
    ['?label=env==prod', ['/x']],
    ['?label=env%20in%20(test)', ['/g/y']],
  ])('filters by %s', async (query, wanted) => {
    const { call } = await filled();
    expect(ids((await call('GET', `/v2/apps${query}`)).body)).toEqual(wanted);
  });

  it('refuses a selector that cannot be read', async () => {
    const { call } = await filled();
    expect(await call('GET', '/v2/apps?label=a%20in')).toMatchObject({
      status: 422,
      body: { message: 'Label selector "a in" is not valid: expected "(" at 5, found its end' },
    });
  });

  it('shows one app with everything, and the apps of a group', async () => {
    const { call, orchestrator } = await filled();
    orchestrator.failures.set('/x', { appId: '/x', state: 'TASK_FAILED' });
    const { body } = await call('GET', '/v2/apps//x');
    expect(body).toMatchObject({
      app: { id: '/x', tasks: [{}, {}, {}], lastTaskFailure: { state: 'TASK_FAILED' } },
    });
    expect((await call('GET', '/v2/apps/g/*')).body).toMatchObject({ '*': [{ id: '/g/y' }] });
    expect((await call('GET', '/v2/apps/*')).body).toMatchObject({ '*': [{ id: '/x' }, { id: '/g/y' }] });
    expect(await call('GET', '/v2/apps/none')).toMatchObject({
      status: 404,
      body: { message: "App '/none' does not exist" },
    });
    expect(await call('GET', '/v2/apps/none/*')).toMatchObject({
      status: 404,
      body: { message: "Group '/none' does not exist" },
    });
  });

  it('tells what of the tasks is of which configuration', async () => {
    const { call } = await filled();
    const { body } = await call('GET', '/v2/apps/x?embed=app.taskStats');
    expect(body).toMatchObject({
      app: {
        taskStats: {
          totalSummary: { stats: { counts: { running: 2, staged: 1, healthy: 1, unhealthy: 1 } } },
        },
      },
    });
  });
});

describe('PUT and PATCH', () => {
  it('merges, replaces on demand, creates by PUT only', async () => {
    const { call, orchestrator } = marathonBed();
    expect(await call('PATCH', '/v2/apps/x', { cpus: 2 })).toMatchObject({ status: 404 });
    expect(await call('PUT', '/v2/apps/x', { cmd: 'sleep 1', cpus: 2 })).toMatchObject({
      status: 201,
      body: deployment,
    });
    orchestrator.finish();
    expect(await call('PATCH', '/v2/apps/x', { instances: 3 })).toMatchObject({
      status: 200,
      body: deployment,
    });
    orchestrator.finish();
    expect(orchestrator.app('/x')).toMatchObject({ instances: 3, cpus: 2 });
    await call('PUT', '/v2/apps/x?partialUpdate=false', { cmd: 'sleep 2' });
    expect(orchestrator.app('/x')).toMatchObject({ instances: 1, cpus: 1, cmd: 'sleep 2' });
    expect(orchestrator.app('/x')?.portDefinitions?.[0]?.port).toBe(10_000);
  });

  it('takes a list as one deployment, whole or not at all', async () => {
    const { call, orchestrator } = marathonBed();
    const both = [
      { ...x, id: '/a' },
      { ...x, id: '/b' },
    ];
    const { headers } = await call('PUT', '/v2/apps', both);
    expect(orchestrator.deployments()).toHaveLength(1);
    expect(headers.get('marathon-deployment-id')).toBe(orchestrator.deployments()[0]?.id);
    orchestrator.finish();
    expect(
      await call('PATCH', '/v2/apps', [
        { id: '/a', cpus: 2 },
        { id: '/none', cpus: 2 },
      ]),
    ).toMatchObject({ status: 404 });
    expect(orchestrator.app('/a')?.cpus).toBe(1);
  });

  it('goes back to a version, and tells of versions', async () => {
    const { call, orchestrator } = marathonBed();
    await call('POST', '/v2/apps', x);
    const first = orchestrator.app('/x')?.version ?? '';
    await call('PUT', '/v2/apps/x?force=true', { cmd: 'sleep 200' });
    const versions = (await call('GET', '/v2/apps/x/versions')).body as { versions: string[] };
    expect(versions.versions).toEqual([orchestrator.app('/x')?.version, first]);
    expect((await call('GET', `/v2/apps/x/versions/${first}`)).body).toMatchObject({
      cmd: 'sleep 100',
      version: first,
    });
    expect((await call('PUT', '/v2/apps/x?force=true', { version: first })).status).toBe(200);
    expect(orchestrator.app('/x')?.cmd).toBe('sleep 100');
    expect(await call('PUT', '/v2/apps/x', { version: 'never' })).toMatchObject({
      status: 404,
      body: { message: "App '/x' does not exist in version never" },
    });
    expect((await call('PUT', '/v2/apps/x', { version: first, cpus: 1 })).body).toMatchObject({
      details: [{ path: '/', errors: ["The 'version' field may only be combined with the 'id' field."] }],
    });
  });

  it('is refused while a deployment locks the app, unless forced', async () => {
    const { call } = marathonBed();
    const id = (await call('POST', '/v2/apps', x)).headers.get('marathon-deployment-id');
    expect(await call('PUT', '/v2/apps/x', { cpus: 2 })).toMatchObject({
      status: 409,
      body: {
        message:
          "App is locked by one or more deployments. Override with the option '?force=true'. View details at '/v2/deployments/<DEPLOYMENT_ID>'.",
        deployments: [{ id }],
      },
    });
    expect((await call('PUT', '/v2/apps/x?force=true', { cpus: 2 })).status).toBe(200);
  });

  it('restarts and removes', async () => {
    const { call, orchestrator } = marathonBed();
    await call('POST', '/v2/apps', x);
    orchestrator.finish();
    expect(await call('POST', '/v2/apps/x/restart')).toMatchObject({ status: 200, body: deployment });
    expect(orchestrator.asked.at(-1)).toMatchObject({ restart: ['/x'] });
    expect(await call('DELETE', '/v2/apps/x?force=false')).toMatchObject({ status: 409 });
    expect(await call('DELETE', '/v2/apps/x')).toMatchObject({ status: 200, body: deployment });
    expect(await call('DELETE', '/v2/apps/x')).toMatchObject({ status: 404 });
  });
});
