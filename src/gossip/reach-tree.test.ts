import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Answer } from './answers.ts';
import { NodeTable } from './nodes.ts';
import { ReachTree } from './reach-tree.ts';

const NODES = 12;
const handle = (i: number): string => String.fromCharCode(97 + i).repeat(10);

interface Said {
  readonly sequence: number;
  readonly neighbours: readonly number[];
  readonly answers: readonly Answer[];
}

/**
 * Slow and obvious: a walk over all edges that both ends confirm, or that one confirms and answers the other's row for;
 * those of the root need no confirmation.
 */
function reachedFrom(root: number, rows: ReadonlyMap<number, Said>): Set<number> {
  const answers = (a: number, b: number): boolean =>
    b !== root &&
    rows
      .get(a)
      ?.answers.some(
        ({ index, sequence }) => index === b && sequence >= (rows.get(b)?.sequence ?? Infinity),
      ) === true;
  const lists = (a: number, b: number): boolean =>
    rows.get(a)?.neighbours.includes(b) === true || answers(b, a);
  const reached = new Set([root]);
  for (const from of reached)
    for (let to = 0; to < NODES; to++)
      if (lists(from, to) && (from === root || lists(to, from))) reached.add(to);
  return reached;
}

describe('reachability', () => {
  it('after any sequence of rows is what a walk over all edges finds, and every change is told', () => {
    const row = fc.record({
      node: fc.nat(NODES - 1),
      neighbours: fc.uniqueArray(fc.nat(NODES - 1), { maxLength: 5 }),
    });
    // Rows drawn at random seldom agree: most come in pairs that do.
    const answer = fc.record({ by: fc.nat(NODES - 1), to: fc.nat(NODES - 1), ahead: fc.nat(1) });
    const edge = fc.record({ a: fc.nat(NODES - 1), b: fc.nat(NODES - 1), isUp: fc.boolean() });
    fc.assert(
      fc.property(fc.array(fc.oneof(row, edge, edge, answer), { maxLength: 80 }), (operations) => {
        const table = new NodeTable();
        for (let i = 0; i < NODES; i++) table.index(handle(i));
        const tree = new ReachTree(table, 0);
        const rows = new Map<number, Said>();
        const believed = new Set([0]);
        const sequenceOf = (node: number): number => rows.get(node)?.sequence ?? 0;
        const set = (node: number, neighbours: readonly number[], answers: readonly Answer[] = []): void => {
          const sequence = sequenceOf(node) + 1;
          const next = { epoch: 1, sequence, neighbours, failed: '', answers };
          const orphans = tree.cut(node, table.edgesAfter(node, next));
          table.set(node, next);
          tree.mend(node, orphans);
          rows.set(node, next);
        };
        for (const each of operations) {
          if ('node' in each)
            set(
              each.node,
              each.neighbours.filter((n) => n !== each.node),
            );
          else if ('by' in each) {
            const { by, to, ahead } = each;
            const others = (rows.get(by)?.neighbours ?? []).filter((n) => n !== to);
            if (by !== to)
              set(by, [...others, to], [{ index: to, epoch: 1, sequence: sequenceOf(to) + ahead }]);
          } else if (each.a !== each.b)
            for (const [from, to] of [
              [each.a, each.b],
              [each.b, each.a],
            ] as const) {
              const others = (rows.get(from)?.neighbours ?? []).filter((n) => n !== to);
              set(from, each.isUp ? [...others, to] : others);
            }
          for (const index of tree.takeChanged())
            if (tree.isReached(index)) believed.add(index);
            else believed.delete(index);
          const expected = reachedFrom(0, rows);
          for (let i = 0; i < NODES; i++) expect(tree.isReached(i)).toBe(expected.has(i));
          expect(believed).toEqual(expected);
        }
      }),
      { numRuns: 500 },
    );
  });
});
