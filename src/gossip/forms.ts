/**
 * What each message must look like.
 *
 * Checks by hand where messages are many, schemas where they are few: a thousand nodes in one simulating process, or
 * one agent that shall idle, notice the difference.
 */
import { z } from 'zod';
import { MAX_SIGNATURE_CHARACTERS, type GossipRecord } from '../model/record.ts';
import type { Digest, Done, Have, Message, Records, Rows, Signal, VersionRow, Want } from './codec.ts';
import { BUCKETS } from './hash.ts';
import { isHandle, isHandleList, MAX_NEIGHBOURS, type Row } from './nodes.ts';

const MAX_TEXT = 512;
/** Leaves room to go one higher than anything a peer may claim. */
const MAX_COUNT = 2 ** 50;
const MAX_PEERS = 64;
const MAX_TTL = 32;

const text = z.string().max(MAX_TEXT);
const count = z.int().nonnegative().max(MAX_COUNT);
const versionRows = z.array(z.tuple([text, count, count]));
const handleRows = z.array(z.tuple([text.refine(isHandle), count, count]));
const peers = z.array(z.tuple([text, text])).max(MAX_PEERS);
const ttl = z.int().nonnegative().max(MAX_TTL);
const bucket = z.int().nonnegative().lt(BUCKETS);

const schemas: Readonly<Record<string, z.ZodType>> = {
  hello: z.object({
    type: z.literal('hello'),
    protocol: count,
    oldest: count.default(1),
    cluster: text,
    node: text,
    epoch: count.default(0),
    port: z.int().nonnegative().max(65_535).default(0),
    address: text.default(''),
  }),
  neighbour: z.object({ type: z.literal('neighbour'), join: z.boolean(), urgent: z.boolean() }),
  accept: z.object({ type: z.literal('accept') }),
  deny: z.object({ type: z.literal('deny'), peers }),
  part: z.object({ type: z.literal('part'), peers }),
  walk: z.object({ type: z.literal('walk'), node: text, address: text, ttl }),
  shuffle: z.object({ type: z.literal('shuffle'), id: count, ttl, peers }),
  shuffled: z.object({ type: z.literal('shuffled'), id: count, peers }),
  summaries: z.object({
    type: z.literal('summaries'),
    buckets: z.array(bucket).max(BUCKETS),
    after: text,
    upTo: text.nullable(),
    rows: z.array(z.tuple([text, count, count, text])),
  }),
  versions: z.object({
    type: z.literal('versions'),
    writers: z.array(z.tuple([text, versionRows])),
    last: z.boolean(),
  }),
  'row-hashes': z.object({ type: z.literal('row-hashes'), hashes: z.array(z.int()).length(BUCKETS) }),
  'row-versions': z.object({
    type: z.literal('row-versions'),
    buckets: z.array(bucket).max(BUCKETS),
    rows: handleRows,
  }),
};

type Members = Readonly<Record<string, unknown>>;

const readers: Readonly<Record<string, (value: Members) => Message | undefined>> = {
  beat: () => ({ type: 'beat' }) satisfies Signal,
  ping: () => ({ type: 'ping' }) satisfies Signal,
  pong: () => ({ type: 'pong' }) satisfies Signal,
  prune: () => ({ type: 'prune' }) satisfies Signal,
  digest: readDigest,
  done: readDone,
  records: readRecords,
  rows: readRows,
  have: readHave,
  want: readWant,
};

/** The message; `undefined` when its form is not that of its type. */
export function readForm(type: string, value: object): Message | 'unknown' | undefined {
  if (Object.hasOwn(readers, type)) return readers[type]?.(value as Members);
  if (!Object.hasOwn(schemas, type)) return 'unknown';
  const read = schemas[type]?.safeParse(value);
  // JSON text gives JSON values: what a schema calls unknown is one.
  return read?.success === true ? (read.data as Message) : undefined;
}

function readDigest({ hash, buckets, rows }: Members): Digest | undefined {
  if (!isText(hash) || !isText(rows) || !isListOf(buckets, isCount) || buckets.length !== BUCKETS)
    return undefined;
  return { type: 'digest', hash, buckets, rows };
}

function readDone({ more }: Members): Done | undefined {
  return typeof more === 'boolean' ? { type: 'done', more } : undefined;
}

function readRecords({ repair, records }: Members): Records | undefined {
  if (typeof repair !== 'boolean' || !isListOf(records, isRecord)) return undefined;
  return { type: 'records', repair, records: records.map(plainRecord) };
}

function readRows({ rows }: Members): Rows | undefined {
  return isListOf(rows, isRow) ? { type: 'rows', rows } : undefined;
}

function readHave({ records, rows }: Members): Have | undefined {
  return isListOf(records, isVersionRow) && isListOf(rows, isVersionRow)
    ? { type: 'have', records, rows }
    : undefined;
}

function readWant({ keys, rows = [], graft = false }: Members): Want | undefined {
  return isListOf(keys, isText) && isListOf(rows, isText) && typeof graft === 'boolean'
    ? { type: 'want', keys, rows, graft }
    : undefined;
}

function isListOf<T>(value: unknown, isOne: (item: unknown) => item is T): value is T[] {
  return Array.isArray(value) && value.every(isOne);
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value.length <= MAX_TEXT;
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= MAX_COUNT;
}

function isVersionRow(value: unknown): value is VersionRow {
  return Array.isArray(value) && isText(value[0]) && isCount(value[1]) && isCount(value[2]);
}

/** Epochs begin with 1. */
function isRow(value: unknown): value is Row {
  if (!isVersionRow(value) || !isHandle(value[0]) || value[1] === 0) return false;
  const [, , , neighbours, failed = '', answers] = value as readonly unknown[];
  return isHandles(neighbours) && isHandles(failed) && (answers === undefined || areAnswers(answers));
}

function areAnswers(value: unknown): boolean {
  return (
    isListOf(value, isVersionRow) && value.length <= MAX_NEIGHBOURS && value.every(([of]) => isHandle(of))
  );
}

function isHandles(value: unknown): boolean {
  return typeof value === 'string' && isHandleList(value);
}

function isRecord(value: unknown): value is GossipRecord {
  if (typeof value !== 'object' || value === null || !('value' in value)) return false;
  const { key, version } = value as { key?: unknown; version?: unknown };
  if (!isText(key) || key === '' || typeof version !== 'object' || version === null) return false;
  const { epoch, sequence } = version as { epoch?: unknown; sequence?: unknown };
  return isCount(epoch) && isCount(sequence) && isSignature((value as { signature?: unknown }).signature);
}

function isSignature(value: unknown): boolean {
  return value === undefined || (typeof value === 'string' && value.length <= MAX_SIGNATURE_CHARACTERS);
}

/** Members that a later version added are dropped. */
function plainRecord(record: GossipRecord): GossipRecord {
  const { key, version, value, signature } = record;
  const { epoch, sequence } = version;
  return { key, version: { epoch, sequence }, value, ...(signature !== undefined && { signature }) };
}
