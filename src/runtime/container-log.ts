/**
 * The log of a container, as conmon or Docker's driver json-file keeps it.
 *
 * conmon writes lines `<time> <stream> <F|P> <text>`, of which a `P` line goes on in the next; Docker an object a line.
 * Both are read alike, so that a copy of either is read as the log itself was: at the same offsets.
 */
import { open } from 'node:fs/promises';
import { z } from 'zod';

export interface LogEntry {
  readonly stream: 'stdout' | 'stderr';
  readonly text: string;
}

export interface LogPiece {
  readonly entries: readonly LogEntry[];
  /** Offset of what follows, in bytes. */
  readonly next: number;
}

/** Read at once: far more than a line has, which conmon cuts at its buffer of 8 KiB. */
const MAX_PIECE_BYTES = 1024 * 1024;

/** The whole lines from `from` on. A log that was begun anew since, as conmon does at its largest size, is read anew. */
export async function readLog(path: string, from: number): Promise<LogPiece> {
  const file = await open(path).catch(() => undefined);
  if (file === undefined) return { entries: [], next: from };
  try {
    const { size } = await file.stat();
    const start = from > size ? 0 : from;
    const { buffer, bytesRead } = await file.read(Buffer.alloc(MAX_PIECE_BYTES), 0, MAX_PIECE_BYTES, start);
    const end = buffer.subarray(0, bytesRead).lastIndexOf(0x0a) + 1;
    return { entries: parseLog(buffer.toString('utf8', 0, end)), next: start + end };
  } finally {
    await file.close();
  }
}

/** Successive lines of one stream become one entry. */
export function parseLog(text: string): readonly LogEntry[] {
  const entries: LogEntry[] = [];
  for (const line of text.split('\n')) {
    const entry = line.startsWith('{') ? parseJsonLine(line) : parseLine(line);
    if (entry === undefined) continue;
    const last = entries.at(-1);
    if (last?.stream === entry.stream)
      entries[entries.length - 1] = { ...last, text: last.text + entry.text };
    else entries.push(entry);
  }
  return entries;
}

function parseLine(line: string): LogEntry | undefined {
  const [, stream, tag, said = ''] = /^\S+ (stdout|stderr) ([FP]) (.*)$/s.exec(line) ?? [];
  if (stream === undefined) return undefined;
  return { stream: stream as LogEntry['stream'], text: tag === 'F' ? `${said}\n` : said };
}

const jsonLine = z.object({ log: z.string(), stream: z.enum(['stdout', 'stderr']) });

function parseJsonLine(line: string): LogEntry | undefined {
  try {
    const { stream, log } = jsonLine.parse(JSON.parse(line));
    return { stream, text: log };
  } catch {
    return undefined; // Half a line, as after a power loss.
  }
}
