import { execFileSync, fork } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { memoryLog, silentLog, type Log } from '../base/log.ts';
import { openJournal } from './journal.ts';
import { memoryJournal } from './memory-journal.ts';
import type { Journal } from './types.ts';

let directory: string;
let path: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'portolan-journal-'));
  path = join(directory, 'state');
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const what = "the agent's identity and address blocks";
const reopen = (at = path, log: Log = silentLog): Promise<Journal> =>
  openJournal({ log }, { path: at, what });
const content = (journal: Journal): Record<string, unknown> => Object.fromEntries(journal.entries(''));

async function written(...groups: Record<string, unknown>[]): Promise<Buffer> {
  const journal = await reopen();
  for (const group of groups) await journal.write(group);
  await journal.close();
  return readFileSync(path);
}

describe('what is written', () => {
  it('is read back after reopening, by key and by prefix', async () => {
    await written({ 'grant/a': { epoch: 1 }, 'grant/b': [1, 2] }, { 'grant/a': undefined, other: 'x' });
    const journal = await reopen();
    expect(journal.get('grant/b')).toEqual([1, 2]);
    expect(journal.get('grant/a')).toBeUndefined();
    expect(Array.from(journal.entries('grant/'))).toEqual([['grant/b', [1, 2]]]);
    await journal.close();
  });

  it('is visible at once, and lazy writes reach the disk when closing', async () => {
    const journal = await reopen();
    const pending = journal.write({ a: 1 });
    expect(journal.get('a')).toBe(1);
    journal.writeLazily({ b: 2 });
    journal.writeLazily({ a: 3 });
    await pending;
    await journal.close();
    const again = await reopen();
    expect(content(again)).toEqual({ a: 3, b: 2 });
    await again.close();
  });

  it('reaches the disk lazily without anybody waiting', async () => {
    const journal = await reopen();
    journal.writeLazily({ lazy: true });
    await expect.poll(() => readFileSync(path, 'utf8')).toContain('"lazy"');
    await journal.close();
  });

  it('shares one line among all writes of one turn', async () => {
    const journal = await reopen();
    await Promise.all(Array.from({ length: 50 }, (_, i) => journal.write({ [`key${i}`]: i })));
    await journal.close();
    expect(readFileSync(path, 'utf8').trimEnd().split('\n')).toHaveLength(2);
  });

  it('cannot be changed through the value that was given or got', async () => {
    const journal = await reopen();
    const value = { list: [1] };
    await journal.write({ a: value });
    value.list.push(2);
    (journal.get('a') as typeof value).list.push(3);
    expect(journal.get('a')).toEqual({ list: [1] });
    await journal.close();
  });

  it('agrees with a plain map over any sequence of writes and reopenings, in file and in memory', async () => {
    const key = fc.constantFrom('a', 'b', 'c', '__proto__', 'grün');
    const value = fc.option(
      fc.jsonValue().filter((json) => json !== null),
      { nil: undefined },
    );
    const step = fc.oneof(
      fc.record({ write: fc.array(fc.tuple(key, value)), lazily: fc.boolean() }),
      fc.constant('reopen' as const),
    );
    let run = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
        const at = join(directory, `run${run++}`);
        const disk = new Map<string, string>();
        const memory = memoryJournal(disk);
        const oracle = new Map<string, unknown>();
        let journal = await reopen(at);
        for (const each of steps) {
          if (each === 'reopen') {
            await journal.close();
            journal = await reopen(at);
          } else {
            const changes: Record<string, unknown> = Object.fromEntries(each.write);
            for (const [name, json] of Object.entries(changes))
              if (json === undefined) oracle.delete(name);
              else oracle.set(name, JSON.parse(JSON.stringify(json)));
            memory.writeLazily(changes);
            if (each.lazily) journal.writeLazily(changes);
            else void journal.write(changes);
          }
          expect(new Map(journal.entries(''))).toEqual(oracle);
        }
        await journal.close();
        const again = await reopen(at);
        expect(new Map(again.entries(''))).toEqual(oracle);
        expect(new Map(memoryJournal(disk).entries(''))).toEqual(oracle);
        await again.close();
      }),
      { numRuns: 60 },
    );
  });

  it('keeps the file bounded while one key is written again and again', async () => {
    const journal = await reopen();
    const text = 'x'.repeat(8_000);
    for (let i = 0; i < 200; i++) await journal.write({ a: text + i, [`small${i % 3}`]: i });
    await journal.close();
    expect(statSync(path).size).toBeLessThan(320_000);
    const again = await reopen();
    expect(again.get('a')).toBe(`${text}199`);
    expect(readdirSync(directory).sort()).toEqual(['state', 'state.lock']);
    await again.close();
  });
});

describe('a damaged file', () => {
  it('loses only the torn last line, wherever it was torn, and says so', async () => {
    const first = await written({ a: 1 });
    const whole = await written({ a: 2, b: 'two' });
    for (let end = first.length; end < whole.length; end++) {
      const torn = join(directory, `torn${end}`);
      writeFileSync(torn, whole.subarray(0, end));
      const log = memoryLog();
      const journal = await reopen(torn, log);
      expect(content(journal)).toEqual({ a: 1 });
      expect(log.lines.map((line) => line.level)).toEqual(end === first.length ? [] : ['warn']);
      await journal.write({ c: 3 });
      await journal.close();
      const again = await reopen(torn);
      expect(content(again)).toEqual({ a: 1, c: 3 });
      await again.close();
    }
  });

  it('is refused whichever bit of whichever byte is flipped', async () => {
    const whole = await written({ a: 1 }, { b: 'two' }, { a: undefined });
    for (let at = 0; at < whole.length; at++) {
      const flipped = Buffer.from(whole);
      flipped[at] = (flipped[at] ?? 0) ^ (1 << (at % 8));
      writeFileSync(path, flipped);
      await expect(reopen(), `byte ${at}`).rejects.toMatchObject({ code: 'corrupt' });
    }
    writeFileSync(path, whole);
    await (await reopen()).close();
  });

  it('is refused with its name, the line, what is lost and how to recover', async () => {
    const whole = await written({ a: 1 }, { b: 2 });
    whole[whole.length - 5] = 0x58;
    writeFileSync(path, whole);
    const refused = openJournal(
      { log: silentLog },
      { path, what, recovery: 'restart: the agent registers anew with a new block' },
    );
    await expect(refused).rejects.toMatchObject({
      code: 'corrupt',
      message: `Cannot read "${path}": line 3 is damaged (its checksum does not match): ${what} cannot be trusted and would be lost`,
      remedy:
        'restore the file from a backup, or move it away and restart: the agent registers anew with a new block',
      details: { path, line: 3, lost: what },
    });
    expect(readFileSync(path)).toEqual(whole);
  });

  it.each([
    ['an empty one', ''],
    ['one of another program', 'hello\n'],
  ])('is refused: %s', async (_, text) => {
    writeFileSync(path, text);
    await expect(reopen()).rejects.toMatchObject({ code: 'corrupt' });
  });
});

describe('a disk that refuses', () => {
  it('makes the write fail with its remedy, and the next one stores everything', async () => {
    const journal = await reopen();
    await journal.write({ kept: 1 });
    rmSync(directory, { recursive: true });
    // Garbage has to be thrown out at last, which takes a new file.
    const failing = async (): Promise<void> => {
      for (let i = 0; i < 100; i++) await journal.write({ big: `${'x'.repeat(10_000)}${i}` });
    };
    await expect(failing()).rejects.toMatchObject({
      code: 'unavailable',
      remedy: `free space or mend the file system of "${directory}"`,
    });
    mkdirSync(directory);
    await journal.write({ more: 2 });
    await journal.close();
    const again = await reopen();
    expect(again.get('kept')).toBe(1);
    expect(again.get('more')).toBe(2);
    expect(again.get('big')).toMatch(/^x+[0-9]+$/);
    await again.close();
  });
});

describe('one process only', () => {
  it('may hold it, and closing lets the next one in', async () => {
    const journal = await reopen();
    await expect(reopen()).rejects.toMatchObject({
      code: 'conflict',
      message: `Cannot open "${path}": process ${process.pid} has it`,
    });
    await journal.close();
    await (await reopen()).close();
  });

  it('does not stay locked out by a lock of a process that is gone or whose id is used again', async () => {
    for (const stale of ['4194304 1 x', `${process.pid} 1 x`, '', 'nonsense']) {
      writeFileSync(`${path}.lock`, stale);
      await (await reopen()).close();
    }
  });

  it('refuses writes after closing', async () => {
    const journal = await reopen();
    await journal.close();
    await expect(journal.write({ a: 1 })).rejects.toMatchObject({ code: 'unavailable' });
  });
});

describe('kill -9', () => {
  /** Counts upwards for ever, reporting each acknowledged write. */
  const writer = `
    const journal = await openJournal({ log: silentLog }, { path: process.argv[2], what: 'a counter' });
    for (let count = 0; ; count++) {
      await Promise.all([journal.write({ counter: count }), journal.write({ ['key' + (count % 7)]: 'x'.repeat(5000) })]);
      process.send(count);
    }`;

  function compileWriter(): string {
    const source = join(import.meta.dirname, 'journal.ts');
    const options = [
      '--ignoreConfig',
      '--noCheck',
      '--types',
      'node',
      '--module',
      'nodenext',
      '--target',
      'es2023',
    ];
    const output = ['--rewriteRelativeImportExtensions', '--rootDir', 'src', '--outDir', directory];
    execFileSync('node_modules/.bin/tsc', [...options, ...output, source]);
    symlinkSync(resolve('node_modules'), join(directory, 'node_modules'));
    const imports = [
      "import { openJournal } from './store/journal.js';",
      "import { silentLog } from './base/log.js';",
    ];
    const file = join(directory, 'writer.mjs');
    writeFileSync(join(directory, 'package.json'), '{"type":"module"}');
    writeFileSync(file, imports.join('\n') + writer);
    return file;
  }

  /** Kills the writer as soon as it has reported `reports` writes; the last count it reported. */
  async function writeUntilKilled(program: string, reports: number): Promise<number> {
    const child = fork(program, [path]);
    let last = -1;
    let seen = 0;
    child.on('message', (count) => {
      last = count as number;
      if (++seen === reports) child.kill('SIGKILL');
    });
    await new Promise((resolveExit) => child.once('exit', resolveExit));
    expect(seen).toBeGreaterThanOrEqual(reports);
    return last;
  }

  it('loses no acknowledged write and leaves no lock behind', async () => {
    const program = compileWriter();
    for (const reports of [1, 13, 60, 200]) {
      const acknowledged = await writeUntilKilled(program, reports);
      const journal = await reopen();
      expect(journal.get('counter')).toBeGreaterThanOrEqual(acknowledged);
      await journal.close();
    }
  });
});
