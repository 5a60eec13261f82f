import { describe, expect, it } from 'vitest';
import { ManualClock, sleep } from './clock.ts';

describe('ManualClock', () => {
  it('fires due timers in order of time and moves to each', () => {
    const clock = new ManualClock(0);
    const seen: string[] = [];
    clock.after(20, () => seen.push(`b@${clock.nowMs()}`));
    clock.after(10, () => {
      seen.push(`a@${clock.nowMs()}`);
      clock.after(5, () => seen.push(`c@${clock.nowMs()}`));
    });
    clock.after(30, () => seen.push('late')).cancel();
    clock.advance(25);
    expect(seen).toEqual(['a@10', 'c@15', 'b@20']);
    expect(clock.nowMs()).toBe(25);
  });
});

describe('sleep()', () => {
  it('rejects with the reason of its signal', async () => {
    const controller = new AbortController();
    const sleeping = sleep(60_000, controller.signal);
    controller.abort(new Error('enough'));
    await expect(sleeping).rejects.toThrow('enough');
  });
});
