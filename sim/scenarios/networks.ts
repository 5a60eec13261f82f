/** Networks that are cut, one way or both, for long or for moments. */
import {
  awaitChanges,
  awaitReturn,
  changeOne,
  converge,
  HOUR,
  MINUTE,
  pass,
  SECOND,
  type Scenario,
} from '../scenario.ts';
import type { Host } from '../host.ts';

const addresses = (hosts: readonly Host[]): string[] => hosts.map(({ address }) => address);

export const halfPartition: Scenario = {
  name: 'half-partition',
  about: 'the cluster is cut into halves for an hour; changes on both sides count from the healing',
  packetLoss: 0.01,
  durationMs: () => HOUR,
  run: async (cluster, { durationMs }) => {
    const left = cluster.pick(Math.floor(cluster.hosts.length / 2));
    const right = cluster.hosts.filter((host) => !left.includes(host));
    cluster.network.cut(addresses(left), addresses(right));
    for (let i = 0; i < 10; i++) {
      await pass(cluster, durationMs / 10);
      changeOne(cluster, left);
      changeOne(cluster, right);
    }
    await cluster.run(SECOND);
    cluster.heal();
    cluster.observer.restartChanges();
    await awaitChanges(cluster, 2 * MINUTE);
    await converge(cluster, MINUTE);
    await awaitReturn(cluster, MINUTE);
  },
};

export const oneWay: Scenario = {
  name: 'one-way',
  about:
    'two nodes cannot reach three others although all reach the rest; then one node in fifty loses half of what it sends',
  packetLoss: 0.01,
  durationMs: () => 2 * MINUTE,
  run: async (cluster, { durationMs }) => {
    const [a, b, ...others] = cluster.pick(5);
    if (a !== undefined && b !== undefined) cluster.network.cutOneWay(addresses([a, b]), addresses(others));
    for (let ms = 0; ms < durationMs / 2; ms += 2 * SECOND) {
      changeOne(cluster);
      await pass(cluster, 2 * SECOND);
    }
    cluster.heal();
    await awaitChanges(cluster);
    const lossy = cluster.pick(Math.ceil(cluster.hosts.length / 50));
    for (const host of lossy) host.link.packetLoss = 0.5;
    for (let ms = 0; ms < durationMs / 2; ms += 2 * SECOND) {
      changeOne(cluster);
      await pass(cluster, 2 * SECOND);
    }
    for (const host of lossy) host.link.packetLoss = 0;
    await awaitChanges(cluster);
    await converge(cluster, MINUTE);
    await awaitReturn(cluster, MINUTE);
  },
};

export const flap: Scenario = {
  name: 'flap',
  about: 'one node in fifty loses its network for one to four seconds, again and again',
  packetLoss: 0.01,
  durationMs: () => 2 * MINUTE,
  run: async (cluster, { durationMs }) => {
    const flapping = cluster.pick(Math.ceil(cluster.hosts.length / 50));
    for (let ms = 0; ms < durationMs; ms += 2 * SECOND) {
      for (const host of flapping) {
        if (cluster.random.next() > 0.5) continue;
        host.unplug((1 + 3 * cluster.random.next()) * SECOND);
      }
      changeOne(
        cluster,
        cluster.running.filter((host) => !flapping.includes(host)),
      );
      await pass(cluster, 2 * SECOND);
    }
    await pass(cluster, 5 * SECOND);
    await awaitChanges(cluster);
    await converge(cluster, MINUTE);
    await awaitReturn(cluster, MINUTE);
  },
};
