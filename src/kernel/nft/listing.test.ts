import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MessageWriter } from '../netlink/message.ts';
import { fingerprintOf, readListed, readRawElements, type Listed } from './listing.ts';
import { beginMessage } from './messages.ts';

const ref = { family: 'inet', name: 'portolan' } as const;
const NLMSG_HEADER_BYTES = 16;

/** A message as the kernel writes it, read back. */
function listed(
  kind: Listed['kind'],
  attributes: (writer: MessageWriter) => void,
  table = ref.name as string,
): Listed | undefined {
  const writer = new MessageWriter();
  beginMessage(writer, 0, 0, 1, 'inet');
  writer.attributeString(1, table);
  attributes(writer);
  writer.end();
  return readListed(kind, ref, Buffer.from(writer.bytes), NLMSG_HEADER_BYTES, writer.length);
}

const rule = ({ handle = 1, counter = 0, verdict = 1 }): Listed | undefined =>
  listed('rule', (writer) => {
    writer.attributeString(2, 'c');
    writer.attributeU32be(3, handle);
    const list = writer.beginNest(4);
    for (const [name, value] of [
      ['counter', counter],
      ['immediate', verdict],
    ] as const) {
      const element = writer.beginNest(1);
      writer.attributeString(1, name);
      const data = writer.beginNest(2);
      writer.attributeU32be(1, value);
      writer.endNest(data);
      writer.endNest(element);
    }
    writer.endNest(list);
  });

const set = ({ flags = 0, handle = 1, count = 0, keyLength = 4 }): Listed | undefined =>
  listed('set', (writer) => {
    writer.attributeString(2, '__set0');
    writer.attributeU32be(3, flags);
    writer.attributeU32be(5, keyLength);
    writer.attributeU32be(16, handle);
    writer.attributeU32be(20, count);
  });

const print = (...objects: (Listed | undefined)[]): string =>
  fingerprintOf(
    objects.filter((object) => object !== undefined),
    new Map(),
  );

describe('a listing', () => {
  it('has one fingerprint whatever the handles, counters and numbers of elements', () => {
    expect(print(rule({ handle: 7, counter: 9 }))).toBe(print(rule({})));
    expect(print(set({ handle: 7, count: 9 }))).toBe(print(set({})));
  });

  it('has another fingerprint for another rule, declaration or order of rules', () => {
    expect(print(rule({ verdict: 0 }))).not.toBe(print(rule({})));
    expect(print(set({ keyLength: 16 }))).not.toBe(print(set({})));
    const [a, b] = [rule({}), rule({ verdict: 0 })];
    expect(print(a, b)).not.toBe(print(b, a));
  });

  it('does not depend on the order of declarations', () => {
    const [a, b] = [set({}), set({ keyLength: 16 })];
    expect(print(a, b)).toBe(print(b, a));
  });

  it('counts the elements of anonymous sets, in any order', () => {
    const of = (elements: readonly string[]): string => fingerprintOf([], new Map([['__set0', elements]]));
    expect(set({ flags: 1 })?.anonymousSet).toBe('__set0');
    expect(set({ flags: 0 })?.anonymousSet).toBeUndefined();
    expect(of(['aa', 'bb'])).toBe(of(['bb', 'aa']));
    expect(of(['aa', 'bb'])).not.toBe(of(['aa', 'cc']));
  });

  it('leaves out what is of other tables', () => {
    expect(listed('chain', () => undefined, 'filter')).toBeUndefined();
  });

  it('never reads outside hostile bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        for (const kind of ['table', 'chain', 'set', 'rule'] as const)
          readListed(kind, ref, Buffer.from(bytes), 0, bytes.length);
        expect(Array.isArray(readRawElements(Buffer.from(bytes), 0, bytes.length))).toBe(true);
      }),
    );
  });
});
