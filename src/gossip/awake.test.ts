import { describe, expect, it } from 'vitest';
import { AwakeTime } from './awake.ts';

describe('awake time', () => {
  it('passes like time while the node is punctual', () => {
    const awake = new AwakeTime();
    for (let now = 0; now <= 5_000; now += 500) awake.observe(now, now - 10);
    expect(awake.at(5_000)).toBe(5_000);
    expect(awake.strain).toBe(0);
  });

  it('stands still from when a step was due to when it came', () => {
    const awake = new AwakeTime();
    awake.observe(1_000, 1_000);
    awake.observe(3_500, 1_500);
    expect(awake.lagMs).toBe(2_000);
    expect(awake.at(3_500)).toBe(1_500);
    expect(awake.moment(awake.at(4_000))).toBe(4_000);
  });

  it('passes while nothing is due and nothing comes', () => {
    const awake = new AwakeTime();
    awake.observe(1_000, 1_000);
    awake.observe(61_000, 61_000);
    expect(awake.lagMs).toBe(0);
  });

  it('widens allowances after a lag, within bounds, for some seconds', () => {
    const awake = new AwakeTime();
    awake.observe(0, 0);
    awake.observe(60_000, 0);
    expect(awake.strain).toBe(3);
    awake.observe(65_000, 65_000);
    expect(awake.strain).toBeCloseTo(1.5);
    for (let now = 65_500; now < 120_000; now += 500) awake.observe(now, now);
    expect(awake.strain).toBe(0);
  });
});
