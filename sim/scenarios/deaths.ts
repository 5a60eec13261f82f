/** Hosts that lose their power. */
import { awaitDetection, awaitReturn, converge, MINUTE, pass, SECOND, type Scenario } from '../scenario.ts';
import type { Cluster } from '../cluster.ts';
import type { Host } from '../host.ts';

function crash(cluster: Cluster, hosts: readonly Host[]): void {
  for (const host of hosts) host.crash();
  for (const host of hosts) cluster.observer.died(host);
}

async function comeBack(cluster: Cluster, hosts: readonly Host[]): Promise<void> {
  cluster.observer.forgetDeaths();
  for (const host of hosts) cluster.begin(host.start());
  await pass(cluster, 5 * SECOND);
  await converge(cluster, MINUTE);
  await awaitReturn(cluster, MINUTE);
}

export const death: Scenario = {
  name: 'death',
  about: 'single hosts lose their power, one every ten seconds, and come back in the end',
  packetLoss: 0.01,
  durationMs: () => 100 * SECOND,
  run: async (cluster, { durationMs }) => {
    const dead: Host[] = [];
    for (let ms = 0; ms < durationMs && cluster.running.length > 2; ms += 10 * SECOND) {
      const victims = cluster.pick(1);
      crash(cluster, victims);
      dead.push(...victims);
      await pass(cluster, 10 * SECOND);
    }
    await awaitDetection(cluster);
    await comeBack(cluster, dead);
  },
};

export const massDeath: Scenario = {
  name: 'mass-death',
  about: 'one host in eight loses its power at the same instant; they come back in the end',
  packetLoss: 0.01,
  durationMs: () => 20 * SECOND,
  run: async (cluster, { durationMs }) => {
    const victims = cluster.pick(Math.ceil(cluster.hosts.length / 8));
    crash(cluster, victims);
    await pass(cluster, durationMs);
    await awaitDetection(cluster);
    await comeBack(cluster, victims);
  },
};
