/**
 * Comparing what two nodes hold, and sending each other what the other lacks.
 *
 * A round, opened by A:  A digest -> B;  equal: B done -> A.  Otherwise B summaries -> A (a hash
 * per writer, of those groups of writers whose hashes differ);
 * A versions -> B (of the writers that differ);  B records + want + done -> A;  A records -> B.
 * Rows, being small, go by hashes of buckets (liveness.ts):  B row-hashes -> A row-versions -> B rows + want -> A rows.
 * Invariants: no side remembers anything between messages, so that a lost one costs a round, not correctness; an
 * answer is bounded, `more` says that it was cut.
 */
import { compareVersions } from '../model/record.ts';
import {
  encodeMessage,
  type Digest,
  type Summaries,
  type VersionRow,
  type Versions,
  type Want,
} from './codec.ts';
import type { NodeTable } from './nodes.ts';
import { recordFrames, summaryFrames, versionFrames, wantFrames } from './paging.ts';
import { recordWriter, type RecordStore, type StoredRecord } from './records.ts';

/** Well below what a peer's queue takes (MAX_QUEUED_BYTES). */
const MAX_ANSWER_CHARACTERS = 2 * 1024 * 1024;

export function openRound(store: RecordStore, table: NodeTable): Uint8Array {
  return encodeMessage({ type: 'digest', hash: store.hash, buckets: store.bucketHashes(), rows: table.hash });
}

export function answerDigest(store: RecordStore, digest: Digest): Uint8Array[] {
  if (digest.hash === store.hash) return [encodeMessage({ type: 'done', more: false })];
  const buckets = store.bucketHashes().flatMap((hash, i) => (hash === digest.buckets[i] ? [] : [i]));
  return summaryFrames(store.summaries(new Set(buckets)), buckets);
}

export function answerSummaries(store: RecordStore, summaries: Summaries): Uint8Array[] {
  const { after, upTo } = summaries;
  const theirs = new Map(summaries.rows.map(([writer, , , hash]) => [writer, hash]));
  const differing: string[] = [];
  for (const { writer, hash } of store.summaries(new Set(summaries.buckets))) {
    if (writer > after && (upTo === null || writer <= upTo) && theirs.get(writer) !== hash)
      differing.push(writer);
    theirs.delete(writer);
  }
  for (const writer of theirs.keys()) if (!store.isRemoved(writer)) differing.push(writer);
  // Cluster records first: they say whose records are void.
  differing.sort((a, b) => (a === 'cluster' ? -1 : b === 'cluster' ? 1 : 0));
  return versionFrames(store, differing, { last: upTo === null });
}

export function answerVersions(store: RecordStore, versions: Versions): Uint8Array[] {
  const newer: StoredRecord[] = [];
  const wanted: string[] = [];
  for (const [writer, rows] of versions.writers) {
    const asked = rows.filter((row) => isWanted(store, writer, row)).map(([key]) => key);
    const sent = newerThan(store, writer, rows, 1);
    // The hashes differ, the versions do not: then it is a value, of a writer whose disk was set back.
    newer.push(...(asked.length + sent.length > 0 ? sent : newerThan(store, writer, rows, 0)));
    wanted.push(...asked);
  }
  const { kept, isCut } = withinBudget(newer);
  const done = versions.last || isCut ? [encodeMessage({ type: 'done', more: isCut })] : [];
  return [...recordFrames(kept, { repair: true }), ...wantFrames(wanted), ...done];
}

export function answerWant(
  store: RecordStore,
  want: Want,
  options: { readonly repair: boolean },
): Uint8Array[] {
  const found = want.keys.map((key) => store.stored(key)).filter((stored) => stored !== undefined);
  return recordFrames(withinBudget(found).kept, options);
}

/** What we hold and they do not, or in a version at least `margin` (1 newer, 0 equal) above theirs. */
function newerThan(
  store: RecordStore,
  writer: string,
  rows: readonly VersionRow[],
  margin: 0 | 1,
): StoredRecord[] {
  const theirs = new Map(rows.map(([key, epoch, sequence]) => [key, { epoch, sequence }]));
  return store.ofWriter(writer).filter(({ record }) => {
    const held = theirs.get(record.key);
    return held === undefined || compareVersions(record.version, held) >= margin;
  });
}

function isWanted(store: RecordStore, writer: string, [key, epoch, sequence]: VersionRow): boolean {
  if (store.isRemoved(writer) || recordWriter(key) !== writer) return false;
  const own = store.get(key);
  return own === undefined || compareVersions({ epoch, sequence }, own.version) > 0;
}

function withinBudget(records: readonly StoredRecord[]): {
  readonly kept: readonly StoredRecord[];
  readonly isCut: boolean;
} {
  let characters = 0;
  const end = records.findIndex((stored) => (characters += stored.text.length) > MAX_ANSWER_CHARACTERS);
  return end < 0 ? { kept: records, isCut: false } : { kept: records.slice(0, end), isCut: true };
}
