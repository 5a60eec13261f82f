/** A neighbour of our own cluster that has gone mad, or was taken over: it may lie, it must not break or fill anybody. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { seededRandom } from '../base/random.ts';
import { newClusterId, newNodeId, type NodeId } from '../model/names.ts';
import { keys, type RecordValue } from '../model/record.ts';
import { encodeMessage, encodeRecords, type Hello, type Message, type Records } from './codec.ts';
import { GossipCore } from './core.ts';
import { BUCKETS } from './hash.ts';
import { handleOf } from './nodes.ts';
import { RecordStore, MAX_NODE_CHARACTERS, MAX_NODE_RECORDS, MAX_WRITERS } from './records.ts';

const random = seededRandom(1);
const cluster = newClusterId(random);
const ids = Array.from({ length: 4 }, () => newNodeId(random));
const [own, peer, third] = ids as [NodeId, NodeId, NodeId];
const text = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value ?? null));
const hello: Hello = {
  ...({ type: 'hello' } as const),
  ...{ protocol: 1, oldest: 1, cluster, node: peer, epoch: 3 },
  ...{ port: 62_501, address: '10.0.0.2:62501' },
};

/** A node with one neighbour, which is at the other end of connection 1. */
class Victim {
  readonly core = new GossipCore(
    { random: seededRandom(2), store: new RecordStore() },
    { node: own, epoch: 1 },
  );
  #now = 1_000;
  sentBytes = 0;
  /** Those it has raised its own to. */
  readonly epochs: number[] = [];

  constructor() {
    this.core.step({ on: 'cluster', cluster, isOther: false, port: 1 }, this.#now);
    this.core.step({ on: 'connected', connection: 1, address: '10.0.0.2:5', isDialled: false }, this.#now);
    this.hear(encodeMessage(hello));
    this.hear(encodeMessage({ type: 'neighbour', join: true, urgent: true }));
    expect(this.core.links.neighbours()).toHaveLength(1);
  }

  hear(frame: Uint8Array, afterMs = 1): void {
    this.#now += afterMs;
    for (const effect of this.core.step({ on: 'frame', connection: 1, frame }, this.#now))
      if (effect.do === 'send') this.sentBytes += effect.frame.length;
      else if (effect.do === 'persist-epoch') this.epochs.push(effect.epoch);
  }

  get isConnected(): boolean {
    return this.core.links.neighbours().length === 1;
  }
}

const version = { epoch: 1, sequence: 1 };
const messages: readonly (Exclude<Message, Records> | Records)[] = [
  hello,
  { type: 'neighbour', join: true, urgent: false },
  { type: 'accept' },
  { type: 'deny', peers: [[third, '10.0.0.3:1']] },
  { type: 'part', peers: [[third, '10.0.0.3:1']] },
  { type: 'walk', node: third, address: '10.0.0.3:1', ttl: 8 },
  { type: 'shuffle', id: 7, ttl: 5, peers: [[third, '10.0.0.3:1']] },
  { type: 'shuffled', id: 7, peers: [[third, '10.0.0.3:1']] },
  { type: 'rows', rows: [['aaaaaaaaaa', 1, 2, 'bbbbbbbbbbcccccccccc', 'dddddddddd']] },
  { type: 'have', records: [['cluster/a', 1, 0]], rows: [['aaaaaaaaaa', 1, 2]] },
  { type: 'row-hashes', hashes: Array.from({ length: BUCKETS }, (_, i) => i) },
  { type: 'row-versions', buckets: [3], rows: [['aaaaaaaaaa', 1, 2]] },
  { type: 'beat' },
  { type: 'prune' },
  { type: 'digest', hash: 'ff', buckets: Array.from({ length: BUCKETS }, () => 5), rows: '0' },
  { type: 'summaries', buckets: [1], after: '', upTo: null, rows: [['cluster', 1, 0, 'ff']] },
  { type: 'versions', writers: [[third, [[keys.node(third), 1, 0]]]], last: true },
  { type: 'want', keys: [keys.node(own)], rows: ['aaaaaaaaaa'], graft: true },
  { type: 'done', more: true },
  { type: 'ping' },
  { type: 'pong' },
  { type: 'records', repair: false, records: [{ key: keys.node(third), version, value: { address: 1 } }] },
  { type: 'records', repair: true, records: [{ key: keys.node(own), version, value: {} }] },
  { type: 'records', repair: false, records: [{ key: keys.removed(third), version, value: null }] },
];

/** Every place in a message, as the way to it. */
function places(value: unknown, way: readonly string[] = []): (readonly string[])[] {
  if (typeof value !== 'object' || value === null) return [way];
  return [way, ...Object.entries(value).flatMap(([name, each]) => places(each, [...way, name]))];
}

function replaced(value: unknown, way: readonly string[], by: unknown): unknown {
  const [name, ...rest] = way;
  if (name === undefined || typeof value !== 'object' || value === null) return by;
  const copy = (Array.isArray(value) ? [...(value as unknown[])] : { ...value }) as Record<string, unknown>;
  if (rest.length === 0 && by === undefined) delete copy[name];
  else copy[name] = replaced(copy[name], rest, by);
  return copy;
}

const odd = fc.oneof(
  fc.constantFrom<unknown>(undefined, null, '', 0, -1, 1.5, 2 ** 50, 2 ** 53, 1e308, '\u0000', [], {}, true),
  fc.constantFrom(own, peer, 'cluster', keys.node(own), 'a'.repeat(600), 'aaaaaaaaaa'.repeat(40)),
  fc.jsonValue({ maxDepth: 2 }),
);
const wrong = fc
  .constantFrom(...messages)
  .chain((message) =>
    fc
      .array(fc.tuple(fc.constantFrom(...places(message)), odd), { minLength: 0, maxLength: 3 })
      .map((changes) => changes.reduce<unknown>((all, [way, by]) => replaced(all, way, by), message)),
  );

describe('a neighbour', () => {
  it('that says anything at all, of any type, breaks nothing', () => {
    fc.assert(
      fc.property(fc.array(wrong, { minLength: 1, maxLength: 12 }), (said) => {
        const victim = new Victim();
        for (const each of said) victim.hear(text(each), 100);
        // What others say under its name it withdraws.
        for (const { value } of victim.core.store.records(`node/${own}/`)) expect(value).toBeNull();
      }),
      { numRuns: 400 },
    );
  });

  it('that repeats what it said, in any order, changes nothing', () => {
    const records = Array.from({ length: 20 }, (_, i) => ({
      key: `node/${third}/x${i % 5}`,
      version: { epoch: 1, sequence: i },
      value: i,
    }));
    const frames = records.map((record) => encodeRecords([JSON.stringify(record)], { repair: false }));
    const inOrder = new Victim();
    for (const frame of frames) inOrder.hear(frame);
    fc.assert(
      fc.property(fc.shuffledSubarray([...frames, ...frames], { minLength: 40 }), (order) => {
        const victim = new Victim();
        for (const frame of order) victim.hear(frame);
        expect(victim.core.store.hash).toBe(inOrder.core.store.hash);
      }),
      { numRuns: 50 },
    );
  });

  const records = (count: number, make: (i: number) => { key: string; value: RecordValue }): Uint8Array[] => {
    const frames: Uint8Array[] = [];
    for (let at = 0; at < count; at += 500)
      frames.push(
        encodeRecords(
          Array.from({ length: Math.min(500, count - at) }, (_, i) =>
            JSON.stringify({ ...make(at + i), version: { epoch: 1, sequence: at + i } }),
          ),
          { repair: false },
        ),
      );
    return frames;
  };

  it('cannot make a node keep more records of one writer than it may have, or longer ones', () => {
    const victim = new Victim();
    const many = MAX_NODE_RECORDS + 1_000;
    for (const frame of records(many, (i) => ({ key: `node/${third}/k${i}`, value: 1 }))) victim.hear(frame);
    expect(victim.core.store.size).toBe(MAX_NODE_RECORDS);
    expect(victim.core.statistics.refused).toBe(1_000);
    const long = 'x'.repeat(15_000);
    for (const frame of records(1_000, (i) => ({ key: `node/${third}/k${i}`, value: long })))
      victim.hear(frame);
    const characters = victim.core.store.ofWriter(third).reduce((sum, stored) => sum + stored.text.length, 0);
    expect(characters).toBeLessThanOrEqual(MAX_NODE_CHARACTERS);
    expect(victim.isConnected).toBe(true);
  });

  it('cannot make a node keep records of any number of writers', () => {
    const victim = new Victim();
    const invented = seededRandom(3);
    const frames = records(MAX_WRITERS + 500, () => ({ key: `node/${newNodeId(invented)}/x`, value: 1 }));
    for (const frame of frames) victim.hear(frame);
    expect(victim.core.store.size).toBe(MAX_WRITERS);
  });

  it('cannot make a node remember any number of nodes, peers, addresses or ways', () => {
    const victim = new Victim();
    const invented = seededRandom(4);
    const handle = (i: number): string =>
      i
        .toString(32)
        .padStart(10, 'a')
        .replace(/[0189]/g, 'z');
    for (let at = 0; at < 80_000; at += 500) {
      const rows = Array.from({ length: 500 }, (_, i) => [handle(at + i), 1, 1, ''] as const);
      victim.hear(encodeMessage({ type: 'rows', rows }), 100);
    }
    for (let i = 0; i < 20_000; i++) {
      const node = newNodeId(invented);
      const address = `10.${i & 255}.${(i >> 8) & 255}.1:1`;
      victim.hear(encodeMessage({ type: 'walk', node, address, ttl: 0 }));
      victim.hear(encodeMessage({ type: 'shuffle', id: i, ttl: 0, peers: [[node, address]] }));
    }
    expect(victim.core.table.size).toBeLessThanOrEqual(65_536);
    expect(victim.core.memory.peers).toBeLessThanOrEqual(42);
    expect(victim.core.memory.addresses).toBeLessThanOrEqual(4_096);
    expect(victim.core.statistics.queueDepth).toBeLessThanOrEqual(42_000);
  });

  it('cannot drive an epoch to where nothing newer can be said', () => {
    const victim = new Victim();
    const tell = (node: NodeId, epoch: number): void =>
      victim.hear(encodeMessage({ type: 'rows', rows: [[handleOf(node), epoch, 1, handleOf(peer)]] }));
    tell(own, 2 ** 50);
    expect(victim.epochs).toEqual([]);
    // As after a disk that was set back.
    tell(own, 40);
    expect(victim.epochs).toEqual([41]);
    tell(third, 2);
    tell(third, 2 ** 50);
    const { table } = victim.core;
    expect(table.epoch(table.find(handleOf(third)))).toBe(2);
  });

  it('that asks for everything again and again is given bounded answers', () => {
    const victim = new Victim();
    for (const frame of records(2_000, (i) => ({ key: `node/${third}/k${i}`, value: 'x'.repeat(2_000) })))
      victim.hear(frame);
    const all = Array.from({ length: 2_000 }, (_, i) => `node/${third}/k${i}`);
    const before = victim.sentBytes;
    victim.hear(encodeMessage({ type: 'want', keys: all, rows: [], graft: false }));
    expect(victim.sentBytes - before).toBeLessThan(2.5 * 1024 * 1024);
  });
});
