/** A stranger that repeats what it has overheard. */
import { awaitChanges, changeOne, converge, MINUTE, pass, SECOND, type Scenario } from '../scenario.ts';

export const replay: Scenario = {
  name: 'replay',
  about: 'a peer calls one node after another and repeats old messages of others, twice and out of order',
  packetLoss: 0.01,
  durationMs: () => MINUTE,
  run: async (cluster, { durationMs }) => {
    const hostile = cluster.admitHostile();
    for (let ms = 0; ms < durationMs; ms += SECOND) {
      changeOne(cluster);
      const [victim, other] = cluster.pick(2);
      if (victim !== undefined) cluster.begin(hostile.call(victim.address));
      await pass(cluster, SECOND);
      // Whoever starts anew says how connections begin.
      if (other === undefined || ms % (5 * SECOND) !== 0) continue;
      other.kill();
      cluster.begin(other.start());
    }
    await pass(cluster, 10 * SECOND);
    await awaitChanges(cluster);
    await converge(cluster, MINUTE);
  },
};
