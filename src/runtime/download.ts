/** Asking web servers for files: redirects are followed, and what goes wrong is said in the words of a task's message. */
import { createWriteStream } from 'node:fs';
import { get as getHttp, STATUS_CODES, type IncomingMessage } from 'node:http';
import { get as getHttps } from 'node:https';
import { pipeline } from 'node:stream/promises';
import { PortolanError } from '../base/errors.ts';

const MAX_REDIRECTS = 8;
const OK = 200;
export const NOT_MODIFIED = 304;

/** By which a server says whether a file is still the same (RFC 9110, section 13). */
export interface Validators {
  readonly etag?: string | undefined;
  readonly lastModified?: string | undefined;
}

/** The answer with the file, or without one where it is still what `validators` mean. Its body must be read or destroyed. */
export async function requestFile(
  uri: string,
  options: { readonly validators?: Validators; readonly signal: AbortSignal },
): Promise<IncomingMessage> {
  const { etag, lastModified } = options.validators ?? {};
  const headers = {
    'user-agent': 'Portolan',
    ...(etag === undefined ? {} : { 'if-none-match': etag }),
    ...(lastModified === undefined ? {} : { 'if-modified-since': lastModified }),
  };
  let from = uri;
  for (let i = 0; i < MAX_REDIRECTS; i++) {
    const response = await get(from, headers, options.signal).catch((error: unknown) => {
      throw cannotFetch(uri, errorText(error), { code: 'unavailable' });
    });
    const { statusCode: status = 0, headers: answered } = response;
    if (status === OK || status === NOT_MODIFIED) return response;
    response.destroy();
    if (status < 300 || status >= 400 || answered.location === undefined)
      throw cannotFetch(uri, `the server answered ${status} ${STATUS_CODES[status] ?? ''}`.trimEnd(), {
        ...(status >= 500 ? { code: 'unavailable' } : {}),
      });
    from = new URL(answered.location, from).href;
  }
  throw cannotFetch(uri, `it is redirected more than ${MAX_REDIRECTS} times`);
}

/** The answer's body into a file. */
export async function saveTo(
  target: string,
  response: IncomingMessage,
  { uri, signal }: { readonly uri: string; readonly signal: AbortSignal },
): Promise<void> {
  try {
    await pipeline(response, createWriteStream(target), { signal });
  } catch (error) {
    const length = response.headers['content-length'];
    const isCut = (error as NodeJS.ErrnoException).code === 'ECONNRESET' && length !== undefined;
    const why = isCut ? `the connection ended before all of its ${length} bytes had come` : errorText(error);
    throw cannotFetch(uri, why, { cause: error });
  }
}

export function cannotFetch(
  uri: string,
  why: string,
  options: {
    readonly code?: 'invalid' | 'unavailable';
    readonly remedy?: string;
    readonly cause?: unknown;
  } = {},
): PortolanError {
  const { code = 'invalid', ...more } = options;
  return new PortolanError(code, `Cannot fetch "${uri}": ${why}`, { field: 'fetch', ...more });
}

/** In words, without the name of the system call. */
export function errorText(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ENOSPC') return 'no space is left on this host';
  return message === '' ? String(code) : message;
}

function get(
  uri: string,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const call = uri.startsWith('https:') ? getHttps : getHttp;
    call(uri, { signal, agent: false, headers }, resolve).once('error', reject);
  });
}
