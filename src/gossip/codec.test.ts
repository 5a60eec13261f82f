import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeMessage, encodeMessage, encodeRecords, type Message, type Records } from './codec.ts';

const messages: Exclude<Message, Records>[] = [
  { type: 'hello', protocol: 1, cluster: 'c', node: 'n' },
  { type: 'digest', hash: 'ff' },
  { type: 'summaries', after: '', upTo: null, rows: [['cluster', 1, 0, 'ff']] },
  { type: 'versions', writers: [['cluster', [['cluster/a', 1, 0]]]], last: true },
  { type: 'want', keys: ['cluster/a'] },
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
