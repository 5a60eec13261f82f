/** What the simulated figures were promised to be. */
import { render } from './report.ts';
import type { Figures } from './simulate.ts';

export interface Done {
  /** The options of the run. */
  readonly args: string;
  readonly figures: Figures;
}

interface Promised {
  readonly what: string;
  /** How the options of its run begin; of several runs the longest counts. */
  readonly run: string;
  readonly measure: (figures: Figures) => number | null;
  readonly atMost: number;
  readonly unit: 'ms' | 'KiB/s' | 'MiB' | '';
  /** Of virtual time: a run that was shorter shows less. */
  readonly seconds?: number;
}

const CHANGE = '--scenario change --nodes 1000';
const STALL = '--scenario stall --nodes 1000';

const promises: readonly Promised[] = [
  {
    what: 'a change until 99 % of 1,000 nodes know, 99th percentile of 200',
    run: CHANGE,
    measure: ({ convergence }) => convergence.reach99Ms,
    atMost: 600,
    unit: 'ms',
  },
  {
    what: 'until all of 1,000 nodes know, 99th percentile of 200',
    run: CHANGE,
    measure: ({ convergence }) => convergence.p99Ms,
    atMost: 1_500,
    unit: 'ms',
  },
  {
    what: 'until all of 100 nodes know, 99th percentile of 200',
    run: '--scenario change --nodes 100 ',
    measure: ({ convergence }) => convergence.p99Ms,
    atMost: 500,
    unit: 'ms',
  },
  {
    what: 'a death until 99 % of 1,000 nodes know',
    run: '--scenario death --nodes 1000',
    measure: ({ detection }) => detection.reach99Ms,
    atMost: 1_500,
    unit: 'ms',
  },
  {
    what: '12.5 % of 1,000 nodes die at once, until all know of all',
    run: '--scenario mass-death --nodes 1000',
    measure: ({ detection }) => detection.maxMs,
    atMost: 5_000,
    unit: 'ms',
  },
  {
    what: 'accusations of a healthy node, an hour of 1,000 nodes of which 5 % stall',
    run: STALL,
    measure: ({ falseSuspicions }) => falseSuspicions,
    atMost: 0,
    unit: '',
    seconds: 3_600,
  },
  {
    what: 'accusations of a healthy node, a day of 100 nodes of which 5 % stall',
    run: '--scenario stall --nodes 100 ',
    measure: ({ falseSuspicions }) => falseSuspicions,
    atMost: 0,
    unit: '',
    seconds: 86_400,
  },
  {
    what: 'nodes still hidden anywhere 0.5 s after a stall, or anything erased, 1,000 nodes',
    run: STALL,
    measure: ({ violations }) => violations.length,
    atMost: 0,
    unit: '',
    seconds: 3_600,
  },
  {
    what: 'sent per node, 1,000 nodes with 50 records each',
    run: `${CHANGE} --records 50`,
    measure: ({ bytesPerSecondPerNode }) => bytesPerSecondPerNode / 1024,
    atMost: 20,
    unit: 'KiB/s',
  },
  {
    what: 'heap of the store, 1,000 nodes with 50 records each',
    run: CHANGE,
    measure: ({ heapBytesPerNode }) => (heapBytesPerNode === null ? null : heapBytesPerNode / 2 ** 20),
    atMost: 60,
    unit: 'MiB',
  },
];

/** Each promise with what was measured. */
export function promisesTable(done: readonly Done[]): string {
  return render(
    ['what', 'measured', 'promised', ''],
    promises.map((promise) => {
      const { what, atMost, unit, run, measure, seconds = 0 } = promise;
      const limit = `<= ${atMost} ${unit}`.trim();
      const runs = done.filter(({ args }) => args.startsWith(run) && !args.includes('--protocol'));
      const longest = runs.toSorted((a, b) => b.figures.virtualSeconds - a.figures.virtualSeconds)[0];
      const value = longest === undefined ? null : measure(longest.figures);
      if (longest === undefined || value === null) return [what, 'not run', limit, ''];
      const { virtualSeconds } = longest.figures;
      const isShort = virtualSeconds < seconds;
      const text = `${Math.round(value * 10) / 10} ${unit}`.trim();
      const outcome = value > atMost ? '**missed**' : isShort ? 'not shown in full' : 'kept';
      return [what, isShort ? `${text} in ${virtualSeconds} s` : text, limit, outcome];
    }),
  );
}
