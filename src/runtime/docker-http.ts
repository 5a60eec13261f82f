/**
 * HTTP over Docker's unix socket.
 *
 * Measured here with Node 20.20: loading `dockerode` costs 24 MB of resident memory (it brings gRPC and SSH),
 * `docker-modem`, its transport, 13 MB (SSH); `node:http`, which every daemon of ours has loaded anyway, nothing. Seven
 * verbs of plain JSON do not pay for either.
 */
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { PortolanError, type ErrorCode } from '../base/errors.ts';

/** Longer than any verb we use takes; `docker network create` runs a dozen iptables. */
const ANSWER_TIMEOUT_MS = 15_000;
const MAX_ANSWER_BYTES = 16 * 1024 * 1024;
/** An event is a few hundred bytes; a line longer than this is no event. */
const MAX_LINE_BYTES = 1024 * 1024;

export interface DockerCall {
  readonly method: 'GET' | 'POST' | 'DELETE';
  readonly path: string;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  /** Absent = longer than any quick verb takes. */
  readonly timeoutMs?: number;
}

/** Sends one call. Resolves with the parsed answer, or `undefined` on 404. */
export async function callDocker(socketPath: string, call: DockerCall): Promise<unknown> {
  const signal = AbortSignal.timeout(call.timeoutMs ?? ANSWER_TIMEOUT_MS);
  try {
    const response = await send(socketPath, call, signal);
    const text = (await readAll(response)).toString('utf8');
    const status = response.statusCode ?? 0;
    if (status === 404) return undefined;
    if (status >= 300) throw refusal(call, status, text);
    return text === '' ? {} : (JSON.parse(text) as unknown);
  } catch (error) {
    throw error instanceof PortolanError ? error : unreachableDaemon(socketPath, error);
  }
}

/** Sends one call whose answer is bytes until it ends, as what a command prints. Rejects on every refusal, 404 included. */
export async function readDocker(
  socketPath: string,
  call: DockerCall,
  options: { readonly signal?: AbortSignal; readonly onAnswer?: () => void } = {},
): Promise<Buffer> {
  const { onAnswer } = options;
  const limit = AbortSignal.timeout(call.timeoutMs ?? ANSWER_TIMEOUT_MS);
  const signal = options.signal === undefined ? limit : AbortSignal.any([limit, options.signal]);
  try {
    const response = await send(socketPath, call, signal);
    onAnswer?.();
    const bytes = await readAll(response);
    const status = response.statusCode ?? 0;
    if (status >= 300) throw refusal(call, status, bytes.toString('utf8'));
    // A stream that is cut off ends like any other.
    signal.throwIfAborted();
    return bytes;
  } catch (error) {
    if (error instanceof PortolanError) throw error;
    if (signal.aborted)
      throw new PortolanError('unavailable', `Docker does not finish ${call.method} ${call.path} in time`, {
        cause: error,
      });
    throw unreachableDaemon(socketPath, error);
  }
}

/** Opens a stream of JSON lines. `ended` settles with it; closing it is an end like any other. */
export async function streamDocker(
  socketPath: string,
  path: string,
  onLine: (value: unknown) => void,
): Promise<{ readonly ended: Promise<void>; close(): void }> {
  const abort = new AbortController();
  // Once connected the stream stays open for ever: only the way to the answer has a time limit.
  const limit = setTimeout(() => abort.abort(), ANSWER_TIMEOUT_MS);
  try {
    const response = await send(socketPath, { method: 'GET', path }, abort.signal);
    if (response.statusCode !== 200)
      throw refusal(
        { method: 'GET', path },
        response.statusCode ?? 0,
        (await readAll(response)).toString('utf8'),
      );
    return { ended: readLines(response, onLine), close: () => response.destroy() };
  } catch (error) {
    throw error instanceof PortolanError ? error : unreachableDaemon(socketPath, error);
  } finally {
    clearTimeout(limit);
  }
}

function send(socketPath: string, call: DockerCall, signal: AbortSignal): Promise<IncomingMessage> {
  const body = call.body === undefined ? undefined : JSON.stringify(call.body);
  const headers = {
    host: 'docker',
    ...call.headers,
    ...(body === undefined
      ? {}
      : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
  };
  return new Promise((resolve, reject) => {
    const { method, path } = call;
    const outgoing = httpRequest({ socketPath, method, path, signal, agent: false, headers }, resolve);
    outgoing.once('error', reject);
    outgoing.end(body);
  });
}

async function readAll(response: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_ANSWER_BYTES) throw new Error(`the answer is larger than ${MAX_ANSWER_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** Settles at the end of the stream; how it ended does not matter, the reader connects anew and resynchronises. */
function readLines(response: IncomingMessage, onLine: (value: unknown) => void): Promise<void> {
  let rest = '';
  response.setEncoding('utf8');
  response.on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    if (rest.length > MAX_LINE_BYTES) response.destroy();
    for (const line of lines) {
      const value = line.trim() === '' ? undefined : parseLine(line);
      if (value !== undefined) onLine(value);
    }
  });
  return new Promise((resolve) => {
    response.once('error', () => resolve());
    response.once('close', () => resolve());
  });
}

function parseLine(line: string): unknown {
  try {
    return JSON.parse(line) as unknown;
  } catch {
    // Docker ends a broken stream with plain text; there is nothing in it for us.
    return undefined;
  }
}

function refusal(call: DockerCall, status: number, text: string): PortolanError {
  const said = parseLine(text);
  const message =
    typeof said === 'object' && said !== null && 'message' in said ? String(said.message) : text.trim();
  return new PortolanError(
    codeOf(status, message),
    `Docker refused ${call.method} ${call.path}: ${message}`,
    { details: { status } },
  );
}

/** Docker answers 403 for "has active endpoints" and for "Pool overlaps": both mean that something else holds it. */
function codeOf(status: number, message: string): ErrorCode {
  if (/no available IPv[46] addresses/i.test(message)) return 'exhausted';
  if (status === 409 || /active endpoints|overlap|already exists/i.test(message)) return 'conflict';
  if (status === 400) return 'invalid';
  return status === 403 ? 'forbidden' : status === 503 ? 'unavailable' : 'internal';
}

function unreachableDaemon(socketPath: string, cause: unknown): PortolanError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new PortolanError('unavailable', `Cannot reach Docker at "${socketPath}": ${why}`, {
    field: 'docker.socket',
    remedy: 'start dockerd, or set docker.enabled to false',
    cause,
  });
}
