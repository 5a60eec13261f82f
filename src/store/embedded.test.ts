import { mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { open } from 'lmdb';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { silentLog } from '../base/log.ts';
import { testStoreContract } from './contract.ts';
import { openEmbeddedStore } from './embedded.ts';
import type { Store } from './types.ts';

const newDir = () => mkdtemp(join(tmpdir(), 'portolan-store-'));
const openIn = (dir: string): Promise<Store> => openEmbeddedStore({ log: silentLog }, { dir });

testStoreContract('LMDB', async () => {
  const dir = await newDir();
  return { open: () => openIn(dir), clean: () => rm(dir, { recursive: true, force: true }) };
});

describe('a damaged embedded store', () => {
  let dir: string;
  beforeEach(async () => {
    dir = await newDir();
    const store = await openIn(dir);
    const big = JSON.stringify('x'.repeat(2000));
    await store.transact([], [{ do: 'put', key: 'nodes/a', value: '{"blocks":"of-a"}' }]);
    for (let i = 0; i < 20; i++) await store.transact([], [{ do: 'put', key: `nodes/n${i}`, value: big }]);
    await store.close();
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));

  test('names the key whose value was changed', async () => {
    const path = join(dir, 'data.mdb');
    const bytes = await readFile(path);
    for (let at = bytes.indexOf('of-a'); at >= 0; at = bytes.indexOf('of-a', at)) bytes.write('of-b', at);
    await writeFile(path, bytes);
    const store = await openIn(dir);
    await expect(store.get('nodes/a')).rejects.toMatchObject({ code: 'corrupt', field: 'nodes/a' });
    await expect(store.range('nodes/')).rejects.toMatchObject({
      remedy: expect.stringContaining('restore') as string,
    });
    await store.close();
  });

  test('names the key under which a value of another key was put', async () => {
    const root = open({ path: dir, noSubdir: false, maxDbs: 2, encoding: 'string' });
    const entries = root.openDB<string, string>({ name: 'entries', encoding: 'string' });
    entries.putSync('nodes/stolen', entries.get('nodes/a') ?? '');
    await root.close();
    const store = await openIn(dir);
    await expect(store.get('nodes/stolen')).rejects.toMatchObject({ code: 'corrupt' });
    await store.close();
  });

  test.each([1, 5000, 20_000])('that ends after %i bytes is refused with a remedy', async (size) => {
    await truncate(join(dir, 'data.mdb'), size);
    await expect(openIn(dir)).rejects.toMatchObject({ code: 'corrupt', field: 'state_dir' });
  });

  test('that is some other file is refused', async () => {
    await writeFile(join(dir, 'data.mdb'), Buffer.alloc(40_960, 7));
    await expect(openIn(dir)).rejects.toMatchObject({ code: 'corrupt' });
  });

  test('of another format is refused', async () => {
    const root = open({ path: dir, noSubdir: false, maxDbs: 2, encoding: 'string' });
    root.openDB<string, string>({ name: 'meta', encoding: 'string' }).putSync('format', '99');
    await root.close();
    await expect(openIn(dir)).rejects.toThrow('format is 99');
  });
});

describe('two processes', () => {
  test('cannot have one directory at once', async () => {
    const dir = await newDir();
    const store = await openIn(dir);
    await expect(openIn(dir)).rejects.toMatchObject({ code: 'conflict' });
    await store.close();
    await (await openIn(dir)).close();
    await rm(dir, { recursive: true, force: true });
  });
});
