import packet from 'dns-packet';
import { describe, expect, it } from 'vitest';
import { readResponse } from './response.ts';

const question = { type: 'A', name: 'www.example.org' } as const;
const answer = (...answers: readonly packet.Answer[]): Buffer =>
  packet.encode({ type: 'response', id: 7, questions: [question], answers: [...answers] });

/** The question, and one record whose name and data are these bytes. */
function record(name: readonly number[], type: number, data: readonly number[]): Buffer {
  const head = answer();
  head.writeUInt16BE(1, 6);
  const fixed = [0, type, 0, 1, 0, 0, 0, 30, 0, data.length];
  return Buffer.concat([head, Buffer.from([...name, ...fixed, ...data])]);
}
const END = 12 + 17 + 4;
const [A, CNAME] = [1, 5];
const toQuestion = [0xc0, 12];

describe('readResponse', () => {
  it('takes answers as others write them, compressed or not', () => {
    const written = answer(
      { type: 'CNAME', name: 'www.example.org', ttl: 20, data: 'web.example.org' },
      { type: 'A', name: 'web.example.org', ttl: 10, data: '192.0.2.1' },
    );
    expect(readResponse(written)).toMatchObject({ id: 7, rcode: 0, ttl: 10 });
    expect(readResponse(record(toQuestion, A, [192, 0, 2, 1]))).toMatchObject({ ttl: 30 });
    // `web` before the question's `example.org`.
    expect(readResponse(record(toQuestion, CNAME, [3, 119, 101, 98, 0xc0, 16]))).toMatchObject({ ttl: 30 });
  });

  it.each([
    ['to itself', [0xc0, END]],
    ['to what comes after it', [0xc0, END + 4]],
    ['into the header', [0xc0, 2]],
    ['to what runs into itself', [3, 119, 101, 98, 0xc0, END]],
    ['out of the packet', [0xff, 0xff]],
  ])('refuses an owner that leads %s', (_, name) => {
    expect(readResponse(record(name, A, [192, 0, 2, 1]))).toBeUndefined();
  });

  it('refuses a target that leads to itself', () => {
    expect(readResponse(record(toQuestion, CNAME, [0xc0, END + 12]))).toBeUndefined();
    expect(readResponse(record(toQuestion, CNAME, [1, 97, 0xc0, END + 12]))).toBeUndefined();
  });

  it('refuses data that is more or less than a name where it is to be one', () => {
    expect(readResponse(record(toQuestion, CNAME, [...toQuestion, 1]))).toBeUndefined();
    expect(readResponse(record(toQuestion, CNAME, [3, 119, 101]))).toBeUndefined();
  });
});
