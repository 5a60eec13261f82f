import { spawn } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { IdleWatch } from './idle-watch.ts';
import { ioMark } from './process.ts';

function watched(mark: () => string | undefined): { watch: IdleWatch; pass: (ms: number) => boolean } {
  const clock = new ManualClock();
  const watch = new IdleWatch({ clock }, { limitMs: 60_000 });
  watch.start(mark);
  const pass = (ms: number): boolean => {
    for (let passed = 0; passed < ms; passed += 1000) clock.advance(1000);
    return watch.signal.aborted;
  };
  return { watch, pass };
}

describe('work that is watched', () => {
  it('is given up when it has stood still for as long as the limit', () => {
    const { pass } = watched(() => 'same');
    expect(pass(59_000)).toBe(false);
    expect(pass(2_000)).toBe(true);
  });

  it('may take as long as it likes while it moves, however little, or waits for something else', () => {
    let looks = 0;
    expect(watched(() => String(Math.floor(looks++ / 5))).pass(3_600_000)).toBe(false);
    expect(watched(() => undefined).pass(3_600_000)).toBe(false);
  });

  it('is watched no longer when it has ended', () => {
    const { watch, pass } = watched(() => 'same');
    watch.stop();
    expect(pass(120_000)).toBe(false);
  });
});

describe('ioMark()', () => {
  it('is another one when the process has read or written, and the same when it has only waited', async () => {
    const child = spawn('cat', { stdio: ['pipe', 'pipe', 'ignore'] });
    const pid = child.pid ?? 0;
    const echo = async (text: string): Promise<void> => {
      const answered = new Promise((resolve) => {
        child.stdout.once('data', resolve);
      });
      child.stdin.write(text);
      await answered;
    };
    await echo('one');
    const before = ioMark(pid);
    expect(before).toMatch(/^rchar: [0-9]+\nwchar: [0-9]+$/);
    await echo('two');
    const after = ioMark(pid);
    expect(after).not.toBe(before);
    expect(ioMark(pid)).toBe(after);
    child.stdin.end();
    await new Promise((resolve) => {
      child.once('close', resolve);
    });
    expect(ioMark(pid)).toBeUndefined();
  });
});
