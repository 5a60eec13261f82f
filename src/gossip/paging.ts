/** Cutting what is to be said into messages of moderate size: far below a frame, so that a slow link stays usable. */
import { encodeMessage, encodeRecords, encodeRow, encodeRows, type VersionRow } from './codec.ts';
import type { NodeTable } from './nodes.ts';
import { wireText, type RecordStore, type StoredRecord, type WriterSummary } from './records.ts';

/** What a receiver reads and stores in a few milliseconds of its event loop. */
const PAGE_CHARACTERS = 64 * 1024;
/** Verifying one takes longer than all else: a seventh of a millisecond, and of the record that names a key one. */
const RECORDS_PER_PAGE = 8;
const SUMMARIES_PER_PAGE = 2_000;
const ROWS_PER_PAGE = 500;

/** Groups items in order; a group ends when it reached PAGE_CHARACTERS or `most`. At least one group, perhaps empty. */
function pages<T>(items: readonly T[], size: (item: T) => number, most = Infinity): T[][] {
  let page: T[] = [];
  const all = [page];
  let characters = 0;
  for (const item of items) {
    if (characters >= PAGE_CHARACTERS || page.length >= most) {
      page = [];
      all.push(page);
      characters = 0;
    }
    page.push(item);
    characters += size(item);
  }
  return all;
}

export function recordFrames(
  records: readonly StoredRecord[],
  options: { readonly repair: boolean },
): Uint8Array[] {
  if (records.length === 0) return [];
  return pages(records, (stored) => stored.text.length, RECORDS_PER_PAGE).map((page) =>
    encodeRecords(page.map(wireText), options),
  );
}

export function wantFrames(keys: readonly string[]): Uint8Array[] {
  if (keys.length === 0) return [];
  return pages(keys, (key) => key.length).map((page) =>
    encodeMessage({ type: 'want', keys: page, rows: [], graft: false }),
  );
}

export function summaryFrames(summaries: readonly WriterSummary[], buckets: readonly number[]): Uint8Array[] {
  const frames: Uint8Array[] = [];
  for (let at = 0; at === 0 || at < summaries.length; at += SUMMARIES_PER_PAGE) {
    const page = summaries.slice(at, at + SUMMARIES_PER_PAGE);
    const isLast = at + SUMMARIES_PER_PAGE >= summaries.length;
    frames.push(
      encodeMessage({
        type: 'summaries',
        buckets,
        after: at === 0 ? '' : (summaries[at - 1]?.writer ?? ''),
        upTo: isLast ? null : (page.at(-1)?.writer ?? null),
        rows: page.map(({ writer, newest, hash }) => [writer, newest.epoch, newest.sequence, hash]),
      }),
    );
  }
  return frames;
}

/** The versions of all records of `writers`; never cut inside one writer, whose records go oldest first. */
export function versionFrames(
  store: RecordStore,
  writers: readonly string[],
  options: { readonly last: boolean },
): Uint8Array[] {
  const all = writers.map((writer) => [writer, versionRows(store, writer)] as const);
  const groups = pages(all, ([, rows]) => rows.reduce((sum, [key]) => sum + key.length + 20, 50));
  return groups.map((group, i) =>
    encodeMessage({
      type: 'versions',
      writers: group,
      last: options.last && i === groups.length - 1,
    }),
  );
}

function versionRows(store: RecordStore, writer: string): VersionRow[] {
  return store
    .ofWriter(writer)
    .map(({ record }) => [record.key, record.version.epoch, record.version.sequence] as const);
}

export function rowFrames(table: NodeTable, indices: readonly number[]): Uint8Array[] {
  const held = indices.filter((index) => table.hasRow(index));
  return rowTextFrames(held.map((index) => encodeRow(table.row(index))));
}

export function rowTextFrames(rows: readonly string[]): Uint8Array[] {
  const frames: Uint8Array[] = [];
  for (let at = 0; at < rows.length; at += ROWS_PER_PAGE)
    frames.push(encodeRows(rows.slice(at, at + ROWS_PER_PAGE)));
  return frames;
}
