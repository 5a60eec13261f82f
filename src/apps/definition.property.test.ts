/** Whatever is sent is either refused with a path and a reason, or becomes an app that is stored and read back the same. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { definitionInit } from '../../test/support/refusals.ts';
import { app as appSchema, type App } from '../model/app.ts';
import { defineApp, updateApp } from './definition.ts';
import { parseInput, Refused } from './issues.ts';
import { appInput } from './schema.ts';
import { isSameConfiguration } from './versions.ts';

const port = fc.oneof(fc.constant(0), fc.integer({ min: -1, max: 70_000 }));
const name = fc.oneof(fc.constantFrom('http', 'api', 'A', ''), fc.string({ maxLength: 5 }));
const labels = fc.dictionary(
  fc.constantFrom('VIP_0', 'a', 'MARATHON_SINGLE_INSTANCE_APP'),
  fc.constantFrom('x:80', 'true'),
);
const mapping = fc.record(
  {
    containerPort: port,
    hostPort: port,
    servicePort: port,
    name,
    labels,
    protocol: fc.constantFrom('tcp', 'udp', 'tcp,udp', 'sctp'),
    networkNames: fc.array(fc.constantFrom('dcos', 'other'), { maxLength: 2 }),
  },
  { requiredKeys: [] },
);
const definition = fc.record(
  {
    id: fc.constantFrom('/x', 'x', '/a/b', '/', '/X', '/a/tasks', ''),
    cmd: fc.constantFrom('sleep 1', 'a', ''),
    args: fc.array(fc.string(), { maxLength: 2 }),
    instances: fc.constantFrom<unknown>(0, 1, 2.5, -1, '1'),
    labels,
    env: fc.dictionary(fc.string({ maxLength: 3 }), fc.oneof(fc.string(), fc.constant({ secret: 'a' }))),
    networks: fc.array(
      fc.record(
        {
          mode: fc.constantFrom('host', 'container', 'container/bridge', 'none'),
          name: fc.constantFrom('dcos', 'other'),
        },
        { requiredKeys: [] },
      ),
      { maxLength: 3 },
    ),
    ipAddress: fc.record(
      { networkName: fc.constantFrom('dcos', 'mesos-bridge'), groups: fc.array(name, { maxLength: 2 }) },
      { requiredKeys: [] },
    ),
    ports: fc.array(port, { maxLength: 3 }),
    portDefinitions: fc.array(fc.record({ port, name, labels }, { requiredKeys: [] }), { maxLength: 3 }),
    container: fc.record(
      {
        type: fc.constantFrom('MESOS', 'DOCKER', 'APPC'),
        docker: fc.record(
          {
            image: fc.constantFrom('a', ''),
            network: fc.constantFrom('HOST', 'BRIDGE', 'USER', 'NONE'),
            portMappings: fc.array(mapping, { maxLength: 2 }),
          },
          { requiredKeys: [] },
        ),
        portMappings: fc.array(mapping, { maxLength: 3 }),
        volumes: fc.array(
          fc.record(
            {
              containerPath: fc.constantFrom('data', '/data', ''),
              hostPath: fc.constantFrom('/a', ''),
              persistent: fc.record({ size: fc.integer({ min: -1, max: 5 }) }),
            },
            { requiredKeys: [] },
          ),
          { maxLength: 2 },
        ),
      },
      { requiredKeys: [] },
    ),
    healthChecks: fc.array(
      fc.record(
        {
          protocol: fc.constantFrom('HTTP', 'TCP', 'COMMAND', 'MESOS_TCP'),
          portIndex: fc.integer({ min: 0, max: 3 }),
          port,
        },
        { requiredKeys: [] },
      ),
      { maxLength: 2 },
    ),
    constraints: fc.array(
      fc.array(fc.constantFrom('hostname', 'UNIQUE', 'LIKE', 'a(', '3', 'GROUP_BY'), { maxLength: 4 }),
      { maxLength: 2 },
    ),
    upgradeStrategy: fc.record(
      { minimumHealthCapacity: fc.double({ min: -1, max: 2 }) },
      { requiredKeys: [] },
    ),
  },
  { requiredKeys: [] },
);

function accepted(define: () => App): App | undefined {
  try {
    return define();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    expect(error.issues.length).toBeGreaterThan(0);
    for (const { path, errors } of error.issues) {
      expect(path).toMatch(/^\//);
      expect(errors.every((each) => each.length > 0)).toBe(true);
    }
    return undefined;
  }
}

const defined = (json: unknown): App | undefined =>
  accepted(() => defineApp(parseInput(appInput, json), definitionInit));

describe('definitions of all kinds', () => {
  it('are refused with reasons, or stored and read back the same', () => {
    fc.assert(
      fc.property(definition, (json) => {
        const app = defined(json);
        if (app === undefined) return;
        expect(appSchema.parse(JSON.parse(JSON.stringify(app)))).toEqual(app);
        const { version: _version, versionInfo: _info, ...body } = app;
        const again = defined(JSON.parse(JSON.stringify(body)));
        expect(again).toBeDefined();
        if (again !== undefined) expect(isSameConfiguration(again, app)).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  it('update each other, or are refused with reasons', () => {
    fc.assert(
      fc.property(definition, definition, (first, second) => {
        const stored = defined({ ...first, id: '/x', cmd: 'sleep 1', args: undefined });
        if (stored === undefined) return;
        const { id: _id, ...update } = second;
        const after = accepted(() => updateApp(stored, parseInput(appInput, update), definitionInit));
        if (after !== undefined) expect(appSchema.parse(after)).toEqual(after);
      }),
      { numRuns: 500 },
    );
  });

  it('may be any JSON at all', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (json) => {
        defined(json);
      }),
      { numRuns: 500 },
    );
  });
});
