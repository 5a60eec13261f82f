import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ip, prefix } from '../base/ip.ts';
import type { ViewedTask } from '../model/task-view.ts';
import { fakeTask } from './fake.ts';
import { VipTable } from './table.ts';

const ranges = {
  range4: { min: ip('11.0.0.0'), max: ip('11.255.255.254') },
  range6: { min: ip('fd01:c::'), max: ip('fd01:c::ffff:ffff:ffff:ffff') },
};
const overlay6 = (index: number) => ({
  networks: [{ mode: 'container' as const, name: 'dcos6', addresses: [`fd01:b::${index}`] }],
});

function tableOf(...views: readonly ViewedTask[]): VipTable {
  const table = new VipTable(ranges);
  for (const view of views) table.put(view.id, view);
  return table;
}

const shown = (table: VipTable, id: string): object | undefined => {
  const vip = table.get(id);
  return (
    vip && {
      addresses: vip.addresses.map(String),
      backends: vip.backends.map((each) => `${each.address}:${each.port}`),
    }
  );
};

/** A task as its agent tells of it time and again; what stays the same is the same object, as `node/task-table.ts` has it. */
const [oneLabel, twoLabels] = [
  fakeTask(1, { VIP_0: 'myservice:6666' }).task.ports,
  fakeTask(1, { VIP_0: 'myservice:6666', VIP_1: 'other:7777', VIP_2: 'bad' }).task.ports,
];
const { networks } = fakeTask(1, {}).task;
const told = fc.record({
  reachable: fc.boolean(),
  agentIp: fc.constantFrom('10.0.0.1', '10.0.0.9'),
  task: fc.record({
    state: fc.constantFrom('TASK_STARTING' as const, 'TASK_RUNNING' as const, 'TASK_KILLING' as const),
    draining: fc.boolean(),
    healthy: fc.boolean(),
    framework: fc.constantFrom('marathon', 'other'),
    networks: fc.constant(networks),
    ports: fc.constantFrom(oneLabel, twoLabels),
  }),
});

describe('VipTable', () => {
  it('says the same of a task whatever was told of it before', () => {
    fc.assert(
      fc.property(fc.array(told, { minLength: 1 }), (overs) => {
        const views = overs.map((over) => fakeTask(1, {}, over));
        const last = views.slice(-1);
        const [changed, fresh] = [tableOf(...views), tableOf(...last)];
        expect(Array.from(changed.ids()).sort()).toEqual(Array.from(fresh.ids()).sort());
        for (const id of fresh.ids()) expect(changed.get(id)).toEqual(fresh.get(id));
        expect(changed.issues()).toEqual(fresh.issues());
      }),
    );
  });

  it('joins the tasks that claim a VIP, and has addresses of the families of its backends', () => {
    const labels = { VIP_0: 'myservice:6666' };
    const table = tableOf(fakeTask(1, labels), fakeTask(2, labels));
    const id = 'tcp/myservice.marathon:6666';
    expect(shown(table, id)).toEqual({
      addresses: ['11.213.148.254'],
      backends: ['9.0.1.2:80', '9.0.2.2:80'],
    });
    table.put('t3', fakeTask(3, labels, { task: overlay6(3) }));
    expect(shown(table, id)).toEqual({
      addresses: ['11.213.148.254', 'fd01:c::91a0:9bad:bd6f:5758'],
      backends: ['9.0.1.2:80', '9.0.2.2:80', 'fd01:b::3:80'],
    });
    table.put('t1', undefined);
    table.put('t2', undefined);
    expect(shown(table, id)).toEqual({
      addresses: ['fd01:c::91a0:9bad:bd6f:5758'],
      backends: ['fd01:b::3:80'],
    });
    table.put('t3', undefined);
    expect(Array.from(table.ids())).toEqual([]);
    expect(table.names().size).toBe(0);
  });

  it('names the VIPs that changed, and none when nothing did that they show', () => {
    const labels = { VIP_0: 'a:1', VIP_1: 'b:2' };
    const table = tableOf(fakeTask(1, labels), fakeTask(2, { VIP_0: 'c:3' }));
    expect(table.takeChanges()).toEqual(
      new Set(['tcp/a.marathon:1', 'tcp/b.marathon:2', 'tcp/c.marathon:3']),
    );
    table.put('t1', fakeTask(1, labels, { task: { message: 'whatever', status_at: 'later' } }));
    expect(table.takeChanges().size).toBe(0);
    table.put('t1', fakeTask(1, labels, { reachable: false }));
    expect(table.takeChanges()).toEqual(new Set(['tcp/a.marathon:1', 'tcp/b.marathon:2']));
    table.put('t1', fakeTask(1, { VIP_0: 'a:1' }));
    expect(table.takeChanges()).toEqual(new Set(['tcp/a.marathon:1', 'tcp/b.marathon:2']));
  });

  const address = (text: string) => ({ networks: [{ mode: 'container' as const, addresses: [text] }] });
  it.each<[string, Parameters<typeof fakeTask>[2]]>([
    ['address', { task: address('9.0.1.3') }],
    ['family', { task: address('fd01:b::1') }],
    ['port', { port: { container_port: 81 } }],
    ['way', { port: { host_port: 80 } }],
    ['protocol', { port: { protocol: 'udp' } }],
    ['health', { task: { healthy: false } }],
    ['reachability', { reachable: false }],
    ['node', { node: fakeTask(2, {}).node }],
    ['host', { host: 'other' }],
    ['agent', { agentIp: '10.0.0.9' }],
    ['task', { task: { id: 'other' } }],
    ['name', { task: { name: 'other' } }],
    ['framework', { task: { framework: 'other' } }],
    ['affinity', { port: { labels: { VIP_0: 'a:1', VIP_0_AFFINITY: 'client' } } }],
    ['issue', { port: { labels: { VIP_0: 'a:1', VIP_1: 'nonsense' } } }],
  ])("takes another %s of a task's backend for a change", (what, over) => {
    const labels = { VIP_0: 'a:1' };
    const table = tableOf(fakeTask(1, labels));
    table.takeChanges();
    table.put('t1', fakeTask(1, labels));
    expect(table.takeChanges().size).toBe(0);
    table.put('t1', fakeTask(1, labels, over));
    expect(table.takeChanges().size).toBeGreaterThan(0);
    expect(table.issues()).toHaveLength(what === 'issue' ? 1 : 0);
  });

  it.each([
    ['9.0.0.9', 'belongs to the overlay "dcos"'],
    ['11.1.2.3', 'is in the range of named VIPs'],
  ])('refuses the address %s: it %s', (address, problem) => {
    const table = tableOf(fakeTask(1, { VIP_0: `${address}:80` }));
    table.reserve([{ prefix: prefix('9.0.0.0/8'), owner: 'the overlay "dcos"' }]);
    expect(table.get(`tcp/${address}:80`)).toMatchObject({
      addresses: [],
      problem: `${address} ${problem}: choose another address`,
    });
    expect(table.givenAddresses()).toEqual([]);
  });

  it('says which addresses labels give, and when they change', () => {
    const table = tableOf(fakeTask(1, { VIP_0: '1.2.3.4:80', VIP_1: '1.2.3.4:81' }));
    expect(table.takeGiven()).toBe(true);
    expect(table.givenAddresses().map(String)).toEqual(['1.2.3.4/32']);
    table.put('t1', fakeTask(1, { VIP_0: '1.2.3.4:80' }));
    expect(table.givenAddresses().map(String)).toEqual(['1.2.3.4/32']);
    table.put('t1', undefined);
    expect(table.givenAddresses()).toEqual([]);
    expect([table.takeGiven(), table.takeGiven()]).toEqual([true, false]);
  });

  it('depends on the tasks, not on how they came', () => {
    const labels = fc.dictionary(
      fc.constantFrom('VIP_0', 'VIP_1'),
      fc.constantFrom('a:1', 'b:1', 'a:2', '1.2.3.4:5'),
    );
    const change = fc.record({
      index: fc.integer({ min: 1, max: 4 }),
      labels: fc.option(labels, { nil: undefined }),
      six: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(change, { maxLength: 20 }), (changes) => {
        const table = new VipTable(ranges);
        const last = new Map<string, ViewedTask>();
        for (const { index, labels: given, six } of changes) {
          const view = given && fakeTask(index, given, six ? { task: overlay6(index) } : {});
          table.put(`t${index}`, view);
          if (view === undefined) last.delete(`t${index}`);
          else last.set(`t${index}`, view);
        }
        const fresh = tableOf(...[...last.values()].reverse());
        const all = (each: VipTable): unknown[] =>
          Array.from(each.ids())
            .sort()
            .map((id) => [id, shown(each, id)]);
        expect(all(table)).toEqual(all(fresh));
        expect(table.givenAddresses()).toEqual(fresh.givenAddresses());
        expect(new Set(table.names().keys())).toEqual(new Set(fresh.names().keys()));
      }),
    );
  });
});
