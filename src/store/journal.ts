/**
 * A daemon's own state in one append-only file that tells when it was damaged.
 *
 * Purpose: identity, grants, reservations and the last known records survive `kill -9` and power loss.
 * Form: text, one frame a line (journal-format.ts); the first line says what the file is, each further one holds the
 * keys that one group of writes changed, `null` for a deleted key. A group is all or nothing.
 * Invariants: an acknowledged write is on disk; the file is never longer than twice its live content plus
 * GARBAGE_ALLOWANCE_BYTES; one process holds it (file-lock.ts); damage is reported, never repaired by forgetting:
 * only an unterminated last line is cut, since that append cannot have been acknowledged.
 * Review notes: memory is the truth. After a failed append the file's end is unknown, so the next flush writes a whole
 * new file instead of trusting it (fsync errors are reported only once, see "fsyncgate", LSF/MM 2018).
 */
import { constants, existsSync, write } from 'node:fs';
import { mkdir, open, readFile, rename, rm, type FileHandle } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { PortolanError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { lockFile, type FileLock } from './file-lock.ts';
import { encodeFrame, encodeHeader, readJournal, type JournalDamage } from './journal-format.ts';
import type { Journal } from './types.ts';
import { changeTexts } from './journal-text.ts';

/** Rewriting small files gains nothing: garbage up to here is let be. */
const GARBAGE_ALLOWANCE_BYTES = 256 * 1024;
const LAZY_DELAY_MS = 200;

export interface JournalInit {
  readonly path: string;
  /** What the file holds, as an operator would say it: "the agent's identity and address blocks". */
  readonly what: string;
  /** What an operator can do about a damaged file beside restoring a backup, and what that means. */
  readonly recovery?: string;
}

export async function openJournal(components: { readonly log: Log }, init: JournalInit): Promise<Journal> {
  const path = resolve(init.path);
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const lock = await lockFile(`${path}.lock`);
  try {
    return await FileJournal.open(components.log, { ...init, path }, lock);
  } catch (error) {
    await lock.release();
    throw error;
  }
}

class FileJournal implements Journal {
  readonly #init: JournalInit;
  readonly #log: Log;
  readonly #lock: FileLock;
  /** Every live key with its value as JSON text: small, and nobody can alter it behind our back. */
  readonly #texts: Map<string, string>;
  readonly #dirty = new Set<string>();
  #file: FileHandle | undefined;
  #fileBytes = 0;
  #liveBytes = 0;
  #waiting: { resolve(): void; reject(error: unknown): void }[] = [];
  #flushing: Promise<void> | undefined;
  #scheduled = false;
  #lazy: NodeJS.Timeout | undefined;
  #closed = false;

  private constructor(log: Log, init: JournalInit, lock: FileLock, texts: Map<string, string>) {
    this.#log = log;
    this.#init = init;
    this.#lock = lock;
    this.#texts = texts;
    for (const [key, text] of texts) this.#liveBytes += entryBytes(key, text);
  }

  static async open(log: Log, init: JournalInit, lock: FileLock): Promise<FileJournal> {
    await rm(newPath(init.path), { force: true });
    if (!existsSync(init.path)) {
      const journal = new FileJournal(log, init, lock, new Map());
      await journal.#rewrite();
      return journal;
    }
    const content = await readFile(init.path);
    const read = readJournal(content);
    if ('damage' in read) throw damaged(init, read.damage);
    const journal = new FileJournal(log, init, lock, read.texts);
    await journal.#reuse(read.goodBytes, content.length);
    return journal;
  }

  get(key: string): unknown {
    const text = this.#texts.get(key);
    return text === undefined ? undefined : JSON.parse(text);
  }

  *entries(prefix: string): Generator<readonly [string, unknown]> {
    for (const [key, text] of this.#texts)
      if (key.startsWith(prefix)) yield [key, JSON.parse(text) as unknown];
  }

  write(changes: Readonly<Record<string, unknown>>): Promise<void> {
    try {
      this.#apply(changes);
    } catch (error) {
      return Promise.reject(error as Error);
    }
    const written = new Promise<void>((resolve, reject) => this.#waiting.push({ resolve, reject }));
    // What is written before the disk is asked goes with it; what comes while it works is the next group.
    if (!this.#scheduled) {
      this.#scheduled = true;
      queueMicrotask(() => {
        this.#scheduled = false;
        if (!this.#closed) void this.#flush();
      });
    }
    return written;
  }

  writeLazily(changes: Readonly<Record<string, unknown>>): void {
    this.#apply(changes);
    this.#lazy ??= setTimeout(() => void this.#flush(), LAZY_DELAY_MS);
    this.#lazy.unref();
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#flushing;
    if (this.#file === undefined || this.#dirty.size > 0 || this.#waiting.length > 0) await this.#flush();
    clearTimeout(this.#lazy);
    await this.#file?.close();
    this.#file = undefined;
    await this.#lock.release();
  }

  #apply(changes: Readonly<Record<string, unknown>>): void {
    if (this.#closed)
      throw new PortolanError('unavailable', `Cannot write "${this.#init.path}": it is closed`);
    for (const [key, text] of changeTexts(changes)) {
      const before = this.#texts.get(key);
      if (before === text) continue;
      if (before !== undefined) this.#liveBytes -= entryBytes(key, before);
      if (text === undefined) this.#texts.delete(key);
      else {
        this.#texts.set(key, text);
        this.#liveBytes += entryBytes(key, text);
      }
      this.#dirty.add(key);
    }
  }

  /** Starts a group, or lets the one under way start the next: one group at a time. */
  #flush(): Promise<void> {
    return (this.#flushing ??= this.#drain().finally(() => {
      this.#flushing = undefined;
    }));
  }

  async #drain(): Promise<void> {
    do {
      clearTimeout(this.#lazy);
      this.#lazy = undefined;
      const group = this.#waiting;
      this.#waiting = [];
      try {
        if (this.#dirty.size > 0 || this.#file === undefined) await this.#commit();
        for (const waiter of group) waiter.resolve();
      } catch (error) {
        await this.#giveUp(group, error);
        return;
      }
    } while (this.#dirty.size > 0 || this.#waiting.length > 0);
  }

  async #commit(): Promise<void> {
    if (this.#file !== undefined && this.#fileBytes <= 2 * this.#liveBytes + GARBAGE_ALLOWANCE_BYTES)
      await this.#append(this.#file);
    else await this.#rewrite();
  }

  async #append(file: FileHandle): Promise<void> {
    const parts = Array.from(this.#dirty, (key) => entryText(key, this.#texts.get(key) ?? 'null'));
    this.#dirty.clear();
    const frame = encodeFrame(`{${parts.join(',')}}`);
    // The file is open with O_DSYNC: one system call writes and syncs, as write and fdatasync would (open(2)).
    const bytesWritten = await writeAt(file.fd, frame, this.#fileBytes);
    if (bytesWritten !== frame.length) throw new Error(`wrote ${bytesWritten} of ${frame.length} bytes`);
    this.#fileBytes += frame.length;
  }

  /** Writes everything that lives into a new file and puts it in the place of the old one. */
  async #rewrite(): Promise<void> {
    this.#dirty.clear();
    const frames = [encodeHeader(this.#init.what)];
    for (const [key, text] of this.#texts) frames.push(encodeFrame(`{${entryText(key, text)}}`));
    const content = Buffer.concat(frames);
    const { path } = this.#init;
    const file = await open(newPath(path), 'w', 0o600);
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(newPath(path), path);
    await syncDirectory(dirname(path));
    await this.#file?.close();
    this.#file = await openForAppend(path);
    this.#fileBytes = content.length;
  }

  async #reuse(goodBytes: number, fileBytes: number): Promise<void> {
    this.#file = await openForAppend(this.#init.path);
    this.#fileBytes = goodBytes;
    if (goodBytes === fileBytes) return;
    this.#log.warn('cut off a last line that was never completed', {
      path: this.#init.path,
      bytes: fileBytes - goodBytes,
    });
    await this.#file.truncate(goodBytes);
    await this.#file.sync();
  }

  async #giveUp(group: readonly { reject(error: unknown): void }[], cause: unknown): Promise<void> {
    await this.#file?.close().catch(() => undefined);
    this.#file = undefined;
    const { path } = this.#init;
    this.#log.error('could not write the journal; the next write tries again with a new file', {
      path,
      error: cause,
    });
    const error = new PortolanError(
      'unavailable',
      `Cannot write "${path}": ${cause instanceof Error ? cause.message : String(cause)}`,
      { remedy: `free space or mend the file system of "${dirname(path)}"`, cause },
    );
    for (const waiter of [...group, ...this.#waiting]) waiter.reject(error);
    this.#waiting = [];
  }
}

/** A handle's own `write` does the same by way of several objects and promises, while somebody waits. */
function writeAt(fd: number, bytes: Uint8Array, position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    write(fd, bytes, 0, bytes.length, position, (error, written) => {
      if (error === null) resolve(written);
      else reject(error);
    });
  });
}

function damaged(init: JournalInit, damage: JournalDamage): PortolanError {
  const recovery = init.recovery ?? `restart, which begins without ${init.what}`;
  return new PortolanError(
    'corrupt',
    `Cannot read "${init.path}": line ${damage.line} is damaged (${damage.reason}): ${init.what} cannot be trusted and would be lost`,
    {
      field: init.path,
      remedy: `restore the file from a backup, or move it away and ${recovery}`,
      details: { path: init.path, line: damage.line, offset: damage.offset, lost: init.what },
    },
  );
}

function newPath(path: string): string {
  return `${path}.new`;
}

function entryText(key: string, text: string): string {
  return `${JSON.stringify(key)}:${text}`;
}

/** What an entry takes in a rewritten file, near enough to compare with. */
function entryBytes(key: string, text: string): number {
  return key.length + text.length + 24;
}

function openForAppend(path: string): Promise<FileHandle> {
  return open(path, constants.O_RDWR | constants.O_DSYNC, 0o600);
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
