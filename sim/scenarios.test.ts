/** The scenarios on few nodes, from fixed seeds. `npm run sim` runs them on as many as one likes. */
import { expect, it } from 'vitest';
import { command, parseOptions } from './options.ts';
import type { Scenario } from './scenario.ts';
import { scenarios } from './scenarios/index.ts';
import { simulate } from './simulate.ts';

const SEED = 1;
const NODES = 12;
const LONGEST_MS = 30_000;

/** The stranger speaks for others: without certificates a healthy node may be accused by its words. */
const accusing = ['replay'];

/** Runs that once accused a healthy node, or hid it for ever. */
const lessons = [
  // A node that had just started judged by a row of its own that named one neighbour.
  { name: 'mass-death', nodes: 12, seed: 1, seconds: 20 },
  // All neighbours of one node were in the other half: nobody in its own half knew it any more.
  { name: 'half-partition', nodes: 100, seed: 1, seconds: 5 },
  // Two attempts to dial were lost, as every fifth packet was.
  { name: 'loss20', nodes: 30, seed: 5, seconds: 10 },
  // The end of a doubt about a node that was no neighbour was noticed by nobody.
  { name: 'one-way', nodes: 12, seed: 3, seconds: 60 },
];

async function runs(scenario: Scenario, nodes: number, seed: number, durationMs: number): Promise<void> {
  const init = { scenario, protocol: 'portolan', nodes, seed, recordsPerNode: 3, durationMs } as const;
  const figures = await simulate(init);
  const again = command({ ...init, scenarios: [scenario], json: false, verbose: false }, scenario);
  expect(figures.violations, `to repeat: ${again}`).toEqual([]);
  if (!accusing.includes(scenario.name)) expect(figures.falseSuspicions, `to repeat: ${again}`).toBe(0);
}

it.each(scenarios.map((scenario) => [scenario.name, scenario] as const))(
  '%s: nothing happens that must not',
  async (_name, scenario) => {
    await runs(scenario, NODES, SEED, Math.min(LONGEST_MS, scenario.durationMs(NODES)));
  },
  120_000,
);

it.each(lessons)(
  '$name of $nodes nodes, seed $seed: what once happened does not',
  async (lesson) => {
    const scenario = scenarios.find(({ name }) => name === lesson.name);
    if (scenario === undefined) throw new Error(`no scenario ${lesson.name}`);
    await runs(scenario, lesson.nodes, lesson.seed, lesson.seconds * 1000);
  },
  120_000,
);

it('the same seed gives the same run', async () => {
  const init = { protocol: 'portolan', nodes: 8, recordsPerNode: 2, durationMs: 5_000 } as const;
  const [scenario] = scenarios;
  if (scenario === undefined) throw new Error('no scenario');
  const run = async (seed: number) => {
    const { wallSeconds: _, ...figures } = await simulate({ ...init, scenario, seed });
    return figures;
  };
  expect(await run(3)).toEqual(await run(3));
  expect(await run(4)).not.toEqual(await run(3));
});

it.each([
  [['--nodes', '0'], '"--nodes" is a whole number from 1 to 5000, not "0"'],
  [['--nodes'], '"--nodes" needs a value'],
  [['--frob'], 'no such option "--frob"'],
  [['--seed', '1', '--seed', '2'], '"--seed" is given twice'],
  [['--json=yes'], '"--json" takes no value'],
  [['--protocol', 'pigeons'], 'no protocol "pigeons"; there are portolan, full-mesh'],
])('wrong usage %j is told in one line', (args, reason) => {
  expect(parseOptions(args)).toEqual({ is: 'wrong', reason });
});

it('a command repeats the options it was made from', () => {
  const parsed = parseOptions([
    '--nodes=7',
    '--scenario',
    'flap',
    '--seconds',
    '9',
    '--records',
    '2',
    '--seed',
    '5',
  ]);
  if (parsed.is !== 'options') throw new Error('not understood');
  const [scenario] = parsed.options.scenarios;
  if (scenario === undefined) throw new Error('no scenario');
  const text = command(parsed.options, scenario).split(' -- ')[1]?.split(' ') ?? [];
  expect(parseOptions(text)).toEqual(parsed);
});
