/** What every `Store` keeps: one suite, run on each. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Store, StoreChange, StoreOperation } from './types.ts';

export interface StoreContractSetup {
  /** Opens the store of this test, again after `close`: the same content. */
  open(): Promise<Store>;
  clean(): Promise<void>;
}

const put = (key: string, value: string): StoreOperation => ({ do: 'put', key, value });
const remove = (key: string): StoreOperation => ({ do: 'delete', key });

export function testStoreContract(name: string, setUp: () => Promise<StoreContractSetup>): void {
  describe(`the store contract on ${name}`, () => {
    let setup: StoreContractSetup;
    let store: Store;
    beforeEach(async () => {
      setup = await setUp();
      store = await setup.open();
    });
    afterEach(async () => {
      await store.close();
      await setup.clean();
    });

    test('an empty store is at revision 0', async () => {
      expect(await store.range('')).toEqual({ entries: [], revision: 0 });
      expect(await store.get('a')).toBeUndefined();
    });

    test('a transaction writes all its keys with one revision', async () => {
      expect(await store.transact([], [put('a', '1'), put('b', '2')])).toEqual({ ok: true, revision: 1 });
      expect(await store.get('b')).toEqual({ key: 'b', value: '2', revision: 1 });
      expect(await store.transact([], [put('a', '3'), remove('b')])).toEqual({ ok: true, revision: 2 });
      expect(await store.range('')).toEqual({
        entries: [{ key: 'a', value: '3', revision: 2 }],
        revision: 2,
      });
    });

    test('a transaction that changes nothing leaves the revision', async () => {
      await store.transact([], [put('a', '1')]);
      expect(await store.transact([], [remove('none')])).toEqual({ ok: true, revision: 1 });
      expect(await store.transact([], [])).toEqual({ ok: true, revision: 1 });
    });

    test('the last operation on a key wins', async () => {
      await store.transact([], [put('a', '1'), remove('a'), put('a', '2')]);
      expect((await store.get('a'))?.value).toBe('2');
    });

    test('a condition that does not hold writes nothing', async () => {
      await store.transact([], [put('a', '1')]);
      const wrong = await store.transact([{ key: 'a', revision: 7 }], [put('a', '2'), put('b', '2')]);
      expect(wrong).toEqual({ ok: false, revision: 1 });
      expect((await store.range('')).entries.map(({ value }) => value)).toEqual(['1']);
    });

    test('a condition of revision 0 wants the key absent', async () => {
      const claim = () => store.transact([{ key: 'a', revision: 0 }], [put('a', '1')]);
      expect([(await claim()).ok, (await claim()).ok]).toEqual([true, false]);
    });

    test('of many claims at once exactly one wins', async () => {
      const claims = Array.from({ length: 20 }, (_, i) =>
        store.transact([{ key: 'a', revision: 0 }], [put('a', String(i))]),
      );
      const won = (await Promise.all(claims)).filter(({ ok }) => ok);
      expect(won).toHaveLength(1);
      expect((await store.get('a'))?.revision).toBe(won[0]?.revision);
    });

    test('many transactions at once get revisions of their own, in order', async () => {
      const outcomes = await Promise.all(
        Array.from({ length: 50 }, (_, i) => store.transact([], [put(`k${i}`, '')])),
      );
      expect(outcomes.map(({ revision }) => revision)).toEqual(Array.from({ length: 50 }, (_, i) => i + 1));
    });

    test('a range is in key order and holds nothing else', async () => {
      await store.transact(
        [],
        ['n/b', 'n/a', 'n', 'n0', 'n/a/x', 'n/~'].map((key) => put(key, key)),
      );
      const { entries } = await store.range('n/');
      expect(entries.map(({ key }) => key)).toEqual(['n/a', 'n/a/x', 'n/b', 'n/~']);
    });

    test('a watch is told each change under its prefix once, in order, and nothing after it is closed', async () => {
      const seen: (readonly StoreChange[])[] = [];
      const watch = store.watch('n/', (changes) => seen.push(changes));
      await Promise.all([
        store.transact([], [put('n/a', '1'), put('m/a', '1')]),
        store.transact([], [put('n/a', '2')]),
        store.transact([], [put('m/b', '1')]),
      ]);
      await store.transact([], [remove('n/a')]);
      watch.close();
      await store.transact([], [put('n/b', '1')]);
      expect(seen).toEqual([
        [{ key: 'n/a', value: '1', revision: 1 }],
        [{ key: 'n/a', value: '2', revision: 2 }],
        [{ key: 'n/a', value: undefined, revision: 4 }],
      ]);
    });

    test('what was answered is there after it is opened again', async () => {
      await store.transact([], [put('a', '{"text":"ä\\n"}'), put('b', '')]);
      await store.transact([], [remove('b')]);
      await store.close();
      store = await setup.open();
      expect(await store.range('')).toEqual({
        entries: [{ key: 'a', value: '{"text":"ä\\n"}', revision: 1 }],
        revision: 2,
      });
      expect(await store.transact([], [put('c', '')])).toEqual({ ok: true, revision: 3 });
    });

    test.each(['', 'a b', 'ä', 'x'.repeat(513)])('key "%s" is refused', async (key) => {
      await expect(store.transact([], [put(key, '1')])).rejects.toMatchObject({ code: 'invalid' });
    });

    test('a closed store refuses', async () => {
      await store.close();
      await expect(store.get('a')).rejects.toMatchObject({ code: 'unavailable' });
    });
  });
}
