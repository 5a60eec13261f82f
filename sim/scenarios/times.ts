/** Programs that get no processor, and clocks that are set. */
import {
  awaitChanges,
  awaitReturn,
  changeOne,
  converge,
  DAY,
  HOUR,
  MINUTE,
  pass,
  SECOND,
  type Scenario,
} from '../scenario.ts';
import type { Cluster } from '../cluster.ts';
import type { Host } from '../host.ts';
import { RETURN_MS } from '../observer.ts';

const STALLED_SHARE = 0.05;
const LONGEST_STALL_MS = 2 * SECOND;
const CHANGE_EVERY_MS = 10 * SECOND;

export const stall: Scenario = {
  name: 'stall',
  about: 'at any time one node in twenty gets no processor, for up to two seconds',
  packetLoss: 0.01,
  durationMs: (nodes) => (nodes > 100 ? HOUR : DAY),
  run: async (cluster, { durationMs }) => {
    // A stall lasts half the longest on average.
    const everyMs = LONGEST_STALL_MS / 2 / (STALLED_SHARE * cluster.hosts.length);
    const end = cluster.timeline.nowMs() + durationMs;
    const next = (): void => {
      if (cluster.timeline.nowMs() >= end) return;
      stallOne(cluster);
      cluster.timeline.after(-Math.log(1 - cluster.random.next()) * everyMs, next);
    };
    next();
    for (let ms = 0; ms < durationMs; ms += CHANGE_EVERY_MS) {
      changeOne(cluster);
      await pass(cluster, Math.min(CHANGE_EVERY_MS, durationMs - ms));
    }
    await awaitChanges(cluster);
    await converge(cluster, MINUTE);
    await awaitReturn(cluster, MINUTE);
  },
};

/** A moment after it woke it must be there again for everyone. */
function stallOne(cluster: Cluster): void {
  const [host] = cluster.pick(
    1,
    cluster.running.filter((each) => !each.isStalled),
  );
  if (host === undefined) return;
  const ms = cluster.random.next() * LONGEST_STALL_MS;
  host.stall(ms);
  cluster.timeline.after(ms + RETURN_MS + 1, () => checkBack(cluster, host));
}

function checkBack(cluster: Cluster, host: Host): void {
  if (!cluster.observer.isHealthy(host)) return;
  const viewers = cluster.observer.hiddenBy(host);
  if (viewers.length > 0)
    cluster.observer.violation(
      `host ${host.index} is still hidden by ${viewers.length} nodes ${RETURN_MS} ms after it woke`,
    );
}

const YEAR = 365 * DAY;

export const clockStep: Scenario = {
  name: 'clock-step',
  about: 'the wall clocks of one node in ten are set back a year, or forward; some of these nodes restart',
  packetLoss: 0.01,
  durationMs: () => MINUTE,
  run: async (cluster, { durationMs }) => {
    const stepped = cluster.pick(Math.ceil(cluster.hosts.length / 10));
    for (const [i, host] of stepped.entries()) host.wallOffsetMs = i % 3 === 2 ? YEAR : -YEAR;
    for (let ms = 0; ms < durationMs; ms += 2 * SECOND) {
      changeOne(cluster, stepped);
      await pass(cluster, SECOND);
      changeOne(cluster);
      await pass(cluster, SECOND);
    }
    for (const host of stepped.slice(0, 5)) {
      host.kill();
      await cluster.run(SECOND);
      cluster.begin(host.start());
      await cluster.run(2 * SECOND);
      changeOne(cluster, [host]);
    }
    await awaitChanges(cluster);
    await converge(cluster, MINUTE);
    await awaitReturn(cluster, MINUTE);
  },
};
