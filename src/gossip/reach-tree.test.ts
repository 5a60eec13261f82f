import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { NodeTable } from './nodes.ts';
import { ReachTree } from './reach-tree.ts';

const NODES = 12;
const handle = (i: number): string => String.fromCharCode(97 + i).repeat(10);

/** Slow and obvious: a walk over all confirmed edges; those of the root need no confirmation. */
function reachedFrom(root: number, rows: ReadonlyMap<number, readonly number[]>): Set<number> {
  const lists = (a: number, b: number): boolean => rows.get(a)?.includes(b) === true;
  const reached = new Set([root]);
  for (const from of reached)
    for (const to of rows.get(from) ?? []) if (from === root || lists(to, from)) reached.add(to);
  return reached;
}

describe('reachability', () => {
  it('after any sequence of rows is what a walk over all edges finds, and every change is told', () => {
    const row = fc.record({
      node: fc.nat(NODES - 1),
      neighbours: fc.uniqueArray(fc.nat(NODES - 1), { maxLength: 5 }),
    });
    // Rows drawn at random seldom agree: most come in pairs that do.
    const edge = fc.record({ a: fc.nat(NODES - 1), b: fc.nat(NODES - 1), isUp: fc.boolean() });
    fc.assert(
      fc.property(fc.array(fc.oneof(row, edge, edge), { maxLength: 80 }), (operations) => {
        const table = new NodeTable();
        for (let i = 0; i < NODES; i++) table.index(handle(i));
        const tree = new ReachTree(table, 0);
        const rows = new Map<number, readonly number[]>();
        const believed = new Set([0]);
        let sequence = 0;
        const set = (node: number, neighbours: readonly number[]): void => {
          const orphans = tree.cut(node, neighbours);
          table.set(node, { epoch: 1, sequence: ++sequence, neighbours, failed: '' });
          tree.mend(node, orphans);
          rows.set(node, neighbours);
        };
        for (const each of operations) {
          if ('node' in each)
            set(
              each.node,
              each.neighbours.filter((n) => n !== each.node),
            );
          else if (each.a !== each.b)
            for (const [from, to] of [
              [each.a, each.b],
              [each.b, each.a],
            ] as const) {
              const others = (rows.get(from) ?? []).filter((n) => n !== to);
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
      { numRuns: 300 },
    );
  });
});
