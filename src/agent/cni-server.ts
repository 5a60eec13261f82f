/**
 * The agent's end of the CNI plug-in: a unix socket for the native executable, a directory for the shell's.
 *
 * Invariants: a request is answered within REQUEST_TIMEOUT_MS, by an error if need be; what it asked for goes on behind
 * that error, and the runtime's DEL waits for it. No request is larger than MAX_MESSAGE_BYTES.
 * Only root can reach either: the socket and the directory are its own.
 */
import { chmod, mkdir, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import type { Clock } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { Metrics } from '../base/metrics.ts';
import { askedVersion } from '../cni/config.ts';
import { cniCodes, CniError, encodeError } from '../cni/errors.ts';
import { encodeWireAnswer, MAX_MESSAGE_BYTES } from '../cni/wire.ts';
import { answerRequest, type Answered, type CniVerbs } from './cni-answer.ts';
import { serveDirectory } from './cni-directory.ts';

export const REQUEST_TIMEOUT_MS = 15_000;

export interface CniServerComponents {
  readonly verbs: CniVerbs;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}

export interface CniServer {
  close(): Promise<void>;
}

/** Listens on `path`, and in `<path>.d` for shells; what an earlier run left there is removed. */
export async function serveCni(components: CniServerComponents, path: string): Promise<CniServer> {
  const log = components.log.child('cni');
  const answer = timedAnswer({ ...components, log });
  await mkdir(dirname(path), { recursive: true });
  await rm(path, { force: true });
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    serveSocket(socket, answer, log);
  });
  await listen(server, path);
  await chmod(path, 0o600);
  const directory = await serveDirectory({ answer, log }, `${path}.d`);
  return {
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await Promise.all([directory.close(), new Promise((resolve) => server.close(resolve))]);
      await rm(path, { force: true });
    },
  };
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

export type AnswerText = (text: string) => Promise<string>;

function serveSocket(socket: Socket, answer: AnswerText, log: Log): void {
  const parts: Buffer[] = [];
  let size = 0;
  socket.setTimeout(REQUEST_TIMEOUT_MS * 2, () => socket.destroy());
  socket.on('error', (error) => log.debug('a plug-in broke off', { error }));
  socket.on('data', (part: Buffer) => {
    size += part.length;
    if (size <= MAX_MESSAGE_BYTES) parts.push(part);
    else socket.end(tooLarge);
  });
  socket.on('end', () => {
    if (size > MAX_MESSAGE_BYTES) return;
    void answer(Buffer.concat(parts).toString('utf8')).then((text) => socket.end(text));
  });
}

const tooLarge = encodeWireAnswer({
  exitCode: 1,
  stdout: encodeError(new CniError(cniCodes.ioFailure, 'The request is larger than 1 MiB'), '0.1.0'),
});

/** Answers within the limit, logs refusals, counts. */
function timedAnswer(components: CniServerComponents): AnswerText {
  const { verbs, clock, log, metrics } = components;
  const counter = metrics.counter('portolan_cni_requests_total', 'Calls of the CNI plug-in', [
    'command',
    'code',
  ]);
  const seconds = metrics.histogram('portolan_cni_seconds', 'Time to answer the CNI plug-in', ['command']);
  return async (text) => {
    const startedMs = clock.nowMs();
    const answered = await withTimeout(clock, answerRequest(verbs, text), askedVersion(text));
    const tookMs = clock.nowMs() - startedMs;
    const command = knownCommands.has(answered.command) ? answered.command : 'other';
    counter.add(1, { command, code: String(answered.code) });
    seconds.observe(tookMs / 1000, { command });
    const { container, code, message } = answered;
    if (code !== 0) log.warn('refused a CNI request', { command, container, code, message });
    else log.debug('answered a CNI request', { command, container, tookMs });
    return encodeWireAnswer(answered);
  };
}

/** Anything else is a caller's invention and must not become a label. */
const knownCommands = new Set(['ADD', 'DEL', 'CHECK', 'GC', 'STATUS', 'VERSION']);

function withTimeout(clock: Clock, answer: Promise<Answered>, version: string): Promise<Answered> {
  return new Promise((resolve) => {
    const timer = clock.after(REQUEST_TIMEOUT_MS, () => {
      const message = `The agent did not finish within ${REQUEST_TIMEOUT_MS / 1000} s`;
      const error = new CniError(cniCodes.tryAgainLater, message, 'call DEL, then try again');
      const code = error.code;
      resolve({
        command: '',
        container: '',
        code,
        message,
        exitCode: 1,
        stdout: encodeError(error, version),
      });
    });
    void answer.then((answered) => {
      timer.cancel();
      resolve(answered);
    });
  });
}
