import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { IpAddress } from '../../base/ip.ts';
import { parseMac, type Mac } from '../../base/mac.ts';
import {
  Attributes,
  forEachAttribute,
  forEachMessage,
  MessageWriter,
  NLM_F_ACK,
  NLM_F_REQUEST,
  type Message,
} from './message.ts';

const address = fc.oneof(
  fc.bigInt(0n, 2n ** 32n - 1n).map((value) => new IpAddress(4, value)),
  fc.bigInt(0n, 2n ** 128n - 1n).map((value) => new IpAddress(6, value)),
);
const text = fc.string({ maxLength: 40, unit: 'grapheme' }).filter((value) => !value.includes('\0'));

function messagesOf(writer: MessageWriter): Message[] {
  const messages: Message[] = [];
  forEachMessage(writer.bytes, writer.length, (message) => {
    messages.push({ ...message });
    return true;
  });
  return messages;
}

describe('netlink messages', () => {
  it('come back as they were written, attribute by attribute', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({ u8: fc.nat(255), u16: fc.nat(65_535), u32: fc.nat(2 ** 32 - 1), ip: address, text }),
          { minLength: 1, maxLength: 5 },
        ),
        (values) => {
          const writer = new MessageWriter(16);
          for (const [i, value] of values.entries()) {
            writer.begin(100 + i, NLM_F_REQUEST, i);
            writer.attributeU8(1, value.u8);
            writer.attributeU16(2, value.u16);
            writer.attributeU16be(3, value.u16);
            const nest = writer.beginNest(4);
            writer.attributeU32(1, value.u32);
            writer.attributeU32be(2, value.u32);
            writer.endNest(nest);
            writer.attributeIp(5, value.ip);
            writer.attributeString(6, value.text);
            writer.end();
          }
          const outer = new Attributes();
          const inner = new Attributes();
          for (const [i, message] of messagesOf(writer).entries()) {
            const value = values[i];
            outer.parse(writer.bytes, message.start, message.end);
            expect(message).toMatchObject({ type: 100 + i, flags: NLM_F_REQUEST, sequence: i });
            expect([outer.u8(1), outer.u16(2), outer.u16be(3)]).toEqual([value?.u8, value?.u16, value?.u16]);
            expect(outer.nested(4, inner)).toBe(true);
            expect([inner.u32(1), inner.u32be(2)]).toEqual([value?.u32, value?.u32]);
            expect(outer.ip(5)).toEqual(value?.ip);
            expect(outer.string(6)).toBe(value?.text);
          }
          expect(messagesOf(writer)).toHaveLength(values.length);
        },
      ),
    );
  });

  it('write MAC addresses as six bytes', () => {
    const writer = new MessageWriter();
    const mac = parseMac('70:b3:d5:80:0a:ff') as Mac;
    writer.begin(1, 0, 1);
    writer.attributeMac(2, mac);
    writer.end();
    const message = messagesOf(writer)[0];
    const attributes = new Attributes().parse(writer.bytes, message?.start ?? 0, message?.end ?? 0);
    expect([...(attributes.bytes(2) ?? [])]).toEqual([0x70, 0xb3, 0xd5, 0x80, 0x0a, 0xff]);
    expect(writer.length).toBe(16 + 12);
  });

  it('let flags be added to the last one', () => {
    const writer = new MessageWriter();
    writer.begin(1, NLM_F_REQUEST, 1);
    writer.end();
    writer.begin(2, NLM_F_REQUEST, 2);
    writer.end();
    writer.addFlags(NLM_F_ACK);
    expect(messagesOf(writer).map(({ flags }) => flags)).toEqual([NLM_F_REQUEST, NLM_F_REQUEST | NLM_F_ACK]);
  });

  it('are read from arbitrary bytes without an exception and without leaving them', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(300), (bytes, length) => {
        const buffer = Buffer.from(bytes);
        const attributes = new Attributes();
        forEachMessage(buffer, length, (message) => {
          expect(message.end).toBeLessThanOrEqual(buffer.length);
          attributes.parse(buffer, message.start, message.end);
          return true;
        });
        attributes.parse(buffer, 0, length);
        for (let type = 0; type < 130; type++) {
          attributes.u8(type);
          attributes.u16be(type);
          attributes.u32be(type);
          attributes.string(type);
          attributes.ip(type);
          expect(attributes.bytes(type)?.length ?? 0).toBeLessThanOrEqual(buffer.length);
        }
        forEachAttribute(buffer, 0, length, (_, start, end) => {
          expect(start).toBeLessThanOrEqual(end);
          expect(end).toBeLessThanOrEqual(buffer.length);
        });
      }),
      { numRuns: 500 },
    );
  });
});
