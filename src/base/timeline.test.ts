import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Timeline } from './timeline.ts';

it('runs in order of time, then of arrangement, as a sorted list would', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(20), fc.boolean())),
      fc.nat(25),
      (arranged: readonly (readonly [number, boolean])[], untilMs) => {
        const timeline = new Timeline();
        const ran: number[] = [];
        for (const [i, [delayMs, isCancelled]] of arranged.entries()) {
          const timer = timeline.after(delayMs, () => ran.push(i));
          if (isCancelled) timer.cancel();
        }
        timeline.runUntil(untilMs);
        const expected = arranged
          .map(([delayMs, isCancelled], i) => ({ delayMs, isCancelled, i }))
          .filter((each) => !each.isCancelled && each.delayMs <= untilMs)
          .sort((a, b) => a.delayMs - b.delayMs || a.i - b.i);
        expect(ran).toEqual(expected.map(({ i }) => i));
        expect(timeline.nowMs()).toBe(untilMs);
      },
    ),
  );
});

it('what an action arranges runs in the same sweep when it is due', () => {
  const timeline = new Timeline(100);
  const ran: string[] = [];
  timeline.after(5, () => {
    ran.push(`a at ${timeline.nowMs()}`);
    timeline.after(0, () => ran.push(`b at ${timeline.nowMs()}`));
    timeline.after(1, () => ran.push('c'));
  });
  timeline.runUntil(105);
  expect(ran).toEqual(['a at 105', 'b at 105']);
});
