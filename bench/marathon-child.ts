/**
 * The server of the bench `marathon`: the API over 2,000 apps of 5 tasks, and events as a busy cluster has them.
 *
 * With each event a task is another than before: what was written of it is to be written anew.
 */
import { Hono } from 'hono';
import { taskPrefix } from '../src/apps/ids.ts';
import { putGroupInput, settleTree } from '../src/apps/group-update.ts';
import { realClock } from '../src/base/clock.ts';
import { silentLog } from '../src/base/log.ts';
import { listenTcp } from '../src/http/server.ts';
import { FakeOrchestrator } from '../src/master/apps/fake.ts';
import { MarathonApi } from '../src/master/marathon/api.ts';
import { running } from '../test/support/marathon-bed.ts';

const APPS = 2_000;
const TASKS = 5;
const EVENTS_PER_SECOND = 20;

const orchestrator = new FakeOrchestrator();
const names = { defaultNetwork: 'dcos', bridge: 'mesos-bridge' };
const apps = Array.from({ length: APPS }, (_, i) => ({
  id: `/team${i % 20}/service-${i}`,
  cmd: 'exec server --port 80',
  instances: TASKS,
  labels: { HAPROXY_GROUP: 'external', HAPROXY_0_VHOST: `service-${i}.example.org`, env: 'prod' },
  env: { LOG_LEVEL: 'info', REGION: 'eu-1' },
  networks: [{ mode: 'container' as const, name: 'dcos' }],
  container: {
    type: 'MESOS' as const,
    volumes: [],
    portMappings: [
      {
        containerPort: 80,
        hostPort: 0,
        servicePort: 0,
        protocol: 'tcp' as const,
        name: 'http',
        labels: { VIP_0: `/service-${i}:80` },
      },
    ],
  },
}));
const groups = Array.from({ length: 20 }, (_, i) => ({
  id: `/team${i}`,
  apps: apps.filter((_app, n) => n % 20 === i),
}));
await orchestrator.deploy(
  (root, version) => settleTree(root, putGroupInput(root, '/', { groups }, { names, version }), version),
  { force: false },
);
orchestrator.finish();
let n = 0;
for (const { id } of apps)
  for (let i = 0; i < TASKS; i++) {
    n += 1;
    const instanceId = `${taskPrefix(id)}.instance-${String(n).padStart(12, '0')}`;
    orchestrator.put(running(id, n % 250, { instanceId, taskId: `${instanceId}._app.1` }));
  }

const api = new MarathonApi(
  { orchestrator, clock: realClock, log: silentLog },
  { names, info: () => ({ name: 'marathon', version: '1.11.24', leader: '127.0.0.1:5050' }) },
);
const app = new Hono();
api.addTo(app);
const { port } = await listenTcp(app, { host: '127.0.0.1', port: 0 });
const tasks = orchestrator.instances();
setInterval(() => {
  const task = tasks[n++ % tasks.length];
  if (task === undefined) return;
  orchestrator.put({ ...task });
  const { taskId, app: appId, ...rest } = task;
  orchestrator.emit({
    eventType: 'status_update_event',
    timestamp: new Date().toISOString(),
    slaveId: rest.node,
    taskId,
    taskStatus: 'TASK_RUNNING',
    message: '',
    appId,
    host: rest.agentIp,
    ipAddresses: rest.ipAddresses,
    ports: rest.ports,
    version: rest.version,
  });
}, 1000 / EVENTS_PER_SECOND);
process.stdout.write(`${port ?? 0}\n`);
