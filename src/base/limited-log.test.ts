import { describe, expect, it } from 'vitest';
import { ManualClock } from './clock.ts';
import { LimitedLog } from './limited-log.ts';
import { memoryLog } from './log.ts';

describe('LimitedLog', () => {
  it('writes a warning once a minute, with the count of those between', () => {
    const clock = new ManualClock();
    const log = memoryLog();
    const limited = new LimitedLog({ clock, log });
    for (let i = 0; i < 100; i++) limited.warn('a', 'refused', { host: 'a' });
    limited.warn('b', 'refused', { host: 'b' });
    clock.advance(60_000);
    limited.warn('a', 'refused', { host: 'a' });
    expect(log.lines.map(({ fields }) => fields)).toEqual([
      { host: 'a' },
      { host: 'b' },
      { host: 'a', repeated: 99 },
    ]);
  });

  it('does not grow with the number of those who cause them', () => {
    const clock = new ManualClock();
    const log = memoryLog();
    const limited = new LimitedLog({ clock, log });
    for (let i = 0; i < 10_000; i++) limited.warn(`host ${i}`, 'refused', { host: i });
    expect(log.lines.length).toBeLessThan(300);
    clock.advance(60_000);
    limited.warn('another', 'refused', { host: 'another' });
    expect(log.lines.at(-1)?.fields).toEqual({ host: 'another' });
  });
});
