import { expect, it } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { Turns, type TakesTurns } from './turns.ts';

const FRAME_MS = 3;

/** Each frame takes its receiver FRAME_MS. */
class Connection implements TakesTurns {
  readonly #name: string;
  readonly #clock: ManualClock;
  readonly #events: string[];
  frames = 0;
  isPaused = false;

  constructor(name: string, clock: ManualClock, events: string[]) {
    this.#name = name;
    this.#clock = clock;
    this.#events = events;
  }

  takeOne(): boolean {
    this.#events.push(this.#name);
    this.#clock.advance(FRAME_MS);
    return --this.frames > 0;
  }

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
  }
}

/** What was taken in each turn of the event loop, until nobody waits. */
async function turnsOf(events: string[], connections: readonly Connection[]): Promise<string[]> {
  const turns: string[] = [];
  for (;;) {
    turns.push(events.splice(0).join(''));
    if (connections.every(({ frames }) => frames === 0)) return turns;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function world(): { a: Connection; b: Connection; turns: Turns; events: string[] } {
  const clock = new ManualClock();
  const events: string[] = [];
  return {
    a: new Connection('a', clock, events),
    b: new Connection('b', clock, events),
    turns: new Turns({ clock }),
    events,
  };
}

it('what takes a moment is taken at once, and its socket read on', async () => {
  const { a, turns, events } = world();
  a.frames = 1;
  turns.begin(a);
  expect(a.isPaused).toBe(false);
  expect(await turnsOf(events, [a])).toEqual(['a']);
});

it('many are taken over many turns of the event loop, while the socket is not read', async () => {
  const { a, turns, events } = world();
  a.frames = 7;
  turns.begin(a);
  expect(a.isPaused).toBe(true);
  const taken = await turnsOf(events, [a]);
  expect(Math.max(...taken.map((turn) => turn.length))).toBe(2);
  expect(taken.join('')).toBe('aaaaaaa');
  await new Promise((resolve) => setImmediate(resolve));
  expect(a.isPaused).toBe(false);
});

it('one with a single frame waits for one turn of one with many, not for all of them', async () => {
  const { a, b, turns, events } = world();
  a.frames = 20;
  turns.begin(a);
  b.frames = 1;
  turns.begin(b);
  const taken = (await turnsOf(events, [a, b])).join('');
  expect(taken.indexOf('b')).toBeLessThanOrEqual(4);
  expect(taken).toHaveLength(21);
});

it('reads that come one after the other in a turn of the event loop share it, a single frame in each', async () => {
  const { a, turns, events } = world();
  const taken: string[] = [];
  let toCome = 7;
  while (toCome > 0) {
    // As many as the socket gives before it is no longer read.
    while (!a.isPaused && toCome-- > 0) {
      a.frames = 1;
      turns.begin(a);
    }
    taken.push(events.splice(0).join(''));
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(Math.max(...taken.map((turn) => turn.length))).toBe(2);
  expect(taken.join('')).toBe('aaaaaaa');
});
