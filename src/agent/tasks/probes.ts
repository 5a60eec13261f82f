/**
 * Asking a task whether it is well: one request, one answer, within a time.
 *
 * A check of the kind `MESOS_*` is made from within the task's network namespace to 127.0.0.1, as Mesos' own are; the
 * others go from the agent to where clients go. A socket is opened in the namespace and connected from here: no helper
 * process enters it (a namespace belongs to a socket, not to whoever holds it).
 */
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { connect, Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { CheckResult } from '../../apps/health.ts';

export interface ProbeTarget {
  readonly host: string;
  readonly port: number;
  /** Path of the network namespace to ask from; absent = the agent's own. */
  readonly netns?: string;
}

export interface HttpProbe {
  readonly target: ProbeTarget;
  readonly secure: boolean;
  readonly path: string;
  readonly timeoutMs: number;
}

export interface ProbeComponents {
  /** Of kernel/netns-socket.ts. */
  readonly socketIn: (netns: string, family: 4 | 6) => number;
}

export interface HttpAnswer {
  readonly status: number;
}

const HEADERS_MAX_BYTES = 64 * 1024;

/** Resolves with the status; rejects with the reason why there is none. */
export async function probeHttp(components: ProbeComponents, probe: HttpProbe): Promise<HttpAnswer> {
  const { target, secure, path, timeoutMs } = probe;
  const signal = AbortSignal.timeout(timeoutMs);
  const socket = openSocket(components, target, signal);
  try {
    const stream = secure ? connectTls({ socket, rejectUnauthorized: false }) : socket;
    const { host, port } = target;
    return await new Promise<HttpAnswer>((resolve, reject) => {
      const onAnswer = (answer: IncomingMessage): void => {
        answer.resume();
        resolve({ status: answer.statusCode ?? 0 });
      };
      // Each may say it, and say it twice; the first counts.
      const fail = (error: Error): void => reject(inTime(error, signal, timeoutMs));
      socket.on('error', fail);
      stream.on('error', fail);
      const headers = { 'user-agent': 'Portolan', accept: '*/*', connection: 'close' };
      const outgoing = httpRequest(
        {
          host,
          port,
          path: path.startsWith('/') ? path : `/${path}`,
          method: 'GET',
          headers,
          signal,
          maxHeaderSize: HEADERS_MAX_BYTES,
          createConnection: () => stream,
        },
        onAnswer,
      );
      outgoing.on('error', fail);
      outgoing.end();
    });
  } finally {
    socket.destroy();
  }
}

/** Resolves when the connection is there. */
export async function probeTcp(
  components: ProbeComponents,
  target: ProbeTarget,
  timeoutMs: number,
): Promise<void> {
  const signal = AbortSignal.timeout(timeoutMs);
  const socket = openSocket(components, target, signal);
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.on('error', (error) => reject(inTime(error, signal, timeoutMs)));
    });
  } finally {
    socket.destroy();
  }
}

/** What a check makes of the status of an answer: Marathon takes 200 to 399. */
export function judgeStatus(status: number): CheckResult {
  if (status >= 200 && status < 400) return { ok: true };
  return { ok: false, cause: `HTTP status ${status}` };
}

function openSocket(
  { socketIn }: ProbeComponents,
  { host, port, netns }: ProbeTarget,
  signal: AbortSignal,
): Socket {
  if (netns === undefined) return connect({ host, port, signal });
  const socket = new Socket({ fd: socketIn(netns, host.includes(':') ? 6 : 4), signal });
  return socket.connect({ host, port });
}

function inTime(error: Error, signal: AbortSignal, timeoutMs: number): Error {
  return signal.aborted ? new Error(`no answer within ${timeoutMs / 1000} s`) : error;
}
