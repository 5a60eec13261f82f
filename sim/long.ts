/**
 * `npm run sim:long [-- --again] [-- --write]`: every scenario at full size, one process each.
 *
 * Takes an hour or two. What is done is kept in dist-sim/long.jsonl, so that it can be stopped and taken up again;
 * --again starts anew. With --write the tables in docs/benchmarks.md are made anew from what is done.
 */
import { spawnSync } from 'node:child_process';
import { appendFileSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { table } from './report.ts';
import { scenarios } from './scenarios/index.ts';
import type { Figures } from './simulate.ts';

const root = join(import.meta.dirname, '..', '..');
const results = join(root, 'dist-sim', 'long.jsonl');
const benchmarks = join(root, 'docs', 'benchmarks.md');
const TITLE = '## Simulated';
const SEED = '1';

interface Done {
  readonly args: string;
  readonly figures: Figures;
}

/** The baseline's connections and heartbeats grow with the square of the nodes: a few seconds have to do. */
const plans: readonly string[] = [
  ...scenarios.map(({ name }) => `--scenario ${name} --nodes 1000`),
  '--scenario change --nodes 1000 --records 50',
  '--scenario change --nodes 100',
  '--scenario stall --nodes 100',
  '--scenario change --nodes 1000 --seconds 15 --protocol full-mesh',
  '--scenario death --nodes 1000 --seconds 20 --protocol full-mesh',
  '--scenario mass-death --nodes 1000 --seconds 10 --protocol full-mesh',
  '--scenario stall --nodes 1000 --seconds 20 --protocol full-mesh',
].map((plan) => `${plan} --seed ${SEED}`);

function readDone(): readonly Done[] {
  if (!existsSync(results)) return [];
  const lines = readFileSync(results, 'utf8')
    .split('\n')
    .filter((line) => line !== '');
  return lines.map((line) => JSON.parse(line) as Done);
}

function runOne(args: string): boolean {
  console.error(`sim ${args}`);
  const main = join(import.meta.dirname, 'main.js');
  const run = spawnSync(process.execPath, [...process.execArgv, main, '--json', ...args.split(' ')], {
    stdio: ['ignore', 'pipe', 'inherit'],
    encoding: 'utf8',
  });
  if (run.stdout === '') return false;
  const figures = JSON.parse(run.stdout) as Figures;
  appendFileSync(results, `${JSON.stringify({ args, figures } satisfies Done)}\n`);
  console.log(table([figures]));
  return run.status === 0;
}

/** The section with this title is replaced, or put at the end. */
function write(done: readonly Done[]): void {
  const machine = `${cpus()[0]?.model ?? ''}, Node ${process.versions.node}`;
  const figures = plans.map((plan) => done.find(({ args }) => args === plan)?.figures);
  const section = `${TITLE}

Made by \`npm run sim:long -- --write\` on ${new Date().toISOString().slice(0, 10)} (${machine}): the shipped record exchange under virtual time,
packets of 1 ms on average, one in a hundred lost (\`loss20\`: one in five). What each scenario does: \`npm run sim -- --help\`; a row
is repeated by its scenario, nodes and seed. _Know_: time from a change until 99 % of the nodes, at the 99th percentile of
changes, and until all nodes knew. _Death_: until nine tenths, 99 % and all of those alive knew. _False_: a node that ran
was called unreachable by one that could reach it. _Sent_: on the wire, headers included. _Heap_: a store with 50 records
of each node. A dash: nothing of the kind took place. \`full-mesh\` is the plain alternative, every node talking to every
other one, to show what the protocol buys; it runs shorter, as its cost grows with the square of the nodes.

${table(figures.filter((each) => each !== undefined))}
`;
  const text = readFileSync(benchmarks, 'utf8');
  const before = text.split(`\n${TITLE}\n`)[0] ?? '';
  writeFileSync(benchmarks, `${before.trimEnd()}\n\n${section}`);
}

const args = process.argv.slice(2);
const unknown = args.find((arg) => arg !== '--again' && arg !== '--write');
if (unknown !== undefined) {
  console.error(`sim:long: no such option "${unknown}"; there are --again and --write`);
  process.exit(2);
}
if (args.includes('--again')) rmSync(results, { force: true });
let isGood = true;
for (const plan of plans) if (!readDone().some((done) => done.args === plan)) isGood = runOne(plan) && isGood;
if (args.includes('--write')) write(readDone());
process.exitCode = isGood ? 0 : 1;
