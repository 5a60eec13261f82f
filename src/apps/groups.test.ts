import { describe, expect, it } from 'vitest';
import { appsOf, type Group } from '../model/app.ts';
import { groupIdOf, groupRules, putGroupInput, scaleGroup, settleTree } from './group-update.ts';
import { absoluteId, isWithin, parentOf, taskPrefix } from './ids.ts';
import { parseInput } from './issues.ts';
import { groupInput } from './schema.ts';
import { parseSelector } from './selector.ts';
import { servicePortsOf } from './service-ports.ts';
import { appDependencies } from './tree-rules.ts';
import { emptyGroup, enforcesRole, findApp, findGroup, putApp, removeApp, removeGroup } from './tree.ts';

const names = { defaultNetwork: 'dcos', bridge: 'mesos-bridge' };
const version = '2026-01-02T03:04:05.678Z';
const later = '2026-02-02T00:00:00.000Z';
const root = emptyGroup('/', version);
const put = (tree: Group, id: string, json: unknown, at = version): Group =>
  settleTree(tree, putGroupInput(tree, id, parseInput(groupInput, json), { names, version: at }), at);
const cmd = 'sleep 1';
const product = put(root, '/product', {
  apps: [{ id: 'front', cmd, instances: 3, dependencies: ['../service'] }],
  groups: [
    { id: 'database', apps: [{ id: 'mysql', cmd }] },
    {
      id: 'service',
      dependencies: ['../database'],
      apps: [
        { id: 'app', cmd },
        { id: '/product/service/b', cmd },
      ],
    },
  ],
});
const idsOf = (tree: Group): string[] => Array.from(appsOf(tree), (app) => app.id).sort();

describe('ids', () => {
  it('resolves as a file system does', () => {
    expect(absoluteId('web', '/a')).toBe('/a/web');
    expect(absoluteId('../db', '/a/web')).toBe('/a/db');
    expect(absoluteId('/x/./y/')).toBe('/x/y');
    expect(absoluteId('../../..', '/a')).toBe('/');
    expect([parentOf('/a/b'), parentOf('/a'), parentOf('/')]).toEqual(['/a', '/', '/']);
    expect([isWithin('/a/b', '/a'), isWithin('/ab', '/a'), isWithin('/a', '/')]).toEqual([true, false, true]);
    expect(taskPrefix('/outer/sub/myapp')).toBe('outer_sub_myapp');
  });
});

describe('groups', () => {
  it('resolves relative ids against the group', () => {
    expect(idsOf(product)).toEqual([
      '/product/database/mysql',
      '/product/front',
      '/product/service/app',
      '/product/service/b',
    ]);
    expect(findGroup(product, '/product/service')?.dependencies).toEqual(['/product/database']);
  });

  it('replaces the members that are given and keeps the others', () => {
    const after = put(product, '/product', { apps: [{ id: 'new', cmd }] }, later);
    expect(idsOf(after)).toEqual([
      '/product/database/mysql',
      '/product/new',
      '/product/service/app',
      '/product/service/b',
    ]);
    const fewer = put(product, '/product', { groups: [{ id: 'database' }] }, later);
    expect(idsOf(fewer)).toEqual(['/product/database/mysql', '/product/front']);
    expect(findGroup(fewer, '/product')?.version).toBe(later);
  });

  it('leaves apps that do not change the same objects', () => {
    const after = put(
      product,
      '/product/database',
      {
        apps: [
          { id: 'mysql', cmd },
          { id: 'pg', cmd },
        ],
      },
      later,
    );
    expect(findApp(after, '/product/front')).toBe(findApp(product, '/product/front'));
    expect(findApp(after, '/product/database/mysql')).toBe(findApp(product, '/product/database/mysql'));
    expect(findApp(after, '/product/database/pg')?.version).toBe(later);
  });

  it('makes the groups an app needs, and removes apps and groups', () => {
    const front = findApp(product, '/product/front');
    if (front === undefined) throw new Error('no front');
    const deep = putApp(root, { ...front, id: '/a/b/c' }, later);
    expect(findGroup(deep, '/a/b')?.apps).toHaveLength(1);
    expect(idsOf(removeApp(deep, '/a/b/c', later))).toEqual([]);
    expect(idsOf(removeGroup(product, '/product/service', later))).toEqual([
      '/product/database/mysql',
      '/product/front',
    ]);
    expect(removeGroup(product, '/', later)).toEqual(emptyGroup('/', later));
  });

  it('multiplies instances and rounds up', () => {
    const group = findGroup(product, '/product');
    if (group === undefined) throw new Error('no group');
    const scaled = scaleGroup(product, group, 1.5, later);
    expect(findApp(scaled, '/product/front')?.instances).toBe(5);
    expect(findApp(scaled, '/product/service/b')?.instances).toBe(2);
  });

  it('says where in a tree something is wrong, all at once', () => {
    const bad = {
      apps: [{ id: '/elsewhere', cmd }],
      groups: [{ id: 'g', apps: [{ id: 'a' }] }, { id: '/other/x' }],
    };
    const issues = issuesOf(() => put(root, '/p', bad));
    expect(issues).toEqual([
      { path: '/apps(0)/id', errors: ['Identifier is not child of /p. Hint: use relative paths.'] },
      {
        path: '/groups(0)/apps(0)',
        errors: ["AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'."],
      },
      { path: '/groups(1)/id', errors: ['Identifier is not child of /p. Hint: use relative paths.'] },
    ]);
  });

  it('refuses one id for two things, and cycles', () => {
    expect(() => put(product, '/product/front', { apps: [] })).toThrow(
      'Groups and Applications may not have the same identifier.',
    );
    expect(() =>
      put(root, '/p', {
        apps: [
          { id: 'a', cmd },
          { id: 'a', cmd },
        ],
      }),
    ).toThrow('/p/a is given twice');
    const cycle = [
      { id: 'a', cmd, dependencies: ['/p/b'] },
      { id: 'b', cmd, dependencies: ['/p/a'] },
    ];
    expect(() => put(root, '/p', { apps: cycle })).toThrow('Dependency graph has cyclic dependencies.');
    expect(() => put(root, '/p', { apps: [{ id: 'a', cmd, dependencies: ['/p/a'] }] })).toThrow('cyclic');
    expect(() => put(product, '/product/database', { dependencies: ['/product/service'] })).toThrow('cyclic');
  });

  it('knows what each app waits for', () => {
    const edges = appDependencies(product);
    expect([...(edges.get('/product/front') ?? [])].sort()).toEqual([
      '/product/service/app',
      '/product/service/b',
    ]);
    expect([...(edges.get('/product/service/app') ?? [])]).toEqual(['/product/database/mysql']);
    const inner = put(root, '/p', { apps: [{ id: 'a', cmd, dependencies: ['/p', '/nowhere'] }] });
    expect(appDependencies(inner).get('/p/a')?.size).toBe(0);
  });

  it('lets top-level groups alone enforce their roles, and tells for whom', () => {
    const apps = [{ id: 'web', cmd }];
    const tree = put(product, '/dev', { enforceRole: true, groups: [{ id: 'sub', apps }], apps });
    const told = ['/dev/web', '/dev/sub/web', '/product/front', '/alone'].map((id) => enforcesRole(tree, id));
    expect(told).toEqual([true, true, false, false]);
    const nested = { groups: [{ id: 'sub', enforceRole: true }] };
    expect(() => put(product, '/dev', nested)).toThrow(
      '/groups(0)/enforceRole: enforceRole can only be set for top-level groups, and /dev/sub is not top-level',
    );
    expect(() => put(product, '/', { enforceRole: true })).toThrow('and / is not top-level');
  });

  it('lets scaleBy and version stand alone', () => {
    expect(() => groupRules({ scaleBy: 2, apps: [] })).toThrow('/scaleBy: not allowed in conjunction');
    expect(() => groupRules({ version, dependencies: [] })).toThrow('/version: not allowed in conjunction');
    expect(() => groupRules({ id: '/a', scaleBy: 2 })).not.toThrow();
    expect(groupIdOf({ id: 'b' }, '/a')).toBe('/a/b');
    expect(() => groupIdOf({ id: 'B' }, '/a')).toThrow('must fully match');
  });
});

describe('service ports', () => {
  const ports = (tree: Group, id: string): readonly number[] => {
    const app = findApp(tree, id);
    return app === undefined ? [] : servicePortsOf(app);
  };
  const two = (id: string, ...wanted: number[]) => ({ id, cmd, ports: wanted });

  it('are unique over all apps, the lowest free ones from 10000 on', () => {
    const tree = put(root, '/', { apps: [two('a', 0, 0), two('b', 10_001), two('c', 0, 0)] });
    expect([ports(tree, '/a'), ports(tree, '/b'), ports(tree, '/c')]).toEqual([
      [10_000, 10_002],
      [10_001],
      [10_003, 10_004],
    ]);
  });

  it('are those that the app had before, unless it names them itself or another app does', () => {
    const tree = put(root, '/', { apps: [two('a', 0, 0, 0), two('b', 0)] });
    expect(ports(tree, '/a')).toEqual([10_000, 10_001, 10_002]);
    const after = put(tree, '/', { apps: [two('a', 0, 10_000, 0, 0), two('b', 10_001)] }, later);
    expect(ports(after, '/a')).toEqual([10_002, 10_000, 10_003, 10_004]);
  });

  it('are free again with their app', () => {
    const tree = put(root, '/', { apps: [two('a', 0), two('b', 0)] });
    expect(ports(put(tree, '/', { apps: [two('b', 0), two('c', 0)] }, later), '/c')).toEqual([10_000]);
  });

  it('run out with an error that says so', () => {
    const all = Array.from({ length: 10_001 }, (_, i) => 10_000 + i);
    expect(() => put(root, '/', { apps: [two('a', ...all), two('b', 0)] })).toThrow(
      'Cannot assign a service port to app "/b"',
    );
  });
});

describe('label selectors', () => {
  const labels = { env: 'prod', tier: 'web', 'a b': 'c,d' };
  it.each([
    ['env', true],
    ['none', false],
    ['env==prod', true],
    ['env == prod, tier == api', false],
    ['env!=test', true],
    ['none!=test', false],
    ['tier in (api, web)', true],
    ['tier in (api)', false],
    ['tier notin (api)', true],
    ['none notin (api)', false],
    [String.raw`a\ b==c\,d`, true],
    ['env in (prod),tier notin (api,db)', true],
  ])('%s', (text, wanted) => {
    expect(parseSelector(text)(labels)).toBe(wanted);
  });

  it.each(['', 'a,', 'a in', 'a in (', 'a in (b', 'a==', '!a', 'a b', 'a in ()'])('refuses %j', (text) => {
    expect(() => parseSelector(text)).toThrow('is not valid: expected');
  });
});

function issuesOf(act: () => unknown): unknown {
  try {
    act();
  } catch (error) {
    return (error as { issues?: unknown }).issues;
  }
  return undefined;
}
