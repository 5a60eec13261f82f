import { describe, expect, it } from 'vitest';
import { Assembler } from './assembler.ts';

const hex = (a: Assembler): readonly string[] => a.bytes().toString('hex').match(/.{16}/g) ?? [];

describe('Assembler', () => {
  it('encodes instructions as RFC 9669 has them', () => {
    const a = new Assembler()
      .do('mov', 6, 1)
      .load('u32', 1, { base: 6, offset: 16 })
      .load('u16', 2, { base: 7, offset: -2 })
      .store('u64', { base: 10, offset: -8 }, 3)
      .store('u8', { base: 10, offset: -9 }, { value: 7 })
      .do('add', 2, { value: -72 })
      .call(155)
      .exit();
    expect(hex(a)).toEqual([
      'bf16000000000000',
      '6161100000000000',
      '6972feff00000000',
      '7b3af8ff00000000',
      '720af7ff07000000',
      '07020000b8ffffff',
      '850000009b000000',
      '9500000000000000',
    ]);
  });

  it('takes two instructions for a map, and counts them in jumps', () => {
    const a = new Assembler()
      .jumpIf(1, '==', { value: 8 }, 'end')
      .jumpIf(1, '>', 2, 'end')
      .jump('end')
      .loadMap(1, 5)
      .label('end')
      .exit();
    expect(hex(a)).toEqual([
      '1501040008000000',
      '2d21030000000000',
      '0500020000000000',
      '1811000005000000',
      '0000000000000000',
      '9500000000000000',
    ]);
  });

  it('refuses a label twice, one that is missing, and one behind its jump', () => {
    expect(() => new Assembler().label('a').label('a')).toThrow('label a once');
    expect(() => new Assembler().jump('a').bytes()).toThrow('label a after its jump');
    expect(() => new Assembler().label('a').jump('a').bytes()).toThrow('label a after its jump');
  });
});
