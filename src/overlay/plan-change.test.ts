import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { attachmentOf, clusters, inputWith, nodeId, recordOf } from './arbitrary.ts';
import { CompileMemory } from './compile-memory.ts';
import { compile, compileSliced } from './compile.ts';
import type { CompileInput, DesiredState } from './desired.ts';
import { fdbKind, neighbourKind, routeKind, takeInventory } from './inventory.ts';
import { emptyKernel, performOnModel } from './kernel-model-fake.ts';
import { planChange } from './plan-change.ts';
import { plan } from './plan.ts';
import { drain } from './slice.ts';
import type { Observed, Step } from './step.ts';

/** What remote nodes are in the kernel. */
const remotesOf = ({ neighbours, fdb, routes }: Pick<Observed, 'neighbours' | 'fdb' | 'routes'>) => ({
  neighbours: neighbours.map(neighbourKind.words).sort(),
  fdb: fdb.map(fdbKind.words).sort(),
  routes: routes.map(routeKind.words).sort(),
});

/** A kernel that holds the state. */
const holding = (state: DesiredState): Observed =>
  performOnModel(emptyKernel, plan(state, emptyKernel).steps);

const stepsOf = (before: DesiredState, after: DesiredState): readonly Step[] | undefined => {
  const steps = drain(planChange(takeInventory(before), takeInventory(after)));
  return steps && [...steps];
};

/** One compilation after the other, as an agent does it. */
function compiled(...inputs: readonly CompileInput[]): readonly DesiredState[] {
  const memory = new CompileMemory();
  return inputs.map((input) => drain(compileSliced(input, memory)));
}

describe('a change of remote nodes', () => {
  it('leaves the kernel as the next state says, whichever cluster becomes which other', () => {
    let followed = 0;
    fc.assert(
      fc.property(clusters, clusters, (first, second) => {
        const changed = { ...first, records: second.records, removed: second.removed };
        const [before, after] = compiled(first, changed) as [DesiredState, DesiredState];
        expect(after).toEqual(compile(changed));
        const steps = stepsOf(before, after);
        if (steps === undefined) return;
        followed++;
        expect(remotesOf(performOnModel(holding(before), steps))).toEqual(remotesOf(after));
      }),
      { numRuns: 300 },
    );
    expect(followed).toBeGreaterThan(50);
  });

  it('costs what has changed, in the order of every plan', () => {
    const moved = recordOf(3, { subnet: '9.0.77.0/24', grant_epoch: 4 });
    const input = inputWith([2, 3, 4, 5]);
    const records = input.records
      .filter(({ node }) => node !== nodeId(5))
      .map((each) =>
        each.node === nodeId(3) && each.record.overlay === 'dcos' ? { ...each, record: moved } : each,
      );
    const [before, after] = compiled(input, { ...input, records }) as [DesiredState, DesiredState];
    const words = (stepsOf(before, after) ?? []).map(({ change }) => `${change.action} ${change.object}`);
    expect(words).toEqual([
      'make route',
      ...['remove route', 'remove route', 'remove route', 'remove route'],
      'remove fdb',
      ...['remove neighbour', 'remove neighbour'],
    ]);
    expect(stepsOf(after, after)).toEqual([]);
  });

  it('is all that it is for: whatever else differs is for a look at the kernel', () => {
    const input = inputWith([2, 3]);
    const others: readonly CompileInput[] = [
      { ...input, attachments: [attachmentOf(1)] },
      { ...input, grant: undefined },
      { ...input, underlay: { ...input.underlay, mtu: 9000 } },
      {
        ...input,
        records: [
          ...input.records,
          { node: nodeId(9), record: recordOf(9, { overlay: 'new', space: '10.8.0.0/16' }) },
        ],
      },
    ];
    for (const other of others) {
      const [before, after] = compiled(input, other) as [DesiredState, DesiredState];
      expect(stepsOf(before, after)).toBeUndefined();
    }
  });
});
