/** Every message of Marathon's validation, at its path: one line of the table for each. */
import { describe, expect, it } from 'vitest';
import { definitionInit, refusalOf, type Rule } from '../../test/support/refusals.ts';
import type { App } from '../model/app.ts';
import { defineApp, updateApp } from './definition.ts';
import { parseInput } from './issues.ts';
import { appInput, groupInput } from './schema.ts';

const x = { id: '/x', cmd: 'sleep 1' };
const docker = { type: 'DOCKER', docker: { image: 'nginx' } };
const oneOf = "AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'.";
const indices =
  'Health check port indices must address an element of the ports array or container port mappings.';
const noSecrets = 'Feature secrets is not enabled. Enable with --enable_features secrets)';
const segment =
  "must fully match regular expression '^(([a-z0-9]|[a-z0-9][a-z0-9\\-]*[a-z0-9])\\.)*([a-z0-9]|[a-z0-9][a-z0-9\\-]*[a-z0-9])|(\\.|\\.\\.)$'";
const constrained = (...constraint: string[]) => ({ ...x, constraints: [constraint] });

const rules: readonly Rule[] = [
  ['nothing to run', { id: '/x' }, '/', oneOf],
  ['cmd and args', { ...x, args: ['a'] }, '/', oneOf],
  ['cmd, args and container', { ...x, args: ['a'], container: docker }, '/', oneOf],
  ['a container without an image', { id: '/x', container: { type: 'MESOS' } }, '/', oneOf],
  ['an id that is the root', { ...x, id: '/' }, '/id', 'must not be root'],
  ['upper case in an id', { ...x, id: '/Web' }, '/id', segment],
  [
    'an id of a reserved word',
    { ...x, id: '/a/tasks' },
    '/id',
    'must not end with any of the following reserved keywords: restart, tasks, versions',
  ],
  [
    'an id too long for its tasks',
    { ...x, id: `/${'a'.repeat(180)}` },
    '/id',
    'must not be longer than 180 characters',
  ],
  ['a dependency that is no id', { ...x, dependencies: ['/a', '/B'] }, '/dependencies(1)', segment],
  [
    'labels of the host network',
    { ...x, networks: [{ mode: 'host', labels: { a: 'b' } }] },
    '/networks',
    'Host networks may not have names or labels',
  ],
  [
    'a name of the host network',
    { ...x, networks: [{ mode: 'host', name: 'dcos' }] },
    '/networks',
    'Host networks may not have names or labels',
  ],
  [
    'a name of a bridge',
    { ...x, networks: [{ mode: 'container/bridge', name: 'b' }] },
    '/networks',
    'Bridge networks may not have names',
  ],
  [
    'a network twice',
    { ...x, networks: [{ name: 'dcos' }, { name: 'dcos' }] },
    '/networks',
    'Duplicate networks are not allowed',
  ],
  [
    'two networks without names',
    { ...x, networks: [{ mode: 'container' }, {}] },
    '/networks',
    'Duplicate networks are not allowed',
  ],
  [
    'host and bridge',
    { ...x, networks: [{ mode: 'host' }, { mode: 'container/bridge' }] },
    '/networks',
    'May specify a single host network, single bridge network, or else 1-to-n container networks',
  ],
  [
    'port names twice',
    { ...x, portDefinitions: [{ name: 'a' }, { name: 'a' }] },
    '/portDefinitions',
    'Port names must be unique.',
  ],
  [
    'ports twice',
    { ...x, portDefinitions: [{ port: 80 }, { port: 80 }] },
    '/portDefinitions',
    'Ports must be unique.',
  ],
  ['old ports twice', { ...x, ports: [80, 80, 0, 0] }, '/', 'ports must be unique'],
  [
    'an address and a port',
    { ...x, ipAddress: {}, ports: [80] },
    '/',
    'cannot specify both an IP address and port',
  ],
  [
    'an address and a definition',
    { ...x, ipAddress: {}, portDefinitions: [{}] },
    '/',
    'cannot specify both an IP address and port',
  ],
  [
    'ports and definitions',
    { ...x, ports: [80], portDefinitions: [{ port: 81 }] },
    '/',
    'cannot specify both ports and port definitions',
  ],
  [
    'discovery with DOCKER',
    { ...x, ipAddress: { discovery: {} }, container: docker },
    '/ipAddress',
    'ipAddress/discovery is not allowed for Docker containers',
  ],
  [
    'docker.network and networks',
    { ...x, networks: [{}], container: { docker: { image: 'a', network: 'USER' } } },
    '/',
    'must not specify both container.docker.network and networks',
  ],
  [
    'networks and ipAddress',
    { ...x, networks: [{}], ipAddress: {} },
    '/',
    'must not specify both networks and ipAddress',
  ],
  ['secrets', { ...x, secrets: { a: { source: 'b' } } }, '/secrets', noSecrets],
  ['a variable from a secret', { ...x, env: { A: { secret: 'a' } } }, '/env', noSecrets],
  ['a variable without a name', { ...x, env: { '': 'a' } }, '/env()', 'is not a name of a variable'],
  ['no roles', { ...x, acceptedResourceRoles: [] }, '/acceptedResourceRoles', 'must not be empty'],
  [
    'uris and fetch',
    { ...x, uris: ['http://a/b'], fetch: [{ uri: 'http://a/b' }] },
    '/uris',
    'may not be set in conjunction with fetch',
  ],
  ['a port index too great', { ...x, healthChecks: [{ portIndex: 1 }] }, '/healthChecks(0)', indices],
  [
    'a check without any port',
    { ...x, portDefinitions: [], healthChecks: [{ protocol: 'TCP' }] },
    '/healthChecks(0)',
    indices,
  ],
  [
    'a check by IPv6 without DOCKER',
    { ...x, healthChecks: [{ protocol: 'MESOS_TCP', ipProtocol: 'IPv6' }] },
    '/healthChecks(0)',
    'IPv6 can only be used for container type DOCKER and Mesos http/https/tcp health checks',
  ],
  [
    'a check by command without one',
    { ...x, healthChecks: [{ protocol: 'COMMAND' }] },
    '/healthChecks(0)/command',
    'not defined',
  ],
  [
    'a check without pause',
    { ...x, healthChecks: [{ intervalSeconds: 0 }] },
    '/healthChecks(0)/intervalSeconds',
    'got 0, expected more than 0',
  ],
  [
    'a check without time',
    { ...x, healthChecks: [{ timeoutSeconds: 0 }] },
    '/healthChecks(0)/timeoutSeconds',
    'got 0, expected more than 0',
  ],
  [
    'two Mesos checks',
    { ...x, healthChecks: [{ protocol: 'MESOS_TCP' }, { protocol: 'MESOS_HTTP' }] },
    '/',
    'AppDefinition can contain at most one Mesos health check',
  ],
  [
    'two readiness checks',
    { ...x, readinessChecks: [{ portName: 'default' }, { portName: 'default' }] },
    '/readinessChecks',
    'has size 2, expected 1 or less',
  ],
  [
    'readiness of an unknown port',
    { ...x, readinessChecks: [{ portName: 'a' }] },
    '/readinessChecks(0)/portName',
    'No port definition reference for portName a',
  ],
  [
    'readiness that takes too long',
    { ...x, readinessChecks: [{ portName: 'default', timeoutSeconds: 30 }] },
    '/readinessChecks(0)/timeoutSeconds',
    'got 30, expected less than 30',
  ],
  [
    'two of a single instance',
    { ...x, instances: 2, labels: { MARATHON_SINGLE_INSTANCE_APP: 'true' } },
    '/',
    'Single instance app may only have one instance',
  ],
  [
    'health of a single instance',
    {
      ...x,
      labels: { MARATHON_SINGLE_INSTANCE_APP: 'true' },
      upgradeStrategy: { minimumHealthCapacity: 0.5 },
    },
    '/upgradeStrategy/minimumHealthCapacity',
    'got 0.5, expected 0.0',
  ],
  [
    'expunged before inactive',
    { ...x, unreachableStrategy: { inactiveAfterSeconds: 5 } },
    '/unreachableStrategy/expungeAfterSeconds',
    'got 0, expected 5 or more',
  ],
  ['a constraint of nothing', constrained(), '/constraints(0)', 'Missing field and operator'],
  [
    'a constraint of one field',
    constrained('hostname'),
    '/constraints(0)',
    'Each constraint must have either 2 or 3 fields',
  ],
  [
    'a constraint of four fields',
    constrained('a', 'LIKE', 'b', 'c'),
    '/constraints(0)',
    'Each constraint must have either 2 or 3 fields',
  ],
  [
    'a constraint on no field',
    constrained('', 'UNIQUE'),
    '/constraints(0)',
    'missing field for constraint declaration',
  ],
  [
    'UNIQUE with a value',
    constrained('hostname', 'UNIQUE', 'a'),
    '/constraints(0)',
    'UNIQUE does not accept a value',
  ],
  [
    'GROUP_BY a word',
    constrained('rack', 'GROUP_BY', 'a'),
    '/constraints(0)',
    'GROUP BY must define an integer value or else no value at all',
  ],
  [
    'MAX_PER without a number',
    constrained('rack', 'MAX_PER'),
    '/constraints(0)',
    'MAX_PER requires an integer value',
  ],
  [
    'LIKE without a value',
    constrained('rack', 'LIKE'),
    '/constraints(0)',
    'LIKE and UNLIKE require a non-empty, regular expression value',
  ],
  [
    'UNLIKE a broken expression',
    constrained('rack', 'UNLIKE', '*'),
    '/constraints(0)',
    "'*' is not a valid regular expression",
  ],
  [
    'IS without a value',
    constrained('rack', 'IS'),
    '/constraints(0)',
    'IS requires a value: a text or a number',
  ],
  [
    'an unknown operator',
    constrained('rack', 'NEAR', 'a'),
    '/constraints(0)',
    'operator must be one of the following UNIQUE, CLUSTER, GROUP_BY, LIKE, MAX_PER, UNLIKE or IS',
  ],
];

const shapes: readonly [
  name: string,
  definition: unknown,
  kind: 'types' | 'rules',
  path: string,
  key: string,
][] = [
  ['no id', { cmd: 'sleep 1' }, 'types', '/id', 'error.path.missing'],
  ['not an object', [], 'types', '/', 'error.expected.jsobject'],
  ['a text for a number', { ...x, instances: '2' }, 'types', '/instances', 'error.expected.jsnumber'],
  ['half an instance', { ...x, instances: 1.5 }, 'types', '/instances', 'error.expected.int'],
  ['a number for a text', { ...x, cmd: 1 }, 'types', '/cmd', 'error.expected.jsstring'],
  [
    'a text for a boolean',
    { ...x, requirePorts: 'yes' },
    'types',
    '/requirePorts',
    'error.expected.jsboolean',
  ],
  ['a text for a list', { ...x, args: 'a' }, 'types', '/args', 'error.expected.jsarray'],
  ['a list for labels', { ...x, labels: ['a'] }, 'types', '/labels', 'error.expected.jsobject'],
  ['a number for a label', { ...x, labels: { a: 1 } }, 'types', '/labels/a', 'error.expected.jsstring'],
  [
    'a number for a name',
    { ...x, portDefinitions: [{ name: 1 }] },
    'types',
    '/portDefinitions(0)/name',
    'error.expected.jsstring',
  ],
  ['fewer than no instances', { ...x, instances: -1 }, 'rules', '/instances', 'error.min'],
  ['no cpu', { ...x, cpus: 0 }, 'rules', '/cpus', 'error.min'],
  [
    'more than all',
    { ...x, upgradeStrategy: { maximumOverCapacity: 2 } },
    'rules',
    '/upgradeStrategy/maximumOverCapacity',
    'error.max',
  ],
  [
    'a port too great',
    { ...x, portDefinitions: [{ port: 65_536 }] },
    'rules',
    '/portDefinitions(0)/port',
    'error.max',
  ],
  [
    'a name with upper case',
    { ...x, portDefinitions: [{ name: 'HTTP' }] },
    'rules',
    '/portDefinitions(0)/name',
    'error.pattern',
  ],
  [
    'a name too long',
    { ...x, networks: [{ name: 'a'.repeat(64) }] },
    'rules',
    '/networks(0)/name',
    'error.maxLength',
  ],
  ['an empty cmd', { ...x, cmd: '' }, 'rules', '/cmd', 'error.minLength'],
  [
    'an image of no name',
    { ...x, container: { docker: { image: '' } } },
    'rules',
    '/container/docker/image',
    'error.minLength',
  ],
  [
    'an unknown mode',
    { ...x, networks: [{ mode: 'ether' }] },
    'rules',
    '/networks(0)/mode',
    'error.unknown.enum.literal',
  ],
  [
    'a broken rule and a wrong type',
    { ...x, instances: -1, cpus: 'a' },
    'types',
    '/cpus',
    'error.expected.jsnumber',
  ],
];

describe('messages', () => {
  it.each(rules)('%s: refused by a rule', (_name, definition, path, message) => {
    const { kind, issues } = refusalOf(definition);
    expect(kind).toBe('rules');
    expect(issues).toContainEqual({ path, errors: expect.arrayContaining([message]) as string[] });
  });

  it.each(shapes)('%s: refused by shape', (_name, definition, kind, path, key) => {
    const refusal = refusalOf(definition);
    expect(refusal.kind).toBe(kind);
    expect(refusal.issues).toContainEqual({ path, errors: [key] });
  });

  it('says that a network needs a name where none is configured', () => {
    const refusal = refusalOf({ ...x, networks: [{}] }, { names: { bridge: 'mesos-bridge' } });
    expect(refusal).toEqual({
      kind: 'rules',
      issues: [
        {
          path: '/networks',
          errors: ['Network name must be specified when container network is selected.'],
        },
      ],
    });
  });

  it('does not follow nesting without end', () => {
    let deep: object = {};
    for (let i = 0; i < 100_000; i++) deep = { groups: [deep] };
    expect(() => parseInput(groupInput, deep)).toThrow('must not be nested deeper than 128 levels');
  });

  it('says everything that is wrong at once, errors of one path together', () => {
    const { issues } = refusalOf({
      id: '/X',
      constraints: [['a', 'LIKE']],
      portDefinitions: [
        { port: 1, name: 'a' },
        { port: 1, name: 'a' },
      ],
    });
    expect(issues.map((issue) => issue.path).sort()).toEqual([
      '/',
      '/constraints(0)',
      '/id',
      '/portDefinitions',
    ]);
    expect(issues.find((issue) => issue.path === '/portDefinitions')?.errors).toHaveLength(2);
  });

  it('holds for updates too', () => {
    const stored = defineApp(parseInput(appInput, x), definitionInit);
    const update = (json: object): App => updateApp(stored, parseInput(appInput, json), definitionInit);
    expect(() => update({ constraints: [['a', 'LIKE']] })).toThrow(/LIKE and UNLIKE/);
    expect(() => update({ args: ['a'] })).toThrow(/one of 'cmd' or 'args'/);
  });
});
