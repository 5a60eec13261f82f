/** The Marathon API over an orchestrator in memory, called in process or over a socket. */
import { Hono } from 'hono';
import { ManualClock, type Clock } from '../../src/base/clock.ts';
import { memoryLog } from '../../src/base/log.ts';
import { listenTcp, type HttpListener } from '../../src/http/server.ts';
import { FakeOrchestrator } from '../../src/master/apps/fake.ts';
import { MarathonApi } from '../../src/master/marathon/api.ts';
import { taskPrefix } from '../../src/apps/ids.ts';
import type { InstanceView } from '../../src/model/deployment.ts';
import type { NodeId } from '../../src/model/names.ts';
import { taskLaunch, taskRecord, type TaskHealth } from '../../src/model/task.ts';

export interface Told {
  readonly status: number;
  readonly headers: Headers;
  readonly body: unknown;
}

export function marathonBed(clock: Clock = new ManualClock()) {
  const orchestrator = new FakeOrchestrator();
  const log = memoryLog();
  const api = new MarathonApi(
    { orchestrator, clock, log },
    {
      names: { defaultNetwork: 'dcos', bridge: 'mesos-bridge' },
      info: () => ({ name: 'marathon', version: '1.11.24', leader: '10.0.0.1:5050', elected: true }),
    },
  );
  const app = new Hono();
  api.addTo(app);
  const call = async (method: string, path: string, body?: unknown, headers = {}): Promise<Told> => {
    const text = typeof body === 'string' ? body : body === undefined ? undefined : JSON.stringify(body);
    const response = await app.request(`http://master${path}`, {
      method,
      headers: { ...(text === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
      ...(text === undefined ? {} : { body: text }),
    });
    const answer = await response.text();
    const isJson = response.headers.get('content-type')?.includes('json') === true;
    return {
      status: response.status,
      headers: response.headers,
      body: isJson ? (JSON.parse(answer) as unknown) : answer,
    };
  };
  const serve = (): Promise<HttpListener> => listenTcp(app, { host: '127.0.0.1', port: 0 });
  return { orchestrator, api, app, call, serve, log };
}

interface RunningOptions extends Partial<InstanceView> {
  /** The results of its checks. */
  readonly health?: readonly TaskHealth[];
  /** On the host's own network. */
  readonly isHost?: boolean;
}

/** A running task of an app, in a container of its own on the overlay unless told otherwise. */
export function running(
  app: string,
  n: number,
  { health = [], isHost = false, ...more }: RunningOptions = {},
): InstanceView {
  const prefix = taskPrefix(app);
  const instanceId = `${prefix}.instance-00000000-0000-0000-0000-${String(n).padStart(12, '0')}`;
  const taskId = `${instanceId}._app.1`;
  const version = '2026-01-01T00:00:00.002Z';
  const [stagedAt, startedAt] = ['2026-01-01T00:00:01.000Z', '2026-01-01T00:00:02.000Z'];
  const labels = { 'network-scope': 'host' };
  const shared = { id: taskId, app, version, framework: 'marathon', name: prefix, runtime: 'mesos' as const };
  const networks = isHost
    ? [{ mode: 'host' as const, addresses: [`10.0.0.${n}`] }]
    : [{ mode: 'container' as const, name: 'dcos', addresses: [`9.0.${n}.2`] }];
  const ports = [
    { name: 'http', protocol: 'tcp' as const, container_port: 80, host_port: 31_000 + n, labels },
  ];
  const launch = taskLaunch.parse({
    ...shared,
    instance: instanceId,
    shell: 'sleep 100',
    env: {},
    labels: { env: 'prod' },
    networks: networks.map(({ addresses: _addresses, ...asked }) => asked),
    ports,
    resources: { cpus: 0.1, mem_mib: 32, disk_mib: 0, gpus: 0 },
    kill_grace_s: 3,
    goal: 'running',
  });
  const record = taskRecord.parse({
    ...shared,
    state: more.state ?? 'TASK_RUNNING',
    health,
    networks,
    ports,
    container: `c${n}`,
    staged_at: stagedAt,
    started_at: startedAt,
    status_at: startedAt,
  });
  return {
    instanceId,
    taskId,
    app,
    version,
    node: `n${n}` as NodeId,
    host: `agent${n}`,
    agentIp: `10.0.0.${n}`,
    state: 'TASK_RUNNING',
    condition: 'Running',
    goal: 'Running',
    healthy: health.every((result) => result.alive),
    stagedAt,
    startedAt,
    statusAt: startedAt,
    ports: [31_000 + n],
    servicePorts: [10_000],
    ipAddresses: [{ ipAddress: isHost ? `10.0.0.${n}` : `9.0.${n}.2`, protocol: 'IPv4' }],
    launch,
    record,
    localVolumes: [],
    ...more,
  };
}
