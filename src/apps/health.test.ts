import { describe, expect, it } from 'vitest';
import { healthCheck, type TaskHealth } from '../model/task.ts';
import { countAnswer, isHealthy } from './health.ts';

const check = (change: Readonly<Record<string, unknown>> = {}) =>
  healthCheck.parse({
    protocol: 'HTTP',
    grace_s: 10,
    interval_s: 1,
    timeout_s: 1,
    delay_s: 0,
    max_failures: 3,
    ...change,
  });
const failed = { ok: false, cause: 'HTTP status 503' } as const;

/** Answers in order, each with its second after the start: what is known after the last, and who is killed. */
function answers(
  given: readonly (readonly [second: number, ok: boolean])[],
  wish = check(),
): { health: TaskHealth | undefined; killed: readonly number[] } {
  let health: TaskHealth | undefined;
  const killed: number[] = [];
  for (const [second, ok] of given) {
    const times = { startedMs: 0, nowMs: second * 1000 };
    const outcome = countAnswer(0, wish, health, ok ? { ok } : failed, times);
    health = outcome.health ?? health;
    if (outcome.kill) killed.push(second);
  }
  return { health, killed };
}

describe('counting answers', () => {
  it('forgives failures within the grace period until the first success, and no longer', () => {
    expect(
      answers([
        [1, false],
        [9, false],
      ]),
    ).toEqual({ health: undefined, killed: [] });
    expect(
      answers([
        [1, true],
        [2, false],
      ]).health,
    ).toMatchObject({ alive: false, consecutive_failures: 1 });
    expect(answers([[11, false]]).health).toMatchObject({ alive: false, consecutive_failures: 1 });
  });

  it('kills at so many failures in a row, and counts anew after a success', () => {
    expect(
      answers([
        [11, false],
        [12, false],
        [13, false],
      ]).killed,
    ).toEqual([13]);
    expect(
      answers([
        [11, false],
        [12, false],
        [13, true],
        [14, false],
        [15, false],
      ]).killed,
    ).toEqual([]);
  });

  it('never kills for a check of Marathon with 0, but for one of Mesos at once', () => {
    const many = Array.from({ length: 9 }, (_, i) => [20 + i, false] as const);
    expect(answers(many, check({ max_failures: 0 })).killed).toEqual([]);
    expect(answers([[20, false]], check({ max_failures: 0, protocol: 'MESOS_TCP' })).killed).toEqual([20]);
  });

  it('notes when it was well first and last, when not, and why', () => {
    expect(
      answers([
        [1, true],
        [2, true],
        [3, false],
      ]).health,
    ).toEqual({
      index: 0,
      alive: false,
      consecutive_failures: 1,
      first_success: '1970-01-01T00:00:01.000Z',
      last_success: '1970-01-01T00:00:02.000Z',
      last_failure: '1970-01-01T00:00:03.000Z',
      last_failure_cause: 'HTTP status 503',
    });
  });
});

it('is healthy when every check is, and not when one is not', () => {
  const alive = { index: 0, alive: true, consecutive_failures: 0 };
  const dead = { index: 1, alive: false, consecutive_failures: 1 };
  expect(isHealthy(0, [])).toBeUndefined();
  expect(isHealthy(2, [alive])).toBeUndefined();
  expect(isHealthy(2, [alive, { ...alive, index: 1 }])).toBe(true);
  expect(isHealthy(2, [dead])).toBe(false);
});
