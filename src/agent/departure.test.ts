import { expect, it } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { Departure } from './departure.ts';

function departure() {
  const clock = new ManualClock();
  const told: number[] = [];
  const made = new Departure({ clock }, { onRemoved: () => told.push(clock.nowMs()) });
  return { clock, told, departure: made };
}

it('a removed node ends at once', () => {
  const { told, departure: made } = departure();
  made.removed();
  expect(told).toHaveLength(1);
});

it('one that leaves ends after the answer, also when the records tell of it first', async () => {
  const { clock, told, departure: made } = departure();
  const answered = made.leave(() => {
    made.removed();
    return Promise.resolve('left');
  });
  expect(await answered).toBe('left');
  expect(told).toEqual([]);
  clock.advance(100);
  expect(told).toHaveLength(1);
});

it('one that could not leave goes on, unless it was removed meanwhile', async () => {
  const { clock, told, departure: made } = departure();
  await expect(made.leave(() => Promise.reject(new Error('no master')))).rejects.toThrow('no master');
  clock.advance(1_000);
  expect(told).toEqual([]);
  const refused = made.leave(() => {
    made.removed();
    return Promise.reject(new Error('no such node'));
  });
  await expect(refused).rejects.toThrow('no such node');
  clock.advance(1_000);
  expect(told).toHaveLength(1);
});
