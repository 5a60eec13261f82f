import packet from 'dns-packet';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeQuery, readMessage, typeNumber } from './message.ts';

describe('messages for people', () => {
  it('reads what an answer says', () => {
    const name = 'a.example.com';
    const bytes = packet.encode({
      type: 'response',
      flags: packet.AUTHORITATIVE_ANSWER | 3,
      questions: [{ name, type: 'A' }],
      answers: [
        { name, type: 'A', ttl: 7, data: '192.0.2.1' },
        { name, type: 'AAAA', data: '2001:db8::1' },
        { name, type: 'CNAME', data: 'b.example.com' },
        { name, type: 'SRV', data: { priority: 1, weight: 2, port: 80, target: 'b.example.com' } },
        { name, type: 'MX', data: { preference: 10, exchange: 'mx.example.com' } },
        { name, type: 'TXT', data: ['v=1', 'two'] },
        { name, type: 'CAA', data: { flags: 0, tag: 'issue', value: 'x' } },
      ],
    });
    const read = readMessage(bytes);
    expect(read).toMatchObject({ rcode: 'NXDOMAIN', authoritative: true, truncated: false });
    expect(read?.answers[0]).toEqual({ name, ttl: 7, type: 'A', data: '192.0.2.1' });
    expect(read?.answers.slice(1).map(({ type, data }) => `${type} ${data}`)).toEqual([
      'AAAA 2001:db8::1',
      'CNAME b.example.com.',
      'SRV 1 2 80 b.example.com.',
      'MX 10 mx.example.com.',
      'TXT "v=1" "two"',
      expect.stringMatching(/^CAA \\# 8 /),
    ]);
  });

  it('writes queries', () => {
    const bytes = encodeQuery('_x._tcp.marathon.mesos.', typeNumber('srv') ?? 0) as Buffer;
    expect(packet.decode(bytes)).toMatchObject({
      flag_rd: true,
      questions: [{ name: '_x._tcp.marathon.mesos', type: 'SRV', class: 'IN' }],
    });
    expect(encodeQuery(`${'a'.repeat(64)}.com`, 1)).toBeUndefined();
    expect([typeNumber('a'), typeNumber('TYPE65'), typeNumber('nonsense')]).toEqual([1, 65, undefined]);
  });

  it('follows compression, and no loops', () => {
    const head = [0, 1, 0x84, 0, 0, 1, 0, 1, 0, 0, 0, 0, 1, 0x61, 0, 0, 1, 0, 1];
    const answer = (pointer: number): Buffer =>
      Buffer.from([...head, 0xc0, pointer, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 9, 0, 0, 1]);
    expect(readMessage(answer(12))?.answers).toEqual([{ name: 'a', ttl: 9, type: 'A', data: '9.0.0.1' }]);
    expect(readMessage(answer(19))).toBeUndefined();
    expect(readMessage(answer(21))).toBeUndefined();
  });

  it('ends for any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        readMessage(Buffer.from(bytes));
      }),
      { numRuns: 3000 },
    );
  });
});
