/**
 * Messages between nodes and their form on the wire: JSON text, one message a frame.
 *
 * Purpose: the one place that knows bytes; another encoding replaces this file and forms.ts.
 * Invariants: the decoder never throws, whatever it is given; unknown members are dropped and unknown types reported
 * as such, so that newer versions may add both; every message fits a frame.
 * Review notes: a beat is most of what an idle cluster says, so its bytes are compared before they are parsed.
 */
import type { GossipRecord } from '../model/record.ts';
import { readForm } from './forms.ts';
import type { Row } from './nodes.ts';

/**
 * What this program speaks, and the oldest it still understands. Both ends of a connection use the lower newest.
 * 3: beats go beside the stream, too. 2: records carry signatures; 1 leaves them out, also of records that it passes on.
 */
export const PROTOCOL_VERSION = 3;
export const OLDEST_PROTOCOL = 1;

/** First on every connection, both ways. */
export interface Hello {
  readonly type: 'hello';
  readonly protocol: number;
  readonly oldest: number;
  readonly cluster: string;
  readonly node: string;
  readonly epoch: number;
  /** Where it listens. */
  readonly port: number;
  /** Where it says it can be reached; empty = at the address that it comes from. */
  readonly address: string;
}

export type PeerRow = readonly [node: string, address: string];

/** The dialler asks to become a neighbour. */
export interface Neighbour {
  readonly type: 'neighbour';
  /** It knows nobody yet: others shall hear of it. */
  readonly join: boolean;
  /** It has hardly any neighbour left: one who is full makes room. */
  readonly urgent: boolean;
}

/** Neighbours from now on. */
export interface Accept {
  readonly type: 'accept';
}

/** Not now (`deny`), or no longer (`part`); others to try. */
export interface Deny {
  readonly type: 'deny' | 'part';
  readonly peers: readonly PeerRow[];
}

/** A node that joins, on a random walk; where it ends, that node becomes its neighbour. */
export interface Walk {
  readonly type: 'walk';
  readonly node: string;
  readonly address: string;
  readonly ttl: number;
}

/** Peers to know, on a random walk; where it ends, as many are sent back the way it came. */
export interface Shuffle {
  readonly type: 'shuffle';
  readonly id: number;
  readonly ttl: number;
  readonly peers: readonly PeerRow[];
}

export interface Shuffled {
  readonly type: 'shuffled';
  readonly id: number;
  readonly peers: readonly PeerRow[];
}

/** Opens a round of comparison: the hashes of everything. */
export interface Digest {
  readonly type: 'digest';
  readonly hash: string;
  /** Of the records, by group of writers. */
  readonly buckets: readonly number[];
  readonly rows: string;
}

/** `[writer, epoch, sequence, hash]`, in order of writer. */
export type SummaryRow = readonly [writer: string, epoch: number, sequence: number, hash: string];

/** Answer to a digest that differs: every writer of `buckets` after `after` up to `upTo` (`null` = the end), by hash. */
export interface Summaries {
  readonly type: 'summaries';
  readonly buckets: readonly number[];
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

/** Asks for records by key and for rows by handle. */
export interface Want {
  readonly type: 'want';
  readonly keys: readonly string[];
  readonly rows: readonly string[];
  /** News should have come this way at once, and shall from now on. */
  readonly graft: boolean;
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

/** Who is whose neighbour. */
export interface Rows {
  readonly type: 'rows';
  readonly rows: readonly Row[];
}

/** News there is, for who has not got it another way. */
export interface Have {
  readonly type: 'have';
  readonly records: readonly VersionRow[];
  readonly rows: readonly VersionRow[];
}

/** Answer to a digest whose rows differ. */
export interface RowHashes {
  readonly type: 'row-hashes';
  readonly hashes: readonly number[];
}

/** All row versions held in buckets that differ. */
export interface RowVersions {
  readonly type: 'row-versions';
  readonly buckets: readonly number[];
  readonly rows: readonly VersionRow[];
}

/** `beat`: alive. `ping` wants a `pong`. `prune`: what you push I have from others, tell me only that you have it. */
export interface Signal {
  readonly type: 'beat' | 'ping' | 'pong' | 'prune';
}

export type Message =
  | Hello
  | Neighbour
  | Accept
  | Deny
  | Walk
  | Shuffle
  | Shuffled
  | Digest
  | Summaries
  | Versions
  | Want
  | Records
  | Done
  | Rows
  | Have
  | RowHashes
  | RowVersions
  | Signal;

export type Decoded =
  | { readonly ok: true; readonly message: Message }
  | {
      readonly ok: false;
      readonly reason: string;
      /** Merely of a later version. */ readonly unknown: boolean;
    };

const beat: Signal = { type: 'beat' };
const decodedBeat: Decoded = { ok: true, message: beat };
export const beatFrame: Uint8Array = encodeMessage(beat);

export function encodeMessage(message: Exclude<Message, Records>): Uint8Array {
  return Buffer.from(JSON.stringify(message));
}

/** Records are kept as JSON text: putting them into a message is joining. */
export function encodeRecords(wires: readonly string[], options: { readonly repair: boolean }): Uint8Array {
  return Buffer.from(`{"type":"records","repair":${String(options.repair)},"records":[${wires.join(',')}]}`);
}

/** As it came, but for what a later version may have added. */
export function encodeRow([handle, epoch, sequence, neighbours, failed = '', answers = []]: Row): string {
  const row = [handle, epoch, sequence, neighbours];
  if (answers.length > 0) return JSON.stringify([...row, failed, answers.map((each) => each.slice(0, 3))]);
  return JSON.stringify(failed === '' ? row : [...row, failed]);
}

/** The same for rows, most of which go to several peers. */
export function encodeRows(rows: readonly string[]): Uint8Array {
  return Buffer.from(`{"type":"rows","rows":[${rows.join(',')}]}`);
}

export function decodeMessage(frame: Uint8Array): Decoded {
  if (isBeat(frame)) return decodedBeat;
  const value = parseJson(frame);
  const type = typeof value === 'object' && value !== null ? (value as { type?: unknown }).type : undefined;
  if (typeof type !== 'string') return { ok: false, reason: 'it is no message', unknown: false };
  const read = readForm(type, value as object);
  if (read === 'unknown') return { ok: false, reason: `its type is "${type.slice(0, 64)}"`, unknown: true };
  if (read === undefined)
    return { ok: false, reason: `its type is "${type}", its form is not`, unknown: false };
  return { ok: true, message: read };
}

function isBeat(frame: Uint8Array): boolean {
  if (frame.length !== beatFrame.length) return false;
  for (let i = 0; i < frame.length; i++) if (frame[i] !== beatFrame[i]) return false;
  return true;
}

function asBuffer(frame: Uint8Array): Buffer {
  return Buffer.isBuffer(frame) ? frame : Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength);
}

function parseJson(frame: Uint8Array): unknown {
  try {
    return JSON.parse(asBuffer(frame).toString());
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof RangeError) return undefined;
    throw error;
  }
}
