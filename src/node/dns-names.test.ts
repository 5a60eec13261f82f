import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ManualClock, type Clock } from '../base/clock.ts';
import { ip, prefix } from '../base/ip.ts';
import { memoryLog } from '../base/log.ts';
import { createMetrics } from '../base/metrics.ts';
import { rcodes, types } from '../dns/constants.ts';
import { dataText } from '../dns/record.ts';
import { defaultTtls } from '../dns/zones.ts';
import { agentConfig } from '../model/config.ts';
import type { NodeId } from '../model/names.ts';
import { DnsNames } from './dns-names.ts';
import { FakeExchange } from './exchange-fake.ts';
import { RecordView } from './record-view.ts';
import { VipView } from './vip-view.ts';

const [A, B] = ['a', 'b'].map((letter) => `n${letter.repeat(25)}` as NodeId) as [NodeId, NodeId];
const addressOf = { [A]: '10.0.0.11', [B]: '10.0.0.12' };

class World {
  readonly exchange = new FakeExchange();
  readonly clock = new ManualClock();
  readonly metrics = createMetrics();
  readonly records = new RecordView(
    { exchange: this.exchange, log: memoryLog() },
    { onChange: () => undefined },
  );

  constructor() {
    for (const node of [A, B])
      this.exchange.put(`node/${node}/node`, {
        ...{ name: node.slice(0, 4), address: addressOf[node] ?? '', gossip_port: 1, api_port: 5051 },
        role: 'agent',
      });
  }

  names(clock: Clock = this.clock): DnsNames {
    return new DnsNames(
      { records: this.records, exchange: this.exchange, clock, metrics: this.metrics },
      {
        listen: [ip('198.51.100.1')],
        ttls: defaultTtls,
        vipRanges: [prefix('11.0.0.0/8')],
        cluster: () => undefined,
      },
    );
  }

  run(node: NodeId, id: string, change: object = {}): void {
    this.exchange.put(`node/${node}/task/${id}`, {
      ...{ id, app: '/web', version: 'v', framework: 'marathon', name: 'web', runtime: 'mesos' },
      ...{ state: 'TASK_RUNNING', staged_at: 's', status_at: 's', networks: [], ...change },
      ports: [{ protocol: 'tcp', host_port: 8080, labels: { VIP_0: 'web:80' } }],
    });
  }
}

const told = (names: DnsNames, name: string, type: number = types.A): readonly string[] =>
  (names.answerer.resolve(name, type)?.records ?? []).map(({ data }) => dataText(data));

describe('the names of the cluster', () => {
  it('follow tasks as they come, change and go', () => {
    const world = new World();
    const names = world.names();
    world.run(A, 'web.1');
    world.run(B, 'web.2');
    expect(told(names, 'web.marathon.mesos')).toEqual(['10.0.0.11', '10.0.0.12']);
    world.run(A, 'web.1', { state: 'TASK_FAILED' });
    expect(told(names, 'web.marathon.mesos')).toEqual(['10.0.0.12']);
    world.exchange.drop(`node/${B}/task/web.2`);
    expect(names.answerer.resolve('web.marathon.mesos', types.A)?.rcode).toBe(rcodes.NXDOMAIN);
  });

  it('name the masters in their order, and the first that can be reached as the leader', () => {
    const world = new World();
    const masters = ['10.0.0.1:5050', '10.0.0.2:5050'];
    world.exchange.put('cluster/masters', { masters }, 3);
    const ids = ['m', 'p'].map((letter) => `n${letter.repeat(25)}` as NodeId);
    for (const [i, id] of ids.entries())
      world.exchange.put(`node/${id}/node`, {
        ...{ name: `master${i + 1}`, address: `10.0.0.${i + 1}`, gossip_port: 1, api_port: 5050 },
        role: 'master',
      });
    const names = world.names();
    expect(told(names, 'master.mesos')).toEqual(['10.0.0.1', '10.0.0.2']);
    expect(told(names, 'master1.mesos')).toEqual(['10.0.0.2']);
    expect(told(names, 'leader.mesos')).toEqual(['10.0.0.1']);
    world.exchange.setReachable(ids[0] as NodeId, false);
    world.clock.advance(100);
    expect(told(names, 'leader.mesos')).toEqual(['10.0.0.2']);
    expect(told(names, 'master0.mesos')).toEqual(['10.0.0.1']);
    expect(told(names, '_leader._tcp.mesos', types.SRV)).toEqual(['leader.mesos.:5050']);
  });

  it('have SOA and NS of the zones of addresses, where those are ours as a whole', () => {
    const world = new World();
    const names = world.names();
    for (const [overlay, space] of [
      ['dcos', '9.1.0.0/16'],
      ['odd', '12.16.0.0/12'],
      ['dcos6', 'fd01:b::/64'],
    ] as const)
      world.exchange.put(`node/${A}/overlay/${overlay}`, {
        ...{ overlay, space, vtep_ip: '44.128.0.1/20', vtep_mac: '70:b3:d5:80:00:01' },
        ...{ agent_ip: '10.0.0.11', grant_epoch: 1 },
      });
    world.clock.advance(100);
    for (const zone of ['11.in-addr.arpa', '1.9.in-addr.arpa', '0.0.0.0.0.0.0.0.b.0.0.0.1.0.d.f.ip6.arpa']) {
      expect(told(names, zone, types.SOA), zone).toHaveLength(1);
      expect(told(names, zone, types.NS), zone).toEqual(['ns.spartan.']);
    }
    for (const zone of ['9.in-addr.arpa', '12.in-addr.arpa', 'in-addr.arpa'])
      expect(told(names, zone, types.SOA), zone).toEqual([]);
  });

  it('are all there, however hosts come and go out of reach, as long as a task lives', () => {
    const step = fc.record({
      node: fc.constantFrom(A, B),
      does: fc.constantFrom('lost', 'back', 'lost', 'back', 'runs', 'fails'),
      task: fc.constantFrom('web.1', 'web.2'),
      waitMs: fc.constantFrom(0, 50, 200),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const world = new World();
        const names = world.names();
        const vips = new VipView(
          { records: world.records, log: memoryLog() },
          { config: agentConfig.parse({}).vips },
        );
        names.follow(vips);
        const live = new Set<string>();
        for (const { node, does, task, waitMs } of steps) {
          if (does === 'lost' || does === 'back') world.exchange.setReachable(node, does === 'back');
          else world.run(node, task, { state: does === 'runs' ? 'TASK_RUNNING' : 'TASK_FAILED' });
          if (does === 'runs') live.add(node + task);
          if (does === 'fails') live.delete(node + task);
          world.clock.advance(waitMs);
          const expected = live.size > 0 ? rcodes.NOERROR : rcodes.NXDOMAIN;
          for (const name of [
            'web.marathon.mesos',
            'web.marathon.slave.mesos',
            'web.marathon.agentip.dcos.thisdcos.directory',
            'web.marathon.autoip.dcos.thisdcos.directory',
            'web.marathon.containerip.dcos.thisdcos.directory',
            'web.marathon.l4lb.thisdcos.directory',
          ]) {
            expect(names.answerer.resolve(name, types.A)?.rcode, name).toBe(expected);
            if (live.size > 0) expect(told(names, name).length, name).toBeGreaterThan(0);
          }
        }
      }),
    );
  });

  it('are made in short turns when there are many, those of VIPs too, and whoever waits for all gets all', async () => {
    const world = new World();
    const count = 200;
    for (let i = 0; i < count; i++) world.run(A, `web.${i}`, { name: `web${i}` });
    const manual = world.clock;
    let [reads, turns] = [0, 0];
    // Looking at the clock takes a millisecond.
    const slow: Clock = {
      wallMs: () => manual.wallMs(),
      nowMs: () => manual.nowMs() + ++reads,
      after: (delayMs, action) => manual.after(delayMs, () => (turns++, action())),
    };
    const names = world.names(slow);
    const known = (): number =>
      Array.from({ length: count }, (_, i) => told(names, `web${i}.marathon.mesos`)).filter(
        (addresses) => addresses.length > 0,
      ).length;
    expect(known()).toBeLessThan(10);
    let settled = false;
    const settling = names.settled().then(() => (settled = true));
    await Promise.resolve();
    expect(settled).toBe(false);
    // What goes before its turn has come is not there afterwards.
    world.run(A, 'web.199', { name: 'web199', state: 'TASK_KILLED' });
    manual.advance(10);
    await settling;
    expect(known()).toBe(count - 1);
    expect(turns).toBeGreaterThan(count / 10);
    await names.settled();
  });

  it('are counted by zone', async () => {
    const world = new World();
    const names = world.names();
    world.run(A, 'web.1');
    const before = new Map(names.table.zoneCounts);
    // Three of the DC/OS zone; by name and canonically, on the task and on its agent; SRV for each of them.
    world.run(B, 'api.1', { name: 'api' });
    expect(
      (names.table.zoneCounts.get('dcos.thisdcos.directory') ?? 0) -
        (before.get('dcos.thisdcos.directory') ?? 0),
    ).toBe(3);
    expect((names.table.zoneCounts.get('mesos') ?? 0) - (before.get('mesos') ?? 0)).toBe(6);
    world.exchange.drop(`node/${B}/task/api.1`);
    expect(names.table.zoneCounts).toEqual(before);
    expect(await world.metrics.expose()).toContain('dns_zone_records{zone="l4lb.thisdcos.directory"} 2');
  });
});

describe('nodes and overlays', () => {
  const place = (space: string, subnet: string) => ({
    ...{ overlay: 'dcos', space, subnet, vtep_ip: '44.128.0.1/20', vtep_mac: '70:b3:d5:80:00:01' },
    ...{ agent_ip: '10.0.0.11', grant_epoch: 1 },
  });

  it('have their names made anew when one has another address or space, not when a block moves', () => {
    const world = new World();
    const names = world.names();
    let made = 0;
    const set = names.table.set.bind(names.table);
    names.table.set = (...args) => {
      made++;
      return set(...args);
    };
    const afterChange = (key: string, value: object): boolean => {
      made = 0;
      world.exchange.put(key, value as never);
      world.clock.advance(1_000);
      return made > 0;
    };
    const key = `node/${A}/overlay/dcos`;
    expect(afterChange(key, place('9.0.0.0/8', '9.0.1.0/24'))).toBe(true);
    expect(afterChange(key, place('9.0.0.0/8', '9.0.2.0/24'))).toBe(false);
    expect(afterChange(key, place('10.64.0.0/16', '10.64.2.0/24'))).toBe(true);
    expect(afterChange('cluster/network', {})).toBe(false);
    expect(afterChange('cluster/masters', { masters: ['10.0.0.1:5050'] })).toBe(true);
    const moved = { name: 'a', address: '10.0.0.77', gossip_port: 1, api_port: 5051, role: 'agent' };
    expect(afterChange(`node/${A}/node`, moved)).toBe(true);
    names.close();
  });
});
