import { expect, it } from 'vitest';
import { ManualClock, realClock } from '../base/clock.ts';
import { seededRandom } from '../base/random.ts';
import { peerTransportContract } from './contract.ts';
import { MemoryNetwork } from './memory.ts';

peerTransportContract('the network in memory', () => ({
  transport: new MemoryNetwork({ clock: realClock, random: seededRandom(1) }).transport('a'),
  host: 'a',
}));

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function linked() {
  const clock = new ManualClock();
  const network = new MemoryNetwork({ clock, random: seededRandom(1) }, { delayMs: 10 });
  const frames: string[] = [];
  const closes: string[] = [];
  await network.transport('b').listen({ host: 'b', port: 1 }, (connection) => {
    connection.onFrame((frame) => frames.push(Buffer.from(frame).toString()));
    connection.onClose(() => closes.push('b'));
  });
  const connecting = network.transport('a').connect({ host: 'b', port: 1 }, { timeoutMs: 100 });
  clock.advance(10);
  const connection = await connecting;
  connection.onClose(() => closes.push('a'));
  return { clock, network, frames, closes, connection };
}

it('frames take their time, by the injected clock', async () => {
  const { clock, frames, connection } = await linked();
  connection.send(Buffer.from('x'));
  clock.advance(4);
  expect(frames).toEqual([]);
  clock.advance(6);
  expect(frames).toEqual(['x']);
});

it('a cut link holds frames until it is mended, and connecting over it times out', async () => {
  const { clock, network, frames, connection } = await linked();
  network.cut(['a'], ['b']);
  connection.send(Buffer.from('x'));
  connection.send(Buffer.from('y'));
  const refused = network.transport('a').connect({ host: 'b', port: 1 }, { timeoutMs: 100 });
  refused.catch(() => undefined);
  clock.advance(1_000);
  await turn();
  expect(frames).toEqual([]);
  await expect(refused).rejects.toMatchObject({ code: 'unavailable' });
  network.mend();
  clock.advance(10);
  clock.advance(10);
  expect(frames).toEqual(['x', 'y']);
});

it('severing closes both ends', async () => {
  const { clock, network, closes } = await linked();
  network.sever(['b'], ['a']);
  clock.advance(10);
  expect(closes.sort()).toEqual(['a', 'b']);
});
