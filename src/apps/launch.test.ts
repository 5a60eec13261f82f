import { describe, expect, it } from 'vitest';
import { seededRandom } from '../base/random.ts';
import type { App } from '../model/app.ts';
import { taskLaunch } from '../model/task.ts';
import { testApp } from './fake.ts';
import { discoveryName, instanceIdOf, launchOf, taskIdOf, uuidOf } from './launch.ts';

function launch(change: Partial<App>, hostPorts: readonly (number | undefined)[] = []) {
  const app = testApp({ id: '/outer/sub/myapp', ...change });
  const instanceId = instanceIdOf(app.id, '0664256e-3f7a-4b77-8f1e-0123456789ab');
  const init = { instanceId, taskId: taskIdOf(instanceId, 1), agentIp: '10.0.0.11', enforceRole: false };
  return launchOf(app, { ...init, hostPorts, persistenceIds: ['p1'] }, seededRandom(1));
}
const port = { protocol: 'tcp' as const, labels: {} };

describe('launchOf()', () => {
  it('names task, instance and discovery as the reference does', () => {
    const made = launch({});
    expect(made.id).toBe('outer_sub_myapp.instance-0664256e-3f7a-4b77-8f1e-0123456789ab._app.1');
    expect(made.instance).toBe('outer_sub_myapp.instance-0664256e-3f7a-4b77-8f1e-0123456789ab');
    expect(made.name).toBe('myapp.sub.outer');
    expect(discoveryName('/one')).toBe('one');
    expect(taskLaunch.parse(made)).toEqual(made);
  });

  it('gives the environment of the reference, and the app the last word', () => {
    const { env } = launch(
      {
        env: { HOST: 'mine', MORE: '1' },
        labels: { 'my.label-x': 'v', long: 'x'.repeat(512) },
        cpus: 0.5,
        networks: [{ mode: 'host' }],
        container: {
          type: 'DOCKER',
          volumes: [],
          docker: { image: 'nginx', forcePullImage: false, privileged: false, parameters: [] },
        },
        portDefinitions: [
          { ...port, port: 8080, name: 'my-http' },
          { ...port, port: 0, protocol: 'udp,tcp' },
        ],
      },
      [31_001, 31_002],
    );
    expect(env).toEqual({
      MESOS_TASK_ID: expect.stringMatching(/^outer_sub_myapp\.instance-/),
      MARATHON_APP_ID: '/outer/sub/myapp',
      MARATHON_APP_VERSION: '2026-01-01T00:00:00.000Z',
      MARATHON_APP_DOCKER_IMAGE: 'nginx',
      MARATHON_APP_RESOURCE_CPUS: '0.5',
      MARATHON_APP_RESOURCE_MEM: '32.0',
      MARATHON_APP_RESOURCE_DISK: '0.0',
      MARATHON_APP_RESOURCE_GPUS: '0',
      MARATHON_APP_ENFORCE_GROUP_ROLE: 'FALSE',
      MARATHON_APP_LABELS: 'MY_LABEL_X',
      MARATHON_APP_LABEL_MY_LABEL_X: 'v',
      HOST: 'mine',
      PORT: '31001',
      PORTS: '31001,31002',
      PORT0: '31001',
      PORT1: '31002',
      PORT_8080: '31001',
      'PORT_MY-HTTP': '31001',
      PORT_31002: '31002',
      MORE: '1',
    });
  });

  it('gives each mode its ports: host, bridge, and container with and without a host port', () => {
    const definitions = [{ ...port, port: 0, name: 'a', labels: { VIP_0: '/x:1' } }];
    const host = launch({ networks: [{ mode: 'host' }], portDefinitions: definitions }, [31_000]);
    expect(host.ports).toEqual([
      { name: 'a', protocol: 'tcp', host_port: 31_000, labels: { VIP_0: '/x:1' } },
    ]);
    const mapping = { ...port, containerPort: 80, servicePort: 10_000 };
    const bridge = launch(
      {
        networks: [{ mode: 'container/bridge' }],
        container: {
          type: 'MESOS',
          volumes: [],
          portMappings: [{ ...mapping, containerPort: 0, hostPort: 0 }],
        },
      },
      [31_000],
    );
    expect(bridge.networks).toEqual([{ mode: 'bridge', labels: {} }]);
    expect(bridge.ports).toEqual([
      { protocol: 'tcp', container_port: 31_000, host_port: 31_000, labels: {} },
    ]);
    const portMappings = [
      { ...mapping, protocol: 'udp,tcp' as const, networkNames: ['dcos'] },
      { ...mapping, containerPort: 0, name: 'any' },
    ];
    const own = launch({ container: { type: 'MESOS', volumes: [], portMappings } }, [undefined, undefined]);
    expect(own.ports.slice(0, 2)).toEqual([
      { protocol: 'udp', container_port: 80, networks: ['dcos'], labels: {} },
      { protocol: 'tcp', container_port: 80, networks: ['dcos'], labels: {} },
    ]);
    const chosen = own.ports[2]?.container_port ?? 0;
    expect(chosen).toBeGreaterThanOrEqual(1025);
    expect(own.env).toMatchObject({
      PORT_80: '80',
      PORT: String(chosen),
      PORTS: String(chosen),
      PORT_ANY: String(chosen),
    });
  });

  it('resolves where checks go, and what a limit of 0 means', () => {
    const check = {
      ...{ gracePeriodSeconds: 1, intervalSeconds: 2, timeoutSeconds: 3, delaySeconds: 4 },
      ...{ maxConsecutiveFailures: 0, ipProtocol: 'IPv4' as const },
    };
    const portMappings = [
      { ...port, containerPort: 80, hostPort: 0, servicePort: 0 },
      { ...port, containerPort: 90, servicePort: 0, name: 'admin' },
    ];
    const { health_checks: checks, readiness_checks: ready } = launch(
      {
        container: { type: 'MESOS', volumes: [], portMappings },
        healthChecks: [
          { ...check, protocol: 'HTTP', portIndex: 0, path: '/' },
          { ...check, protocol: 'MESOS_TCP', portIndex: 1 },
          { ...check, protocol: 'TCP', port: 7 },
          { ...check, protocol: 'COMMAND', command: { value: 'true' } },
        ],
        readinessChecks: [
          {
            ...{
              name: 'r',
              protocol: 'HTTP',
              path: '/',
              portName: 'admin',
              intervalSeconds: 1,
              timeoutSeconds: 1,
            },
            ...{ httpStatusCodesForReady: [200], preserveLastResponse: false },
          },
        ],
      },
      [31_000, undefined],
    );
    expect(checks.map(({ port: at, max_failures: most }) => [at, most])).toEqual([
      [80, 0],
      [90, 1],
      [7, 0],
      [undefined, 0],
    ]);
    expect(ready).toMatchObject([{ port: 90 }]);
  });

  it('makes ids that differ', () => {
    const random = seededRandom(1);
    expect(uuidOf(random)).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(uuidOf(random)).not.toBe(uuidOf(random));
  });
});
