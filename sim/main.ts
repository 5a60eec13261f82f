/** `npm run sim`: runs scenarios and prints their figures. */
import { createLog } from '../src/base/log.ts';
import { measureHeap } from './heap.ts';
import { command, parseOptions, usage, type Options } from './options.ts';
import { table } from './report.ts';
import { simulate, type Figures, type Progress } from './simulate.ts';

/** Of each node, for the heap that a node's store takes. */
const HEAP_RECORDS = 50;
/** Of real time, between two lines about a run that takes long. */
const PROGRESS_MS = 60_000;

async function main(args: readonly string[]): Promise<number> {
  const parsed = parseOptions(args);
  switch (parsed.is) {
    case 'help':
      console.log(usage);
      return 0;
    case 'wrong':
      console.error(`sim: ${parsed.reason}; see --help`);
      return 2;
    case 'options':
      return run(parsed.options);
  }
}

async function run(options: Options): Promise<number> {
  const { protocol, nodes } = options;
  const heapBytesPerNode = await measureHeap({ protocol, nodes, recordsPerNode: HEAP_RECORDS });
  const all: Figures[] = [];
  const log = options.verbose ? createLog('debug') : undefined;
  for (const scenario of options.scenarios) {
    const onProgress = progressPrinter(scenario.name);
    const figures = { ...(await simulate({ ...options, scenario, log, onProgress })), heapBytesPerNode };
    all.push(figures);
    if (options.json) console.log(JSON.stringify(figures));
    for (const violation of figures.violations) console.error(`sim ${scenario.name}: ${violation}`);
    if (figures.violations.length > 0) console.error(`to repeat: ${command(options, scenario)}`);
  }
  if (!options.json) console.log(table(all));
  return all.every(({ violations }) => violations.length === 0) ? 0 : 1;
}

/** On standard error. */
function progressPrinter(scenario: string): (progress: Progress) => void {
  let printedAt = performance.now();
  return ({ virtualSeconds, falseSuspicions, violations }) => {
    if (performance.now() - printedAt < PROGRESS_MS) return;
    printedAt = performance.now();
    console.error(
      `sim ${scenario}: ${virtualSeconds} virtual seconds, ${falseSuspicions} false accusations, ${violations} violations`,
    );
  };
}

process.exitCode = await main(process.argv.slice(2));
