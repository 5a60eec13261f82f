import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { seededRandom } from '../base/random.ts';
import { newNodeId } from '../model/names.ts';
import { keys, type GossipRecord, type RecordValue } from '../model/record.ts';
import { horizonKey, MAX_NODE_RECORDS, RecordStore } from './records.ts';

const random = seededRandom(1);
const [a, b] = [newNodeId(random), newNodeId(random)];

function record(key: string, epoch: number, sequence: number, value: RecordValue = 1): GossipRecord {
  return { key, version: { epoch, sequence }, value };
}

function storeOf(records: readonly GossipRecord[]): RecordStore {
  const store = new RecordStore();
  for (const each of records) store.put(each);
  return store;
}

const keysOf = (store: RecordStore, prefix = ''): string[] =>
  Array.from(store.records(prefix), ({ key }) => key).sort();

describe('the record store', () => {
  it('keeps the newer of two, by epoch, then by sequence', () => {
    const store = storeOf([record(keys.node(a), 2, 1, 'old')]);
    expect(store.put(record(keys.node(a), 1, 9, 'x')).put).toBe('older');
    expect(store.put(record(keys.node(a), 2, 1, 'old')).put).toBe('known');
    expect(store.put(record(keys.node(a), 2, 2, 'new')).put).toBe('stored');
    expect(store.put(record(keys.node(a), 3, 0, null)).put).toBe('stored');
    expect(store.get(keys.node(a))?.value).toBeNull();
    expect(store.size).toBe(1);
  });

  it('a copy holds the same, and goes its own way', () => {
    const removal = record(keys.removed(b), 1, 0);
    const store = storeOf([record(keys.node(a), 2, 1, 'old'), record(`node/${a}/x`, 2, 2), removal]);
    const copy = store.copy();
    expect([copy.hash, copy.size, keysOf(copy)]).toEqual([store.hash, store.size, keysOf(store)]);
    expect(copy.bucketHashes()).toEqual(store.bucketHashes());
    const before = store.hash;
    copy.put(record(keys.node(a), 2, 3, 'new'));
    expect(copy.put(record(keys.node(b), 1, 1)).put).toBe('older');
    expect(store.hash).toBe(before);
    expect(store.get(keys.node(a))?.value).toBe('old');
    store.put(record(keys.node(a), 2, 3, 'new'));
    expect(store.hash).toBe(copy.hash);
  });

  it('finds records by any prefix', () => {
    const store = storeOf([
      record(keys.node(a), 1, 1),
      record(keys.node(b), 1, 1),
      record('cluster/masters', 1, 0),
    ]);
    expect(keysOf(store)).toHaveLength(3);
    expect(keysOf(store, 'node/')).toHaveLength(2);
    expect(keysOf(store, `node/${a}/`)).toEqual([keys.node(a)]);
    expect(keysOf(store, `node/${a}/no`)).toEqual([keys.node(a)]);
    expect(keysOf(store, 'cluster/')).toEqual(['cluster/masters']);
    expect(keysOf(store, 'other/')).toEqual([]);
  });

  it('drops a removed node for ever, also what comes later, also when the removal is withdrawn', () => {
    const store = storeOf([record(keys.node(a), 1, 1), record(keys.node(b), 1, 1)]);
    expect(store.put(record(keys.removed(a), 5, 0))).toMatchObject({
      put: 'stored',
      dropped: [{ key: keys.node(a) }],
    });
    store.put(record(keys.removed(a), 6, 0, null));
    expect(store.put(record(keys.node(a), 9, 9)).put).toBe('older');
    expect(store.isRemoved(a)).toBe(true);
    expect(keysOf(store)).toEqual([keys.removed(a), keys.node(b)]);
  });

  it("drops what is older than its writer's horizon and takes none of it again", () => {
    const store = storeOf([record(keys.overlay(a, 'x'), 1, 1, null), record(keys.overlay(a, 'y'), 1, 5)]);
    store.put(record(horizonKey(a), 1, 6, { epoch: 1, sequence: 4 }));
    expect(keysOf(store)).toEqual([horizonKey(a), keys.overlay(a, 'y')]);
    expect(store.put(record(keys.overlay(a, 'x'), 1, 1, null)).put).toBe('older');
    expect(store.isVoid(record(keys.overlay(a, 'x'), 1, 1, null))).toBe(true);
  });

  it('refuses with a reason what has no writer, is too large, too many or not of the masters', () => {
    const store = new RecordStore();
    expect(store.put(record('elsewhere/x', 1, 1))).toEqual({
      put: 'refused',
      reason: 'its key names no writer',
    });
    expect(store.put(record('node/nobody/x', 1, 1))).toMatchObject({ put: 'refused' });
    expect(store.put(record('cluster/x', 1, 1))).toEqual({
      put: 'refused',
      reason: "its version is no revision of the masters' store",
    });
    expect(store.put(record(keys.node(a), 1, 1, 'ü'.repeat(8_192)))).toEqual({
      put: 'refused',
      reason: 'its value has 16386 bytes, at most 16384 are allowed',
    });
    let deep: RecordValue = 1;
    for (let i = 0; i < 200_000; i++) deep = [deep];
    expect(store.put(record(keys.node(a), 1, 1, deep))).toEqual({
      put: 'refused',
      reason: 'its value nests too deeply',
    });
    for (let i = 0; i < MAX_NODE_RECORDS; i++) store.put(record(keys.overlay(a, `o${i}`), 1, i));
    expect(store.put(record(keys.node(a), 2, 1))).toEqual({
      put: 'refused',
      reason: 'its writer has 4096 records, at most 4096 are allowed',
    });
    expect(store.put(record(keys.overlay(a, 'o0'), 2, 1)).put).toBe('stored');
    expect(store.put(record(keys.node(b), 1, 1)).put).toBe('stored');
  });

  it('holds the same and has the same hashes whatever the order and repetition of what it was given', () => {
    const key = fc.constantFrom(
      keys.node(a),
      keys.overlay(a, 'x'),
      keys.overlay(b, 'x'),
      keys.removed(b),
      'cluster/y',
    );
    const some = fc
      .tuple(key, fc.nat(2), fc.nat(2), fc.constantFrom<RecordValue>(null, 1, 'z'))
      .map(([k, epoch, sequence, value]) => record(k, epoch, k.startsWith('cluster/') ? 0 : sequence, value));
    const horizon = fc.nat(4).map((at) => record(horizonKey(a), 2, 10 + at, { epoch: 1, sequence: at }));
    const given = fc.array(fc.oneof({ weight: 6, arbitrary: some }, { weight: 1, arbitrary: horizon }), {
      maxLength: 20,
    });
    fc.assert(
      fc.property(
        given.chain((records) =>
          fc.tuple(fc.constant(records), fc.shuffledSubarray(records, { minLength: records.length })),
        ),
        ([records, shuffled]) => {
          const [one, other] = [storeOf(records), storeOf([...shuffled, ...records])];
          expect(keysOf(other)).toEqual(keysOf(one));
          expect(other.hash).toBe(one.hash);
          const rows = (store: RecordStore) =>
            store
              .summaries(new Set(Array.from({ length: 64 }, (_, i) => i)))
              .filter(({ hash }) => !/^0+$/.test(hash))
              .map(({ writer, hash }) => [writer, hash]);
          expect(rows(other)).toEqual(rows(one));
        },
      ),
      { numRuns: 500 },
    );
  });
});
