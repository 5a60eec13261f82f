/**
 * Messages between nodes and their form on the wire: JSON text, one message a frame.
 *
 * Purpose: the one place that knows bytes; another encoding replaces this file.
 * Invariants: the decoder never throws, whatever it is given; unknown members are dropped and unknown types reported
 * as such, so that newer versions may add both; every message fits a frame.
 */
import { z } from 'zod';
import type { GossipRecord } from '../model/record.ts';

export const PROTOCOL_VERSION = 1;

/** First on every connection, both ways. */
export interface Hello {
  readonly type: 'hello';
  readonly protocol: number;
  readonly cluster: string;
  readonly node: string;
}

/** Opens a round of comparison: the hash of everything. */
export interface Digest {
  readonly type: 'digest';
  readonly hash: string;
}

/** `[writer, epoch, sequence, hash]`, in order of writer. */
export type SummaryRow = readonly [writer: string, epoch: number, sequence: number, hash: string];

/** Answer to a digest that differs: every writer after `after` up to `upTo` (`null` = the end), by hash. */
export interface Summaries {
  readonly type: 'summaries';
  readonly after: string;
  readonly upTo: string | null;
  readonly rows: readonly SummaryRow[];
}

export type VersionRow = readonly [key: string, epoch: number, sequence: number];

/** Answer to summaries: all versions held of the writers that differ. `last` asks for the end of the round. */
export interface Versions {
  readonly type: 'versions';
  readonly writers: readonly (readonly [writer: string, rows: readonly VersionRow[]])[];
  readonly last: boolean;
}

/** Asks for records by key. */
export interface Want {
  readonly type: 'want';
  readonly keys: readonly string[];
}

export interface Records {
  readonly type: 'records';
  /** Sent because a comparison found them missing, not because they are new. */
  readonly repair: boolean;
  readonly records: readonly GossipRecord[];
}

/** The end of a round; `more`: it was cut short to stay within bounds, ask again. */
export interface Done {
  readonly type: 'done';
  readonly more: boolean;
}

export interface Ping {
  readonly type: 'ping' | 'pong';
}

export type Message = Hello | Digest | Summaries | Versions | Want | Records | Done | Ping;

export type Decoded =
  | { readonly ok: true; readonly message: Message }
  | {
      readonly ok: false;
      readonly reason: string;
      /** Merely of a later version. */ readonly unknown: boolean;
    };

const text = z.string().max(512);
/** Leaves room to go one higher than anything a peer may claim. */
const count = z
  .int()
  .nonnegative()
  .max(2 ** 50);
const rows = z.array(z.tuple([text, count, count]));
const record = z
  .object({ key: text.min(1), version: z.object({ epoch: count, sequence: count }), value: z.unknown() })
  .refine((each) => 'value' in each, 'a record has a value');

const schemas = {
  hello: z.object({ type: z.literal('hello'), protocol: count, cluster: text, node: text }),
  digest: z.object({ type: z.literal('digest'), hash: text }),
  summaries: z.object({
    type: z.literal('summaries'),
    after: text,
    upTo: text.nullable(),
    rows: z.array(z.tuple([text, count, count, text])),
  }),
  versions: z.object({
    type: z.literal('versions'),
    writers: z.array(z.tuple([text, rows])),
    last: z.boolean(),
  }),
  want: z.object({ type: z.literal('want'), keys: z.array(text) }),
  records: z.object({ type: z.literal('records'), repair: z.boolean(), records: z.array(record) }),
  done: z.object({ type: z.literal('done'), more: z.boolean() }),
  ping: z.object({ type: z.literal('ping') }),
  pong: z.object({ type: z.literal('pong') }),
} as const;

const typed = z.object({ type: text });

export function encodeMessage(message: Exclude<Message, Records>): Uint8Array {
  return Buffer.from(JSON.stringify(message));
}

/** Records are kept as JSON text: putting them into a message is joining. */
export function encodeRecords(wires: readonly string[], options: { readonly repair: boolean }): Uint8Array {
  return Buffer.from(`{"type":"records","repair":${String(options.repair)},"records":[${wires.join(',')}]}`);
}

export function decodeMessage(frame: Uint8Array): Decoded {
  const value = parseJson(frame);
  const type = typed.safeParse(value);
  if (!type.success) return { ok: false, reason: 'it is no message', unknown: false };
  const name = type.data.type;
  if (!Object.hasOwn(schemas, name)) return { ok: false, reason: `its type is "${name}"`, unknown: true };
  const read = schemas[name as keyof typeof schemas].safeParse(value);
  if (!read.success) return { ok: false, reason: `its type is "${name}", its form is not`, unknown: false };
  // JSON text gives JSON values: what the schema calls unknown is one.
  return { ok: true, message: read.data as Message };
}

function parseJson(frame: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength).toString());
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof RangeError) return undefined;
    throw error;
  }
}
