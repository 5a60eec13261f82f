import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { lockFile } from './file-lock.ts';

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'portolan-lock-'));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

/** A lock file as process `pid` would have written it. */
async function writeLock(path: string, pid: number): Promise<void> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  const startTime = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
  const bootId = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
  await writeFile(path, `${pid} ${startTime} ${bootId}\n`);
}

describe('a lock', () => {
  it('is refused while its holder runs, naming it', async () => {
    const path = join(directory, 'held');
    const lock = await lockFile(path);
    await expect(lockFile(path)).rejects.toMatchObject({ code: 'conflict', details: { pid: process.pid } });
    await lock.release();
    await (await lockFile(path)).release();
  });

  it('is had by one of many callers in one process', async () => {
    const path = join(directory, 'many');
    const outcomes = await Promise.allSettled(Array.from({ length: 20 }, () => lockFile(path)));
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const outcome of outcomes)
      if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'conflict' });
  });

  it('of a killed process that nobody has reaped yet is free', async () => {
    const path = join(directory, 'zombie');
    // The shell becomes a program that never waits for its child.
    const parent = spawn('sh', ['-c', 'sleep 0 & echo $!; exec sleep 60'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    try {
      const [line] = (await once(parent.stdout, 'data')) as [Buffer];
      const pid = Number(line.toString());
      await vi.waitFor(async () => expect(await readFile(`/proc/${pid}/stat`, 'utf8')).toContain(') Z '));
      await writeLock(path, pid);
      await (await lockFile(path)).release();
    } finally {
      parent.kill('SIGKILL');
    }
  });
});
