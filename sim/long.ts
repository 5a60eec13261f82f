/**
 * `npm run sim:long [-- OPTIONS]`: every scenario at full size, one process each.
 *
 * Takes hours, of which the simulated hour of a thousand nodes and the day of a hundred need most, so these are made of
 * pieces (pieces.ts). What is done is kept in docs/simulated.jsonl, a line each, with a hash of the record exchange it ran,
 * so that it can be stopped and taken up again in many sittings and on other machines; what other code has done does not
 * count, and is dropped when the tables are made anew.
 */
import { spawnSync } from 'node:child_process';
import { appendFileSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { hashOfShipped } from './code.ts';
import { parseLongOptions, usage } from './long-options.ts';
import { joined, joinedPlans, piecesOf, shownSeconds, type Done } from './pieces.ts';
import { plans } from './plans.ts';
import { promisesTable } from './promises.ts';
import { optionsTable, table } from './report.ts';
import type { Figures } from './simulate.ts';

const root = join(import.meta.dirname, '..', '..');
const main = join(import.meta.dirname, 'main.js');
const benchmarks = join(root, 'docs', 'benchmarks.md');
const TITLE = '## Simulated';
/** Folders of shipped code that a run shows something of. */
const RECORD_EXCHANGE = ['gossip', 'peer', 'node'];
/** What the section says beside what is made here. */
const BY_HAND = /<!-- by hand -->[^]*?<!-- made again -->/;

/** The version that is built, for readers. */
function headCommit(): string {
  return spawnSync('git', ['-C', root, 'rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).stdout.trim();
}

/** What this code has done. */
function readDone(): readonly Done[] {
  if (!existsSync(results)) return [];
  const lines = readFileSync(results, 'utf8')
    .split('\n')
    .filter((line) => line !== '');
  return lines.map((line) => JSON.parse(line) as Done).filter((done) => done.code === code);
}

function asLine(done: Done): string {
  return `${JSON.stringify(done)}\n`;
}

function runOne(args: string): boolean {
  console.error(`sim ${args}`);
  const run = spawnSync(process.execPath, [...process.execArgv, main, '--json', ...args.split(' ')], {
    stdio: ['ignore', 'pipe', 'inherit'],
    encoding: 'utf8',
  });
  if (run.stdout === '') return false;
  const figures = JSON.parse(run.stdout) as Figures;
  appendFileSync(results, asLine({ args, code, figures }));
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
packets of 1 ms on average, one in a hundred lost (\`loss20\`: one in five). The record exchange is that of commit ${headCommit()} (hash ${code}).

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

/** What all pieces show together. */
function printSums(done: readonly Done[]): void {
  for (const pieces of piecesOf(done)) {
    const { args, figures } = joined(pieces);
    const seconds = pieces.reduce((sum, piece) => sum + shownSeconds(piece), 0);
    const { falseSuspicions, violations } = figures;
    console.log(
      `${args}: ${seconds} virtual seconds in ${pieces.length} runs, ${falseSuspicions} false accusations, ${violations.length} violations`,
    );
  }
}

const options = parseLongOptions(process.argv.slice(2));
if (options.is === 'wrong') {
  console.error(`sim:long: ${options.reason}\n${usage}`);
  process.exit(2);
}
const code = await hashOfShipped(main, join(root, 'dist-sim', 'src'), RECORD_EXCHANGE);
const results = options.file ?? join(root, 'docs', 'simulated.jsonl');
if (options.isAgain) rmSync(results, { force: true });
let isGood = true;
const asked = plans.filter((plan) => plan.includes(options.only));
for (const plan of options.isOnlyShown ? [] : asked)
  if (!readDone().some((done) => done.args === plan)) isGood = runOne(plan) && isGood;
if (options.isWritten) {
  const done = readDone();
  writeFileSync(results, done.map(asLine).join(''));
  write(done);
}
printSums(readDone());
process.exitCode = isGood ? 0 : 1;
