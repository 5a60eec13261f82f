import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  decodeMessage,
  encodeMessage,
  encodeRecords,
  encodeRow,
  encodeRows,
  type Message,
  type Records,
} from './codec.ts';
import type { Row } from './nodes.ts';

const messages: Exclude<Message, Records>[] = [
  { type: 'hello', protocol: 1, oldest: 1, cluster: 'c', node: 'n', epoch: 3, port: 62_501, address: '' },
  { type: 'neighbour', join: true, urgent: false },
  { type: 'accept' },
  { type: 'deny', peers: [['n', '10.0.0.1:1']] },
  { type: 'part', peers: [] },
  { type: 'walk', node: 'n', address: '10.0.0.1:1', ttl: 8 },
  { type: 'shuffle', id: 7, ttl: 5, peers: [['n', '10.0.0.1:1']] },
  { type: 'shuffled', id: 7, peers: [] },
  {
    type: 'rows',
    rows: [
      ['aaaaaaaaaa', 1, 2, 'bbbbbbbbbbcccccccccc'],
      ['bbbbbbbbbb', 1, 0, '', 'cccccccccc'],
    ],
  },
  { type: 'have', records: [['cluster/a', 1, 0]], rows: [['aaaaaaaaaa', 1, 2]] },
  { type: 'row-hashes', hashes: Array.from({ length: 64 }, (_, i) => i) },
  { type: 'row-versions', buckets: [3], rows: [['aaaaaaaaaa', 1, 2]] },
  { type: 'beat' },
  { type: 'prune' },
  { type: 'digest', hash: 'ff', buckets: Array.from({ length: 64 }, () => 5), rows: '0' },
  { type: 'summaries', buckets: [1], after: '', upTo: null, rows: [['cluster', 1, 0, 'ff']] },
  { type: 'versions', writers: [['cluster', [['cluster/a', 1, 0]]]], last: true },
  { type: 'want', keys: ['cluster/a'], rows: ['aaaaaaaaaa'], graft: true },
  { type: 'done', more: false },
  { type: 'ping' },
  { type: 'pong' },
];
const record = { key: 'cluster/a', version: { epoch: 1, sequence: 0 }, value: { deep: [null, 'grün'] } };
const json = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value));

describe('a message', () => {
  it.each(messages)('$type is read as it was written', (message) => {
    expect(decodeMessage(encodeMessage(message))).toEqual({ ok: true, message });
  });

  it('of records is joined from their texts and read as it was written', () => {
    const frame = encodeRecords([JSON.stringify(record), JSON.stringify(record)], { repair: true });
    const message = { type: 'records', repair: true, records: [record, record] };
    expect(decodeMessage(frame)).toEqual({ ok: true, message });
  });

  it('of rows is joined from their texts, without what a later version added to one', () => {
    const rows = [
      ['aaaaaaaaaa', 1, 2, 'bbbbbbbbbb', '', [], 'more'],
      ['dddddddddd', 1, 3, 'bbbbbbbbbb', '', [['bbbbbbbbbb', 1, 0, 'more']], 'more'],
      ['bbbbbbbbbb', 1, 0, '', 'cccccccccc'],
    ] as const;
    const texts = rows.map((row) => encodeRow(row as unknown as Row));
    const message = {
      type: 'rows',
      rows: [
        ['aaaaaaaaaa', 1, 2, 'bbbbbbbbbb'],
        ['dddddddddd', 1, 3, 'bbbbbbbbbb', '', [['bbbbbbbbbb', 1, 0]]],
        rows[2],
      ],
    };
    expect(decodeMessage(encodeRows(texts))).toEqual({ ok: true, message });
  });

  it('of a later version is told from a malformed one, and unknown members are dropped', () => {
    expect(decodeMessage(json({ type: 'view-change' }))).toMatchObject({ ok: false, unknown: true });
    expect(decodeMessage(json({ type: 'toString' }))).toMatchObject({ ok: false, unknown: true });
    expect(decodeMessage(json({ type: 'done' }))).toMatchObject({ ok: false, unknown: false });
    expect(decodeMessage(json({ type: 'ping', load: 3 }))).toEqual({ ok: true, message: { type: 'ping' } });
  });

  it.each([
    ['no JSON', 'hello'],
    ['nothing', ''],
    ['a number', '1'],
    ['null', 'null'],
    [
      'a record without a value',
      '{"type":"records","repair":false,"records":[{"key":"a","version":{"epoch":1,"sequence":0}}]}',
    ],
    [
      'a version beyond what can be counted',
      '{"type":"want","keys":[],"type":"versions","writers":[["a",[["b",9007199254740991,0]]]],"last":true}',
    ],
    ['a negative version', '{"type":"versions","writers":[["a",[["b",-1,0]]]],"last":true}'],
    ['brackets without end', '['.repeat(300_000)],
  ])('is refused without an exception: %s', (_, text) => {
    expect(decodeMessage(Buffer.from(text))).toMatchObject({ ok: false, unknown: false });
  });

  it('of any bytes or of any JSON never makes the decoder throw', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => void decodeMessage(bytes)));
    const type = fc.constantFrom(...messages.map((message) => message.type), 'records');
    const members = fc.dictionary(
      fc.constantFrom('hash', 'rows', 'writers', 'last', 'keys', 'records', 'repair'),
      fc.jsonValue(),
    );
    fc.assert(
      fc.property(type, members, (name, others) => void decodeMessage(json({ ...others, type: name }))),
      { numRuns: 300 },
    );
  });

  it('cut or changed anywhere never makes the decoder throw', () => {
    const whole = Buffer.from(encodeRecords([JSON.stringify(record)], { repair: true }));
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.nat(255), fc.boolean(), (at, byte, cut) => {
        const changed = Buffer.from(cut ? whole.subarray(0, at) : whole);
        if (!cut) changed[at] = byte;
        decodeMessage(changed);
      }),
      { numRuns: 500 },
    );
  });
});
