/**
 * The lines of a journal file: `CHECKSUM LENGTH JSON`.
 *
 * Checksum: CRC-32 of everything behind it, 8 hex digits. Length: of the JSON in bytes, 8 hex digits. Fixed widths and
 * the length make a torn line (ends early, by truncation) distinct from a damaged one (has its length, is not right).
 */
import { crc32 } from 'node:zlib';
import { z } from 'zod';

const FORMAT = 'portolan-journal';
const VERSION = 1;
/** `CHECKSUM LENGTH ` before the JSON. */
const PREFIX_BYTES = 18;
const NEWLINE = 0x0a;

export interface JournalDamage {
  /** Counted from 1; the header is line 1. */
  readonly line: number;
  readonly offset: number;
  readonly reason: string;
}

export type JournalContent =
  | { readonly texts: Map<string, string>; /** Where the next line goes. */ readonly goodBytes: number }
  | { readonly damage: JournalDamage };

const header = z.object({ format: z.literal(FORMAT), version: z.int() });

export function encodeFrame(json: string): Buffer {
  const length = Buffer.byteLength(json);
  const frame = Buffer.allocUnsafe(PREFIX_BYTES + length + 1);
  frame.write(`00000000 ${hex(length)} `, 'latin1');
  frame.write(json, PREFIX_BYTES);
  frame[frame.length - 1] = NEWLINE;
  frame.write(hex(crc32(frame.subarray(9, -1))), 'latin1');
  return frame;
}

export function encodeHeader(what: string): Buffer {
  return encodeFrame(JSON.stringify({ format: FORMAT, version: VERSION, what }));
}

/** Everything a journal file holds, or the first damage found in it. */
export function readJournal(content: Buffer): JournalContent {
  const texts = new Map<string, string>();
  let offset = 0;
  for (let line = 1; offset < content.length || line === 1; line++) {
    const frame = readFrame(content, offset);
    if ('torn' in frame && line > 1) return { texts, goodBytes: offset };
    const reason =
      'torn' in frame ? 'the header is incomplete' : (frame.reason ?? takeFrame(frame.json, line, texts));
    if (reason !== undefined) return { damage: { line, offset, reason } };
    offset = 'torn' in frame ? content.length : frame.end;
  }
  return { texts, goodBytes: offset };
}

type Frame =
  | { readonly torn: true }
  | { readonly reason: string; readonly json: ''; readonly end: number }
  | { readonly reason?: undefined; readonly json: string; readonly end: number };

function readFrame(content: Buffer, offset: number): Frame {
  const terminated = content[content.length - 1] === NEWLINE;
  const prefix = content.toString('latin1', offset, offset + PREFIX_BYTES);
  if (prefix.length < PREFIX_BYTES && !terminated) return { torn: true };
  const match = /^([0-9a-f]{8}) ([0-9a-f]{8}) $/.exec(prefix);
  if (match === null) return bad('it does not begin with a checksum and a length');
  const end = offset + PREFIX_BYTES + Number.parseInt(match[2] ?? '', 16) + 1;
  // A file that ends before the line does, without a newline: the tail of an append that was cut short.
  if (end > content.length && !terminated) return { torn: true };
  if (content[end - 1] !== NEWLINE) return bad('it does not end where its length says');
  if (hex(crc32(content.subarray(offset + 9, end - 1))) !== match[1])
    return bad('its checksum does not match');
  return { json: content.toString('utf8', offset + PREFIX_BYTES, end - 1), end };
}

function bad(reason: string): Frame {
  return { reason, json: '', end: 0 };
}

/** Applies one sound line; says what is wrong where its content makes no sense. */
function takeFrame(json: string, line: number, texts: Map<string, string>): string | undefined {
  if (line === 1) return checkHeader(json);
  const changes = parseObject(json);
  if (changes === undefined) return 'it holds no keys and values';
  for (const [key, value] of Object.entries(changes))
    if (value === null) texts.delete(key);
    else texts.set(key, JSON.stringify(value));
  return undefined;
}

function parseObject(json: string): object | undefined {
  try {
    const value: unknown = JSON.parse(json);
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function checkHeader(json: string): string | undefined {
  const read = header.safeParse(parseObject(json));
  if (!read.success) return 'it is no journal of Portolan';
  return read.data.version === VERSION
    ? undefined
    : `it is of format ${read.data.version}, this program reads format ${VERSION}`;
}

function hex(value: number): string {
  return value.toString(16).padStart(8, '0');
}
