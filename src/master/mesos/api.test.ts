import type { Hono } from 'hono';
import { afterEach, describe, expect, it } from 'vitest';
import { FakeView } from '../../../test/support/fake-view.ts';
import { running } from '../../../test/support/marathon-bed.ts';
import { realClock } from '../../base/clock.ts';
import { silentLog } from '../../base/log.ts';
import { createApp, listenTcp } from '../../http/server.ts';
import { MesosApi } from './api.ts';
import { ClusterState } from './cluster-state.ts';

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function bed() {
  const instances = [running('/web', 1), running('/web', 2)];
  const view = new FakeView(instances);
  const orchestrator = {
    instance: (id: string) => instances.find((instance) => instance.taskId === id),
  };
  const state = new ClusterState(
    { view, orchestrator, isReachable: () => true, isDrained: () => false, clock: realClock },
    { cluster: 'c1', address: '10.0.0.1', port: () => 5050 },
  );
  const api = new MesosApi({ state, clock: realClock, log: silentLog });
  const app: Hono = createApp({ log: silentLog });
  api.addTo(app);
  const listener = await listenTcp(app, { host: '127.0.0.1', port: 0 });
  closers.push(
    () => listener.close(),
    () => api.close(),
    () => state.close(),
  );
  const url = `http://127.0.0.1:${listener.port ?? 0}`;
  const operator = (call: object, init: RequestInit = {}): Promise<Response> =>
    fetch(`${url}/api/v1`, { method: 'POST', body: JSON.stringify(call), ...init });
  const [first, second] = view.tasks().map((task) => task.id);
  return { view, url, operator, first: first ?? '', second: second ?? '' };
}

/** Records of a RecordIO stream as they come. */
function reading(response: Response): {
  readonly types: () => string[];
  readonly records: Record<string, unknown>[];
} {
  const records: Record<string, unknown>[] = [];
  void (async () => {
    let rest = Buffer.alloc(0);
    for await (const chunk of response.body ?? []) {
      rest = Buffer.concat([rest, chunk as Uint8Array]);
      for (;;) {
        const end = rest.indexOf('\n');
        const length = Number(rest.subarray(0, Math.max(0, end)).toString());
        if (end < 0 || rest.length < end + 1 + length) break;
        records.push(
          JSON.parse(rest.subarray(end + 1, end + 1 + length).toString()) as Record<string, unknown>,
        );
        rest = rest.subarray(end + 1 + length);
      }
    }
  })().catch(() => undefined);
  return { types: () => records.map((each) => String(each['type'])), records };
}

describe('the Mesos endpoints', () => {
  it.each([
    '/state',
    '/master/state',
    '/state.json',
    '/state-summary',
    '/slaves',
    '/frameworks',
    '/tasks',
    '/master/tasks',
  ])('answers %s', async (path) => {
    const { url } = await bed();
    const answer = await fetch(url + path);
    expect(answer.status).toBe(200);
    expect(answer.headers.get('content-type')).toContain('application/json');
    expect(JSON.stringify(await answer.json())).toContain('n1');
  });

  it('speaks JSONP, and tells where the leader is', async () => {
    const { url } = await bed();
    expect(await (await fetch(`${url}/slaves?jsonp=cb`)).text()).toMatch(/^cb\(\{.*\}\);$/);
    const redirect = await fetch(`${url}/redirect`, { redirect: 'manual' });
    expect([redirect.status, redirect.headers.get('location')]).toEqual([307, '//10.0.0.1:5050']);
  });

  it('remembers tasks that have ended', async () => {
    const { url, view, first, second } = await bed();
    view.change(first, { state: 'TASK_FAILED' });
    view.change(first, undefined);
    view.change(second, undefined);
    const { frameworks } = (await (await fetch(`${url}/state`)).json()) as {
      frameworks: Record<string, object[]>[];
    };
    expect(frameworks[0]?.['tasks']).toEqual([]);
    expect(frameworks[0]?.['completed_tasks']).toMatchObject([
      { state: 'TASK_FAILED', labels: [{ key: 'env' }] },
    ]);
  });

  it('refuses pages that are none', async () => {
    const { url } = await bed();
    const answer = await fetch(`${url}/tasks?limit=many`);
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({ field: 'limit' });
  });
});

describe('the operator API', () => {
  it.each(['GET_STATE', 'GET_TASKS', 'GET_FRAMEWORKS', 'GET_AGENTS', 'GET_HEALTH', 'GET_VERSION'])(
    'answers %s',
    async (type) => {
      const { operator } = await bed();
      const answer = (await (await operator({ type })).json()) as Record<string, unknown>;
      expect(answer['type']).toBe(type);
      expect(answer[type.toLowerCase()]).toBeTypeOf('object');
    },
  );

  it('says what it cannot answer', async () => {
    const { operator } = await bed();
    const unknown = await operator({ type: 'TEARDOWN' });
    expect([unknown.status, await unknown.json()]).toMatchObject([400, { field: 'type' }]);
    const protobuf = await operator({}, { headers: { 'content-type': 'application/x-protobuf' } });
    expect([protobuf.status, await protobuf.json()]).toMatchObject([400, { field: 'content-type' }]);
    const text = await operator({}, { body: '{' });
    expect([text.status, await text.json()]).toMatchObject([400, { field: 'body' }]);
  });

  it('streams the state, then what changes in it', async () => {
    const { operator, view, first, second } = await bed();
    const aborter = new AbortController();
    closers.push(() => aborter.abort());
    const headers = { accept: 'application/recordio', 'message-accept': 'application/json' };
    const response = await operator({ type: 'SUBSCRIBE' }, { signal: aborter.signal, headers });
    expect(response.headers.get('content-type')).toBe('application/recordio');
    const { types, records } = reading(response);
    await expect.poll(types, { timeout: 30_000 }).toEqual(['SUBSCRIBED', 'HEARTBEAT']);
    expect(records[0]).toMatchObject({
      subscribed: { heartbeat_interval_seconds: 15, get_state: { get_tasks: { tasks: [{}, {}] } } },
    });
    view.change(first, { healthy: true });
    await expect.poll(types, { timeout: 30_000 }).toHaveLength(3);
    view.change(second, { state: 'TASK_KILLED' });
    await expect.poll(types, { timeout: 30_000 }).toHaveLength(4);
    expect(records.slice(2)).toMatchObject([
      { type: 'TASK_UPDATED', task_updated: { state: 'TASK_RUNNING', status: { healthy: true } } },
      { type: 'TASK_UPDATED', task_updated: { state: 'TASK_KILLED' } },
    ]);
  });

  it('remembers the statuses of a task, one for each state, the last of it', async () => {
    const { url, view, second } = await bed();
    view.change(second, { healthy: true });
    view.change(second, { draining: true });
    view.change(second, { state: 'TASK_KILLING' });
    view.change(second, { state: 'TASK_KILLED' });
    const { frameworks } = (await (await fetch(`${url}/state`)).json()) as {
      frameworks: { completed_tasks: { statuses: { state: string; healthy?: boolean }[] }[] }[];
    };
    const statuses = frameworks[0]?.completed_tasks[0]?.statuses ?? [];
    expect(statuses.map(({ state }) => state)).toEqual(['TASK_RUNNING', 'TASK_KILLING', 'TASK_KILLED']);
    expect(statuses[0]?.healthy).toBe(true);
  });
});
