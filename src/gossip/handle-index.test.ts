import fc from 'fast-check';
import { expect, it } from 'vitest';
import { HandleIndex } from './handle-index.ts';

const character = fc.constantFrom(...'abyz27');

it('finds what was added, as a map does, and nothing that is no handle', () => {
  const handle = fc.array(character, { minLength: 10, maxLength: 10 }).map((all) => all.join(''));
  fc.assert(
    fc.property(
      fc.uniqueArray(handle, { maxLength: 200 }),
      fc.string({ maxLength: 20 }),
      (handles, other) => {
        const index = new HandleIndex();
        for (const [i, each] of handles.entries()) {
          expect(index.find(each)).toBe(-1);
          index.add(each, i);
        }
        for (const [i, each] of handles.entries()) expect(index.find(each)).toBe(i);
        expect(index.find(other)).toBe(handles.indexOf(other));
        expect(index.find(`${handles[0] ?? ''}a`)).toBe(-1);
      },
    ),
  );
});
