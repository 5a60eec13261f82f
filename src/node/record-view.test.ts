import { describe, expect, it } from 'vitest';
import { silentLog } from '../base/log.ts';
import type { NodeId } from '../model/names.ts';
import type { RecordValue } from '../model/record.ts';
import { FakeExchange } from './exchange-fake.ts';
import { RecordView, type TaskChanges } from './record-view.ts';

const A = `n${'a'.repeat(25)}` as NodeId;
const B = `n${'b'.repeat(25)}` as NodeId;

const node = (address: string) => ({ name: 'h1', address, gossip_port: 1, api_port: 2, role: 'agent' });
const task = (id: string, container?: string) => ({
  ...{ id, app: `/${id}`, version: 'v', framework: 'marathon', name: id, runtime: 'mesos' },
  ...{ state: 'TASK_RUNNING', networks: [], ports: [], staged_at: 't', status_at: 't' },
  ...(container === undefined ? {} : { container }),
});
const endpoint = (container: string) => ({
  ...{ container, ifname: 'eth0', network: 'dcos', source: 'cni' },
  ...{ addresses: ['9.0.1.3/24'], ports: [], labels: {} },
});

function world(): { exchange: FakeExchange; view: RecordView; changes: TaskChanges[] } {
  const exchange = new FakeExchange();
  const view = new RecordView({ exchange, log: silentLog }, { onChange: () => undefined });
  const changes: TaskChanges[] = [];
  view.subscribeTasks((each) => changes.push(each));
  return { exchange, view, changes };
}

const ids = (view: RecordView): string[] =>
  view
    .tasks()
    .map((each) => each.task.id)
    .sort();

describe('tasks of a RecordView', () => {
  it('are known once their node is, and tell which have changed', () => {
    const { exchange, view, changes } = world();
    exchange.put(`node/${A}/task/t1`, task('t1'));
    expect(view.tasks()).toEqual([]);
    exchange.put(`node/${A}/node`, node('10.0.0.11'));
    exchange.put(`node/${A}/task/t2`, task('t2'));
    expect(view.tasks().map(({ agentIp, host, reachable }) => [agentIp, host, reachable])).toEqual([
      ['10.0.0.11', 'h1', true],
      ['10.0.0.11', 'h1', true],
    ]);
    exchange.put(`node/${A}/task/t1`, null);
    expect(ids(view)).toEqual(['t2']);
    expect(changes.map((each) => [...each.tasks])).toEqual([[`${A}/t1`], [`${A}/t2`], [`${A}/t1`]]);
  });

  it('include plain containers that no task of their node claims', () => {
    const { exchange, view } = world();
    exchange.put(`node/${A}/node`, node('10.0.0.11'));
    exchange.put(`node/${B}/node`, node('10.0.0.12'));
    exchange.put(`node/${A}/endpoint/c1/eth0`, endpoint('c1'));
    exchange.put(`node/${B}/endpoint/c1/eth0`, endpoint('c1'));
    expect(ids(view)).toEqual(['c1', 'c1']);
    exchange.put(`node/${A}/task/t1`, task('t1', 'c1'));
    expect(ids(view)).toEqual(['c1', 't1']);
    exchange.put(`node/${A}/task/t1`, null);
    expect(ids(view)).toEqual(['c1', 'c1']);
    exchange.put(`node/${A}/endpoint/c1/eth0`, null);
    expect(ids(view)).toEqual(['c1']);
  });

  it('keep the ports and networks they had as the same objects while records say the same', () => {
    const port = { protocol: 'tcp', container_port: 80, networks: ['dcos'], labels: { VIP_0: 'a:1' } };
    const others = [
      { ...port, protocol: 'udp' },
      { ...port, name: 'web' },
      { ...port, container_port: 81 },
      { ...port, host_port: 31_000 },
      { ...port, networks: ['other'] },
      { ...port, networks: undefined },
      { ...port, labels: { VIP_0: 'a:2' } },
      { ...port, labels: { VIP_0: 'a:1', VIP_1: 'b:1' } },
      { ...port, labels: {} },
    ];
    const networks = [{ mode: 'container', name: 'dcos', addresses: ['9.0.1.3'] }];
    const { exchange, view } = world();
    const told = (over: object) => {
      exchange.put(`node/${A}/task/t1`, {
        ...structuredClone({ ...task('t1'), networks, ports: [port] }),
        ...over,
      });
      return view.task(`${A}/t1`)?.task;
    };
    exchange.put(`node/${A}/node`, node('10.0.0.11'));
    for (const other of others) {
      const before = told({});
      const after = told({ state: 'TASK_KILLING' });
      expect(after?.state).toBe('TASK_KILLING');
      expect(after?.ports).toBe(before?.ports);
      expect(after?.networks).toBe(before?.networks);
      expect(told({ ports: [other] })?.ports).toEqual([other]);
      expect(told({ ports: [other, port] })?.ports).toEqual([other, port]);
    }
    for (const other of [
      { ...networks[0], addresses: ['9.0.1.4'] },
      { ...networks[0], mode: 'bridge' },
    ])
      expect(told({ networks: [other] })?.networks).toEqual([other]);
  });

  it('of an unreachable node stay and say so; of a removed one they go', () => {
    const { exchange, view, changes } = world();
    exchange.put(`node/${A}/node`, node('10.0.0.11'));
    exchange.put(`node/${A}/task/t1`, task('t1'));
    exchange.put(`node/${A}/resources`, {
      ...{ cpus: 1, mem_mib: 1, disk_mib: 1, gpus: 0, ports: [], attributes: {}, runtimes: [] },
    });
    exchange.setReachable(A, false);
    expect(view.tasks().map((each) => each.reachable)).toEqual([false]);
    expect(changes.at(-1)?.tasks).toEqual(new Set([`${A}/t1`]));
    expect([...view.resources().keys()]).toEqual([A]);
    exchange.put(`cluster/removed/${A}`, { node: A, grant_epoch: 1 }, 5);
    expect(view.tasks()).toEqual([]);
    expect(view.resources().size).toBe(0);
    expect(changes.at(-1)).toEqual({ tasks: new Set([`${A}/t1`]), resources: new Set([A]) });
  });

  it('tells nothing of what changes nothing', () => {
    const { exchange, changes } = world();
    exchange.put(`node/${A}/node`, node('10.0.0.11'));
    exchange.put(`node/${A}/node`, node('10.0.0.11'));
    expect(changes).toEqual([]);
  });
});

describe('nodes of a RecordView', () => {
  const place = (subnet: string) => ({
    ...{ overlay: 'dcos', subnet, vtep_ip: '44.128.0.1/20', vtep_mac: '70:b3:d5:80:00:01' },
    ...{ agent_ip: '10.0.0.11', grant_epoch: 1 },
  });

  it('are those of now, however often they were asked for', () => {
    const { exchange, view } = world();
    const seen = (): object[] => view.nodes().map(({ id, overlays }) => ({ id, ...overlays }));
    exchange.put(`node/${A}/node`, node('10.0.0.11'));
    expect(seen()).toEqual([{ id: A }]);
    exchange.put(`node/${A}/overlay/dcos`, place('9.0.1.0/24'));
    expect(seen()).toEqual([{ id: A, dcos: '9.0.1.0/24' }]);
    exchange.put(`node/${A}/overlay/dcos`, place('9.0.2.0/24'));
    exchange.put(`node/${B}/node`, node('10.0.0.12'));
    expect(seen()).toEqual([{ id: A, dcos: '9.0.2.0/24' }, { id: B }]);
    exchange.put(`cluster/removed/${A}`, { node: A, grant_epoch: 1 }, 5);
    expect(seen()).toEqual([{ id: B }]);
  });
});

describe('places of a RecordView', () => {
  it('have another version when a space, a name or an address is another, and not when a block moves', () => {
    const { exchange, view } = world();
    const versions: number[] = [];
    const overlay = (subnet: string, space = '9.0.0.0/8') => ({
      ...{ overlay: 'dcos', space, subnet, vtep_ip: '44.128.0.1/20', vtep_mac: '70:b3:d5:80:00:01' },
      ...{ agent_ip: '10.0.0.11', grant_epoch: 1 },
    });
    const put = (key: string, value: RecordValue): void => {
      exchange.put(`node/${A}/${key}`, value);
      versions.push(view.placesVersion);
    };
    put('node', node('10.0.0.11'));
    put('node', node('10.0.0.11'));
    put('node', node('10.0.0.12'));
    put('overlay/dcos', overlay('9.0.1.0/24'));
    put('overlay/dcos', overlay('9.0.2.0/24'));
    put('overlay/dcos', overlay('10.0.2.0/24', '10.0.0.0/8'));
    put('overlay/dcos', null);
    expect(versions.map((each, at) => each > (versions[at - 1] ?? 0))).toEqual([
      ...[true, false, true, true, false, true, true],
    ]);
  });
});
