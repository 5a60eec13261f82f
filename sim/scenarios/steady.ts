/** Single changes in a healthy cluster, and in one that loses a packet in five. */
import { awaitChanges, changes, SECOND, type Scenario } from '../scenario.ts';

const EVERY_MS = 150;

export const change: Scenario = {
  name: 'change',
  about: '200 single changes in a healthy cluster',
  packetLoss: 0.01,
  durationMs: () => 200 * EVERY_MS,
  run: async (cluster, { durationMs }) => {
    await changes(cluster, Math.ceil(durationMs / EVERY_MS), EVERY_MS);
    await awaitChanges(cluster);
  },
};

export const loss20: Scenario = {
  name: 'loss20',
  about: '50 single changes while a packet in five is lost',
  packetLoss: 0.2,
  durationMs: () => 50 * SECOND,
  run: async (cluster, { durationMs }) => {
    await changes(cluster, Math.ceil(durationMs / SECOND), SECOND);
    await awaitChanges(cluster);
  },
};
