/** What a bench found: one row per figure, ours and the peer's from the same run, and the ratio that was promised. */

export interface Row {
  readonly what: string;
  readonly unit: string;
  readonly ours: number;
  /** Absent where the promise is absolute. */
  readonly peer?: number;
  readonly peerName?: string;
  /** On ours/peer where there is a peer, else on ours. Absent: told for comparison only. */
  readonly promise?: { readonly atMost: number } | { readonly atLeast: number };
}

export interface Bench {
  readonly name: string;
  readonly about: string;
  /** What of it can be run by itself, as NAME/PART: for those at work on that. */
  readonly parts?: readonly string[];
  run(part?: string): Promise<readonly Row[]>;
}

export function measured(row: Row): number {
  return row.peer === undefined ? row.ours : row.ours / row.peer;
}

export function kept(row: Row): boolean {
  const { promise } = row;
  if (promise === undefined) return true;
  const value = measured(row);
  return 'atMost' in promise ? value <= promise.atMost : value >= promise.atLeast;
}

export function format(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

/** Markdown table rows. */
export function markdown(rows: readonly Row[]): string {
  const head = '| what | ours | peer | ratio | promised | |\n| --- | --- | --- | --- | --- | --- |';
  return [head, ...rows.map(line)].join('\n');
}

function line(row: Row): string {
  const peer = row.peer === undefined ? '-' : `${format(row.peer)} ${row.unit} (${row.peerName ?? 'peer'})`;
  const ratio = row.peer === undefined ? '-' : `${Number(measured(row).toPrecision(3))} x`;
  const outcome = row.promise === undefined ? '' : kept(row) ? 'kept' : '**missed**';
  return `| ${row.what} | ${format(row.ours)} ${row.unit} | ${peer} | ${ratio} | ${promised(row)} | ${outcome} |`;
}

function promised({ promise, peer, unit }: Row): string {
  if (promise === undefined) return '-';
  const limit = 'atMost' in promise ? `<= ${promise.atMost}` : `>= ${promise.atLeast}`;
  return `${limit} ${peer === undefined ? unit : 'x'}`;
}
