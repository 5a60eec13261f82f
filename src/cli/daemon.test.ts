import { describe, expect, it } from 'vitest';
import { realClock } from '../base/clock.ts';
import { silentLog } from '../base/log.ts';
import { runUntilSignal, type Daemon } from './daemon.ts';

/** What keeps this process alive. */
const held = (): number => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;

describe('a daemon', () => {
  it('lives while it starts, also where it waits only for a clock, which keeps nobody alive', async () => {
    const before = held();
    const during: number[] = [];
    const start = async (): Promise<Daemon> => {
      await new Promise<void>((resolve) => {
        realClock.after(1, resolve);
        during.push(held());
      });
      throw new Error('it fails');
    };
    await expect(runUntilSignal(silentLog, start)).rejects.toThrow('it fails');
    expect(during).toEqual([before + 1]);
    expect(held()).toBe(before);
  });
});
