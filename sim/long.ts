/**
 * `npm run sim:long [-- --again] [-- --write] [-- --table]`: every scenario at full size, one process each.
 *
 * Takes hours, of which the simulated hour of a thousand nodes and the day of a hundred need most, so these are made of
 * pieces (pieces.ts). What is done is kept in dist-sim/long.jsonl, so that it can be stopped and taken up again; --again
 * starts anew. With --write the table in docs/benchmarks.md is made anew in the end; --table makes it of what is done and
 * runs nothing.
 */
import { spawnSync } from 'node:child_process';
import { appendFileSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { plans } from './plans.ts';
import { joined, joinedPlans, piecesOf, type Done } from './pieces.ts';
import { promisesTable } from './promises.ts';
import { optionsTable, table } from './report.ts';
import type { Figures } from './simulate.ts';

const root = join(import.meta.dirname, '..', '..');
const results = join(root, 'dist-sim', 'long.jsonl');
const benchmarks = join(root, 'docs', 'benchmarks.md');
const TITLE = '## Simulated';
/** What the section says beside what is made here. */
const BY_HAND = /<!-- by hand -->[^]*?<!-- made again -->/;

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

/** The section with this title is replaced, but for what is marked in it as written by hand, or put at the end. */
function write(done: readonly Done[]): void {
  const machine = `${cpus()[0]?.model ?? ''}, Node ${process.versions.node}`;
  const place = ({ args }: Done): number => plans.indexOf(args) >>> 0;
  const inOrder = done.toSorted((a, b) => place(a) - place(b));
  const rows = piecesOf(inOrder).map((pieces) => {
    const { args: options, figures } = joined(pieces);
    return { options, figures };
  });
  const missing = plans.filter((plan) => !done.some(({ args }) => args === plan));
  const notRun =
    missing.length === 0
      ? ''
      : `\nNot run: ${joinedPlans(missing)
          .map((plan) => `\`${plan}\``)
          .join(', ')}.\n`;
  const text = readFileSync(benchmarks, 'utf8');
  const [before = '', old = ''] = text.split(`\n${TITLE}\n`);
  const byHand = BY_HAND.exec(old)?.[0] ?? '';
  const section = `${TITLE}

Made by \`npm run sim:long -- --write\` on ${new Date().toISOString().slice(0, 10)} (${machine}): the shipped record exchange under virtual time,
packets of 1 ms on average, one in a hundred lost (\`loss20\`: one in five).

${promisesTable(done)}
${byHand === '' ? '' : `\n${byHand}\n`}
What each scenario does: \`npm run sim -- --help\`. 200 nodes and more are not started for real, but in \`join-storm\`: they are
given each other's rows (\`sim/settled.ts\`). The first column repeats a row; where it names several seeds, each is a run
of its own, and the row says the worst of times and rates, and the sum of all else. _Know_: time from a change until 99 % of the nodes
knew, at the 99th percentile of changes, and until all did. _Death_: until nine tenths, 99 % and all of those alive knew.
_False_: a node that ran was called unreachable by one that could reach it. _Sent_: on the wire, headers included. _Heap_:
a store with 50 records of each node. A dash: nothing of the kind took place. \`full-mesh\` is the plain alternative, every node talking to every other
one, to show what the protocol buys; its cost grows with the square of the nodes.

${optionsTable(rows)}
${notRun}`;
  const next = old.indexOf('\n## ');
  const after = next < 0 ? '' : old.slice(next);
  writeFileSync(benchmarks, `${before.trimEnd()}\n\n${section}${after}`);
}

const args = process.argv.slice(2);
const unknown = args.find((arg) => !['--again', '--write', '--table'].includes(arg));
if (unknown !== undefined) {
  console.error(`sim:long: no such option "${unknown}"; there are --again, --write and --table`);
  process.exit(2);
}
if (args.includes('--again')) rmSync(results, { force: true });
let isGood = true;
const missing = args.includes('--table') ? [] : plans;
for (const plan of missing)
  if (!readDone().some((done) => done.args === plan)) isGood = runOne(plan) && isGood;
if (missing.length === 0 || args.includes('--write')) write(readDone());
process.exitCode = isGood ? 0 : 1;
