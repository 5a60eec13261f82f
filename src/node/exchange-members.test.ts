import { describe, expect, it } from 'vitest';
import { ExchangeWorld, type TestNode } from '../../test/support/exchange-world.ts';
import { keys } from '../model/record.ts';
import type { MemberStatus } from './record-exchange.ts';

async function worldOf(count: number, seed = 1): Promise<ExchangeWorld> {
  const world = new ExchangeWorld(seed);
  await world.addMany(count);
  await world.until(() => world.nodes.every((n) => n.exchange.digest().records === count), 20_000);
  await world.run(2_000, 25);
  return world;
}

const stateAt = (viewer: TestNode, node: TestNode): string | undefined =>
  viewer.exchange.members().find((member) => member.node === node.node)?.state;
const others = (world: ExchangeWorld, node: TestNode): TestNode[] => world.nodes.filter((n) => n !== node);
const hosts = (nodes: readonly TestNode[]): string[] => nodes.map(({ host }) => host);

describe('members', () => {
  it('are all known nodes but this one, alive, with their addresses', async () => {
    const world = await worldOf(5);
    for (const viewer of world.nodes) {
      const members = viewer.exchange.members();
      expect(members.map(({ node }) => node).sort()).toEqual(
        others(world, viewer)
          .map(({ node }) => node)
          .sort(),
      );
      expect(members.every(({ state, address }) => state === 'alive' && address.endsWith(':62501'))).toBe(
        true,
      );
    }
    await world.close();
  });

  it('that die are unreachable for all within seconds, which erases nothing, and alive when they are back', async () => {
    const world = await worldOf(20);
    const [viewer, , dead] = world.nodes as [TestNode, TestNode, TestNode];
    const told: MemberStatus[] = [];
    const leave = viewer.exchange.subscribeMembers((changes) => told.push(...changes));
    world.network.cut([dead.host], hosts(others(world, dead)));
    await world.until(() => others(world, dead).every((n) => !n.exchange.isReachable(dead.node)), 5_000, 25);
    expect(told.map(({ node, state }) => [node, state]).at(-1)).toEqual([dead.node, 'unreachable']);
    expect(others(world, dead).every((n) => n.exchange.get(keys.node(dead.node)) !== undefined)).toBe(true);
    expect(
      others(world, dead).every(
        (n) => n.exchange.members().filter((m) => m.state === 'unreachable').length === 1,
      ),
    ).toBe(true);
    world.network.mend();
    await world.until(() => others(world, dead).every((n) => stateAt(n, dead) === 'alive'), 15_000, 25);
    leave();
    expect(viewer.exchange.stats().falseSuspicions).toBe(1);
    await world.close();
  });

  it('that close their connections are unreachable at once', async () => {
    const world = await worldOf(6);
    const [, leaver] = world.nodes as [TestNode, TestNode];
    await leaver.exchange.close();
    await world.until(() => others(world, leaver).every((n) => !n.exchange.isReachable(leaver.node)), 500);
    await world.close();
  });

  it('are not accused because some nodes, the masters for example, cannot be reached', async () => {
    const world = await worldOf(12);
    const [master] = world.nodes as [TestNode];
    world.network.cut([master.host], hosts(others(world, master)));
    await world.run(10_000, 25);
    for (const viewer of others(world, master))
      for (const node of others(world, master)) expect(viewer.exchange.isReachable(node.node)).toBe(true);
    await world.close();
  });

  it('that only one viewer cannot reach are unreachable for that viewer, and reachable again after mending', async () => {
    const world = await worldOf(10, 3);
    const [, viewer, node] = world.nodes as [TestNode, TestNode, TestNode];
    const rest = others(world, viewer).filter((n) => n !== node);
    world.network.cut([viewer.host], [node.host]);
    // Those two happen to be neighbours with this seed; where they are not, nobody would notice so soon.
    await world.until(() => !viewer.exchange.isReachable(node.node), 30_000, 25);
    for (const other of rest) {
      expect(other.exchange.isReachable(node.node)).toBe(true);
      expect(other.exchange.isReachable(viewer.node)).toBe(true);
    }
    world.network.mend();
    await world.until(() => viewer.exchange.isReachable(node.node), 30_000, 25);
    await world.close();
  });

  it.each([3, 4, 5])(
    'that one viewer does not hear are unreachable for that viewer, and it for them, though all of %i are neighbours',
    async (count) => {
      const world = await worldOf(count, 7);
      const [viewer, node] = [world.nodes[7 % count], world.nodes[8 % count]] as [TestNode, TestNode];
      world.network.cutOneWay([node.host], [viewer.host]);
      await world.until(() => !viewer.exchange.isReachable(node.node), 30_000, 50);
      await world.until(() => !node.exchange.isReachable(viewer.node), 30_000, 50);
      world.network.mend();
      await world.until(
        () => world.nodes.every((n) => n.exchange.members().every(({ state }) => state === 'alive')),
        30_000,
        50,
      );
      await world.close();
    },
  );

  it('are found again by both halves of a cluster that was cut in two', async () => {
    const world = await worldOf(16, 5);
    const [left, right] = [world.hosts(0, 8), world.hosts(8, 16)];
    world.network.cut(left, right);
    await world.run(60_000, 50);
    for (const viewer of world.nodes.slice(0, 8))
      for (const node of world.nodes.slice(8)) expect(viewer.exchange.isReachable(node.node)).toBe(false);
    world.network.mend();
    await world.until(
      () => world.nodes.every((v) => v.exchange.members().every(({ state }) => state === 'alive')),
      30_000,
      25,
    );
    await world.close();
  });

  it('of a cluster that was off as a whole find each other by what is on their disks, without a contact', async () => {
    const world = await worldOf(8, 6);
    for (const { exchange } of world.nodes) await exchange.close();
    await world.run(1_000, 50);
    for (const node of world.nodes) node.exchange = await world.open(node, { contacts: [] });
    await world.until(
      () =>
        world.nodes.every((v) => v.exchange.peers().some(({ connected }) => connected) && world.areEqual()),
      20_000,
      25,
    );
    await world.run(6_000, 25);
    for (const viewer of world.nodes)
      expect(viewer.exchange.members().every(({ state }) => state === 'alive')).toBe(true);
    await world.close();
  });
});
