/** The figures of simulated scenarios as a Markdown table, which is what people read too. */
import type { Figures } from './simulate.ts';

const ms = (value: number | null): string =>
  value === null ? '-' : value < 10_000 ? `${value} ms` : `${(value / 1000).toFixed(1)} s`;
const kib = (bytes: number): string => `${(bytes / 1024).toFixed(1)} KiB/s`;
const mib = (bytes: number | null): string => (bytes === null ? '-' : `${(bytes / 2 ** 20).toFixed(1)} MiB`);

const columns: readonly (readonly [title: string, cell: (figures: Figures) => string])[] = [
  ['scenario', ({ scenario }) => scenario],
  ['protocol', ({ protocol }) => protocol],
  ['nodes', ({ nodes }) => String(nodes)],
  ['seed', ({ seed }) => String(seed)],
  ['virtual', ({ virtualSeconds }) => `${virtualSeconds} s`],
  ['99 % know', ({ convergence }) => ms(convergence.reach99Ms)],
  ['all know: p50', ({ convergence }) => ms(convergence.p50Ms)],
  ['p99', ({ convergence }) => ms(convergence.p99Ms)],
  ['max', ({ convergence }) => ms(convergence.maxMs)],
  ['death: 90 %', ({ detection }) => ms(detection.reach90Ms)],
  ['99 %', ({ detection }) => ms(detection.reach99Ms)],
  ['all', ({ detection }) => ms(detection.maxMs)],
  ['false', ({ falseSuspicions }) => String(falseSuspicions)],
  ['sent per node', ({ bytesPerSecondPerNode }) => kib(bytesPerSecondPerNode)],
  ['most', ({ maxBytesPerSecond }) => kib(maxBytesPerSecond)],
  ['heap per node', ({ heapBytesPerNode }) => mib(heapBytesPerNode)],
  ['took', ({ wallSeconds }) => `${wallSeconds} s`],
  ['violations', ({ violations }) => String(violations.length)],
];

export function table(all: readonly Figures[]): string {
  return render(
    columns.map(([title]) => title),
    all.map((figures) => columns.map(([, cell]) => cell(figures))),
  );
}

/** The same with the options of each run, which say what its first columns do. */
export function optionsTable(
  all: readonly { readonly options: string; readonly figures: Figures }[],
): string {
  const rest = columns.slice(4);
  return render(
    ['npm run sim --', ...rest.map(([title]) => title)],
    all.map(({ options, figures }) => [options, ...rest.map(([, cell]) => cell(figures))]),
  );
}

/** A Markdown table. */
export function render(head: readonly string[], body: readonly (readonly string[])[]): string {
  const widths = head.map((title, i) => Math.max(title.length, ...body.map((row) => row[i]?.length ?? 0)));
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(' | ')} |`;
  return [line(head), line(widths.map((width) => '-'.repeat(width))), ...body.map(line)].join('\n');
}
