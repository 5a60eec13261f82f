/** The log that conmon keeps of a container: one line `<time> <stream> <F|P> <text>`; a `P` line goes on in the next. */
import { open } from 'node:fs/promises';

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
export const MAX_PIECE_BYTES = 1024 * 1024;

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
    const [, stream, tag, said = ''] = /^\S+ (stdout|stderr) ([FP]) (.*)$/s.exec(line) ?? [];
    if (stream === undefined) continue;
    const entry: LogEntry = { stream: stream as LogEntry['stream'], text: tag === 'F' ? `${said}\n` : said };
    const last = entries.at(-1);
    if (last?.stream === entry.stream)
      entries[entries.length - 1] = { ...last, text: last.text + entry.text };
    else entries.push(entry);
  }
  return entries;
}

/** As `parseLog` reads it; who wrote it when is not known any more. */
export function renderLog(entries: readonly LogEntry[]): string {
  const lines = entries.flatMap(({ stream, text }) =>
    text
      .split(/(?<=\n)/)
      .map((line) => (line.endsWith('\n') ? `- ${stream} F ${line}` : `- ${stream} P ${line}\n`)),
  );
  return lines.join('');
}
