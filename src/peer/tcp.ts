/**
 * The real peer transport: frames over TCP.
 *
 * Invariants: a peer that stops reading costs at most MAX_QUEUED_BYTES; Nagle's algorithm is off, since a delta is one
 * small write; kernel keepalive notices a vanished host on an idle link (a link with unsent data is the record
 * exchange's to notice: TCP itself would retry for a quarter of an hour).
 * Review notes: mutual TLS is a matter of which socket is made: `secure` upgrades one before the first frame.
 */
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { PortolanError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { encodeLength, FrameReader } from './frames.ts';
import {
  MAX_FRAME_BYTES,
  MAX_QUEUED_BYTES,
  type PeerAddress,
  type PeerConnection,
  type PeerListener,
  type PeerTransport,
} from './types.ts';

const KEEPALIVE_MS = 5_000;
/** Accepted connections; the record exchange keeps far fewer and closes what is too many. */
const MAX_CONNECTIONS = 4_096;

export interface TcpTransportComponents {
  readonly log: Log;
}

export interface TcpTransportInit {
  /** Turns an accepted or dialled socket into an authenticated one; absent = plain TCP. */
  readonly secure?: (socket: Socket, side: 'accepted' | 'dialled') => Promise<Socket>;
}

export function createTcpTransport(
  components: TcpTransportComponents,
  init: TcpTransportInit = {},
): PeerTransport {
  const log = components.log.child('peer');
  const open = async (socket: Socket, side: 'accepted' | 'dialled'): Promise<Socket> => {
    socket.setNoDelay(true);
    socket.setKeepAlive(true, KEEPALIVE_MS);
    return init.secure === undefined ? socket : init.secure(socket, side);
  };
  return {
    listen: (address, onConnection) => listen(log, open, address, onConnection),
    connect: async (address, options) => {
      const socket = await open(await dial(address, options), 'dialled');
      return new TcpConnection(socket, address);
    },
  };
}

type Open = (socket: Socket, side: 'accepted' | 'dialled') => Promise<Socket>;

async function listen(
  log: Log,
  open: Open,
  address: PeerAddress,
  onConnection: (connection: PeerConnection) => void,
): Promise<PeerListener> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    const remote = { host: socket.remoteAddress ?? '', port: socket.remotePort ?? 0 };
    socket.once('error', (error) => log.debug('a connection failed', { remote, error }));
    open(socket, 'accepted').then(
      (ready) => onConnection(new TcpConnection(ready, remote)),
      (error: unknown) => {
        log.warn('refused a connection', { remote, error });
        socket.destroy();
      },
    );
  });
  server.maxConnections = MAX_CONNECTIONS;
  await bound(server, address);
  const local = server.address();
  const port = typeof local === 'object' && local !== null ? local.port : address.port;
  return {
    address: { host: address.host, port },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

function bound(server: Server, address: PeerAddress): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      reject(
        new PortolanError(
          cause.code === 'EADDRINUSE' ? 'conflict' : 'unavailable',
          `Cannot listen for peers on "${address.host}:${address.port}": ${cause.message}`,
          {
            field: 'gossip_port',
            remedy: 'stop the program that has the port, or choose another one',
            cause,
          },
        ),
      );
    });
    server.listen({ host: address.host, port: address.port }, () => {
      server.removeAllListeners('error');
      server.on('error', () => undefined);
      resolve();
    });
  });
}

function dial(
  address: PeerAddress,
  options: { readonly timeoutMs: number; readonly signal?: AbortSignal },
): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ host: address.host, port: address.port });
    const timer = setTimeout(
      () => fail(new Error(`no answer in ${options.timeoutMs} ms`)),
      options.timeoutMs,
    );
    const onAbort = (): void => fail(new Error('no longer wanted'));
    const settle = (): void => {
      clearTimeout(timer);
      options.signal?.removeEventListener('abort', onAbort);
    };
    const fail = (cause: Error): void => {
      settle();
      socket.destroy();
      const at = `${address.host}:${address.port}`;
      reject(new PortolanError('unavailable', `Cannot reach peer "${at}": ${cause.message}`, { cause }));
    };
    socket.once('error', fail);
    socket.once('connect', () => {
      settle();
      socket.off('error', fail);
      resolve(socket);
    });
    if (options.signal?.aborted === true) onAbort();
    else options.signal?.addEventListener('abort', onAbort, { once: true });
  });
}

class TcpConnection implements PeerConnection {
  readonly remote: PeerAddress;
  readonly #socket: Socket;
  readonly #reader = new FrameReader();
  #onFrame: ((frame: Uint8Array) => void) | undefined;
  #onClose: ((error: Error | undefined) => void) | undefined;
  #error: Error | undefined;
  #closed = false;

  constructor(socket: Socket, remote: PeerAddress) {
    this.remote = remote;
    this.#socket = socket;
    socket.on('error', (error) => (this.#error ??= error));
    socket.once('close', () => this.#finish());
    // The other side has ended: what we still had to say would reach nobody.
    socket.once('end', () => socket.destroy());
    socket.on('data', (chunk) => this.#receive(chunk));
  }

  send(frame: Uint8Array): boolean {
    if (this.#closed || this.#socket.destroyed) return false;
    if (frame.length > MAX_FRAME_BYTES) return this.#refuse(`a frame of ${frame.length} bytes`);
    if (this.#socket.writableLength + frame.length > MAX_QUEUED_BYTES)
      return this.#refuse('it does not keep up');
    this.#socket.cork();
    this.#socket.write(encodeLength(frame));
    this.#socket.write(frame);
    this.#socket.uncork();
    return true;
  }

  onFrame(listener: (frame: Uint8Array) => void): void {
    this.#onFrame = listener;
  }

  onClose(listener: (error: Error | undefined) => void): void {
    this.#onClose = listener;
    // It may have closed between being made and being handed over.
    if (this.#closed) queueMicrotask(() => listener(this.#error));
  }

  /** What was queued is still sent; `reason` is for the own side. */
  close(reason?: string): void {
    if (this.#closed) return;
    if (reason !== undefined) this.#error ??= new Error(reason);
    this.#socket.destroySoon();
  }

  #receive(chunk: Buffer): void {
    try {
      for (const frame of this.#reader.push(chunk)) this.#onFrame?.(frame);
    } catch (error) {
      this.#error ??= error instanceof Error ? error : new Error(String(error));
      this.#socket.destroy();
    }
  }

  #refuse(reason: string): false {
    this.#error ??= new Error(reason);
    this.#socket.destroy();
    return false;
  }

  #finish(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#onClose?.(this.#error);
  }
}
