import { describe, expect, it } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { createMetrics } from '../base/metrics.ts';
import { seededRandom } from '../base/random.ts';
import { newNodeId, type NodeId } from '../model/names.ts';
import { keys } from '../model/record.ts';
import { AppliedView } from './applied-view.ts';
import { ClusterRecords } from './cluster-marker.ts';
import { FakeExchange } from './exchange-fake.ts';
import { readMemberMetrics } from './member-metrics.ts';

const random = seededRandom(6);
const waitMs = { timeoutMs: 10_000 };

/** Agents `a1`, `a2`... that tell what this node holds when told to. */
function world(agents: number) {
  const exchange = new FakeExchange();
  const clock = new ManualClock();
  const nodes = Array.from({ length: agents }, () => newNodeId(random));
  for (const [i, node] of nodes.entries())
    exchange.put(keys.node(node), {
      ...{ name: `a${i + 1}`, address: '10.0.0.1', gossip_port: 1, api_port: 1, role: 'agent' },
    });
  const metrics = createMetrics();
  const view = new AppliedView({ exchange, clock, metrics });
  const tell = (node: NodeId, revision: number, tookMs = 1): void => {
    const set = new ClusterRecords(exchange).marker.set;
    exchange.put(keys.applied(node), { revision, set, at: 1, took_ms: tookMs });
  };
  return { exchange, clock, nodes, view, tell, metrics };
}

describe('the view of what is applied', () => {
  it('lets a caller wait until the last reachable agent has told', async () => {
    const { exchange, clock, nodes, view, tell } = world(3);
    exchange.put(keys.network, {}, 5);
    let ended = false;
    const wait = view.wait(undefined, waitMs).then((status) => {
      ended = true;
      return status;
    });
    const [one, two, three] = nodes as [NodeId, NodeId, NodeId];
    for (const node of [one, two]) tell(node, 5);
    clock.advance(100);
    await Promise.resolve();
    expect(ended).toBe(false);
    tell(three, 5);
    clock.advance(100);
    expect(await wait).toMatchObject({ done: true, revision: 5, applied: 3 });
  });

  it('ends a wait when who is missing turns out to be unreachable or is removed', async () => {
    const { exchange, clock, nodes, view, tell } = world(3);
    exchange.put(keys.network, {}, 5);
    const [one, two, three] = nodes as [NodeId, NodeId, NodeId];
    tell(one, 5);
    const wait = view.wait(5, waitMs);
    exchange.setReachable(two, false);
    exchange.drop(keys.node(three));
    clock.advance(100);
    expect(await wait).toMatchObject({
      done: true,
      applied: 1,
      agents: 2,
      missing: [{ name: 'a2', reason: 'unreachable' }],
    });
  });

  it('says who is missing when the time is over, the caller is gone or it is closed', async () => {
    const { clock, exchange, view } = world(1);
    exchange.put(keys.network, {}, 5);
    const gone = new AbortController();
    const waits = [
      view.wait(5, { timeoutMs: 100 }),
      view.wait(5, { timeoutMs: 1e6, signal: gone.signal }),
      view.wait(5, { timeoutMs: 1e6 }),
    ];
    clock.advance(100);
    gone.abort();
    view.close();
    for (const wait of waits)
      expect(await wait).toMatchObject({ done: false, missing: [{ name: 'a1', reason: 'silent' }] });
  });

  it('measures by its own clock those that were there all the time, and believes the others', () => {
    const { exchange, clock, nodes, view, tell } = world(3);
    const [one, two, three] = nodes as [NodeId, NodeId, NodeId];
    for (const node of nodes) tell(node, 0);
    exchange.put(keys.network, {}, 5);
    clock.advance(30);
    tell(one, 5);
    exchange.setReachable(two, false);
    clock.advance(60_000);
    exchange.setReachable(two, true);
    tell(two, 5, 12);
    expect(view.agents().map(({ afterMs }) => afterMs)).toEqual([30, 12, undefined]);
    tell(three, 5);
    expect(view.status()).toMatchObject({ slowest_ms: 60_030, slowest: 'a3' });
    exchange.put(keys.masters, {}, 6);
    expect(view.agents().map(({ afterMs }) => afterMs)).toEqual([undefined, undefined, undefined]);
  });

  it('counts into a metric what it measured', async () => {
    const { exchange, nodes, tell, metrics, view } = world(2);
    exchange.put(keys.network, {}, 5);
    for (const node of nodes) tell(node, 5);
    exchange.put(keys.network, {}, 6);
    tell(nodes[0] as NodeId, 6);
    exchange.setReachable(nodes[1] as NodeId, false);
    readMemberMetrics({ metrics, exchange, applied: view });
    expect(await metrics.snapshot()).toMatchObject({
      portolan_convergence_seconds_count: 3,
      'portolan_members{state=unreachable}': 1,
      portolan_gossip_false_suspicions_total: 0,
      portolan_applied_revision: 6,
      'portolan_applied_missing{reason=unreachable}': 1,
    });
  });
});

describe('ClusterRecords', () => {
  it('tells apart who lacks a record in between, and not who has forgotten a tombstone', () => {
    const [a, b] = [new FakeExchange(), new FakeExchange()];
    a.put('cluster/one', 1, 3);
    for (const each of [a, b]) each.put('cluster/two', 1, 4);
    const marker = (exchange: FakeExchange) => new ClusterRecords(exchange).marker;
    expect(marker(a).set).not.toBe(marker(b).set);
    b.put('cluster/one', 1, 3);
    expect(marker(a)).toEqual(marker(b));
    a.put('cluster/gone', null, 2);
    expect(marker(a)).toEqual(marker(b));
  });

  it('follows a change of cluster', () => {
    const exchange = new FakeExchange();
    const records = new ClusterRecords(exchange);
    exchange.subscribe('cluster/', (changes) => records.take(changes));
    exchange.put('cluster/one', 1, 30);
    expect(records.marker.revision).toBe(30);
    exchange.drop('cluster/one');
    expect(records.marker.revision).toBe(0);
  });
});
