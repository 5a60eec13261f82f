/**
 * Fetching what a task asks for into its sandbox: files of the host and of web servers, unpacked where they are archives.
 *
 * Everything stays within the sandbox: a destination that leads out of it is refused, and so do the unpacking programs.
 */
import { createWriteStream } from 'node:fs';
import { chmod, copyFile, mkdir, readdir, rm } from 'node:fs/promises';
import { get as getHttp, type IncomingMessage } from 'node:http';
import { get as getHttps } from 'node:https';
import { basename, dirname, join, normalize } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { PortolanError } from '../base/errors.ts';
import type { FetchUri } from '../model/task.ts';
import { lastLine, runCommand } from './command.ts';

/** From the beginning to the last byte. */
const FETCH_TIMEOUT_MS = 15 * 60_000;
const EXTRACT_TIMEOUT_MS = 5 * 60_000;
const MAX_REDIRECTS = 8;

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
  options: { readonly signal: AbortSignal },
): Promise<void> {
  const target = join(sandbox, destination(wish));
  const signal = AbortSignal.any([options.signal, AbortSignal.timeout(FETCH_TIMEOUT_MS)]);
  await mkdir(dirname(target), { recursive: true });
  await bring(wish.uri, target, signal);
  if (wish.executable) await chmod(target, 0o755);
  else if (wish.extract) await extract(target, signal);
}

export async function emptySandbox(sandbox: string): Promise<void> {
  await mkdir(sandbox, { recursive: true });
  for (const name of await readdir(sandbox)) await rm(join(sandbox, name), { recursive: true, force: true });
}

/** Where it goes, relative to the sandbox. */
function destination({ uri, dest_path }: FetchUri): string {
  const last = basename(uri.replace(/[?#].*$/, ''));
  const path = normalize(dest_path ?? decodeURIComponent(last));
  if (path !== '' && path !== '.' && !path.startsWith('/') && !path.split('/').includes('..')) return path;
  throw failure(uri, `it has no place in the sandbox by the name "${path}"`, 'give a destPath within it');
}

async function bring(uri: string, target: string, signal: AbortSignal): Promise<void> {
  if (uri.startsWith('file://') || uri.startsWith('/')) {
    const path = uri.startsWith('/') ? uri : decodeURIComponent(new URL(uri).pathname);
    return copyFile(path, target).catch((error: NodeJS.ErrnoException) => {
      throw failure(uri, error.code === 'ENOENT' ? 'there is no such file on this host' : error.message);
    });
  }
  if (/^https?:\/\//.test(uri)) return download(uri, target, signal);
  throw failure(uri, 'its scheme is not supported', 'use file, http or https');
}

async function download(uri: string, target: string, signal: AbortSignal): Promise<void> {
  try {
    let from = uri;
    for (let i = 0; i < MAX_REDIRECTS; i++) {
      const response = await get(from, signal);
      const { statusCode: status = 0, headers } = response;
      if (status === 200) return await pipeline(response, createWriteStream(target), { signal });
      response.destroy();
      if (status < 300 || status >= 400 || headers.location === undefined)
        throw failure(uri, `the server answered ${status}`);
      from = new URL(headers.location, from).href;
    }
    throw failure(uri, `it is redirected more than ${MAX_REDIRECTS} times`);
  } catch (error) {
    throw error instanceof PortolanError ? error : failure(uri, (error as Error).message);
  }
}

function get(uri: string, signal: AbortSignal): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const call = uri.startsWith('https:') ? getHttps : getHttp;
    call(uri, { signal, agent: false, headers: { 'user-agent': 'Portolan' } }, resolve).once('error', reject);
  });
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

function failure(uri: string, why: string, remedy?: string): PortolanError {
  return new PortolanError('invalid', `Cannot fetch "${uri}": ${why}`, {
    field: 'fetch',
    ...(remedy === undefined ? {} : { remedy }),
  });
}
