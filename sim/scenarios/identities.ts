/** Nodes that are replaced, and nodes that lose or turn back their disk; the blocks they hold go with them. */
import type { Cluster } from '../cluster.ts';
import type { Host } from '../host.ts';
import { checkHolders } from '../invariants.ts';
import { Masters } from '../masters.ts';
import {
  awaitChanges,
  awaitReturn,
  changeOne,
  converge,
  MINUTE,
  pass,
  SECOND,
  type Scenario,
} from '../scenario.ts';

async function settle(cluster: Cluster): Promise<void> {
  await awaitChanges(cluster);
  await converge(cluster, MINUTE);
  await awaitReturn(cluster, MINUTE);
  checkHolders(cluster);
}

export const recycledAddress: Scenario = {
  name: 'recycled-address',
  about:
    'nodes die for good and are removed, new identities come up on their addresses; old disks return elsewhere',
  packetLoss: 0.01,
  durationMs: () => 100 * SECOND,
  run: async (cluster, { durationMs }) => {
    const masters = new Masters(cluster);
    for (const host of cluster.hosts) masters.grant(host);
    await cluster.run(5 * SECOND);
    const hosts = cluster.pick(Math.min(10, Math.floor(cluster.hosts.length / 4)));
    for (const host of hosts) {
      await replace(cluster, masters, host);
      changeOne(cluster);
      await pass(cluster, durationMs / hosts.length / 2);
    }
    // Its successor is there and its block has gone to another, when the first of them comes back to life.
    await settle(cluster);
  },
};

/** The old node's disk turns up on the same address once more, before the new node gets it. */
async function replace(cluster: Cluster, masters: Masters, host: Host): Promise<void> {
  const { node } = host;
  const disk = host.disk.image();
  const own = new Map(host.own);
  host.crash();
  await pass(cluster, 2 * SECOND);
  masters.remove(node);
  await pass(cluster, 2 * SECOND);
  host.takeIdentity();
  cluster.begin(host.start().then(() => masters.grant(host)));
  await pass(cluster, 3 * SECOND);
  const fresh = { node: host.node, disk: host.disk.image(), own: new Map(host.own) };
  host.crash();
  host.become({ node, disk, own });
  cluster.begin(host.start());
  await pass(cluster, 3 * SECOND);
  host.crash();
  host.become(fresh);
  cluster.begin(host.start());
  await pass(cluster, SECOND);
}

export const diskLoss: Scenario = {
  name: 'disk-loss',
  about:
    'hosts crash and come back without what was not synced, with a disk of yesterday, or with an empty one',
  packetLoss: 0.01,
  durationMs: () => 120 * SECOND,
  run: async (cluster, { durationMs }) => {
    const masters = new Masters(cluster);
    for (const host of cluster.hosts) masters.grant(host);
    await cluster.run(5 * SECOND);
    const hosts = cluster.pick(Math.min(12, Math.floor(cluster.hosts.length / 3)));
    const yesterday = new Map(hosts.map((host) => [host, host.disk.image()]));
    for (const host of hosts) changeOne(cluster, [host]);
    await awaitChanges(cluster);
    for (const [i, host] of hosts.entries()) {
      // In the midst of a write, which may or may not have reached the disk.
      changeOne(cluster, [host]);
      await cluster.run(cluster.random.next() * 2);
      host.crash();
      cluster.observer.giveUp(host.node);
      await pass(cluster, durationMs / hosts.length / 2);
      if (i % 3 === 1) host.turnBack(yesterday.get(host) ?? host.disk.image());
      if (i % 3 === 2) {
        masters.remove(host.node);
        host.takeIdentity();
      }
      cluster.begin(host.start().then(() => masters.grant(host)));
      await pass(cluster, durationMs / hosts.length / 2);
      changeOne(cluster, [host]);
    }
    await settle(cluster);
  },
};
