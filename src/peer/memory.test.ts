import { expect, it } from 'vitest';
import { ManualClock, realClock } from '../base/clock.ts';
import { seededRandom } from '../base/random.ts';
import { peerTransportContract } from './contract.ts';
import { MemoryNetwork, type MemoryNetworkInit } from './memory.ts';

peerTransportContract('the network in memory', () => ({
  transport: new MemoryNetwork({ clock: realClock, random: seededRandom(1) }).transport('a'),
  host: 'a',
}));

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function linked(init: MemoryNetworkInit = { delayMs: 10 }) {
  const clock = new ManualClock();
  const network = new MemoryNetwork({ clock, random: seededRandom(1) }, init);
  const frames: string[] = [];
  const closes: string[] = [];
  await network.transport('b').listen({ host: 'b', port: 1 }, (connection) => {
    connection.onFrame((frame) => frames.push(Buffer.from(frame).toString()));
    connection.onClose(() => closes.push('b'));
  });
  const connecting = network.transport('a').connect({ host: 'b', port: 1 }, { timeoutMs: 9_000 });
  clock.advance(8_000);
  const connection = await connecting;
  connection.onClose(() => closes.push('a'));
  return { clock, network, frames, closes, connection };
}

it('frames take their time, by the injected clock', async () => {
  const { clock, frames, connection } = await linked();
  connection.send(Buffer.from('x'));
  clock.advance(4);
  expect(frames).toEqual([]);
  clock.advance(100);
  expect(frames).toEqual(['x']);
});

it('a lost packet comes later, and so does what was sent behind it', async () => {
  const { clock, network, frames, connection } = await linked({ delayMs: 1 });
  network.packetLoss = 0.5;
  const sent = Array.from({ length: 20 }, (_, i) => String(i));
  for (const text of sent) connection.send(Buffer.from(text));
  clock.advance(100);
  expect(frames.length).toBeLessThan(20);
  clock.advance(200_000);
  expect(frames).toEqual(sent);
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
  clock.advance(100);
  expect(frames).toEqual(['x', 'y']);
});

it('a stream over a link that is healed goes on when it would be repeated', async () => {
  const { clock, network, frames, connection } = await linked({ delayMs: 1 });
  network.cut(['a'], ['b']);
  connection.send(Buffer.from('x'));
  clock.advance(1_000);
  network.heal();
  clock.advance(100);
  expect(frames).toEqual([]);
  clock.advance(1_000);
  expect(frames).toEqual(['x']);
});

it('without acknowledgements a stream stops after its first window', async () => {
  const { clock, network, frames, connection } = await linked({ delayMs: 1 });
  network.cutOneWay(['b'], ['a']);
  for (let i = 0; i < 30; i++) {
    connection.send(Buffer.from(String(i)));
    clock.advance(100);
  }
  expect(frames).toHaveLength(10);
  network.heal();
  clock.advance(60_000);
  expect(frames).toHaveLength(30);
});

it('a crashed host says nothing; once it is back it resets what it does not know', async () => {
  const { clock, network, closes, connection } = await linked();
  network.host('b').crash();
  connection.send(Buffer.from('x'));
  clock.advance(10_000);
  expect(closes).toEqual([]);
  network.host('b').boot();
  clock.advance(20_000);
  expect(closes).toEqual(['a']);
});

it('a killed program resets its connections', async () => {
  const { clock, network, closes } = await linked();
  network.host('b').kill();
  clock.advance(100);
  expect(closes).toEqual(['a']);
});

it('a frozen host gets everything when it thaws', async () => {
  const { clock, network, frames, connection } = await linked();
  network.host('b').freeze();
  connection.send(Buffer.from('x'));
  connection.close();
  clock.advance(5_000);
  expect(frames).toEqual([]);
  network.host('b').thaw();
  expect(frames).toEqual(['x']);
});

it('a program that is frozen hears of a connection when it thaws', async () => {
  const clock = new ManualClock();
  const network = new MemoryNetwork({ clock, random: seededRandom(1) }, { delayMs: 10 });
  let accepted = 0;
  await network.transport('b').listen({ host: 'b', port: 1 }, () => accepted++);
  const connecting = network.transport('a').connect({ host: 'b', port: 1 }, { timeoutMs: 9_000 });
  // The answer is on its way when the dialler freezes, and comes out of its backlog while the other is frozen again.
  const [a, b] = [network.host('a'), network.host('b')];
  b.freeze();
  clock.advance(8_000);
  a.freeze();
  b.thaw();
  b.freeze();
  a.thaw();
  await connecting;
  expect(accepted).toBe(0);
  b.thaw();
  expect(accepted).toBe(1);
});

it('severing closes both ends', async () => {
  const { clock, network, closes } = await linked();
  network.sever(['b'], ['a']);
  clock.advance(10);
  expect(closes.sort()).toEqual(['a', 'b']);
});
