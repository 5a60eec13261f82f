/**
 * Programs made for Marathon and Mesos against our APIs: Prometheus' service discovery, unmodified; and marathon-lb and
 * Mesos-DNS, which no package here holds, by their requests, and by their rules for what they make of the answers.
 */
import { Hono } from 'hono';
import { afterEach, describe, expect, it } from 'vitest';
import { realClock } from '../../src/base/clock.ts';
import { silentLog } from '../../src/base/log.ts';
import { listenTcp } from '../../src/http/server.ts';
import { ClusterState } from '../../src/master/mesos/cluster-state.ts';
import { MesosApi } from '../../src/master/mesos/api.ts';
import { marathonBed, running } from '../support/marathon-bed.ts';
import { appsAnswer, servicesOf } from '../support/marathon-lb.ts';
import { mesosState, namesOf } from '../support/mesos-dns.ts';
import { FakeView } from '../support/fake-view.ts';
import { startPrometheus } from '../support/prometheus.ts';

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const hostApp = {
  id: '/host-mode',
  cmd: 'sleep 1000',
  labels: { HAPROXY_GROUP: 'external' },
  portDefinitions: [{ port: 6666, name: 'jmx', labels: { prometheus: 'yes' } }],
};
const ownApp = {
  id: '/own-address',
  cmd: 'sleep 1000',
  networks: [{ mode: 'container', name: 'dcos' }],
  container: {
    type: 'MESOS',
    portMappings: [{ containerPort: 8080, name: 'http', labels: { VIP_0: '/own:80' } }],
  },
};

async function filledBed() {
  const bed = marathonBed(realClock);
  for (const app of [hostApp, ownApp]) expect((await bed.call('POST', '/v2/apps', app)).status).toBe(201);
  bed.orchestrator.finish();
  bed.orchestrator.put(running('/host-mode', 1, { isHost: true }));
  bed.orchestrator.put(running('/own-address', 2, { ports: [] }));
  const listener = await bed.serve();
  closers.push(() => listener.close());
  return { ...bed, url: `http://127.0.0.1:${listener.port ?? 0}` };
}

describe('Prometheus', () => {
  it('finds the tasks of apps by its own Marathon discovery', async () => {
    const { url } = await filledBed();
    const prometheus = await startPrometheus(url);
    closers.push(() => prometheus.stop());
    const targets = () => prometheus.targets();
    await expect.poll(async () => (await targets()).length, { timeout: 60_000, interval: 500 }).toBe(2);
    expect(await targets()).toMatchObject([
      {
        __address__: '10.0.0.1:31001',
        __meta_marathon_app: '/host-mode',
        __meta_marathon_app_label_HAPROXY_GROUP: 'external',
        __meta_marathon_port_definition_label_prometheus: 'yes',
        __meta_marathon_task: running('/host-mode', 1).taskId,
      },
      {
        __address__: '9.0.2.2:8080',
        __meta_marathon_app: '/own-address',
        __meta_marathon_port_mapping_label_VIP_0: '/own:80',
      },
    ]);
  });
});

describe('marathon-lb', () => {
  it('gets backends of both network modes from its two requests', async () => {
    const { url, orchestrator } = await filledBed();
    const headers = {
      accept: 'application/json',
      'content-type': 'application/json',
      'user-agent': 'marathon-lb',
    };
    const answer = await fetch(`${url}/v2/apps?embed=apps.tasks`, { headers });
    const services = servicesOf(appsAnswer.parse(await answer.json()));
    expect(services).toEqual([
      { app: '/host-mode', groups: ['external'], port: 6666, mode: 'tcp', backends: ['10.0.0.1:31001'] },
      { app: '/own-address', groups: [''], port: 10_000, mode: 'tcp', backends: ['9.0.2.2:8080'] },
    ]);
    const events =
      '/v2/events?plan-format=light&event_type=api_post_event&event_type=health_status_changed_event&event_type=status_update_event';
    const aborter = new AbortController();
    closers.push(() => aborter.abort());
    const stream = await fetch(url + events, {
      headers: { 'cache-control': 'no-cache', accept: 'text/event-stream', 'accept-encoding': 'gzip' },
      signal: aborter.signal,
    });
    const types: string[] = [];
    void (async () => {
      for await (const chunk of stream.body ?? [])
        for (const line of new TextDecoder().decode(chunk as Uint8Array).split('\n'))
          if (line.startsWith('data: '))
            types.push((JSON.parse(line.slice(6)) as { eventType: string }).eventType);
    })().catch(() => undefined);
    await expect.poll(() => types, { timeout: 30_000 }).toEqual(['event_stream_attached']);
    orchestrator.emit({
      eventType: 'health_status_changed_event',
      timestamp: '2026-01-01T00:00:00.000Z',
      appId: '/own-address',
      instanceId: 'i',
      taskId: 't',
      version: 'v',
      alive: false,
    });
    await expect
      .poll(() => types, { timeout: 30_000 })
      .toEqual(['event_stream_attached', 'health_status_changed_event']);
  });

  it('deploys without downtime by the calls of its tool', async () => {
    const { call, orchestrator } = await filledBed();
    const green = {
      ...hostApp,
      id: '/host-mode-green',
      instances: 1,
      labels: { HAPROXY_DEPLOYMENT_GROUP: 'a' },
    };
    expect((await call('POST', '/v2/apps', green)).status).toBe(201);
    orchestrator.finish();
    expect((await call('PUT', '/v2/apps/host-mode-green', { instances: 2 })).status).toBe(200);
    const ids = [running('/host-mode', 1).taskId];
    expect((await call('POST', '/v2/tasks/delete?scale=true', { ids })).status).toBe(200);
    expect(orchestrator.app('/host-mode')?.instances).toBe(0);
    expect((await call('DELETE', '/v2/apps/host-mode')).status).toBe(200);
  });
});

describe('Mesos-DNS', () => {
  it('gets every name it makes from one request', async () => {
    const { orchestrator } = await filledBed();
    const view = new FakeView(orchestrator.instances());
    const state = new ClusterState(
      { view, orchestrator, isReachable: () => true, isDrained: () => false, clock: realClock },
      { cluster: 'c1', address: '10.0.0.1', port: () => 5050 },
    );
    const api = new MesosApi({ state, clock: realClock, log: silentLog });
    const app = new Hono();
    api.addTo(app);
    const listener = await listenTcp(app, { host: '127.0.0.1', port: 0 });
    closers.push(() => listener.close());
    const answer = await fetch(`http://127.0.0.1:${listener.port ?? 0}/master/state`, {
      headers: { 'content-type': 'application/json', 'user-agent': 'Mesos-DNS' },
    });
    const { addresses } = namesOf(mesosState.parse(await answer.json()), ['10.0.0.1']);
    const short = [...addresses].filter(([name]) => !/-[a-z0-9]{5}-n[0-9]/.test(name));
    expect(Object.fromEntries(short.map(([name, each]) => [name, [...each].toSorted()]))).toEqual({
      'marathon.mesos.': ['10.0.0.1'],
      'leader.mesos.': ['10.0.0.1'],
      'master.mesos.': ['10.0.0.1'],
      'master0.mesos.': ['10.0.0.1'],
      'slave.mesos.': ['10.0.0.1', '10.0.0.2'],
      'host-mode.marathon.mesos.': ['10.0.0.1'],
      'host-mode.marathon.slave.mesos.': ['10.0.0.1'],
      'own-address.marathon.mesos.': ['9.0.2.2'],
      'own-address.marathon.slave.mesos.': ['10.0.0.2'],
    });
  });
});
