/** Beats beside the streams: what is saved by them, and what happens where they do not get through. */
import { expect, it } from 'vitest';
import { ExchangeWorld } from '../../test/support/exchange-world.ts';
import { BEAT_MS } from '../gossip/pulse.ts';

const SECONDS = 20;
/** With beats on the streams; spare peers are exchanged, too, and that remains. */
const BEATS = 1_000 / BEAT_MS;

/** Frames a second and link that eight idle nodes exchange while some of the datagrams vanish. */
async function framesOf(drops: (bytes: Uint8Array) => boolean): Promise<number> {
  const world = new ExchangeWorld();
  // Frames are JSON.
  world.network.drops = (bytes) => bytes[0] !== 0x7b && drops(bytes);
  await world.addMany(8);
  await world.run(10_000, 20);
  const sent = (): number =>
    world.nodes.reduce((sum, { exchange }) => sum + exchange.stats().messagesSent, 0);
  const links = world.nodes.reduce((sum, { exchange }) => sum + exchange.stats().activePeers, 0);
  const before = sent();
  await world.run(SECONDS * 1_000, 20);
  const frames = sent() - before;
  for (const { exchange } of world.nodes) {
    expect(exchange.members().map(({ state }) => state)).toEqual(Array.from({ length: 7 }, () => 'alive'));
    expect(exchange.stats().falseSuspicions).toBe(0);
  }
  await world.close();
  return frames / SECONDS / links;
}

it('make beats and comparisons on the streams unnecessary', async () => {
  expect(await framesOf(() => false)).toBeLessThan(BEATS / 4);
});

it('may be lost, each of which costs a question and its answer; if all are, the streams have beats as before', async () => {
  const oneIn = (n: number): Promise<number> => {
    let count = 0;
    return framesOf(() => ++count % n === 0);
  };
  expect(await oneIn(50)).toBeLessThan(BEATS / 4);
  expect(await oneIn(5)).toBeLessThan(0.8 * BEATS);
  expect(await oneIn(1)).toBeGreaterThan(0.9 * BEATS);
});
