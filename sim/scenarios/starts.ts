/** Nodes that start: all at once with nothing, or one after another with what they knew. */
import { keys } from '../../src/model/record.ts';
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

export const joinStorm: Scenario = {
  name: 'join-storm',
  about: 'all nodes start at once with nothing but the same three contacts',
  packetLoss: 0.01,
  startsEmpty: true,
  durationMs: () => 10 * SECOND,
  run: async (cluster, { durationMs }) => {
    for (const host of cluster.hosts) cluster.begin(host.start());
    await cluster.run(SECOND / 10);
    // Every node's own record is to reach everybody.
    for (const host of cluster.hosts) if (host.isRunning) cluster.observer.change(host, keys.node(host.node));
    await pass(cluster, durationMs);
    await awaitChanges(cluster, 2 * MINUTE);
    await converge(cluster, MINUTE);
    await awaitReturn(cluster, MINUTE);
  },
};

const DOWN_MS = 800;

export const rollingRestart: Scenario = {
  name: 'rolling-restart',
  about: 'nodes are restarted one after another, every other one by SIGKILL, with changes between',
  packetLoss: 0.01,
  durationMs: (nodes) => Math.min(nodes, 100) * 2 * SECOND,
  run: async (cluster, { durationMs }) => {
    const hosts = cluster.pick(Math.ceil(durationMs / (2 * SECOND)));
    for (const [i, host] of hosts.entries()) {
      // What it has not been told is on disk it does not publish again.
      cluster.observer.giveUp(host.node);
      if (i % 2 === 0) host.kill();
      else cluster.begin(host.stop());
      await cluster.run(DOWN_MS);
      cluster.begin(host.start());
      await cluster.run(2 * SECOND - DOWN_MS);
      changeOne(cluster);
    }
    await awaitChanges(cluster);
    await converge(cluster, MINUTE);
    await awaitReturn(cluster, MINUTE);
  },
};
