/**
 * Files that tasks have fetched with `cache: true`, for the next that want them.
 *
 * A file is known by its URI. Its server is asked whether it is still the same, by what the server has said of it (ETag,
 * Last-Modified), or else by its length; a server that does not answer, or only with a failure of its own, leaves it as it
 * is known. Tasks that want a file at the same time share one download.
 * Invariants: a file counts when what is noted of it fits it, so that one which a crash cut off is not taken; files have no
 * more than `maxBytes` together, and the one that was not used for longest goes first; one that is being copied stays.
 */
import { createHash, randomBytes } from 'node:crypto';
import { constants, rmSync } from 'node:fs';
import { copyFile, mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { IncomingMessage } from 'node:http';
import { z } from 'zod';
import { isPortolanError } from '../base/errors.ts';
import { cannotFetch, errorText, NOT_MODIFIED, requestFile, saveTo } from './download.ts';
import { SharedWork } from './shared-work.ts';

const TEMPORARY = '.new-';
const NOTES = '.json';

const notes = z.object({
  uri: z.string(),
  size: z.int(),
  etag: z.string().optional(),
  lastModified: z.string().optional(),
});
type Notes = z.infer<typeof notes>;

export interface FetchCacheInit {
  readonly root: string;
  readonly maxBytes: number;
}

export class FetchCache {
  readonly #root: string;
  readonly #maxBytes: number;
  readonly #downloads = new SharedWork<string>();
  /** Files that are being copied, with how often. */
  readonly #pinned = new Map<string, number>();

  constructor({ root, maxBytes }: FetchCacheInit) {
    this.#root = root;
    this.#maxBytes = maxBytes;
  }

  /** Removes what a crash left half done. */
  async open(): Promise<void> {
    await mkdir(this.#root, { recursive: true, mode: 0o700 });
    const names = new Set(await readdir(this.#root));
    for (const name of names) {
      const other = name.endsWith(NOTES) ? name.slice(0, -NOTES.length) : `${name}${NOTES}`;
      if (!names.has(other)) await rm(join(this.#root, name), { force: true });
    }
  }

  /** Puts what the URI leads to now at `target`. */
  async bring(uri: string, target: string, signal: AbortSignal): Promise<void> {
    const name = await this.#downloads.join(uri, signal, (each) => this.#refresh(uri, each));
    this.#pinned.set(name, (this.#pinned.get(name) ?? 0) + 1);
    try {
      // Where the file system can, the copy takes no room before it is changed.
      await copyFile(join(this.#root, name), target, constants.COPYFILE_FICLONE);
    } catch (error) {
      throw cannotFetch(uri, errorText(error), { cause: error });
    } finally {
      const count = (this.#pinned.get(name) ?? 1) - 1;
      if (count > 0) this.#pinned.set(name, count);
      else this.#pinned.delete(name);
    }
    await this.#makeRoom();
  }

  async #refresh(uri: string, signal: AbortSignal): Promise<string> {
    const name = createHash('sha256').update(uri).digest('hex');
    const known = await this.#read(name);
    const response = await requestFile(uri, { validators: known ?? {}, signal }).catch((error: unknown) => {
      if (known !== undefined && isPortolanError(error) && error.code === 'unavailable') return undefined;
      throw error;
    });
    if (known !== undefined && (response === undefined || isSame(known, response))) {
      response?.destroy();
      const now = new Date();
      await utimes(join(this.#root, `${name}${NOTES}`), now, now);
      return name;
    }
    if (response === undefined) throw cannotFetch(uri, 'it is not here');
    await this.#store(name, uri, response, signal);
    return name;
  }

  async #store(name: string, uri: string, response: IncomingMessage, signal: AbortSignal): Promise<void> {
    const temporary = join(this.#root, `${TEMPORARY}${randomBytes(6).toString('hex')}`);
    try {
      await saveTo(temporary, response, { uri, signal });
      const { size } = await stat(temporary);
      const { etag, 'last-modified': lastModified } = response.headers;
      const said: Notes = {
        ...{ uri, size },
        ...(etag === undefined ? {} : { etag }),
        ...(lastModified === undefined ? {} : { lastModified }),
      };
      // Without notes for a moment, it is nobody's: a crash in between must not leave old notes with a new file.
      await rm(join(this.#root, `${name}${NOTES}`), { force: true });
      await rename(temporary, join(this.#root, name));
      await writeFile(`${temporary}${NOTES}`, JSON.stringify(said));
      await rename(`${temporary}${NOTES}`, join(this.#root, `${name}${NOTES}`));
    } finally {
      for (const path of [temporary, `${temporary}${NOTES}`]) await rm(path, { force: true });
    }
  }

  async #read(name: string): Promise<Notes | undefined> {
    const path = join(this.#root, name);
    const text = await readFile(`${path}${NOTES}`, 'utf8').catch(() => '');
    const parsed = notes.safeParse(text === '' ? undefined : JSON.parse(text));
    const { size } = await stat(path).catch(() => ({ size: -1 }));
    return parsed.success && parsed.data.size === size ? parsed.data : undefined;
  }

  async #makeRoom(): Promise<void> {
    const files = [];
    for (const name of await readdir(this.#root)) {
      if (name.startsWith(TEMPORARY) || !name.endsWith(NOTES)) continue;
      const { mtimeMs } = await stat(join(this.#root, name)).catch(() => ({ mtimeMs: 0 }));
      const file = name.slice(0, -NOTES.length);
      const { size } = await stat(join(this.#root, file)).catch(() => ({ size: 0 }));
      files.push({ file, size, usedMs: mtimeMs });
    }
    let keptBytes = 0;
    for (const { file, size } of files.sort((a, b) => b.usedMs - a.usedMs)) {
      if (keptBytes + size > this.#maxBytes) this.#remove(file);
      else keptBytes += size;
    }
  }

  /** Looked at and removed in one turn: nobody begins to copy it in between. */
  #remove(name: string): void {
    if (this.#downloads.isUnderWay || this.#pinned.has(name)) return;
    for (const path of [`${name}${NOTES}`, name]) rmSync(join(this.#root, path), { force: true });
  }
}

/** By the server's word; by its length where the server gives no other sign. */
function isSame(known: Notes, response: IncomingMessage): boolean {
  if (response.statusCode === NOT_MODIFIED) return true;
  const { etag, 'last-modified': lastModified, 'content-length': length } = response.headers;
  const signs = [known.etag, known.lastModified, etag, lastModified];
  return signs.every((sign) => sign === undefined) && length === String(known.size);
}
