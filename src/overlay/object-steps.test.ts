import { describe, expect, it } from 'vitest';
import { inputWith } from './arbitrary.ts';
import { compile } from './compile.ts';
import { takeInventory } from './inventory.ts';
import { emptyKernel } from './kernel-model-fake.ts';
import { mingled } from './object-steps.ts';
import { planSliced } from './plan.ts';
import { drain, SLICE } from './slice.ts';

/** As far as `mingled` needs it: letters with numbers. */
function run(letter: string, length: number): Parameters<typeof mingled>[0][number] {
  const steps = Array.from({ length }, (_, at) => `${letter}${at}`);
  return steps as unknown as Parameters<typeof mingled>[0][number];
}

const listed = (runs: ReturnType<typeof mingled>): readonly unknown[] => runs.flatMap((each) => [...each]);

describe('mingled steps', () => {
  it('are all there, each kind in its order, at most a slice of one kind in a row', () => {
    const [few, many] = [run('a', 700), run('b', 1_400)];
    const mixed = mingled([few, run('c', 0), many]);
    expect(listed(mixed).filter((step) => String(step).startsWith('a'))).toEqual([...few]);
    expect(listed(mixed).filter((step) => String(step).startsWith('b'))).toEqual([...many]);
    expect(Math.max(...mixed.map(({ length }) => length))).toBeLessThanOrEqual(SLICE);
  });

  it('are none where there is nothing to do', () => {
    expect(listed(mingled([run('a', 0), run('b', 0)]))).toEqual([]);
  });
});

describe('the steps of a plan', () => {
  it('are equal whenever one goes through them, and where one asks for them by number', () => {
    const { steps } = drain(planSliced(takeInventory(compile(inputWith([2, 3]))), emptyKernel));
    const words = [...steps].map(({ change }) => change.what);
    expect([...steps].map(({ change }) => change.what)).toEqual(words);
    const byNumber = steps.runs.flatMap((each) =>
      Array.from({ length: each.length }, (_, at) => each.at(at)?.change.what),
    );
    expect(byNumber).toEqual(words);
    for (const each of steps.runs) expect(each.at(each.length)).toBeUndefined();
  });

  it('say what a run makes that was not there', () => {
    const { steps } = drain(planSliced(takeInventory(compile(inputWith([2, 3]))), emptyKernel));
    for (const each of steps.runs)
      if (each.makes !== undefined)
        for (const { change } of each)
          expect(change).toMatchObject({ object: each.makes, action: 'make', was: undefined });
    expect(steps.runs.flatMap(({ makes }) => makes ?? [])).toEqual(
      expect.arrayContaining(['neighbour', 'fdb', 'route']),
    );
  });
});
