/** `npm run demo`, as a user sees it. */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { labDown } from '../../src/lab/down.ts';
import { story } from '../../src/lab/demo-story.ts';
import { rootNetwork, tracesOf } from '../support/machine.ts';

const program = 'dist/main.js';

describe('lab demo', () => {
  const lab = `plbm${randomBytes(2).toString('hex')}`;

  it('tells every step, ends with the table, and leaves the machine as it was', async () => {
    const before = rootNetwork();
    try {
      const { stdout } = await promisify(execFile)(process.execPath, [program, 'lab', 'demo', '--lab', lab]);
      for (const step of story) expect(stdout).toContain(step.title);
      expect(stdout).not.toContain('✗');
      expect(stdout).toContain(`${story.length} of ${story.length} steps held`);
      expect(stdout).toMatch(/web6\s+agent4/);
    } finally {
      await labDown(lab, () => undefined).catch(() => undefined);
    }
    expect(tracesOf(lab)).toEqual([]);
    expect(rootNetwork()).toEqual(before);
  });

  it('cleans up after Ctrl-C', async () => {
    const running = execFile(process.execPath, [program, 'lab', 'demo', '--lab', lab]);
    const ended = new Promise<number | null>((resolve) => running.once('exit', resolve));
    // The first line is printed when the lab is up.
    await new Promise<void>((resolve) => running.stdout?.once('data', () => resolve()));
    running.kill('SIGINT');
    expect(await ended).toBe(130);
    expect(tracesOf(lab)).toEqual([]);
  });
});
