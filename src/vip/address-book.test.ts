import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ip } from '../base/ip.ts';
import { AddressBook } from './address-book.ts';
import { assignAddresses, type VipRange } from './addresses.ts';

/** Small, so that names collide and addresses run out. */
const tiny: VipRange = { min: ip('11.0.0.0'), max: ip('11.0.0.15') };
const change = fc.record({ add: fc.boolean(), name: fc.stringMatching(/^[a-e]{1,2}$/) });

describe('AddressBook', () => {
  it('says what assignAddresses says, whatever comes and goes, and names every name whose address changes', () => {
    fc.assert(
      fc.property(fc.array(change, { maxLength: 60 }), (changes) => {
        const book = new AddressBook(tiny);
        const names = new Set<string>();
        let known = new Map<string, string>();
        for (const { add, name } of changes) {
          const told = new Set(add ? book.add(name) : book.remove(name));
          if (add) names.add(name);
          else names.delete(name);
          const expected = assignAddresses(names, tiny);
          const now = new Map<string, string>();
          for (const each of new Set([...names, name])) {
            expect(String(book.get(each))).toBe(String(expected.get(each)));
            now.set(each, String(book.get(each)));
          }
          for (const [each, address] of now)
            if (known.has(each) && known.get(each) !== address) expect(told).toContain(each);
          known = now;
        }
      }),
    );
  });
});
