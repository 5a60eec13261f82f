import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Mentions } from './mentions.ts';
import { RowMentions } from './row-mentions.ts';
import { WaitingRows } from './waiting-rows.ts';
import { Waiting } from './waiting.ts';

const LINKS = 5;
const MOST = 6;
const bits = (links: readonly number[]): number => links.reduce((sum, link) => sum | (1 << link), 0);

const operations = fc.array(
  fc.record({
    what: fc.constantFrom('add' as const, 'remove' as const, 'drop' as const),
    item: fc.nat(40),
    links: fc.uniqueArray(fc.nat(LINKS - 1)),
  }),
  { maxLength: 40 },
);

describe.each([
  ['by name', () => new Waiting<number>(MOST)],
  ['by number', () => new WaitingRows(MOST)],
])('what waits to be told, %s', (_name, make) => {
  it('is what a list for each link would hold', () => {
    fc.assert(
      fc.property(operations, operations, (first, second) => {
        const waiting = make();
        for (const all of [first, second]) {
          const lists = Array.from({ length: LINKS }, () => new Set<number>());
          for (const each of all) {
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
          const groups = waiting.split([bits(lists.map((_each, link) => link))]);
          for (const group of groups)
            for (const [link, list] of lists.entries())
              if ((group & (1 << link)) !== 0) expect(new Set(waiting.of(group))).toEqual(list);
          expect(groups.reduce((sum, group) => sum + group, 0)).toBe(2 ** LINKS - 1);
          waiting.clear();
          expect([waiting.size, waiting.depth, waiting.of(~0)]).toEqual([0, 0, []]);
        }
      }),
    );
  });
});

describe.each([
  ['by name', () => new Mentions<number>(MOST)],
  ['by number', () => new RowMentions(MOST)],
])('what is to be mentioned, %s', (_name, make) => {
  it('is taken when it is ripe, for those links that were not told meanwhile', () => {
    const takes = fc.record({ what: fc.constant('take' as const), item: fc.nat(8), links: fc.nat(31) });
    const steps = fc.record({
      what: fc.constantFrom('add' as const, 'remove' as const, 'drop' as const),
      item: fc.nat(10),
      links: fc.nat(31),
    });
    fc.assert(
      fc.property(fc.array(fc.oneof(steps, takes), { maxLength: 60 }), (all) => {
        const mentions = make();
        const model = new Map<number, { links: number; since: number }>();
        const remove = (item: number, links: number): void => {
          const held = model.get(item);
          if (held === undefined) return;
          held.links &= ~links;
          if (held.links === 0) model.delete(item);
        };
        for (const [now, { what, item, links }] of all.entries())
          if (what === 'add') {
            mentions.add(item, links, now);
            const held = model.get(item);
            if (links === 0 || (held === undefined && model.size >= MOST)) continue;
            model.delete(item);
            model.set(item, { links: (held?.links ?? 0) | links, since: now });
          } else if (what === 'remove') {
            mentions.remove(item, links);
            remove(item, links);
          } else if (what === 'drop') {
            mentions.drop(links);
            for (const each of Array.from(model.keys())) remove(each, links);
          } else {
            const ripe = mentions.takeRipe(links, now - item);
            const expected = Array.from(model).filter(
              ([, held]) => held.since <= now - item && (held.links & links) !== 0,
            );
            expect(ripe.of(~0)).toEqual(expected.map(([each]) => each));
            for (const [each] of expected) remove(each, links);
            expect(mentions.size).toBe(model.size);
          }
      }),
    );
  });
});
