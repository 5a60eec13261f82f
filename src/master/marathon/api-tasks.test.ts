import { describe, expect, it } from 'vitest';
import { marathonBed, running } from '../../../test/support/marathon-bed.ts';
import type { TaskPort, TaskRecord } from '../../model/task.ts';

const x = { id: '/x', cmd: 'sleep 100' };
const isoTime = expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/) as string;
const deployment = { version: isoTime, deploymentId: expect.any(String) as string };

describe('groups', () => {
  const group = {
    id: '/g',
    apps: [{ id: 'a', cmd: 'sleep 1', instances: 2 }],
    groups: [{ id: 'h', apps: [{ id: 'b', cmd: 'sleep 1' }] }],
  };
  const filled = async () => {
    const bed = marathonBed();
    await bed.call('POST', '/v2/groups', group);
    bed.orchestrator.finish();
    return bed;
  };

  it('are created once, with everything in them', async () => {
    const { call, orchestrator } = await filled();
    expect(await call('POST', '/v2/groups', group)).toMatchObject({
      status: 409,
      body: { message: 'Group /g is already created. Use PUT to change this group.' },
    });
    expect(await call('POST', '/v2/groups', { id: '/g/a' })).toMatchObject({
      status: 409,
      body: { message: 'An app with the path /g/a already exists.' },
    });
    expect((await call('GET', '/v2/groups')).body).toMatchObject({
      id: '/',
      apps: [],
      pods: [],
      groups: [{ id: '/g', apps: [{ id: '/g/a' }], groups: [{ id: '/g/h', apps: [{ id: '/g/h/b' }] }] }],
    });
    expect((await call('GET', '/v2/groups/apps')).body).toMatchObject([{ id: '/g/a' }, { id: '/g/h/b' }]);
    expect((await call('GET', '/v2/groups/g/h/apps')).body).toMatchObject([{ id: '/g/h/b' }]);
    expect((await call('GET', '/v2/groups/g?embed=group.groups')).body).not.toHaveProperty('apps');
    expect(await call('GET', '/v2/groups/none')).toMatchObject({
      status: 404,
      body: { message: "Group '/none' does not exist" },
    });
    orchestrator.put(running('/g/a', 1));
    const { body } = await call(
      'GET',
      '/v2/groups/g?embed=group.apps&embed=group.apps.tasks&embed=group.apps.counts',
    );
    expect(body).toMatchObject({ apps: [{ tasksRunning: 1, tasks: [{ appId: '/g/a' }] }] });
  });

  it('scale, plan without doing, go back and go', async () => {
    const { call, orchestrator } = await filled();
    const version = orchestrator.root().version;
    const dry = await call('PUT', '/v2/groups/g?dryRun=true', { scaleBy: 2 });
    expect(dry.body).toMatchObject({ steps: [{ actions: [{ app: '/g/a' }, { app: '/g/h/b' }] }] });
    expect(orchestrator.app('/g/a')?.instances).toBe(2);
    expect(await call('PUT', '/v2/groups/g', { scaleBy: 2 })).toMatchObject({
      status: 200,
      body: deployment,
    });
    expect(orchestrator.app('/g/a')?.instances).toBe(4);
    const versions = (await call('GET', '/v2/groups/g/versions')).body;
    expect(versions).toEqual([orchestrator.root().version, version]);
    await call('POST', '/v2/apps', { id: '/elsewhere', cmd: 'sleep 1' });
    expect((await call('GET', '/v2/groups/g/versions')).body).toEqual(versions);
    expect((await call('GET', '/v2/groups/versions')).body).toContain(orchestrator.root().version);
    expect((await call('GET', `/v2/groups/g/versions/${version}`)).body).toMatchObject({
      apps: [{ instances: 2 }],
    });
    expect((await call('PUT', '/v2/groups/g?force=true', { version })).status).toBe(200);
    expect(orchestrator.app('/g/a')?.instances).toBe(2);
    expect(await call('PUT', '/v2/groups/g', { scaleBy: 2, apps: [] })).toMatchObject({
      status: 422,
      body: {
        details: [{ path: '/scaleBy', errors: ['not allowed in conjunction with other properties.'] }],
      },
    });
    expect((await call('DELETE', '/v2/groups/g/h?force=True')).status).toBe(200);
    expect((await call('DELETE', '/v2/groups/g/h?force=true')).status).toBe(404);
    expect((await call('DELETE', '/v2/groups?force=true')).status).toBe(200);
    expect(orchestrator.root().groups).toEqual([]);
  });

  it('are created by PUT, and refuse cycles', async () => {
    const { call } = marathonBed();
    expect(await call('PUT', '/v2/groups/new', { apps: [] })).toMatchObject({
      status: 201,
      body: deployment,
    });
    const apps = [
      { id: 'a', cmd: 'sleep 1', dependencies: ['../b'] },
      { id: 'b', cmd: 'sleep 1', dependencies: ['../a'] },
    ];
    expect(await call('PUT', '/v2/groups/c', { apps })).toMatchObject({
      status: 422,
      body: { details: [{ path: '/', errors: ['Dependency graph has cyclic dependencies.'] }] },
    });
  });
});

describe('tasks', () => {
  const filled = async () => {
    const bed = marathonBed();
    await bed.call('POST', '/v2/apps', { ...x, instances: 3 });
    bed.orchestrator.finish();
    for (const n of [1, 2]) bed.orchestrator.put(running('/x', n));
    bed.orchestrator.put(running('/x', 3, { state: 'TASK_STAGING' }));
    return bed;
  };
  const taskIds = (body: unknown): number => (body as { tasks: object[] }).tasks.length;
  const first = running('/x', 1).taskId;

  it('are listed by status and by app', async () => {
    const { call } = await filled();
    expect(taskIds((await call('GET', '/v2/tasks')).body)).toBe(3);
    expect(taskIds((await call('GET', '/v2/tasks?status=running')).body)).toBe(2);
    expect(taskIds((await call('GET', '/v2/tasks?status[]=staging&status=running')).body)).toBe(3);
    expect(taskIds((await call('GET', '/v2/apps/x/tasks')).body)).toBe(3);
    expect(taskIds((await call('GET', '/v2/apps/*/tasks')).body)).toBe(3);
    expect((await call('GET', '/v2/apps/none/tasks')).status).toBe(404);
  });

  it('are listed as text', async () => {
    const { call } = await filled();
    const { body } = await call('GET', '/v2/tasks?status=running', undefined, { accept: 'text/plain' });
    expect(body).toBe('x\t10000\t10.0.0.1:31001\t10.0.0.2:31002\t\n');
    expect((await call('GET', '/v2/tasks', undefined, { accept: 'image/png' })).status).toBe(406);
  });

  it('are listed as text where they are reached: by a host port, or in the container', async () => {
    const { call, orchestrator } = marathonBed();
    const portMappings = [
      { containerPort: 53, protocol: 'udp,tcp' },
      { containerPort: 80, hostPort: 0, networkNames: ['dcos'] },
      { containerPort: 8080, networkNames: ['back'] },
    ];
    const networks = ['dcos', 'back'].map((name) => ({ mode: 'container', name }));
    await call('POST', '/v2/apps', { ...x, networks, container: { type: 'MESOS', portMappings } });
    await call('POST', '/v2/apps', { id: '/bare', cmd: 'sleep 1', portDefinitions: [] });
    orchestrator.finish();
    const one = running('/x', 1);
    const ports: TaskPort[] = [
      { protocol: 'udp', container_port: 53, labels: {} },
      { protocol: 'tcp', container_port: 53, labels: {} },
      { protocol: 'tcp', container_port: 80, host_port: 31_001, labels: {} },
      { protocol: 'tcp', container_port: 8080, networks: ['back'], labels: {} },
    ];
    const own: TaskRecord['networks'] = [
      { mode: 'container', name: 'dcos', addresses: ['9.0.1.2'] },
      { mode: 'container', name: 'back', addresses: ['9.1.1.2'] },
    ];
    if (one.record === undefined) throw new Error('the bed tells of a task without its record');
    orchestrator.put({ ...one, launch: { ...one.launch, ports }, record: { ...one.record, networks: own } });
    // Of an older definition, with one port.
    orchestrator.put(running('/x', 2));
    orchestrator.put(running('/bare', 3));
    const { body } = await call('GET', '/v2/tasks', undefined, { accept: 'text/plain' });
    expect(body).toBe(
      [
        'x\t10000\t9.0.1.2:53\t\n',
        'x\t10001\t10.0.0.1:31001\t\n',
        'x\t10002\t9.1.1.2:8080\t\n',
        'bare\t \t10.0.0.3 \n',
      ].join(''),
    );
  });

  it('are ended by the address of their host, which is what they tell as theirs', async () => {
    const { call, orchestrator } = await filled();
    expect(taskIds((await call('DELETE', '/v2/apps/x/tasks?host=10.0.0.1')).body)).toBe(1);
    expect(orchestrator.asked.at(-1)).toMatchObject({ kill: [first] });
    expect(taskIds((await call('DELETE', '/v2/apps/x/tasks?host=10.0.0')).body)).toBe(0);
  });

  it('are ended, by host and one by one', async () => {
    const { call, orchestrator } = await filled();
    expect(taskIds((await call('DELETE', '/v2/apps/x/tasks?host=agent2')).body)).toBe(1);
    expect(await call('DELETE', `/v2/apps/x/tasks/${first}?wipe=true`)).toMatchObject({
      body: { task: { id: first } },
    });
    expect(orchestrator.asked.at(-1)).toEqual({ kill: [first], wipe: true });
    expect((await call('DELETE', '/v2/apps/x/tasks?wipe=true&host=10.0.0.9')).status).toBe(200);
    expect(orchestrator.asked.at(-1)).toEqual({ kill: [first], wipe: true });
    expect(await call('DELETE', `/v2/apps/x/tasks/${first}`)).toMatchObject({
      status: 404,
      body: { message: `Task '${first}' does not exist` },
    });
    expect(taskIds((await call('DELETE', '/v2/apps/x/tasks?host=*')).body)).toBe(1);
    // Volumes that wait for their next task are of the app too.
    expect((await call('DELETE', '/v2/apps/x/tasks?wipe=true')).status).toBe(200);
    expect(orchestrator.asked.at(-1)).toMatchObject({ wipe: true, wipeApp: '/x' });
  });

  it('are ended for good with scale', async () => {
    const { call, orchestrator } = await filled();
    const body = { ids: [first, 'never'] };
    expect(await call('POST', '/v2/tasks/delete?scale=true&wipe=true', body)).toMatchObject({
      status: 400,
      body: { message: 'You cannot use scale and wipe at the same time.' },
    });
    expect(await call('POST', '/v2/tasks/delete?scale=true', body)).toMatchObject({
      status: 200,
      body: deployment,
    });
    expect(orchestrator.app('/x')?.instances).toBe(2);
    expect(orchestrator.asked.at(-1)).toMatchObject({ kill: [first] });
    expect(taskIds((await call('POST', '/v2/tasks/delete', { ids: ['never'] })).body)).toBe(0);
    expect(await call('POST', '/v2/tasks/delete', {})).toMatchObject({
      status: 400,
      body: { details: [{ path: '/ids', errors: ['error.path.missing'] }] },
    });
  });
});

describe('the cluster', () => {
  it('tells of deployments and ends them', async () => {
    const { call } = marathonBed();
    const id = (await call('POST', '/v2/apps', x)).headers.get('marathon-deployment-id') ?? '';
    expect((await call('GET', '/v2/deployments')).body).toMatchObject([
      { id, affectedApps: ['/x'], currentStep: 1, totalSteps: 1 },
    ]);
    expect(await call('DELETE', `/v2/deployments/${id}`)).toMatchObject({ status: 200, body: deployment });
    const other = (await call('PUT', '/v2/apps/x?force=true', x)).headers.get('marathon-deployment-id') ?? '';
    expect((await call('DELETE', `/v2/deployments/${other}?force=true`)).status).toBe(202);
    expect(await call('DELETE', '/v2/deployments/none')).toMatchObject({
      status: 404,
      body: { message: 'DeploymentPlan none does not exist' },
    });
  });

  it('tells what waits, and who leads', async () => {
    const { call } = marathonBed();
    await call('POST', '/v2/apps', x);
    expect((await call('GET', '/v2/queue')).body).toEqual({ queue: [] });
    expect((await call('DELETE', '/v2/queue/x/delay')).status).toBe(204);
    expect(await call('DELETE', '/v2/queue/none/delay')).toMatchObject({
      status: 404,
      body: { message: 'Application /none not found in tasks queue.' },
    });
    expect((await call('GET', '/v2/leader')).body).toEqual({ leader: '10.0.0.1:5050' });
    expect((await call('DELETE', '/v2/leader')).status).toBe(409);
    expect((await call('GET', '/v2/info')).body).toMatchObject({ name: 'marathon', elected: true });
    expect((await call('GET', '/ping')).body).toBe('pong\n');
  });

  it('has an answer for what it does not know', async () => {
    const { call } = marathonBed();
    expect(await call('GET', '/v2/pods')).toMatchObject({
      status: 404,
      body: { message: 'URI not found: /v2/pods' },
    });
    expect(await call('POST', '/v2/info')).toMatchObject({
      status: 405,
      body: { message: 'Method Not Allowed' },
    });
    expect(await call('GET', '/v2/apps?force=perhaps')).toMatchObject({ status: 200 });
    expect((await call('POST', '/v2/apps?force=perhaps', x)).status).toBe(422);
    expect((await call('GET', '/v2/events')).status).toBe(405);
  });

  it('keeps what is unexpected out of its answers, and in its log', async () => {
    const { call, orchestrator, log } = marathonBed();
    orchestrator.deployments = () => {
      throw new Error('the store is on fire');
    };
    const { status, body } = await call('GET', '/v2/deployments');
    expect(status).toBe(500);
    expect(JSON.stringify(body)).not.toContain('fire');
    expect(JSON.stringify(log.lines)).toContain('fire');
  });

  it('describes every path', () => {
    const { api } = marathonBed();
    const paths = api.openApi('1')['paths'] as Record<
      string,
      Record<string, { parameters?: object[]; requestBody?: object }>
    >;
    expect(Object.keys(paths)).toContain('/v2/apps/{id}/tasks/{task}');
    expect(paths['/v2/apps']?.['post']?.requestBody).toMatchObject({
      content: {
        'application/json': { schema: { type: 'object', properties: { cpus: { type: 'number' } } } },
      },
    });
    expect(paths['/v2/apps/{id}']?.['put']?.parameters).toMatchObject([
      { name: 'id' },
      { name: 'force' },
      { name: 'partialUpdate' },
    ]);
  });
});
