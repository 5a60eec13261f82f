import { appendFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseLog, readLog } from './container-log.ts';

const line = (stream: string, tag: string, text: string): string =>
  `2026-11-21T01:00:00.000000000+00:00 ${stream} ${tag} ${text}`;

describe('parseLog', () => {
  it('joins what conmon cut and keeps both streams in order', () => {
    const log = [
      line('stdout', 'F', 'hello'),
      line('stderr', 'P', 'first half, '),
      line('stderr', 'F', 'second half'),
      '',
    ].join('\n');
    expect(parseLog(log)).toEqual([
      { stream: 'stdout', text: 'hello\n' },
      { stream: 'stderr', text: 'first half, second half\n' },
    ]);
  });

  it("reads Docker's lines, which end where they say", () => {
    const log = [
      JSON.stringify({ log: 'one\n', stream: 'stdout', time: '2026-11-21T01:00:00Z' }),
      JSON.stringify({ log: 'half', stream: 'stdout', time: '2026-11-21T01:00:00Z' }),
      JSON.stringify({ log: 'oops\n', stream: 'stderr', time: '2026-11-21T01:00:00Z' }),
      '',
    ].join('\n');
    expect(parseLog(log)).toEqual([
      { stream: 'stdout', text: 'one\nhalf' },
      { stream: 'stderr', text: 'oops\n' },
    ]);
  });

  it('takes nothing from an empty or broken log', () => {
    for (const log of ['', 'half a li', '{"log":"ha', '{"log":1}']) expect(parseLog(log)).toEqual([]);
  });
});

describe('readLog', () => {
  let directory = '';
  let path = '';
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'plrt-log-'));
    path = join(directory, 'log');
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  it('goes on where it ended, by whole lines, and begins anew with a new log', async () => {
    expect(await readLog(path, 0)).toEqual({ entries: [], next: 0 });
    await writeFile(path, `${line('stdout', 'F', 'one')}\n${line('stdout', 'F', 'tw')}`);
    const first = await readLog(path, 0);
    expect(first.entries).toEqual([{ stream: 'stdout', text: 'one\n' }]);
    expect(await readLog(path, first.next)).toEqual({ entries: [], next: first.next });
    await appendFile(path, 'o\n');
    expect((await readLog(path, first.next)).entries).toEqual([{ stream: 'stdout', text: 'two\n' }]);
    await writeFile(path, `${line('stdout', 'F', 'x')}\n`);
    expect((await readLog(path, 1000)).entries).toEqual([{ stream: 'stdout', text: 'x\n' }]);
  });
});
