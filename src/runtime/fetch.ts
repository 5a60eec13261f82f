/**
 * Fetching what a task asks for into its sandbox: files of the host and of web servers, unpacked where they are archives.
 *
 * Everything stays within the sandbox: a destination that leads out of it is refused, also by way of a link that came with
 * an archive, and so do the unpacking programs.
 */
import { chmod, copyFile, lchown, lstat, mkdir, readdir, rm } from 'node:fs/promises';
import { basename, dirname, join, normalize } from 'node:path';
import { PortolanError } from '../base/errors.ts';
import type { FetchUri } from '../model/task.ts';
import { lastLine, runCommand } from './command.ts';
import { cannotFetch, errorText, requestFile, saveTo } from './download.ts';
import type { FetchCache } from './fetch-cache.ts';

/** From the beginning to the last byte. */
const FETCH_TIMEOUT_MS = 15 * 60_000;
const EXTRACT_TIMEOUT_MS = 5 * 60_000;

/** By the end of the name, as Mesos' fetcher goes by (src/launcher/fetcher.cpp). */
const extractors: readonly (readonly [RegExp, (file: string, directory: string) => readonly string[]])[] = [
  [
    /\.(tar|tar\.gz|tgz|tar\.bz2|tbz2|tar\.xz|txz|tar\.zst)$/,
    (file, directory) => ['tar', '-C', directory, '-xf', file],
  ],
  [/\.zip$/, (file, directory) => ['unzip', '-o', '-q', '-d', directory, file]],
  [/\.gz$/, (file) => ['gzip', '-d', '-k', '-f', file]],
];

export async function fetchUri(
  wish: FetchUri,
  sandbox: string,
  options: { readonly cache: FetchCache; readonly signal: AbortSignal },
): Promise<void> {
  const path = destination(wish);
  await refuseLinks(wish.uri, sandbox, path);
  const target = join(sandbox, path);
  const signal = AbortSignal.any([options.signal, AbortSignal.timeout(FETCH_TIMEOUT_MS)]);
  await mkdir(dirname(target), { recursive: true });
  await bring(wish, target, { cache: options.cache, signal });
  if (wish.executable) await chmod(target, 0o755);
  else if (wish.extract) await extract(target, signal);
}

export async function emptySandbox(sandbox: string): Promise<void> {
  await mkdir(sandbox, { recursive: true });
  for (const name of await readdir(sandbox)) await rm(join(sandbox, name), { recursive: true, force: true });
}

/** Everything in it becomes the user's, as Mesos' fetcher leaves it: archives come with owners of their own. */
export async function giveSandbox(
  sandbox: string,
  user: { readonly uid: number; readonly gid: number },
): Promise<void> {
  await lchown(sandbox, user.uid, user.gid);
  for (const name of await readdir(sandbox, { recursive: true }))
    await lchown(join(sandbox, name), user.uid, user.gid);
}

/** Where it goes, relative to the sandbox. */
function destination({ uri, dest_path }: FetchUri): string {
  const last = basename(uri.replace(/[?#].*$/, ''));
  const path = normalize(dest_path ?? decodeURIComponent(last));
  if (path !== '' && path !== '.' && !path.startsWith('/') && !path.split('/').includes('..')) return path;
  throw cannotFetch(uri, `it has no place in the sandbox by the name "${path}"`, {
    remedy: 'give a destPath within it',
  });
}

/** What was unpacked before may hold links that lead anywhere. */
async function refuseLinks(uri: string, sandbox: string, path: string): Promise<void> {
  let at = sandbox;
  for (const part of path.split('/')) {
    at = join(at, part);
    const found = await lstat(at).catch(() => undefined);
    if (found === undefined) return;
    if (found.isSymbolicLink())
      throw cannotFetch(uri, `its place in the sandbox, "${path}", is behind a link`, {
        remedy: 'give another destPath',
      });
  }
}

/** A file of the host is at hand, and needs no cache. */
async function bring(
  { uri, cache: isCached }: FetchUri,
  target: string,
  { cache, signal }: { readonly cache: FetchCache; readonly signal: AbortSignal },
): Promise<void> {
  if (uri.startsWith('file://') || uri.startsWith('/')) {
    const path = uri.startsWith('/') ? uri : decodeURIComponent(new URL(uri).pathname);
    return copyFile(path, target).catch((error: NodeJS.ErrnoException) => {
      throw cannotFetch(
        uri,
        error.code === 'ENOENT' ? 'there is no such file on this host' : errorText(error),
      );
    });
  }
  if (!/^https?:\/\//.test(uri))
    throw cannotFetch(uri, 'its scheme is not supported', { remedy: 'use file, http or https' });
  if (isCached) return cache.bring(uri, target, signal);
  return saveTo(target, await requestFile(uri, { signal }), { uri, signal });
}

async function extract(file: string, signal: AbortSignal): Promise<void> {
  const words = extractors.find(([pattern]) => pattern.test(file))?.[1](file, dirname(file));
  if (words === undefined) return;
  const result = await runCommand(words, { timeoutMs: EXTRACT_TIMEOUT_MS, signal });
  if (result.status !== 0)
    throw new PortolanError('invalid', `Cannot extract "${basename(file)}": ${lastLine(result.stderr)}`, {
      field: 'fetch',
      remedy: 'mend the archive, or set extract to false',
    });
}
