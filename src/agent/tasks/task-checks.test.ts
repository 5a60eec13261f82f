import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { stagedTask } from '../../apps/task-core.ts';
import { realClock } from '../../base/clock.ts';
import { launchOf } from '../../model/task-fake.ts';
import type { TaskHealth, TaskRecord } from '../../model/task.ts';
import { FakeContainerizer } from '../../runtime/containerizer-fake.ts';
import { TaskChecks } from './task-checks.ts';

let server: Server | undefined;
let port = 0;
let status = 200;
let checks: TaskChecks | undefined;
/** As the machine of the task would keep it. */
let record: TaskRecord = stagedTask(launchOf('t1'), 0).record;
let kills = 0;
let ready: boolean | undefined;
const entered: string[] = [];
const native = new FakeContainerizer();

beforeEach(async () => {
  server = createServer((_, response) => response.writeHead(status).end());
  await new Promise<void>((resolve) => server?.listen(0, '127.0.0.1', resolve));
  ({ port } = server.address() as AddressInfo);
  status = 200;
  kills = 0;
  ready = undefined;
  entered.length = 0;
});

afterEach(async () => {
  checks?.stop();
  await new Promise((resolve) => server?.close(resolve));
});

const check = (change: Readonly<Record<string, unknown>>) => ({
  protocol: 'HTTP',
  port,
  grace_s: 0,
  interval_s: 0.02,
  timeout_s: 10,
  delay_s: 0,
  max_failures: 2,
  ...change,
});

function watch(change: Readonly<Record<string, unknown>>, netns?: string): void {
  const launch = launchOf('t1', { networks: [{ mode: 'host' }], ...change });
  record = { ...stagedTask(launch, 0).record, started_at: new Date().toISOString() };
  if (netns !== undefined) record.networks = [{ mode: 'container', name: 'dcos', addresses: ['127.0.0.1'] }];
  checks = new TaskChecks(
    {
      clock: realClock,
      socketIn: (path) => {
        entered.push(path);
        throw new Error('no such namespace');
      },
    },
    {
      launch,
      containerizer: native,
      container: {
        ...{ id: 'c1', task: 't1', runtimeId: 'c1', state: 'running', outOfMemory: false, networks: [] },
        ...(netns === undefined ? {} : { netns }),
      },
      agentIp: () => '127.0.0.1',
      record: () => record,
      onHealth: (health, kill) => {
        record = { ...record, health: [health] };
        if (kill) kills += 1;
      },
      onReadiness: (is) => (ready = is),
    },
  );
  checks.start();
}

const health = (): TaskHealth | undefined => record.health[0];
const poll = <T>(what: () => T) => expect.poll(what, { timeout: 20_000 });

describe('health checks', () => {
  it('by HTTP are passed by an answer from 200 to 399 and failed by another, with the cause', async () => {
    watch({ health_checks: [check({})] });
    await poll(() => health()?.alive).toBe(true);
    status = 503;
    await poll(() => kills).toBeGreaterThan(0);
    expect(health()).toMatchObject({ alive: false, last_failure_cause: 'HTTP status 503' });
    status = 204;
    await poll(() => health()?.alive).toBe(true);
  });

  it('by TCP are passed by a connection, and failed where nobody listens', async () => {
    watch({ health_checks: [check({ protocol: 'TCP' })] });
    await poll(() => health()?.alive).toBe(true);
    checks?.stop();
    watch({ health_checks: [check({ protocol: 'TCP', port: 1 })] });
    await poll(() => health()?.last_failure_cause).toContain('ECONNREFUSED');
  });

  it('by a command are passed by its status 0', async () => {
    native.execStatus = 0;
    watch({ health_checks: [check({ protocol: 'COMMAND', command: 'true' })] });
    await poll(() => health()?.alive).toBe(true);
    native.execStatus = 3;
    await poll(() => health()?.last_failure_cause).toContain('command exited with status 3');
  });

  it('of Mesos are made from within the network namespace of the task', async () => {
    watch({ health_checks: [check({ protocol: 'MESOS_HTTP' })] }, '/run/netns/x');
    await poll(() => entered).toContain('/run/netns/x');
    expect(health()).toMatchObject({ alive: false, last_failure_cause: 'no such namespace' });
  });

  it('go to the task’s own address for a port of the container, to the agent for a host port', async () => {
    const ports = [{ protocol: 'tcp', container_port: port, host_port: 31_000 }];
    watch({ ports, health_checks: [check({})] }, '/run/netns/x');
    await poll(() => health()?.alive).toBe(true);
    expect(entered).toEqual([]);
  });
});

it('asks until the task is ready, and not any more then', async () => {
  status = 404;
  const readiness = { name: 'r', protocol: 'HTTP', path: '/', port, interval_s: 0.02, timeout_s: 10 };
  watch({ readiness_checks: [{ ...readiness, ready_codes: [200] }] });
  await poll(() => ready).toBe(false);
  status = 200;
  await poll(() => ready).toBe(true);
});
