import { describe, expect, it } from 'vitest';
import { seededRandom } from '../base/random.ts';
import { newNodeId } from '../model/names.ts';
import { Attempts, backoffMs, JoinThrottle, PASSIVE_VIEW, PassiveView } from './views.ts';

const random = seededRandom(1);

describe('the passive view', () => {
  it('holds so many, the latest among them', () => {
    const view = new PassiveView(random);
    const ids = Array.from({ length: 100 }, () => newNodeId(random));
    for (const id of ids) view.add(id, '10.0.0.1:1');
    expect(view.entries()).toHaveLength(PASSIVE_VIEW);
    expect(view.entries().map(([node]) => node)).toContain(ids.at(-1));
    expect(view.sample(5)).toHaveLength(5);
  });

  it('knows when it differs from what was kept', () => {
    const view = new PassiveView(random);
    const id = newNodeId(random);
    view.add(id, '10.0.0.1:1');
    expect(view.isDirty).toBe(true);
    view.isDirty = false;
    view.add(id, '10.0.0.1:1');
    expect(view.isDirty).toBe(false);
    view.add(id, '10.0.0.2:1');
    expect(view.isDirty).toBe(true);
  });
});

describe('attempts', () => {
  it('are one at a time for an address, and wait longer after each failure', () => {
    const attempts = new Attempts(random);
    attempts.begin('a');
    expect(attempts.isFit('a', 0)).toBe(false);
    expect(attempts.dialling).toBe(1);
    attempts.failed('a', 0);
    expect(attempts.dialling).toBe(0);
    expect(attempts.isFit('a', 100)).toBe(false);
    expect(attempts.isFit('a', 500)).toBe(true);
    expect(backoffMs(1, 0)).toBe(250);
    expect(backoffMs(3, 0)).toBe(1_000);
    expect(backoffMs(1_000, 0.999)).toBeLessThanOrEqual(5_000);
  });

  it('are not made soon at one that refused although it failed since, and never at itself', () => {
    const attempts = new Attempts(random);
    attempts.refused('a', 0);
    attempts.failed('a', 1);
    attempts.never('self');
    expect(attempts.isFit('a', 100_000)).toBe(false);
    expect(attempts.isFit('a', 121_000)).toBe(true);
    expect(attempts.isFit('self', 1e12)).toBe(false);
  });

  it('at however many addresses are remembered within bounds', () => {
    const attempts = new Attempts(random);
    for (let i = 0; i < 10_000; i++) attempts.failed(`10.0.0.1:${i}`, 0);
    expect(attempts.isFit('10.0.0.1:1', 1)).toBe(true);
    expect(attempts.isFit('10.0.0.1:9999', 1)).toBe(false);
  });
});

it('joins are let through up to 25 a second', () => {
  const throttle = new JoinThrottle();
  let taken = 0;
  for (let now = 100_000; now < 110_000; now += 5) if (throttle.take(now)) taken++;
  expect(taken).toBeGreaterThanOrEqual(270);
  expect(taken).toBeLessThanOrEqual(276);
});
