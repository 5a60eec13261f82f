import { describe, expect, it } from 'vitest';
import { ManualClock, type Clock } from '../base/clock.ts';
import { Rounds } from './rounds.ts';

interface Bed {
  readonly clock: ManualClock;
  readonly rounds: Rounds<number>;
  /** Reasons of the rounds that have begun. */
  readonly begun: string[];
  /** Ends the running round. */
  finish(failed?: boolean): Promise<void>;
}

function makeBed(its?: Clock, untilSweepMs?: () => number): Bed {
  const clock = new ManualClock();
  const begun: string[] = [];
  let end: ((failed: boolean) => void) | undefined;
  const rounds = new Rounds<number>(
    { clock: its ?? clock },
    {
      sweepMs: 60_000,
      ...(untilSweepMs && { untilSweepMs }),
      run: (reason) => {
        begun.push(reason);
        return new Promise((resolve) => {
          end = (failed) => resolve({ report: begun.length, failed });
        });
      },
    },
  );
  rounds.start();
  const finish = async (failed = false): Promise<void> => {
    end?.(failed);
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { clock, rounds, begun, finish };
}

describe('Rounds', () => {
  it('runs one round at a time, and one more for all that was asked meanwhile', async () => {
    const { clock, rounds, begun, finish } = makeBed();
    clock.advance(0);
    rounds.now('a');
    rounds.now('b');
    clock.advance(10);
    expect(begun).toEqual(['start']);
    await finish();
    expect(begun).toHaveLength(2);
    await finish();
    clock.advance(1_000);
    expect(begun).toHaveLength(2);
  });

  it('begins the round that a timer asked for before its time, while another one ran', async () => {
    const clock = new ManualClock();
    const { rounds, begun, finish } = makeBed({
      wallMs: () => clock.wallMs(),
      nowMs: () => clock.nowMs(),
      after: (delayMs, action) => clock.after(Math.max(0, delayMs - 5), action),
    });
    clock.advance(0);
    rounds.soon('route delete');
    clock.advance(16);
    expect(begun).toEqual(['start']);
    await finish();
    expect(begun).toEqual(['start', 'route delete']);
    await finish();
    rounds.now('a');
    clock.advance(0);
    expect(begun).toEqual(['start', 'route delete', 'a']);
  });

  it('sweeps when nothing else happens', async () => {
    const { clock, begun, finish } = makeBed();
    clock.advance(0);
    await finish();
    clock.advance(60_000);
    expect(begun).toEqual(['start', 'sweep']);
  });

  it('sweeps when it is time, whatever rounds there were before', async () => {
    let untilSweepMs = 60_000;
    const { clock, rounds, begun, finish } = makeBed(undefined, () => untilSweepMs);
    clock.advance(0);
    await finish();
    clock.advance(50_000);
    untilSweepMs = 10_000;
    rounds.now('records');
    clock.advance(0);
    await finish();
    clock.advance(9_999);
    expect(begun).toEqual(['start', 'records']);
    clock.advance(1);
    expect(begun).toEqual(['start', 'records', 'sweep']);
  });

  it('gathers a burst of foreign changes into one round', async () => {
    const { clock, rounds, begun, finish } = makeBed();
    clock.advance(0);
    await finish();
    for (let i = 0; i < 100; i++) rounds.soon('route delete');
    clock.advance(19);
    expect(begun).toHaveLength(1);
    clock.advance(1);
    expect(begun).toHaveLength(2);
  });

  it('spaces the rounds of a quarrel by their cost, but never so that a repair takes a second', async () => {
    const { clock, rounds, begun, finish } = makeBed();
    clock.advance(0);
    clock.advance(400);
    await finish();
    rounds.soon('route delete');
    clock.advance(499);
    expect(begun).toHaveLength(1);
    clock.advance(1);
    expect(begun).toHaveLength(2);
  });

  it('does what we know of at once, also when a foreign change is already waiting', async () => {
    const { clock, rounds, begun, finish } = makeBed();
    clock.advance(0);
    await finish();
    rounds.soon('route delete');
    rounds.now('record');
    clock.advance(0);
    expect(begun).toEqual(['start', 'record']);
  });

  it('tries again after a failure, ever later, and starts over after a success', async () => {
    const { clock, begun, finish } = makeBed();
    clock.advance(0);
    for (const waitMs of [1_000, 2_000, 4_000]) {
      const before = begun.length;
      await finish(true);
      clock.advance(waitMs - 1);
      expect(begun).toHaveLength(before);
      clock.advance(1);
      expect(begun.at(-1)).toBe('retry');
    }
    await finish(false);
    clock.advance(59_999);
    expect(begun).toHaveLength(4);
  });

  it('answers settle with a round that began after the call', async () => {
    const { clock, rounds, finish } = makeBed();
    clock.advance(0);
    const settled = rounds.settle();
    await finish();
    await finish();
    expect(await settled).toBe(2);
  });

  it('begins nothing after stop and rejects who waits', async () => {
    const { clock, rounds, begun, finish } = makeBed();
    clock.advance(0);
    const waiting = rounds.settle().catch((error: unknown) => error);
    const stopped = rounds.stop();
    await finish();
    await stopped;
    expect(await waiting).toMatchObject({ code: 'unavailable' });
    rounds.now('late');
    clock.advance(120_000);
    expect(begun).toEqual(['start']);
  });
});
