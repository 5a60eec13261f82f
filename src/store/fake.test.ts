import { describe, expect, test } from 'vitest';
import { silentLog } from '../base/log.ts';
import { testStoreContract } from './contract.ts';
import { FakeDisk, FakeStore } from './fake.ts';

testStoreContract('memory', () => {
  const disk = new FakeDisk();
  return Promise.resolve({
    open: () => Promise.resolve(new FakeStore({ log: silentLog }, { disk })),
    clean: () => Promise.resolve(),
  });
});

describe('FakeStore', () => {
  const write = (store: FakeStore, key: string) => store.transact([], [{ do: 'put', key, value: '' }]);

  test('loses what it did not acknowledge when it crashes', async () => {
    const disk = new FakeDisk();
    const store = new FakeStore({ log: silentLog }, { disk });
    await write(store, 'a');
    const late = [write(store, 'b'), write(store, 'c')].map((each) => each.catch(() => 'lost'));
    await Promise.resolve();
    store.crash(1);
    expect(await Promise.all(late)).toEqual(['lost', 'lost']);
    const { entries, revision } = await new FakeStore({ log: silentLog }, { disk }).range('');
    expect([entries.map(({ key }) => key), revision]).toEqual([['a', 'b'], 2]);
  });

  test('commits transactions of one turn together, and fails them together', async () => {
    const store = new FakeStore({ log: silentLog }, { disk: new FakeDisk() });
    await Promise.all([write(store, 'a'), write(store, 'b')]);
    expect(store.commits).toBe(1);
    store.failCommits(1);
    await expect(write(store, 'c')).rejects.toThrow('ENOSPC');
    expect(await store.get('c')).toBeUndefined();
    expect(await write(store, 'd')).toEqual({ ok: true, revision: 3 });
  });
});
