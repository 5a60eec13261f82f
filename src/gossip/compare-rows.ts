/**
 * Finding out which rows of neighbours two nodes hold at different versions: the same as compare.ts for rows, whose hashes
 * go with those of the records.
 */
import { encodeMessage, type RowHashes, type RowVersions, type VersionRow } from './codec.ts';
import { SELF, type NodeTable } from './nodes.ts';
import { rowFrames } from './paging.ts';

/** Handles of rows among `versions` that are newer than what is held. `onHeld` hears of those that are held. */
export function lackingRows(
  table: NodeTable,
  versions: readonly VersionRow[],
  onHeld?: (index: number) => void,
): string[] {
  const lacking: string[] = [];
  for (const [handle, epoch, sequence] of versions) {
    const index = table.find(handle);
    const order = index < 0 ? -1 : table.compare(index, epoch, sequence);
    if (order === 0) onHeld?.(index);
    else if (order < 0 && index !== SELF) lacking.push(handle);
  }
  return lacking;
}

/** Those of `handles` that are held. */
export function rowsWanted(table: NodeTable, handles: readonly string[]): Uint8Array[] {
  const indices = handles.map((handle) => table.find(handle)).filter((index) => table.hasRow(index));
  return rowFrames(table, indices);
}

/** All versions of the buckets that differ. */
export function answerRowHashes(table: NodeTable, { hashes }: RowHashes): Uint8Array[] {
  const buckets = table.bucketHashes().flatMap((hash, i) => (hash === hashes[i] ? [] : [i]));
  if (buckets.length === 0) return [];
  const rows = table
    .ofBuckets(new Set(buckets))
    .map((index): VersionRow => [table.handle(index), table.epoch(index), table.sequence(index)]);
  return [encodeMessage({ type: 'row-versions', buckets, rows })];
}

/** What they lack, and the question for what we lack. */
export function answerRowVersions(table: NodeTable, { buckets, rows }: RowVersions): Uint8Array[] {
  const theirs = new Map(rows.map((row) => [row[0], row]));
  const newer = table.ofBuckets(new Set(buckets)).filter((index) => {
    const held = theirs.get(table.handle(index));
    return held === undefined || table.compare(index, held[1], held[2]) > 0;
  });
  const lacking = lackingRows(table, rows);
  const wanted =
    lacking.length > 0 ? [encodeMessage({ type: 'want', keys: [], rows: lacking, graft: false })] : [];
  return [...rowFrames(table, newer), ...wanted];
}
