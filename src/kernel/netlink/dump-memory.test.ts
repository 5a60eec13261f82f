import { describe, expect, it } from 'vitest';
import { ip } from '../../base/ip.ts';
import type { Mac } from '../../base/mac.ts';
import type { Neighbour } from '../types.ts';
import { DumpMemory, RememberedDump } from './dump-memory.ts';
import { forEachMessage, MessageWriter } from './message.ts';
import { encodeNeighbour, NeighbourDecoder } from './rtnetlink/neighbour.ts';

const NDA_CACHEINFO = 3;
const LINK_INDEX = 7;

function neighbourAt(index: number, mac = '02:00:00:00:00:01'): Neighbour {
  return { link: 'vtep', address: ip(`44.128.0.${index}`), mac: mac as Mac, permanent: true };
}

/** A dump as the kernel gives it, each entry with its age. */
function dumpOf(neighbours: readonly Neighbour[], age: number): Buffer {
  const writer = new MessageWriter();
  for (const neighbour of neighbours) {
    encodeNeighbour(writer, 1, 'replace', neighbour, LINK_INDEX);
    writer.attributeU32(NDA_CACHEINFO, age);
    writer.end();
  }
  return Buffer.from(writer.bytes);
}

function subject(): {
  readonly memory: DumpMemory<Neighbour>;
  decoded(): number;
  read(dump: Buffer, name?: string): readonly Neighbour[];
} {
  const decoder = new NeighbourDecoder();
  let count = 0;
  const memory = new DumpMemory<Neighbour>({
    aging: true,
    decode: (buffer, message, nameOf) => {
      count++;
      return decoder.decode(buffer, message, nameOf);
    },
  });
  return {
    memory,
    decoded: () => count,
    read: (dump, name = 'vtep') => {
      memory.begin(() => name);
      forEachMessage(dump, dump.length, (message) => memory.add(dump, message));
      return memory.end();
    },
  };
}

describe('a remembered dump', () => {
  const three = [neighbourAt(1), neighbourAt(2), neighbourAt(3)];

  it('gives the very same list while only ages change, and decodes nothing for it', () => {
    const { read, decoded } = subject();
    const first = read(dumpOf(three, 1));
    expect(first).toEqual(three);
    expect(read(dumpOf(three, 2))).toBe(first);
    expect(decoded()).toBe(3);
  });

  it.each([
    ['a change', [neighbourAt(1), neighbourAt(2, '02:00:00:00:00:09'), neighbourAt(3)]],
    ['one more at the end', [...three, neighbourAt(4)]],
    ['one more at the start', [neighbourAt(4), ...three]],
    ['one less at the end', three.slice(0, 2)],
    ['one less at the start', three.slice(1)],
    ['another order', three.toReversed()],
    ['nothing', []],
  ])('shows %s, and the way back', (_, others) => {
    const { read } = subject();
    for (const neighbours of [three, others, others, three, others]) {
      const list = read(dumpOf(neighbours, 1));
      expect(list).toEqual(neighbours);
      expect(read(dumpOf(neighbours, 2))).toBe(list);
    }
  });

  it('shows the new name of a link', () => {
    const { read } = subject();
    read(dumpOf(three, 1));
    expect(read(dumpOf(three, 1), 'renamed').map(({ link }) => link)).toEqual(Array(3).fill('renamed'));
  });

  it('is not misled by a dump that did not come to its end', () => {
    const { memory, read } = subject();
    read(dumpOf(three, 1));
    const other = dumpOf([neighbourAt(9)], 1);
    memory.begin(() => 'vtep');
    forEachMessage(other, other.length, (message) => memory.add(other, message));
    expect(read(dumpOf(three, 1))).toEqual(three);
  });

  it('of several parts stays the same list while every part does', async () => {
    const dump = new RememberedDump<Neighbour>({ dumps: 2, aging: true, decode: () => undefined });
    const [one, two, other] = [[neighbourAt(1)], [neighbourAt(2)], [neighbourAt(3)]];
    const ask = (...parts: readonly (readonly Neighbour[])[]): Promise<readonly Neighbour[]> =>
      dump.read((_, at) => Promise.resolve(parts[at] ?? []));
    const whole = await ask(one, two);
    expect(whole).toEqual([...one, ...two]);
    expect(await ask(one, two)).toBe(whole);
    expect(await ask(one, other)).toEqual([...one, ...other]);
  });
});
