import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ip, parseInterfaceAddress, prefix } from '../../base/ip.ts';
import { forEachMessage, MessageWriter } from '../netlink/message.ts';
import { arbitrarySet } from './arbitrary.ts';
import { decodeElements, encodeElements, prefixesBetween, type WireElement } from './elements.ts';
import { readElements, writeElements } from './messages.ts';
import { elementKey, type NftElement, type NftSet } from './types.ts';

const table = { family: 'inet', name: 'portolan' } as const;
const hex = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString('hex');
const sorted = (elements: readonly NftElement[]): string[] => elements.map(elementKey).toSorted();

/** Through messages and back, as a dump would give them. */
function overTheWire(set: NftSet, wire: readonly WireElement[]): WireElement[] {
  const writer = new MessageWriter();
  for (let at = 0; at < wire.length;) at = writeElements(writer, 'add', table, set, wire, at, at);
  const read: WireElement[] = [];
  forEachMessage(writer.bytes, writer.length, ({ start, end }) => {
    read.push(...readElements(writer.bytes, start, end));
    return true;
  });
  return read;
}

describe('elements', () => {
  it('come back from the wire as they were given', () => {
    fc.assert(
      fc.property(arbitrarySet, (set) => {
        const back = decodeElements(set, overTheWire(set, encodeElements(set, set.elements)));
        expect(sorted(back)).toEqual(sorted(set.elements));
      }),
    );
  });

  it('pad each component of a concatenation to four bytes and leave a single key alone', () => {
    const map: NftSet = {
      name: 'm',
      key: ['inet_proto', 'inet_service'],
      data: ['ipv4_addr', 'inet_service'],
    };
    const [element] = encodeElements(map, [{ key: [6, 8080], data: [ip('9.0.1.3'), 80] }]);
    expect([hex(element?.key), hex(element?.data)]).toEqual(['060000001f900000', '0900010300500000']);
    const [port] = encodeElements({ name: 's', key: ['inet_service'] }, [{ key: [80] }]);
    expect(hex(port?.key)).toBe('0050');
  });

  it('are given without data for a removal', () => {
    const map: NftSet = { name: 'm', key: ['inet_service'], data: ['mark'] };
    expect(encodeElements(map, [{ key: [80] }], { withData: false })).toEqual([
      { key: Uint8Array.of(0, 80) },
    ]);
  });

  it('of an interval set have no end where the interval reaches the last address', () => {
    const set: NftSet = { name: 'i', key: ['ipv4_addr'], interval: true };
    const wire = encodeElements(set, [{ key: [prefix('9.0.0.0/8')] }, { key: [prefix('255.0.0.0/8')] }]);
    expect(wire.map(({ key, intervalEnd }) => [hex(key), intervalEnd ?? false])).toEqual([
      ['09000000', false],
      ['0a000000', true],
      ['ff000000', false],
    ]);
  });

  it('of a foreign interval that is no prefix come back as the prefixes it is made of', () => {
    const set: NftSet = { name: 'i', key: ['ipv4_addr'], interval: true };
    const wire = [
      { key: ip('10.0.0.1').bytes() },
      { key: ip('10.0.0.8').bytes(), intervalEnd: true },
      { key: ip('0.0.0.0').bytes(), intervalEnd: true },
    ];
    expect(sorted(decodeElements(set, wire))).toEqual(['10.0.0.1/32', '10.0.0.2/31', '10.0.0.4/30']);
  });

  it('split over messages below 64 KiB', () => {
    const set: NftSet = { name: 's', key: ['ipv6_addr'] };
    const elements = Array.from({ length: 5000 }, (_, i) => ({ key: [ip('fd01:b::').plus(i) ?? ip('::')] }));
    const writer = new MessageWriter();
    const wire = encodeElements(set, elements);
    for (let at = 0; at < wire.length;) at = writeElements(writer, 'add', table, set, wire, at, 1);
    const sizes: number[] = [];
    forEachMessage(writer.bytes, writer.length, ({ start, end }) => {
      sizes.push(end - start);
      return true;
    });
    expect(Math.max(...sizes)).toBeLessThan(65_536);
    expect(decodeElements(set, overTheWire(set, wire))).toHaveLength(5000);
  });

  it('of hostile bytes never read outside them', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(Array.isArray(readElements(Buffer.from(bytes), 0, bytes.length))).toBe(true);
      }),
    );
  });
});

describe('prefixesBetween', () => {
  it('covers exactly what lies between', () => {
    const address = fc
      .integer({ min: 0, max: 0xffff_ffff })
      .map((n) => ip('0.0.0.0').plus(n) ?? ip('0.0.0.0'));
    fc.assert(
      fc.property(address, address, (a, b) => {
        const [first, last] = a.value <= b.value ? [a, b] : [b, a];
        const prefixes = prefixesBetween(first, last);
        expect(prefixes[0]?.network.equals(first)).toBe(true);
        expect(prefixes.at(-1)?.last.equals(last)).toBe(true);
        const follow = prefixes.slice(0, -1).map(({ last: end }) => String(end.plus(1)));
        expect(follow).toEqual(prefixes.slice(1).map(({ network }) => String(network)));
      }),
    );
  });

  it('is the prefix itself for one', () => {
    const one = parseInterfaceAddress('9.0.0.0/8')?.prefix ?? prefix('::/0');
    expect(prefixesBetween(one.network, one.last).map(String)).toEqual(['9.0.0.0/8']);
  });
});
