import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { silentLog } from '../base/log.ts';
import { installPlugin, syncConflists } from './cni-config.ts';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'pcn-config-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const sync = (...overlays: string[]): Promise<void> =>
  syncConflists({ log: silentLog }, { directory, overlays });

describe('files for runtimes', () => {
  test('each overlay has its list, and loses it when it goes', async () => {
    await sync('dcos', 'dcos6');
    expect((await readdir(directory)).toSorted()).toEqual(['dcos.conflist', 'dcos6.conflist']);
    await sync('dcos');
    expect(await readdir(directory)).toEqual(['dcos.conflist']);
  });
  test('a list that is right already is not written again', async () => {
    await sync('dcos');
    const before = await stat(join(directory, 'dcos.conflist'));
    await sync('dcos');
    expect((await stat(join(directory, 'dcos.conflist'))).ino).toBe(before.ino);
  });
  test('a list that somebody changed is mended while it is still ours', async () => {
    const path = join(directory, 'dcos.conflist');
    await writeFile(path, JSON.stringify({ name: 'x', plugins: [{ type: 'portolan-cni' }] }));
    await sync('dcos');
    expect(await readFile(path, 'utf8')).toContain('"name": "dcos"');
  });
  test("others' files are neither removed nor overwritten", async () => {
    const chained = JSON.stringify({
      name: 'chained',
      plugins: [{ type: 'portolan-cni' }, { type: 'tuning' }],
    });
    await writeFile(join(directory, 'mine.conflist'), chained);
    await writeFile(join(directory, 'other.conflist'), 'no JSON');
    await writeFile(join(directory, 'dcos.conflist'), chained);
    await expect(sync('dcos')).rejects.toThrow('a file of another owner is there');
    expect(await readFile(join(directory, 'mine.conflist'), 'utf8')).toBe(chained);
    expect(await readFile(join(directory, 'dcos.conflist'), 'utf8')).toBe(chained);
  });
  test("an operator's own list for an overlay takes the place of ours, until it goes", async () => {
    await sync('dcos', 'dcos6');
    const [first, chain] = [
      { name: 'dcos', plugins: [{ type: 'portolan-cni' }] },
      { name: 'dcos6', plugins: [{ type: 'portolan-cni' }, { type: 'tuning' }] },
    ].map((list) => JSON.stringify(list));
    await writeFile(join(directory, '10-dcos.conflist'), first ?? '');
    await writeFile(join(directory, 'dcos6.conflist'), chain ?? '');
    await sync('dcos', 'dcos6');
    expect((await readdir(directory)).toSorted()).toEqual(['10-dcos.conflist', 'dcos6.conflist']);
    expect(await readFile(join(directory, 'dcos6.conflist'), 'utf8')).toBe(chain);
    await rm(join(directory, '10-dcos.conflist'));
    await sync('dcos');
    expect((await readdir(directory)).toSorted()).toEqual(['dcos.conflist', 'dcos6.conflist']);
  });
  test('the executable is installed whole, executable, and again only when it differs', async () => {
    const source = join(directory, 'source');
    const target = join(directory, 'bin');
    await writeFile(source, 'one');
    await installPlugin(source, target);
    const first = await stat(join(target, 'portolan-cni'));
    expect(first.mode & 0o777).toBe(0o755);
    await installPlugin(source, target);
    expect((await stat(join(target, 'portolan-cni'))).ino).toBe(first.ino);
    await writeFile(source, 'two');
    await installPlugin(source, target);
    expect(await readFile(join(target, 'portolan-cni'), 'utf8')).toBe('two');
    expect(await readdir(target)).toEqual(['portolan-cni']);
  });
});
