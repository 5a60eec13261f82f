import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ExchangeWorld, nodeRecord, type TestNode } from '../../test/support/exchange-world.ts';
import { newClusterId, newNodeId, type ClusterId } from '../model/names.ts';
import { keys, type GossipRecord } from '../model/record.ts';
import type { RecordExchange } from './record-exchange.ts';

const all = (exchange: RecordExchange): Map<string, GossipRecord> =>
  new Map(Array.from(exchange.records(''), (record) => [record.key, record]));

describe('records', () => {
  it('of fifty nodes that know one contact reach all, and a change reaches them within a tenth of a second', async () => {
    const world = new ExchangeWorld();
    await world.addMany(50);
    const joinMs = await world.until(
      () => world.nodes.every((n) => n.exchange.digest().records === 50),
      20_000,
    );
    expect(joinMs).toBeLessThan(10_000);
    await world.run(3_000);
    const [writer] = world.nodes as [TestNode];
    const key = keys.overlay(writer.node, 'dcos');
    await writer.exchange.publish(key, { change: 1 });
    const spreadMs = await world.until(
      () => world.nodes.every((n) => n.exchange.get(key) !== undefined),
      1_000,
      1,
    );
    expect(spreadMs).toBeLessThan(100);
    for (const { exchange } of world.nodes) {
      const connected = exchange.peers().filter((peer) => peer.connected).length;
      expect(connected).toBeGreaterThanOrEqual(5);
      expect(connected).toBeLessThanOrEqual(9);
    }
    await world.close();
  });

  it('written on both sides of a partition are everywhere after it heals, also when links were only silent', async () => {
    for (const how of ['cut', 'sever'] as const) {
      const world = new ExchangeWorld(7);
      await world.addMany(12);
      await world.until(
        () => world.areEqual() && world.nodes.every((n) => n.exchange.digest().records === 12),
        20_000,
      );
      const [left, right] = [world.hosts(0, 6), world.hosts(6, 12)];
      world.network.cut(left, right);
      if (how === 'sever') world.network.sever(left, right);
      await world.run(30_000, 25);
      for (const { exchange, node } of world.nodes)
        await exchange.publish(keys.overlay(node, 'dcos'), { node });
      await world.run(5_000, 25);
      expect(world.areEqual(world.nodes.slice(0, 6))).toBe(true);
      expect(world.areEqual()).toBe(false);
      world.network.mend();
      await world.until(() => world.areEqual(), 60_000, 25);
      expect(world.nodes[0]?.exchange.digest().records).toBe(24);
      await world.close();
    }
  });

  it('of a node that moves to another address go on over connections of the new one within a second', async () => {
    const world = new ExchangeWorld(5);
    await world.addMany(4);
    await world.until(() => world.areEqual(), 10_000);
    const [, mover] = world.nodes;
    if (mover === undefined) throw new Error('there are four');
    const since = (): readonly (number | undefined)[] =>
      mover.exchange.peers().flatMap((peer) => (peer.connected ? [peer.since] : []));
    const before = since();
    mover.exchange.redial();
    await world.until(() => since().length > 0 && !since().some((each) => before.includes(each)), 1_000);
    await mover.exchange.publish(keys.overlay(mover.node, 'dcos'), { node: mover.node });
    await world.until(() => world.areEqual(), 1_000);
    await world.close();
  });

  it('whose push was lost are repaired by comparison', async () => {
    const world = new ExchangeWorld(3);
    await world.addMany(8);
    await world.until(() => world.nodes.every((n) => n.exchange.digest().records === 8), 20_000);
    world.network.lossRate = 1;
    for (const { exchange, node } of world.nodes) await exchange.publish(keys.overlay(node, 'dcos'), 1);
    await world.run(200);
    expect(world.areEqual()).toBe(false);
    world.network.lossRate = 0.1;
    await world.until(() => world.areEqual(), 30_000);
    const counts = await Promise.all(world.nodes.map(({ metrics }) => metrics.snapshot()));
    expect(counts.some((flat) => (flat['portolan_gossip_repairs_total'] ?? 0) > 0)).toBe(true);
    await world.close();
  });

  it('published together are told together, and one that is refused holds up none of the others', async () => {
    const world = new ExchangeWorld(6);
    await world.addMany(2);
    await world.until(() => world.areEqual() && world.nodes[0]?.exchange.digest().records === 2, 10_000);
    const [writer, reader] = world.nodes as [TestNode, TestNode];
    const heard: string[][] = [];
    for (const { exchange } of world.nodes)
      exchange.subscribe('node/', (changes) => heard.push(changes.map(({ key }) => key)));
    const endpointKeys = ['a', 'b', 'c'].map((name) => keys.endpoint(writer.node, name, 'eth0'));
    const values = new Map(endpointKeys.map((key) => [key, { key }]));
    await writer.exchange.publishAll(values);
    await world.until(() => world.areEqual(), 1_000);
    expect(heard).toEqual([endpointKeys, endpointKeys]);
    const [first = '', second = '', third = ''] = endpointKeys;
    const changed = new Map<string, object | null>([
      [first, null],
      [second, { text: 'x'.repeat(1024 * 1024) }],
      [third, { key: 'other' }],
    ]);
    await expect(writer.exchange.publishAll(changed)).rejects.toMatchObject({ code: 'invalid' });
    await world.until(() => reader.exchange.get(first)?.value === null, 1_000);
    expect(endpointKeys.map((key) => reader.exchange.get(key)?.value)).toEqual([
      null,
      { key: second },
      { key: 'other' },
    ]);
    await world.close();
  });

  it('are there at once after a restart, and what changed meanwhile arrives', async () => {
    const world = new ExchangeWorld(4);
    await world.addMany(5);
    await world.until(() => world.nodes.every((n) => n.exchange.digest().records === 5), 10_000);
    const [first, second] = world.nodes as [TestNode, TestNode];
    await second.exchange.publish(keys.overlay(second.node, 'a'), 'before');
    await second.exchange.close();
    await first.exchange.publish(keys.overlay(first.node, 'a'), 'meanwhile');
    await world.run(1_000);
    const before = all(first.exchange);
    second.exchange = await world.open(second);
    expect(second.exchange.digest().records).toBe(6);
    expect(second.exchange.get(keys.overlay(second.node, 'a'))?.value).toBe('before');
    await world.until(() => world.areEqual(), 5_000);
    expect(all(second.exchange)).toEqual(before);
    await world.close();
  });

  it('of a node that starts again win against what it wrote before, without any wall clock', async () => {
    const world = new ExchangeWorld(5);
    await world.addMany(3);
    const [, node] = world.nodes as [TestNode, TestNode];
    const key = keys.overlay(node.node, 'a');
    for (let i = 0; i < 20; i++) await node.exchange.publish(key, i);
    await world.run(1_000);
    await node.exchange.close();
    node.exchange = await world.open(node);
    await node.exchange.publish(key, 'newest');
    await world.until(() => world.nodes.every((n) => n.exchange.get(key)?.value === 'newest'), 5_000);
    await world.close();
  });

  it('of a node whose disk was set back are corrected to what the node says now', async () => {
    const world = new ExchangeWorld(6);
    await world.addMany(4);
    await world.run(1_000);
    const [, node] = world.nodes as [TestNode, TestNode];
    const backup = new Map(node.disk);
    await node.exchange.publish(keys.overlay(node.node, 'a'), 'late');
    await node.exchange.publish(keys.node(node.node), { ...nodeRecord(node.host), name: 'late' });
    await world.run(500);
    await node.exchange.close();
    node.disk.clear();
    for (const [key, text] of backup) node.disk.set(key, text);
    node.exchange = await world.open(node);
    await world.until(() => world.areEqual(), 10_000);
    expect(world.nodes[0]?.exchange.get(keys.overlay(node.node, 'a'))?.value).toBeNull();
    expect(world.nodes[0]?.exchange.get(keys.node(node.node))?.value).toEqual(nodeRecord(node.host));
    await world.close();
  });

  it('of a removed node vanish everywhere and stay away when it comes back', async () => {
    const world = new ExchangeWorld(8);
    await world.addMany(6);
    await world.until(() => world.nodes.every((n) => n.exchange.digest().records === 6), 10_000);
    const [master, gone] = world.nodes as [TestNode, TestNode];
    const others = world.nodes.filter((n) => n !== gone);
    await gone.exchange.close();
    const seen: GossipRecord[] = [];
    others[1]?.exchange.subscribe('node/', (changes) => seen.push(...changes));
    await master.exchange.publishCluster(keys.removed(gone.node), { node: gone.node, grant_epoch: 3 }, 12);
    const isGone = (): boolean => others.every((n) => n.exchange.get(keys.node(gone.node)) === undefined);
    await world.until(isGone, 5_000);
    expect(seen).toMatchObject([{ key: keys.node(gone.node), value: null }]);
    gone.exchange = await world.open(gone);
    await world.until(() => gone.exchange.get(keys.removed(gone.node)) !== undefined, 10_000);
    await world.run(3_000, 25);
    expect(isGone()).toBe(true);
    await expect(gone.exchange.publish(keys.overlay(gone.node, 'a'), 1)).rejects.toMatchObject({
      code: 'conflict',
    });
    for (const other of others)
      expect(Array.from(other.disk.keys()).join()).not.toContain(`record/node/${gone.node}`);
    await world.close();
  });
});

describe('another cluster', () => {
  it('is refused on both sides with one clear line, and nothing is exchanged', async () => {
    const world = new ExchangeWorld(9);
    await world.addMany(2);
    const foreign = newClusterId(world.random);
    const stranger = await world.add({ cluster: foreign });
    await world.run(20_000, 50);
    expect(stranger.exchange.digest().records).toBe(1);
    expect(world.nodes[0]?.exchange.digest().records).toBe(2);
    const refusals = stranger.lines.filter((line) => line.message === 'refused a peer');
    expect(refusals).toHaveLength(1);
    expect(refusals[0]?.fields['reason']).toBe(
      `it is of cluster "${world.cluster}", this node is of "${foreign}"`,
    );
    await world.close();
  });

  it("joined later makes the node forget the former one's records, not its own", async () => {
    const world = new ExchangeWorld(10);
    await world.addMany(3);
    await world.run(1_000);
    const node = world.nodes[2] as TestNode;
    await node.exchange.close();
    node.exchange = await world.open(node, { cluster: newClusterId(world.random), contacts: [] });
    expect(Array.from(node.exchange.records(''), ({ key }) => key)).toEqual([keys.node(node.node)]);
    await world.run(30_000, 50);
    expect(node.exchange.digest().records).toBe(1);
    await world.close();
  });

  it('is none at all before the first registration: the node waits, keeps what it publishes and tells it then', async () => {
    const world = new ExchangeWorld(11);
    await world.addMany(2);
    const membership: { cluster?: ClusterId } = {};
    const late = await world.add({ cluster: () => membership.cluster });
    await world.run(2_000);
    expect(late.exchange.address()).toBeUndefined();
    expect(late.exchange.digest().records).toBe(1);
    membership.cluster = world.cluster;
    await world.until(() => world.nodes.every((n) => n.exchange.digest().records === 3), 5_000);
    await world.close();
  });
});

describe('publishing', () => {
  it('is on disk when it resolves, does nothing when unchanged, and withdraws by a tombstone', async () => {
    const world = new ExchangeWorld(12);
    const { exchange, node, disk } = await world.add();
    const key = keys.overlay(node, 'a');
    await exchange.publish(key, { b: 1, a: [2] });
    expect(disk.get(`record/${key}`)).toContain('{"b":1,"a":[2]}');
    const version = exchange.get(key)?.version;
    await exchange.publish(key, { b: 1, a: [2] });
    expect(exchange.get(key)?.version).toEqual(version);
    await exchange.withdraw(key);
    await exchange.withdraw(keys.overlay(node, 'never'));
    expect(exchange.get(key)?.value).toBeNull();
    expect(exchange.get(keys.overlay(node, 'never'))).toBeUndefined();
    await world.close();
  });

  it('tells subscribers of the prefix, who may publish in turn, until they leave', async () => {
    const world = new ExchangeWorld(13);
    const { exchange, node } = await world.add();
    const seen: string[] = [];
    const leave = exchange.subscribe(`node/${node}/overlay/`, (changes) => {
      seen.push(...changes.map(({ key }) => key));
      if (seen.length === 1) void exchange.publish(keys.overlay(node, 'second'), 1);
    });
    exchange.subscribe('node/', () => {
      throw new Error('broken listener');
    });
    await exchange.publish(keys.overlay(node, 'first'), 1);
    await exchange.publish(keys.endpoint(node, 'c', 'eth0'), 1);
    leave();
    await exchange.publish(keys.overlay(node, 'third'), 1);
    expect(seen).toEqual([keys.overlay(node, 'first'), keys.overlay(node, 'second')]);
    await world.close();
  });

  it("refuses others' names, cluster names by publish, and values that are too large", async () => {
    const world = new ExchangeWorld(14);
    const { exchange, node } = await world.add();
    const other = newNodeId(world.random);
    await expect(exchange.publish(keys.node(other), 1)).rejects.toMatchObject({
      code: 'invalid',
      field: 'key',
    });
    await expect(exchange.publish('cluster/x', 1)).rejects.toMatchObject({ code: 'invalid', field: 'key' });
    await expect(exchange.publishCluster(keys.node(node), 1, 1)).rejects.toMatchObject({ code: 'invalid' });
    await expect(exchange.publish(keys.overlay(node, 'a'), 'x'.repeat(17_000))).rejects.toMatchObject({
      code: 'invalid',
      field: 'value',
      message: `Cannot publish "${keys.overlay(node, 'a')}": its value has 17002 bytes, at most 16384 are allowed`,
    });
    await world.close();
  });

  it('never runs out of room for tombstones, however many containers come and go', async () => {
    const world = new ExchangeWorld(15);
    await world.addMany(2);
    await world.run(1_000);
    const [writer, reader] = world.nodes as [TestNode, TestNode];
    const stays = keys.endpoint(writer.node, 'stays', 'eth0');
    await writer.exchange.publish(stays, 'here');
    const missed: string[] = [];
    reader.exchange.subscribe(stays, (changes) => {
      if (changes.some(({ value }) => value === null)) missed.push(stays);
    });
    for (let i = 0; i < 4_500; i++) {
      const key = keys.endpoint(writer.node, `c${i}`, 'eth0');
      await writer.exchange.publish(key, 1);
      await writer.exchange.withdraw(key);
      if (i % 50 === 0) await world.run(1_000, 250);
    }
    await world.run(40_000, 100);
    expect(writer.exchange.digest().records).toBeLessThan(3_000);
    expect(writer.disk.size).toBeLessThan(3_000);
    expect(world.areEqual()).toBe(true);
    expect(reader.exchange.get(stays)?.value).toBe('here');
    expect(missed).toEqual([]);
    await world.close();
  });
});

it('whatever is written, cut, severed and restarted, all stores are equal after healing', async () => {
  const node = fc.nat(4);
  const operation = fc.oneof(
    fc.record({ do: fc.constant('publish' as const), node, key: fc.nat(2), value: fc.nat(3) }),
    fc.record({ do: fc.constant('withdraw' as const), node, key: fc.nat(2) }),
    fc.record({ do: fc.constant('cluster' as const), node, key: fc.nat(2) }),
    fc.record({ do: fc.constant('cut' as const), node }),
    fc.record({ do: fc.constant('sever' as const), node }),
    fc.record({ do: fc.constant('restart' as const), node }),
    fc.record({ do: fc.constant('mend' as const) }),
    fc.record({ do: fc.constant('run' as const), ms: fc.integer({ min: 1, max: 3_000 }) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.nat(), fc.array(operation, { maxLength: 25 }), async (seed, operations) => {
      const world = new ExchangeWorld(seed);
      await world.addMany(5);
      world.network.lossRate = 0.02;
      let revision = 0;
      for (const each of operations) {
        if (each.do === 'run') await world.run(each.ms, 50);
        else if (each.do === 'mend') world.network.mend();
        else {
          const target = world.nodes[each.node] as TestNode;
          const [one, rest] = [[target.host], world.hosts(0, 5).filter((host) => host !== target.host)];
          if (each.do === 'cut') world.network.cut(one, rest);
          else if (each.do === 'sever') world.network.sever(one, rest);
          else if (each.do === 'cluster')
            await target.exchange.publishCluster(`cluster/key${each.key}`, revision, ++revision);
          else if (each.do === 'publish')
            await target.exchange.publish(keys.overlay(target.node, `o${each.key}`), each.value);
          else if (each.do === 'withdraw')
            await target.exchange.withdraw(keys.overlay(target.node, `o${each.key}`));
          else {
            await target.exchange.close();
            target.exchange = await world.open(target);
          }
        }
      }
      world.network.lossRate = 0;
      world.network.mend();
      const isWhole = (): boolean =>
        world.areEqual() && world.nodes.every((n) => n.exchange.get(keys.node(n.node)) !== undefined);
      await world.until(isWhole, 120_000, 50);
      const first = all((world.nodes[0] as TestNode).exchange);
      for (const { exchange } of world.nodes) expect(all(exchange)).toEqual(first);
      await world.close();
    }),
    { numRuns: 25 },
  );
});
