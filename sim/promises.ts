/** What the simulated figures were promised to be. */
import { joined, piecesOf, shownSeconds, type Done } from './pieces.ts';
import { render } from './report.ts';
import type { Figures } from './simulate.ts';

interface Promised {
  readonly what: string;
  /** How the options of its run begin; of several the longest counts, of one in pieces all of them. */
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
    promises.map((promise) => row(promise, done)),
  );
}

function row(promise: Promised, done: readonly Done[]): string[] {
  const { what, atMost, unit, run, measure, seconds = 0 } = promise;
  const limit = `<= ${atMost} ${unit}`.trim();
  const runs = done.filter(({ args }) => args.startsWith(run) && !args.includes('--protocol'));
  const [pieces] = piecesOf(runs).toSorted((one, other) => shownBy(other) - shownBy(one));
  const value = pieces === undefined ? null : measure(joined(pieces).figures);
  if (pieces === undefined || value === null) return [what, 'not run', limit, ''];
  const shown = shownBy(pieces);
  const text = `${Math.round(value * 10) / 10} ${unit}`.trim();
  const time = pieces.length > 1 ? `${shown} s of ${pieces.length} runs` : `${shown} s`;
  const outcome = value > atMost ? '**missed**' : shown < seconds ? 'not shown in full' : 'kept';
  return [what, seconds > 0 ? `${text} in ${time}` : text, limit, outcome];
}

function shownBy(pieces: readonly Done[]): number {
  return pieces.reduce((sum, piece) => sum + shownSeconds(piece), 0);
}
