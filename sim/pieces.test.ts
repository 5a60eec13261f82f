import { expect, it } from 'vitest';
import { joined, joinedPlans, piecesOf, type Done } from './pieces.ts';
import { promisesTable } from './promises.ts';
import type { Figures } from './simulate.ts';

function stalled(seed: number, figures: Partial<Figures>, seconds = 1_800): Done {
  const none = { p50Ms: null, p99Ms: null, maxMs: null, reach99Ms: null };
  return {
    args: `--scenario stall --nodes 1000 --seconds ${seconds} --seed ${seed}`,
    code: 'abc',
    figures: {
      ...{ scenario: 'stall', protocol: 'portolan', nodes: 1_000, seed, virtualSeconds: seconds + 20 },
      ...{ violations: [], convergence: none, detection: { reach90Ms: null, reach99Ms: null, maxMs: null } },
      ...{ falseSuspicions: 0, bytesPerSecondPerNode: 1_024, maxBytesPerSecond: 2_048, heapBytesPerNode: 1 },
      ...{ wallSeconds: 1, events: 1 },
      ...figures,
    },
  };
}

const promise = (done: readonly Done[]): string =>
  promisesTable(done)
    .split('\n')
    .find((line) => line.includes('an hour of 1,000 nodes'))
    ?.replaceAll(/ +/g, ' ') ?? '';

it('pieces of one run are one row: the worst of times, the sum of counts', () => {
  const pieces = [
    stalled(2, { falseSuspicions: 1, convergence: { p50Ms: 5, p99Ms: 6, maxMs: 7, reach99Ms: null } }),
    stalled(1, { violations: ['a'], maxBytesPerSecond: 3_000 }),
  ];
  const { args, figures } = joined(pieces);
  expect(args).toBe('--scenario stall --nodes 1000 --seconds 1800 --seed 1 to 2');
  expect(figures).toMatchObject({ virtualSeconds: 3_640, falseSuspicions: 1, violations: ['a'] });
  expect(figures).toMatchObject({ maxBytesPerSecond: 3_000, convergence: { maxMs: 7, reach99Ms: null } });
});

it('runs of other options are runs of their own, and seeds that are missing are not named', () => {
  expect(
    piecesOf([stalled(1, {}), stalled(1, {}, 60), stalled(2, {}, 60)]).map(({ length }) => length),
  ).toEqual([1, 2]);
  expect(
    joinedPlans(['--nodes 5 --seed 1', '--nodes 5 --seed 4', '--nodes 5 --seed 3', '--nodes 6 --seed 1']),
  ).toEqual(['--nodes 5 --seed 1, 3 to 4', '--nodes 6 --seed 1']);
});

it('a promise is kept when its pieces add up to the time promised, their start and end apart', () => {
  expect(promise([stalled(1, {})])).toContain('| 0 in 1800 s | <= 0 | not shown in full |');
  expect(promise([stalled(1, {}), stalled(2, {})])).toContain('| 0 in 3600 s of 2 runs | <= 0 | kept |');
  expect(promise([stalled(1, {}), stalled(2, { falseSuspicions: 1 })])).toContain('| **missed** |');
});
