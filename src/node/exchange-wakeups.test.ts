/** What an idle node costs: how often it wakes up, and how much it says. */
import { expect, it } from 'vitest';
import { ExchangeWorld, PORT } from '../../test/support/exchange-world.ts';
import type { Clock } from '../base/clock.ts';
import { silentLog } from '../base/log.ts';
import { createMetrics } from '../base/metrics.ts';
import { seededRandom } from '../base/random.ts';
import { BEAT_MS } from '../gossip/pulse.ts';
import { newNodeId, type NodeId } from '../model/names.ts';
import { keys } from '../model/record.ts';
import { memoryJournal } from '../store/memory-journal.ts';
import { openExchange } from './exchange.ts';

const SECONDS = 20;

/** Timers of a lonely node that fired, each `earlyMs` before its time. */
async function timersOf(earlyMs: number): Promise<number> {
  const world = new ExchangeWorld();
  let count = 0;
  const clock: Clock = {
    nowMs: () => world.clock.nowMs(),
    wallMs: () => world.clock.wallMs(),
    after: (delayMs, action) =>
      world.clock.after(Math.max(0.1, delayMs - earlyMs), () => {
        count++;
        action();
      }),
  };
  const random = seededRandom(1);
  const host = '10.0.0.1';
  const exchange = await openExchange(
    {
      clock,
      random,
      log: silentLog,
      metrics: createMetrics(),
      journal: memoryJournal(new Map()),
      transport: world.network.transport(host),
    },
    { cluster: world.cluster, node: newNodeId(random), listen: { host, port: PORT }, contacts: [] },
  );
  await world.run(SECONDS * 1_000, 100);
  await exchange.close();
  return count;
}

it('a timer that fires a little early, as those of Node do, is not followed by another', async () => {
  const punctual = await timersOf(0);
  expect(await timersOf(0.7)).toBeLessThanOrEqual(punctual + 2);
});

it('in an idle cluster each node says little more than its beats', async () => {
  const world = new ExchangeWorld();
  await world.addMany(9);
  await world.run(10_000, 20);
  const links = world.nodes.reduce((sum, { exchange }) => sum + exchange.stats().activePeers, 0);
  const before = total(world);
  await world.run(SECONDS * 1_000, 20);
  const beats = links / (BEAT_MS / 1_000);
  const comparisons = world.nodes.length * 1.5;
  expect((total(world) - before) / SECONDS).toBeLessThan(1.1 * beats + comparisons);
  await world.close();
});

/** Messages of all for what each of 24 nodes writes within 100 ms, without those of the same time in which none writes. */
async function messagesFor(seed: number, key: (node: NodeId) => string): Promise<number> {
  const world = new ExchangeWorld(seed);
  await world.addMany(24);
  await world.run(10_000, 20);
  const sent = async (write: boolean): Promise<number> => {
    const before = total(world);
    for (const { node, exchange } of world.nodes) {
      if (write) void exchange.publish(key(node), { revision: 1, set: 'x', at: 1, took_ms: 1 });
      await world.run(4, 1);
    }
    await world.run(2_000, 5);
    return total(world) - before;
  };
  const idle = await sent(false);
  const messages = await sent(true);
  expect(world.areEqual()).toBe(true);
  await world.close();
  return messages - idle;
}

function total(world: ExchangeWorld): number {
  return world.nodes.reduce((sum, { exchange }) => sum + exchange.stats().messagesSent, 0);
}

it(
  'what every node reports after one change goes in far fewer messages, and reaches all',
  { timeout: 60_000 },
  async () => {
    let [reports, others] = [0, 0];
    // One world alone says little: its share is anything from a third to three quarters.
    for (const seed of [1, 2, 3, 4, 5]) {
      reports += await messagesFor(seed, (node) => keys.applied(node));
      others += await messagesFor(seed, (node) => `node/${node}/other`);
    }
    expect(reports).toBeLessThan(0.65 * others);
  },
);
