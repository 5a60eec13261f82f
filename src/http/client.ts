/** A small JSON client for our own daemons, over TCP, TLS or a unix socket. */
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest, type AgentOptions, Agent as HttpsAgent } from 'node:https';
import { PortolanError } from '../base/errors.ts';
import { describeTlsError } from '../trust/verify.ts';

export type HttpTarget = { readonly host: string; readonly port: number } | { readonly socketPath: string };

export interface RequestInit {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly path: string;
  readonly body?: unknown;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
  /** Speaks TLS, by this agent or with these options; for TCP targets only. */
  readonly tls?: HttpsAgent | AgentOptions;
}

export interface Answer {
  readonly status: number;
  /** Parsed JSON, or the text when the answer is not JSON. */
  readonly body: unknown;
  /** What the other side's clock said, ms since the epoch, in whole seconds; absent when it did not say. */
  readonly dateMs?: number;
}

const MAX_ANSWER_BYTES = 256 * 1024 * 1024;

/** Sends one request. Rejects with `unavailable` when nobody answers; any HTTP status resolves. */
export async function request(target: HttpTarget, init: RequestInit): Promise<Answer> {
  const deadline = AbortSignal.timeout(init.timeoutMs);
  const signal = init.signal === undefined ? deadline : AbortSignal.any([deadline, init.signal]);
  try {
    const response = await send(target, init, signal);
    const text = await readAll(response);
    const json = response.headers['content-type']?.includes('json') === true;
    const dateMs = Date.parse(response.headers.date ?? '');
    return {
      status: response.statusCode ?? 0,
      body: json ? (JSON.parse(text) as unknown) : text,
      ...(Number.isNaN(dateMs) ? {} : { dateMs }),
    };
  } catch (error) {
    if (init.signal?.aborted === true) throw error;
    const why = deadline.aborted ? `no answer within ${init.timeoutMs} ms` : (error as Error).message;
    const told = init.tls === undefined ? undefined : describeTlsError(error, Date.now());
    const scheme = init.tls === undefined ? 'http' : 'https';
    throw new PortolanError('unavailable', `Cannot reach ${formatTarget(target, scheme)}: ${told ?? why}`, {
      cause: error,
    });
  }
}

function send(target: HttpTarget, init: RequestInit, signal: AbortSignal): Promise<IncomingMessage> {
  const body = init.body === undefined ? undefined : JSON.stringify(init.body);
  return new Promise((resolve, reject) => {
    const outgoing = (init.tls === undefined ? httpRequest : httpsRequest)(
      {
        ...target,
        ...connectionBy(init.tls),
        method: init.method,
        path: init.path,
        signal,
        headers:
          body === undefined
            ? {}
            : { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(body)) },
      },
      resolve,
    );
    outgoing.once('error', reject);
    outgoing.end(body);
  });
}

function connectionBy(tls: RequestInit['tls']): object {
  if (tls === undefined) return { agent: false };
  return tls instanceof HttpsAgent ? { agent: tls } : { agent: false, ...tls };
}

async function readAll(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_ANSWER_BYTES) throw new Error(`the answer is larger than ${MAX_ANSWER_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

export function formatTarget(target: HttpTarget, scheme: 'http' | 'https' = 'http'): string {
  return 'socketPath' in target ? `unix://${target.socketPath}` : `${scheme}://${target.host}:${target.port}`;
}

/** Reads `unix:///run/x.sock`, `http://10.0.0.1:5050` or `10.0.0.1:5050`. */
export function parseTarget(text: string): HttpTarget {
  if (text.startsWith('unix://')) return { socketPath: text.slice('unix://'.length) };
  const match = /^(?:http:\/\/)?(\[[0-9a-f:]+\]|[^:/[\]]+):([0-9]{1,5})\/?$/i.exec(text);
  const port = Number(match?.[2]);
  if (match?.[1] === undefined || port < 1 || port > 65_535)
    throw new PortolanError('invalid', `Cannot use API address "${text}"`, {
      field: 'api',
      remedy: 'write unix:///path/to/api.sock or http://host:port',
    });
  return { host: match[1].replace(/^\[|\]$/g, ''), port };
}
