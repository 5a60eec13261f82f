/** Every message of the rules of containers, volumes and mappings, at its path: one line of the table for each. */
import { describe, expect, it } from 'vitest';
import { refusalOf, type Rule } from '../../test/support/refusals.ts';

const x = { id: '/x', cmd: 'sleep 1' };
const docker = { type: 'DOCKER', docker: { image: 'nginx' } };
const noSecrets = 'Feature secrets is not enabled. Enable with --enable_features secrets)';
const persistent = (more: object = {}, volume: object = {}) => ({
  ...x,
  container: {
    type: 'MESOS',
    volumes: [{ containerPath: 'data', mode: 'RW', persistent: { size: 10, ...more }, ...volume }],
  },
});

const rules: readonly Rule[] = [
  [
    'names of mappings twice',
    { ...x, networks: [{}], container: { ...docker, portMappings: [{ name: 'a' }, { name: 'a' }] } },
    '/container/portMappings',
    'Port names must be unique.',
  ],
  [
    'two networks with DOCKER',
    { id: '/x', networks: [{ name: 'a' }, { name: 'b' }], container: docker },
    '/',
    'may only specify a single container network when using the Docker container engine',
  ],
  [
    'a host port on two networks',
    {
      ...x,
      networks: [{ name: 'a' }, { name: 'b' }],
      container: { type: 'MESOS', portMappings: [{}, { hostPort: 0 }] },
    },
    '/container/portMappings(1)',
    'networkNames must be a single item list when hostPort is specified and more than 1 container network is defined',
  ],
  [
    'a mapping of another network',
    {
      ...x,
      networks: [{ name: 'a' }, { name: 'b' }],
      container: { type: 'MESOS', portMappings: [{ networkNames: ['a', 'c'] }] },
    },
    '/container/portMappings(0)/networkNames(1)',
    'is not one of (a,b)',
  ],
  [
    'both kinds of mappings',
    {
      ...x,
      container: { docker: { image: 'a', network: 'BRIDGE', portMappings: [{}] }, portMappings: [{}] },
    },
    '/container',
    'cannot specify both portMappings and docker.portMappings',
  ],
  [
    'mappings and discovery',
    {
      ...x,
      ipAddress: { discovery: { ports: [{ name: 'a', number: 1 }] } },
      container: { type: 'MESOS', portMappings: [{}] },
    },
    '/',
    'container.portMappings and ipAddress.discovery.ports must not both be set',
  ],
  [
    'docker.network NONE',
    { ...x, container: { docker: { image: 'a', network: 'NONE' } } },
    '/container/docker/network',
    'unsupported docker network type NONE: use HOST, BRIDGE or USER',
  ],
  [
    'docker.network with MESOS',
    { ...x, container: { type: 'MESOS', docker: { image: 'a', network: 'USER' } } },
    '/container/docker/network',
    'must be empty',
  ],
  [
    'docker.portMappings with MESOS',
    { ...x, container: { type: 'MESOS', docker: { image: 'a', portMappings: [] } } },
    '/container/docker/portMappings',
    'must be empty',
  ],
  [
    'parameters with MESOS',
    { ...x, container: { type: 'MESOS', docker: { image: 'a', parameters: [{ key: 'a', value: 'b' }] } } },
    '/container/docker/parameters',
    'must be empty',
  ],
  [
    'old credentials',
    { ...x, container: { docker: { image: 'a', credential: { principal: 'a' } } } },
    '/container/docker/credential',
    'must be empty',
  ],
  ['DOCKER without docker', { ...x, container: { type: 'DOCKER' } }, '/container/docker', 'not defined'],
  [
    'an AppC image',
    { ...x, container: { type: 'MESOS', appc: { image: 'a' } } },
    '/container/appc',
    'AppC images are not supported. Use container.docker.image',
  ],
  [
    'linuxInfo',
    { ...x, container: { type: 'MESOS', linuxInfo: {} } },
    '/container/linuxInfo',
    'linuxInfo is not supported. Remove it, or use container.docker.parameters with type DOCKER',
  ],
  [
    'pullConfig with DOCKER',
    { ...x, container: { docker: { image: 'a', pullConfig: { secret: 'a' } } } },
    '/container/docker/pullConfig',
    'pullConfig is not supported with Docker containerizer',
  ],
  [
    'pullConfig with MESOS',
    { ...x, container: { type: 'MESOS', docker: { image: 'a', pullConfig: { secret: 'a' } } } },
    '/container/docker/pullConfig',
    noSecrets,
  ],
  [
    'residency without volumes',
    { ...x, residency: {} },
    '/',
    'App must contain persistent volumes and define residency',
  ],
  [
    'resident and unreachable',
    { ...persistent(), unreachableStrategy: {} },
    '/',
    'unreachableStrategy must be disabled for resident tasks',
  ],
  [
    'resident and over capacity',
    { ...persistent(), upgradeStrategy: { maximumOverCapacity: 1 } },
    '/upgradeStrategy/maximumOverCapacity',
    'got 1, expected 0.0',
  ],
  [
    'gpus with DOCKER',
    { id: '/x', gpus: 1, container: docker },
    '/',
    'GPU resources only work with the Mesos containerizer',
  ],
  [
    'an external volume',
    {
      ...x,
      container: { ...docker, volumes: [{ containerPath: '/a', mode: 'RW', external: { name: 'a' } }] },
    },
    '/container/volumes(0)',
    'Feature external_volumes is not enabled. Enable with --enable_features external_volumes)',
  ],
  [
    'a secret volume',
    { ...x, container: { type: 'MESOS', volumes: [{ containerPath: '/a', secret: 'a' }] } },
    '/container/volumes(0)',
    noSecrets,
  ],
  [
    'a volume nowhere',
    { ...x, container: { type: 'MESOS', volumes: [{ containerPath: '/a' }] } },
    '/container/volumes(0)/hostPath',
    'must not be empty',
  ],
  [
    'a volume without a path',
    { ...x, container: { type: 'MESOS', volumes: [{ containerPath: '', hostPath: '/a' }] } },
    '/container/volumes(0)/containerPath',
    'must not be empty',
  ],
  [
    'a persistent path with a slash',
    persistent({}, { containerPath: 'a/b' }),
    '/container/volumes(0)/containerPath',
    'value must not contain "/"',
  ],
  [
    'a persistent path of dots',
    persistent({}, { containerPath: '..' }),
    '/container/volumes(0)/containerPath',
    'can not be one of (.,..)',
  ],
  [
    'a persistent volume to read only',
    persistent({}, { mode: 'RO' }),
    '/container/volumes(0)/mode',
    'must be RW',
  ],
  [
    'a persistent volume on a path of the host',
    persistent({}, { hostPath: '/a' }),
    '/container/volumes(0)',
    'must not define both hostPath and persistent',
  ],
  [
    'a persistent volume of no size',
    persistent({ size: 0 }),
    '/container/volumes(0)/persistent/size',
    'got 0, expected more than 0',
  ],
  [
    'a greatest size of a root volume',
    persistent({ maxSize: 20 }),
    '/container/volumes(0)/persistent',
    'Only mount volumes can have maxSize',
  ],
  [
    'a greatest size too small',
    persistent({ type: 'mount', maxSize: 5 }),
    '/container/volumes(0)/persistent',
    'Max size must be larger than size',
  ],
  [
    'constraints of a root volume',
    persistent({ constraints: [['path', 'LIKE', 'a']] }),
    '/container/volumes(0)/persistent',
    'Constraints on root volumes are not supported',
  ],
  [
    'a mount volume',
    persistent({ type: 'mount' }),
    '/container/volumes(0)/persistent/type',
    'type mount is not supported: only root disk resources are offered',
  ],
];

describe('messages of containers', () => {
  it.each(rules)('%s: refused', (_name, definition, path, message) => {
    const { kind, issues } = refusalOf(definition);
    expect(kind).toBe('rules');
    expect(issues).toContainEqual({ path, errors: expect.arrayContaining([message]) as string[] });
  });
});
