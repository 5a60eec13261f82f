import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Waiting } from './waiting.ts';

const LINKS = 5;
const MOST = 6;
const bits = (links: readonly number[]): number => links.reduce((sum, link) => sum | (1 << link), 0);

describe('what waits to be told', () => {
  it('is what a list for each link would hold', () => {
    const links = fc.uniqueArray(fc.nat(LINKS - 1));
    const operation = fc.record({
      what: fc.constantFrom('add' as const, 'remove' as const, 'drop' as const),
      item: fc.nat(9),
      links,
    });
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 40 }), (operations) => {
        const waiting = new Waiting<number>(MOST);
        const lists = Array.from({ length: LINKS }, () => new Set<number>());
        for (const each of operations) {
          const isFull = new Set(lists.flatMap((list) => Array.from(list))).size >= MOST;
          const isHeld = lists.some((list) => list.has(each.item));
          if (each.what === 'add') waiting.add(each.item, bits(each.links));
          else if (each.what === 'remove') waiting.remove(each.item, bits(each.links));
          else waiting.drop(bits(each.links));
          for (const link of each.links)
            if (each.what === 'drop') lists[link]?.clear();
            else if (each.what === 'remove') lists[link]?.delete(each.item);
            else if (isHeld || !isFull) lists[link]?.add(each.item);
        }
        expect(waiting.depth).toBe(lists.reduce((sum, list) => sum + list.size, 0));
        expect(waiting.size).toBeLessThanOrEqual(MOST);
        for (const [link, list] of lists.entries()) expect(new Set(waiting.of(1 << link))).toEqual(list);
        const groups = waiting.split([bits(lists.map((_, link) => link))]);
        for (const group of groups)
          for (const [link, list] of lists.entries())
            if ((group & (1 << link)) !== 0) expect(new Set(waiting.of(group))).toEqual(list);
        expect(groups.reduce((sum, group) => sum + group, 0)).toBe(2 ** LINKS - 1);
      }),
    );
  });
});
