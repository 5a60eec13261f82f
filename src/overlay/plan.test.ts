import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { interfaceAddress, ip, prefix } from '../base/ip.ts';
import type { Mac } from '../base/mac.ts';
import { ALIAS_PREFIX, GROUP_DOOMED, PROTOCOL_PORTOLAN } from '../kernel/types.ts';
import type { KernelOperation, Link, LinkDetails, Route } from '../kernel/types.ts';
import { attachmentOf, clusters, inputWith, nodeId } from './arbitrary.ts';
import { compile } from './compile.ts';
import type { DesiredState } from './desired.ts';
import { addressKind, fdbKind, neighbourKind, routeKind, ruleKind, takeInventory } from './inventory.ts';
import type { Kind } from './inventory.ts';
import {
  deleteLink,
  emptyKernel,
  operate,
  performOnModel,
  renameLink,
  setLink,
} from './kernel-model-fake.ts';
import { attachmentAlias } from './marks.ts';
import { plan, planSliced } from './plan.ts';
import type { ListedPlan } from './plan.ts';
import { drain } from './slice.ts';
import type { Observed, Step } from './step.ts';

const NAMES = { vtep: 'vtep1024', bridge: 'm-dcos' };

function link(name: string, details: LinkDetails, change: Partial<Link> = {}): Link {
  return {
    name,
    index: 99,
    up: true,
    mtu: 1500,
    mac: '02:00:00:00:00:09' as Mac,
    alias: undefined,
    altNames: [],
    master: undefined,
    group: 0,
    details,
    ...change,
  };
}

function withLinks(kernel: Observed, ...links: readonly Link[]): Observed {
  return { ...kernel, links: new Map([...kernel.links, ...links.map((each) => [each.name, each] as const)]) };
}

/** As the reconciler does it: again while the kernel may have dropped something in answer. */
function reconcile(desired: DesiredState, kernel: Observed): Observed {
  let state = withTable(desired, kernel);
  for (let pass = 0; pass < 4; pass++) {
    const { steps, lookAgain } = plan(desired, state);
    state = performOnModel(state, steps);
    if (!lookAgain) break;
  }
  return state;
}

/** Rules are compared by fingerprint outside the plan; in the model a table is intact while its sets are the same. */
function withTable(desired: DesiredState, kernel: Observed): Observed {
  const sets = desired.table?.sets.map(({ name }) => name).sort() ?? [];
  const intact =
    kernel.table.exists && JSON.stringify([...kernel.table.elements.keys()].sort()) === JSON.stringify(sets);
  return { ...kernel, table: { ...kernel.table, intact } };
}

const operations = ({ steps }: { readonly steps: Iterable<Step> }): readonly KernelOperation[] =>
  [...steps].flatMap((step) => (step.do === 'kernel' ? [step.operation] : []));
const verbs = (given: ListedPlan): readonly string[] => operations(given).map(({ do: verb }) => verb);
const reconciled = (others: readonly number[]): { desired: DesiredState; kernel: Observed } => {
  const desired = compile(inputWith(others));
  return { desired, kernel: reconcile(desired, emptyKernel) };
};

/** Everything of ours in the kernel is what is desired, and everything desired is there. */
function expectExactly(desired: DesiredState, kernel: Observed): void {
  const words = <T>(values: readonly T[], { words: of }: Kind<T>): readonly string[] => values.map(of).sort();
  expect(words(kernel.addresses, addressKind)).toEqual(words(desired.addresses, addressKind));
  expect(words(kernel.neighbours, neighbourKind)).toEqual(words(desired.neighbours, neighbourKind));
  expect(words(kernel.fdb, fdbKind)).toEqual(words(desired.fdb, fdbKind));
  expect(words(kernel.routes, routeKind)).toEqual(words(desired.routes, routeKind));
  expect(words(kernel.rules, ruleKind)).toEqual(words(desired.rules, ruleKind));
  const marked = [...kernel.links.values()].filter(({ alias }) => alias?.startsWith(ALIAS_PREFIX));
  expect(marked.map(({ name }) => name).sort()).toEqual(
    [...desired.links, ...desired.ports]
      .map(({ name }) => name)
      .filter((name) => kernel.links.has(name))
      .sort(),
  );
  for (const { key, value, onlyIf } of desired.sysctls)
    if (onlyIf === undefined) expect(kernel.sysctls.get(key), key).toBe(value);
}

describe('plan', () => {
  it('brings any kernel that held one cluster to any other, and then finds nothing to do', () => {
    fc.assert(
      fc.property(clusters, clusters, (before, after) => {
        const old = reconcile(compile(before), emptyKernel);
        const desired = compile(after);
        const kernel = reconcile(desired, old);
        expectExactly(desired, kernel);
        expect(plan(desired, withTable(desired, kernel)).steps).toEqual([]);
      }),
      { numRuns: 150 },
    );
  });

  it('makes what others refer to first and removes it last', () => {
    const { steps } = plan(compile(inputWith([2, 3])), emptyKernel);
    const objects = steps.map(({ change }) => change.object);
    expect(objects.filter((object, i) => object !== objects[i - 1])).toEqual([
      'sysctl',
      'link',
      'sysctl',
      'address',
      'neighbour',
      'fdb',
      'route',
      'rule',
      'nft',
    ]);
  });

  it("takes back the kernel's check of sources only when the rules that stand in for it have been seen", () => {
    const desired = compile(inputWith([2]));
    const accepting = ({ sysctls }: Observed) =>
      [...sysctls].filter(([key, value]) => key.endsWith('/accept_local') && value === '1').length;
    const first = plan(desired, withTable(desired, emptyKernel));
    const made = performOnModel(emptyKernel, first.steps);
    expect([accepting(made), first.lookAgain]).toEqual([0, true]);
    const second = plan(desired, withTable(desired, made));
    expect(accepting(performOnModel(made, second.steps))).toBe(2);
    expect(second.lookAgain).toBe(false);
  });

  it('lets the tunnel be as loose as the host allows', () => {
    const desired = compile(inputWith([2]));
    const filterOf = (all: string): string | undefined => {
      const sysctls = new Map([['net/ipv4/conf/all/rp_filter', all]]);
      return reconcile(desired, { ...emptyKernel, sysctls }).sysctls.get('net/ipv4/conf/vtep1024/rp_filter');
    };
    expect(['0', '1', '2'].map(filterOf)).toEqual(['0', '2', '0']);
  });

  it('adds one joining node by its own entries alone', () => {
    const { kernel } = reconciled([2, 3]);
    const joined = plan(compile(inputWith([2, 3, 4])), kernel);
    expect(verbs(joined)).toEqual([
      'neighbour-replace',
      'neighbour-replace',
      'fdb-replace',
      'route-replace',
      'route-replace',
      'route-replace',
    ]);
    expect(joined.steps).toHaveLength(6);
  });

  it('takes a removed node away, route before FDB before neighbour', () => {
    const { kernel } = reconciled([2, 3]);
    const gone = plan(compile(inputWith([2, 3], { removed: new Set([nodeId(3)]) })), kernel);
    expect(verbs(gone)).toEqual([
      'route-delete',
      'route-delete',
      'route-delete',
      'fdb-delete',
      'neighbour-delete',
      'neighbour-delete',
    ]);
  });

  it('replaces in place where another node took over a VTEP', () => {
    const { kernel } = reconciled([2]);
    const input = inputWith([2]);
    const records = input.records.map(({ node, record }) =>
      node === nodeId(2)
        ? { node: nodeId(9), record: { ...record, agent_ip: '10.0.0.99' } }
        : { node, record },
    );
    const taken = plan(compile({ ...input, records }), kernel);
    expect(verbs(taken)).toEqual(['fdb-replace', 'route-replace', 'route-delete']);
  });

  it('never touches what is not ours', () => {
    const foreignRoute: Route = {
      destination: prefix('9.0.0.0/16'),
      table: 254,
      protocol: 4,
      metric: 7,
      gateway: ip('10.0.0.1'),
      link: 'eth0',
      onlink: false,
    };
    const foreign: Observed = {
      ...withLinks(
        emptyKernel,
        link('eth0', { kind: 'other', name: '' }),
        link('docker0', { kind: 'bridge' }),
        link('m-other', { kind: 'bridge' }),
        link('vethx', { kind: 'veth' }, { master: 'docker0' }),
        link('host', { kind: 'veth' }, { alias: 'portolan lab' }),
        link('vxlan.calico', {
          kind: 'vxlan',
          vni: 4096,
          local: ip('10.0.0.11'),
          port: 4789,
          learning: false,
        }),
      ),
      addresses: [{ link: 'eth0', address: interfaceAddress('10.0.0.11/24') }],
      routes: [foreignRoute],
      rules: [{ family: 4, priority: 100, from: prefix('9.0.0.0/8'), to: undefined, table: 42, protocol: 3 }],
      neighbours: [
        { link: 'eth0', address: ip('10.0.0.1'), mac: '02:00:00:00:00:77' as Mac, permanent: true },
      ],
      fdb: [
        {
          link: 'vxlan.calico',
          mac: '02:00:00:00:00:78' as Mac,
          destination: ip('10.0.0.7'),
          permanent: true,
        },
      ],
      sysctls: new Map([['net/ipv4/conf/eth0/rp_filter', '1']]),
    };
    fc.assert(
      fc.property(clusters, clusters, (first, second) => {
        let kernel = reconcile(compile(first), foreign);
        kernel = reconcile(compile(second), kernel);
        kernel = reconcile(compile({ ...second, grant: undefined }), kernel);
        for (const [name, each] of foreign.links) expect(kernel.links.get(name)).toEqual(each);
        expect(kernel.links.size).toBe(foreign.links.size);
        for (const kind of ['addresses', 'routes', 'rules', 'neighbours', 'fdb'] as const)
          expect(kernel[kind]).toEqual(foreign[kind]);
      }),
      { numRuns: 60 },
    );
  });

  it('removes a stray entry that bears our mark', () => {
    const { desired, kernel } = reconciled([2]);
    const route = { ...desired.routes[0], destination: prefix('9.7.0.0/24') } as Route;
    const strayed = operate(kernel, { do: 'route-replace', route });
    expect(operations(plan(desired, strayed))).toEqual([{ do: 'route-delete', route }]);
  });

  it('deletes an appended second destination of a MAC', () => {
    const { desired, kernel } = reconciled([2]);
    const entry = { ...desired.fdb[0]!, destination: ip('10.6.6.6') };
    const appended: Observed = { ...kernel, fdb: [...kernel.fdb, entry] };
    expect(operations(plan(desired, appended))).toEqual([{ do: 'fdb-delete', entry }]);
  });

  it('corrects a destination that somebody changed with one replacement', () => {
    const { desired, kernel } = reconciled([2]);
    const changed: Observed = {
      ...kernel,
      fdb: kernel.fdb.map((entry) => ({ ...entry, destination: ip('10.6.6.6') })),
    };
    expect(operations(plan(desired, changed))).toEqual([{ do: 'fdb-replace', entry: desired.fdb[0] }]);
  });

  it('leaves neighbours alone that the kernel keeps for itself', () => {
    const { desired, kernel } = reconciled([2]);
    const failed = { link: NAMES.vtep, address: ip('44.128.0.77'), mac: undefined, permanent: false };
    expect(plan(desired, { ...kernel, neighbours: [...kernel.neighbours, failed] }).steps).toEqual([]);
  });
});

describe('plan for devices', () => {
  it('makes the VTEP again with everything on it when it was deleted', () => {
    const { desired, kernel } = reconciled([2, 3]);
    const again = plan(desired, deleteLink(kernel, NAMES.vtep));
    expect(operations(again)[0]).toMatchObject({
      do: 'link-add',
      name: NAMES.vtep,
      link: { kind: 'vxlan', learning: false },
    });
    expectExactly(desired, reconcile(desired, deleteLink(kernel, NAMES.vtep)));
  });

  it('recreates a VTEP of ours that cannot be changed in place, in the same round', () => {
    const { kernel } = reconciled([2, 3]);
    const moved = compile(
      inputWith([2, 3], { underlay: { address: ip('10.0.0.12'), link: 'eth0', mtu: 1500 } }),
    );
    expect(verbs(plan(moved, kernel)).slice(0, 2)).toEqual(['link-delete', 'link-add']);
    expectExactly(moved, performOnModel(kernel, plan(moved, kernel).steps));
  });

  it('says which device is in the way, and does everything that does not need it', () => {
    const desired = compile(inputWith([2]));
    const wrong = link(NAMES.bridge, { kind: 'other', name: 'dummy' });
    const given = plan(desired, withLinks(emptyKernel, wrong));
    expect(given.faults).toEqual([
      {
        overlay: 'dcos',
        reason:
          'device m-dcos exists and is a dummy device, not ours and not what is wanted (a bridge): remove or rename it',
      },
    ]);
    const after = performOnModel(withLinks(emptyKernel, wrong), given.steps);
    expect(after.links.get(NAMES.bridge)).toEqual(wrong);
    expect(after.addresses.map((each) => each.link)).toEqual([NAMES.vtep, NAMES.vtep, 'm-dcos6']);
    expect(after.routes).toHaveLength(3);
  });

  it('never recreates a foreign vtep1024, and leaves what is on it alone', () => {
    const foreign = link(NAMES.vtep, {
      kind: 'vxlan',
      vni: 1024,
      local: undefined,
      port: 4789,
      learning: true,
    });
    const neighbour = {
      link: NAMES.vtep,
      address: ip('44.128.0.9'),
      mac: '02:00:00:00:00:01' as Mac,
      permanent: true,
    };
    const given = plan(compile(inputWith([2])), {
      ...withLinks(emptyKernel, foreign),
      neighbours: [neighbour],
    });
    expect(given.faults.map(({ overlay }) => overlay)).toEqual(['dcos', 'dcos6']);
    expect(given.steps.filter(({ change }) => change.link === NAMES.vtep)).toEqual([]);
  });

  it('adopts an unmarked bridge left with another address, by mark, MAC and address', () => {
    const desired = compile(inputWith([]));
    const left = withLinks(emptyKernel, link(NAMES.bridge, { kind: 'bridge' }));
    const kernel = { ...left, addresses: [{ link: NAMES.bridge, address: interfaceAddress('9.0.7.1/24') }] };
    const given = plan(desired, kernel);
    expect(given.faults).toEqual([]);
    expect(given.lookAgain).toBe(true);
    expectExactly(desired, reconcile(desired, kernel));
  });

  it('corrects MTU, state, MAC, bridge and mark of what is ours, and renews the neighbours a MAC change flushes', () => {
    const { desired, kernel } = reconciled([2, 3]);
    for (const settings of [
      { mtu: 1400 },
      { up: false },
      { mac: '02:00:00:00:00:66' as Mac },
      { master: NAMES.bridge },
      { alias: 'hello' },
    ]) {
      const changed = setLink(kernel, NAMES.vtep, settings);
      expectExactly(desired, reconcile(desired, changed));
    }
  });

  it('holds the veths of attachments in their bridge and removes marked veths without one at the second look', () => {
    const desired = compile(inputWith([], { attachments: [attachmentOf(1)] }));
    const veth = { kind: 'veth' } as const;
    const kernel = withLinks(
      reconcile(desired, emptyKernel),
      link('pv1', veth, { alias: attachmentAlias('c1', 'eth0') }),
      link('pv2', veth, { alias: attachmentAlias('c2', 'eth0'), master: NAMES.bridge }),
      link('pv3', veth, { alias: attachmentAlias('c3', 'eth0'), group: GROUP_DOOMED }),
    );
    const held = { do: 'link-set', name: 'pv1', settings: { master: NAMES.bridge, hairpin: true } };
    expect(operations(plan(desired, kernel))).toEqual([held]);
    const { strays } = plan(desired, kernel);
    expect(operations(plan(desired, { ...kernel, knownStrays: strays }))).toEqual([
      held,
      { do: 'link-delete', name: 'pv2' },
    ]);
  });

  it('removes a tunnel that somebody renamed before it makes the right one', () => {
    const { desired, kernel } = reconciled([2, 3]);
    const renamed = renameLink(kernel, NAMES.vtep, 'stolen');
    const [first, second] = operations(plan(desired, renamed));
    expect(first).toEqual({ do: 'link-delete', name: 'stolen' });
    expect(second).toMatchObject({ do: 'link-add', name: NAMES.vtep });
    expect(operations(plan(desired, performOnModel(renamed, plan(desired, renamed).steps)))).toEqual([]);
  });

  it('takes the ports back from a bridge that somebody renamed, then removes it', () => {
    const desired = compile(inputWith([2], { attachments: [attachmentOf(1)] }));
    const alias = attachmentAlias('c1', 'eth0');
    const veth = link('pv1', { kind: 'veth' }, { alias, master: NAMES.bridge, up: true });
    const kernel = withLinks(reconcile(desired, emptyKernel), veth);
    const renamed = renameLink(kernel, NAMES.bridge, 'stolen');
    const first = plan(desired, renamed);
    expect(first.lookAgain).toBe(true);
    expect(operations(first)).toContainEqual(
      expect.objectContaining({
        do: 'link-set',
        name: 'pv1',
        settings: { master: NAMES.bridge, hairpin: true },
      }),
    );
    const second = plan(desired, performOnModel(renamed, first.steps));
    expect(operations(second)).toEqual([{ do: 'link-delete', name: 'stolen' }]);
  });

  it('leaves the veth of an attachment whose overlay has no bridge', () => {
    const desired = compile(inputWith([], { attachments: [{ ...attachmentOf(1), overlay: 'gone' }] }));
    const kernel = withLinks(
      reconcile(desired, emptyKernel),
      link('pv1', { kind: 'veth' }, { alias: attachmentAlias('c1', 'eth0') }),
    );
    expect(plan(desired, kernel).steps).toEqual([]);
  });

  it('removes the bridge of an overlay that is gone, unless somebody else has a port on it', () => {
    const { kernel } = reconciled([]);
    const bridgeless = compile(inputWith([], { network: { ...inputWith([]).network, mesos_bridge: false } }));
    expect(verbs(plan(bridgeless, kernel))).toContain('link-delete');
    const used = withLinks(kernel, link('tap0', { kind: 'other', name: 'tun' }, { master: NAMES.bridge }));
    expect(operations(plan(bridgeless, used)).filter(({ do: verb }) => verb === 'link-delete')).toEqual([
      { do: 'link-delete', name: 'm-dcos6' },
    ]);
  });
});

describe('plan under churn', () => {
  it('ends with exactly the desired set after 1,000 joins, departures and kills, interrupted rounds included', () => {
    const step = fc.record({
      verb: fc.constantFrom('join', 'leave', 'move', 'kill'),
      index: fc.integer({ min: 2, max: 30 }),
      cut: fc.double({ min: 0, max: 1, noNaN: true }),
    });
    fc.assert(
      fc.property(fc.array(step, { minLength: 1000, maxLength: 1000 }), (steps) => {
        const present = new Map<number, number>();
        let kernel = emptyKernel;
        for (const { verb, index, cut } of steps) {
          if (verb === 'leave') present.delete(index);
          else present.set(index, verb === 'move' ? index + 100 : index);
          const desired = clusterOf(present);
          // A kill ends the agent in the middle of a round; the next one starts without memory.
          const { steps: planned } = plan(desired, withTable(desired, kernel));
          const done = verb === 'kill' ? Math.floor(planned.length * cut) : planned.length;
          kernel = performOnModel(kernel, planned.slice(0, done));
        }
        const desired = clusterOf(present);
        expectExactly(desired, reconcile(desired, kernel));
      }),
      { numRuns: 1 },
    );
  });
});

/** Nodes by index, each at the underlay address of its value. */
function clusterOf(present: ReadonlyMap<number, number>): DesiredState {
  const input = inputWith([...present.keys()]);
  const records = input.records.map(({ node, record }) => {
    const place = [...present].find(([index]) => nodeId(index) === node)?.[1];
    return place === undefined
      ? { node, record }
      : { node, record: { ...record, agent_ip: `10.0.1.${place}` } };
  });
  return compile({ ...input, records });
}

describe('an inventory that is kept between rounds', () => {
  it('plans as a fresh one does, also where it has found the same lists in order before', () => {
    const { desired, kernel } = reconciled([2, 3]);
    const kept = takeInventory(desired);
    const { [NAMES.vtep]: _, ...others } = Object.fromEntries(kernel.links);
    for (const found of [
      kernel,
      kernel,
      { ...kernel, links: new Map(Object.entries(others)) },
      setLink(kernel, NAMES.vtep, { mac: '02:00:00:00:00:66' as Mac }),
      { ...kernel, routes: kernel.routes.slice(1) },
      { ...kernel, fdb: [] },
      kernel,
    ]) {
      const observed = withTable(desired, found);
      expect(operations(drain(planSliced(kept, observed)))).toEqual(operations(plan(desired, observed)));
    }
  });
});

describe('routes of ours', () => {
  it('carry our protocol and a metric of their own per node', () => {
    const { routes } = compile(inputWith([2, 3, 4]));
    expect(routes.every(({ protocol }) => protocol === PROTOCOL_PORTOLAN)).toBe(true);
    const metrics = new Map(routes.map(({ gateway, metric }) => [String(gateway), metric]));
    expect(new Set([2, 3, 4].map((index) => metrics.get(`44.128.0.${index}`))).size).toBe(3);
  });
});
