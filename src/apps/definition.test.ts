import { describe, expect, it } from 'vitest';
import { app as appSchema, type App } from '../model/app.ts';
import { defineApp, idOfUpdate, rollbackVersion, updateApp } from './definition.ts';
import { parseInput } from './issues.ts';
import { appInput } from './schema.ts';
import { isSameConfiguration, succeed } from './versions.ts';

const names = { defaultNetwork: 'dcos', bridge: 'mesos-bridge' };
const version = '2026-01-02T03:04:05.678Z';
const define = (json: unknown): App => defineApp(parseInput(appInput, json), { names, version });
const update = (stored: App, json: unknown): App =>
  updateApp(stored, parseInput(appInput, json), { names, version });

const hostSeed = {
  id: 'myservice',
  portDefinitions: [
    { protocol: 'tcp', port: 6666, labels: { VIP_0: 'myservice:6666' }, name: 'jmx' },
    { protocol: 'tcp', port: 7777, labels: { VIP_1: 'myservice:7777' }, name: 'api' },
  ],
};
const bridgeSeed = {
  id: 'myservice',
  container: {
    docker: {
      image: 'chrisrc/myservice',
      forcePullImage: false,
      privileged: false,
      portMappings: [
        {
          containerPort: 6666,
          protocol: 'tcp',
          name: 'jmx',
          servicePort: 6666,
          labels: { VIP_0: 'myservice:6666' },
        },
        {
          containerPort: 7777,
          protocol: 'tcp',
          name: 'api',
          servicePort: 7777,
          labels: { VIP_1: 'myservice:7777' },
        },
      ],
      network: 'BRIDGE',
    },
  },
};
const networksOf = (json: object) => define({ id: '/x', cmd: 'sleep 1', ...json }).networks;
const dockerWith = (network: string) => ({ container: { docker: { image: 'a', network } } });

describe('the seed apps', () => {
  it('refuses the first as Marathon does, and takes it with something to run', () => {
    expect(() => define(hostSeed)).toThrow("AppDefinition must either contain one of 'cmd' or 'args'");
    const app = define({ ...hostSeed, cmd: 'sleep 1000' });
    expect(app).toMatchObject({ id: '/myservice', networks: [{ mode: 'host' }], requirePorts: false });
    expect(app.portDefinitions).toEqual(hostSeed.portDefinitions);
    expect(app.container).toBeUndefined();
  });

  it('reads the second back in the new form', () => {
    const app = define(bridgeSeed);
    expect(app.networks).toEqual([{ mode: 'container/bridge' }]);
    expect(app.portDefinitions).toBeUndefined();
    expect(app.container).toEqual({
      type: 'DOCKER',
      docker: { image: 'chrisrc/myservice', forcePullImage: false, privileged: false, parameters: [] },
      volumes: [],
      portMappings: bridgeSeed.container.docker.portMappings.map((mapping) => ({ ...mapping, hostPort: 0 })),
    });
  });
});

describe('defaults', () => {
  it('resolves every field of the smallest app', () => {
    expect(define({ id: '/x', cmd: 'sleep 100' })).toEqual({
      id: '/x',
      cmd: 'sleep 100',
      cpus: 1,
      mem: 128,
      disk: 0,
      gpus: 0,
      instances: 1,
      env: {},
      labels: {},
      executor: '',
      role: '*',
      constraints: [],
      dependencies: [],
      fetch: [],
      backoffSeconds: 1,
      backoffFactor: 1.15,
      maxLaunchDelaySeconds: 300,
      upgradeStrategy: { minimumHealthCapacity: 1, maximumOverCapacity: 1 },
      unreachableStrategy: { inactiveAfterSeconds: 0, expungeAfterSeconds: 0 },
      killSelection: 'YOUNGEST_FIRST',
      requirePorts: false,
      healthChecks: [],
      readinessChecks: [],
      networks: [{ mode: 'host' }],
      portDefinitions: [{ port: 0, protocol: 'tcp', name: 'default', labels: {} }],
      version,
      versionInfo: { lastScalingAt: version, lastConfigChangeAt: version },
    });
  });

  it('gives what the schema of stored apps takes, and takes it back', () => {
    const rich = define({
      ...bridgeSeed,
      healthChecks: [{}, { protocol: 'COMMAND', command: { value: 'true' } }],
      readinessChecks: [{ portName: 'api' }],
      constraints: [
        ['hostname', 'UNIQUE'],
        ['rack', 'GROUP_BY', '3'],
        ['a', 'CLUSTER'],
      ],
      fetch: [{ uri: 'http://a/b.tgz' }],
    });
    expect(appSchema.parse(rich)).toEqual(rich);
    const { version: _version, ...body } = structuredClone(rich);
    expect(isSameConfiguration(define(body), rich)).toBe(true);
  });

  it('treats null as absent and drops what nobody knows', () => {
    const app = define({ id: '/x', cmd: 'sleep 1', args: null, tasksRunning: 3, container: null });
    expect(app).toEqual(define({ id: '/x', cmd: 'sleep 1' }));
  });

  it('resolves persistent volumes to a resident app', () => {
    const volumes = [{ containerPath: 'data', mode: 'RW', persistent: { size: 10 } }];
    expect(define({ id: '/x', cmd: 'sleep 1', container: { type: 'MESOS', volumes } })).toMatchObject({
      residency: { relaunchEscalationTimeoutSeconds: 3600, taskLostBehavior: 'WAIT_FOREVER' },
      upgradeStrategy: { minimumHealthCapacity: 0.5, maximumOverCapacity: 0 },
      unreachableStrategy: 'disabled',
      container: {
        volumes: [{ containerPath: 'data', persistent: { size: 10, type: 'root', constraints: [] } }],
      },
    });
  });

  it('lets a single instance be replaced, never doubled', () => {
    const labels = { MARATHON_SINGLE_INSTANCE_APP: 'true' };
    expect(define({ id: '/x', cmd: 'sleep 1', labels }).upgradeStrategy).toEqual({
      minimumHealthCapacity: 0,
      maximumOverCapacity: 0,
    });
  });

  it('points a health check to the first port, if there are ports', () => {
    const check = { protocol: 'TCP' };
    expect(define({ id: '/x', cmd: 'sleep 1', healthChecks: [check] }).healthChecks[0]).toMatchObject({
      portIndex: 0,
      gracePeriodSeconds: 300,
      intervalSeconds: 60,
      timeoutSeconds: 20,
      maxConsecutiveFailures: 3,
      delaySeconds: 15,
      ipProtocol: 'IPv4',
    });
    const withPort = define({ id: '/x', cmd: 'sleep 1', healthChecks: [{ ...check, port: 80 }] });
    expect(withPort.healthChecks[0]?.portIndex).toBeUndefined();
  });

  it('resolves relative ids: the app against its group, dependencies against the app', () => {
    const input = parseInput(appInput, { id: 'web', cmd: 'sleep 1', dependencies: ['../db', '/a', './b'] });
    const app = defineApp(input, { names, version, base: '/prod' });
    expect(app.id).toBe('/prod/web');
    expect(app.dependencies).toEqual(['/prod/db', '/a', '/prod/web/b']);
  });
});

describe('old form', () => {
  it.each([
    ['ipAddress and HOST', { ipAddress: {}, ...dockerWith('HOST') }, [{ mode: 'host' }]],
    [
      'ipAddress and USER',
      { ipAddress: { networkName: 'a', labels: { b: 'c' } }, ...dockerWith('USER') },
      [{ mode: 'container', name: 'a', labels: { b: 'c' } }],
    ],
    [
      'ipAddress and BRIDGE',
      { ipAddress: { labels: { b: 'c' } }, ...dockerWith('BRIDGE') },
      [{ mode: 'container/bridge', labels: { b: 'c' } }],
    ],
    [
      'ipAddress of the bridge',
      { ipAddress: { networkName: 'mesos-bridge' } },
      [{ mode: 'container/bridge' }],
    ],
    ['ipAddress of a network', { ipAddress: { networkName: 'a' } }, [{ mode: 'container', name: 'a' }]],
    ['ipAddress of no network', { ipAddress: {} }, [{ mode: 'container', name: 'dcos' }]],
    [
      'groups',
      { ipAddress: { groups: ['a', 'b'] } },
      [{ mode: 'container', name: 'dcos', labels: { groups: 'a,b' } }],
    ],
    ['HOST', dockerWith('HOST'), [{ mode: 'host' }]],
    ['USER', dockerWith('USER'), [{ mode: 'container', name: 'dcos' }]],
    ['BRIDGE', dockerWith('BRIDGE'), [{ mode: 'container/bridge' }]],
    ['nothing', {}, [{ mode: 'host' }]],
  ])('%s', (_name, json, networks) => {
    expect(networksOf(json)).toEqual(networks);
  });

  it('turns discovery ports into mappings without host ports', () => {
    const discovery = { ports: [{ number: 80, name: 'http', protocol: 'tcp', labels: { VIP_0: 'a:80' } }] };
    expect(define({ id: '/x', cmd: 'sleep 1', ipAddress: { discovery } }).container).toEqual({
      type: 'MESOS',
      volumes: [],
      portMappings: [
        { containerPort: 80, servicePort: 0, protocol: 'tcp', name: 'http', labels: { VIP_0: 'a:80' } },
      ],
    });
  });

  it('gives a container network a container and a default mapping, an explicit empty list stays empty', () => {
    const app = define({ id: '/x', cmd: 'sleep 1', networks: [{ mode: 'container' }] });
    expect(app.container).toEqual({
      type: 'MESOS',
      volumes: [],
      portMappings: [{ containerPort: 0, servicePort: 0, protocol: 'tcp', labels: {}, name: 'default' }],
    });
    const none = define({
      id: '/x',
      cmd: 'sleep 1',
      networks: [{}],
      container: { type: 'MESOS', portMappings: [] },
    });
    expect(none.container?.portMappings).toEqual([]);
    expect(none.requirePorts).toBe(false);
  });

  it('drops mappings in host mode and definitions elsewhere, whose number is made up for', () => {
    const host = define({
      id: '/x',
      container: { docker: { image: 'a' }, portMappings: [{ containerPort: 80 }] },
    });
    expect(host.container?.portMappings).toBeUndefined();
    expect(host.portDefinitions).toHaveLength(1);
    const own = define({
      id: '/x',
      ports: [1, 2, 3],
      requirePorts: true,
      networks: [{ mode: 'container/bridge' }],
      container: { docker: { image: 'a' }, portMappings: [{ containerPort: 80, name: 'a' }] },
    });
    expect(own.portDefinitions).toBeUndefined();
    expect(own.requirePorts).toBe(false);
    expect(
      own.container?.portMappings?.map(({ containerPort, hostPort, name }) => [
        containerPort,
        hostPort,
        name,
      ]),
    ).toEqual([
      [80, 0, 'a'],
      [0, 0, undefined],
      [0, 0, undefined],
    ]);
  });

  it('turns ports and uris into definitions and fetch', () => {
    const app = define({
      id: '/x',
      cmd: 'sleep 1',
      ports: [8080, 0],
      uris: ['http://a/b.tgz', 'http://a/c'],
    });
    expect(app.portDefinitions).toEqual([
      { port: 8080, protocol: 'tcp', labels: {} },
      { port: 0, protocol: 'tcp', labels: {} },
    ]);
    expect(app.fetch.map((fetch) => [fetch.uri, fetch.extract])).toEqual([
      ['http://a/b.tgz', true],
      ['http://a/c', false],
    ]);
    expect(define({ id: '/x', cmd: 'sleep 1', ports: [] }).portDefinitions).toEqual([]);
  });

  it('writes both protocols one way', () => {
    const app = define({ id: '/x', cmd: 'sleep 1', portDefinitions: [{ protocol: 'tcp,udp' }] });
    expect(app.portDefinitions?.[0]?.protocol).toBe('udp,tcp');
  });
});

describe('updates', () => {
  const host = define({ ...hostSeed, cmd: 'sleep 1000', labels: { a: 'b' }, instances: 3 });
  const bridge = define(bridgeSeed);

  it('replaces whole members and keeps the others', () => {
    const after = update(host, { labels: { c: 'd' }, cpus: 0.5 });
    expect(after).toEqual({ ...host, labels: { c: 'd' }, cpus: 0.5 });
  });

  it('moves an app from the host to a network of its own and back', () => {
    const own = update(host, { networks: [{ mode: 'container', name: 'dcos' }] });
    expect(own.portDefinitions).toBeUndefined();
    expect(own.container?.portMappings).toHaveLength(1);
    const mapped = update(host, {
      networks: [{ mode: 'container' }],
      container: { type: 'MESOS', portMappings: [{ containerPort: 6666, name: 'jmx' }] },
    });
    expect(mapped.container?.portMappings?.map((mapping) => mapping.containerPort)).toEqual([6666]);
    const back = update(mapped, { networks: [{ mode: 'host' }], portDefinitions: hostSeed.portDefinitions });
    expect(back.container?.portMappings).toBeUndefined();
    expect(back.portDefinitions).toEqual(hostSeed.portDefinitions);
  });

  it('takes the old form in updates', () => {
    const after = update(bridge, {
      container: { docker: { image: 'b', network: 'USER', portMappings: [{ containerPort: 1 }] } },
    });
    expect(after.networks).toEqual([{ mode: 'container', name: 'dcos' }]);
    expect(after.container?.docker?.image).toBe('b');
    expect(after.container?.portMappings?.[0]?.hostPort).toBeUndefined();
  });

  it('forgets residency with the last persistent volume', () => {
    const volumes = [{ containerPath: 'data', persistent: { size: 10 } }];
    const resident = define({ id: '/x', cmd: 'sleep 1', container: { type: 'MESOS', volumes } });
    const after = update(resident, { container: { type: 'MESOS' } });
    expect(after.residency).toBeUndefined();
  });

  it('goes back to a version only by version and id', () => {
    expect(rollbackVersion(parseInput(appInput, { id: '/x', version: 'v' }))).toBe('v');
    expect(rollbackVersion(parseInput(appInput, { id: '/x' }))).toBeUndefined();
    expect(() => rollbackVersion(parseInput(appInput, { version: 'v', cpus: 1 }))).toThrow(
      "The 'version' field may only be combined with the 'id' field.",
    );
  });

  it('takes the id of the path; one in the body must be the same', () => {
    expect(idOfUpdate({}, '/a/b')).toBe('/a/b');
    expect(idOfUpdate({ id: 'b' }, 'a/b')).toBe('/a/b');
    expect(idOfUpdate({ id: '/a/b' }, 'a/b')).toBe('/a/b');
    expect(() => idOfUpdate({ id: '/c' }, 'a/b')).toThrow('is not the id of the path, /a/b');
    expect(() => idOfUpdate({ id: '/' }, undefined)).toThrow('must not be root');
  });
});

describe('versions', () => {
  const before = define({ id: '/x', cmd: 'sleep 1' });
  const later = '2026-02-02T00:00:00.000Z';

  it('is the app itself when nothing changes', () => {
    expect(succeed(before, { ...before, version: later }, later)).toBe(before);
  });

  it('keeps the time of the last change of configuration when only instances change', () => {
    expect(succeed(before, { ...before, instances: 5 }, later)).toMatchObject({
      version: later,
      versionInfo: { lastScalingAt: later, lastConfigChangeAt: version },
    });
  });

  it('is new in everything when anything else changes', () => {
    expect(succeed(before, { ...before, instances: 5, cpus: 2 }, later).versionInfo).toEqual({
      lastScalingAt: later,
      lastConfigChangeAt: later,
    });
  });
});
