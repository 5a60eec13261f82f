/**
 * The real peer transport: frames over TCP.
 *
 * Invariants: a peer that stops reading costs at most MAX_QUEUED_BYTES; Nagle's algorithm is off, since a delta is one
 * small write; kernel keepalive notices a vanished host on an idle link (a link with unsent data is the record
 * exchange's to notice: TCP itself would retry for a quarter of an hour).
 * Review notes: mutual TLS is a matter of which socket is made: `secure` upgrades one before the first frame. How many
 * may be under way at once is bounded, in all and for each host, so that no stranger keeps the others out.
 */
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { Admission } from '../base/admission.ts';
import type { Clock } from '../base/clock.ts';
import { PortolanError } from '../base/errors.ts';
import { LimitedLog } from '../base/limited-log.ts';
import type { Log } from '../base/log.ts';
import type { NodeId } from '../model/names.ts';
import { Asides, type AsideChannel, type AsideWay } from './asides.ts';
import { AwaitedMailbox } from './awaited-mailbox.ts';
import { encodeLength, encodeWhole, FrameReader } from './frames.ts';
import { Turns, type TakesTurns } from './turns.ts';
import {
  MAX_FRAME_BYTES,
  MAX_QUEUED_BYTES,
  type PeerAddress,
  type PeerConnection,
  type Mailbox,
  type PeerListener,
  type PeerTransport,
} from './types.ts';

const KEEPALIVE_MS = 5_000;
/** Beats and single changes: nearly all that is sent. */
const SMALL_FRAME_BYTES = 4_096;
/** Accepted connections; the record exchange keeps far fewer and closes what is too many. */
const MAX_CONNECTIONS = 4_096;
/** Accepted connections that are being secured. */
const MAX_SECURING = 512;
const MAX_SECURING_PER_HOST = 32;

export interface TcpTransportComponents {
  readonly clock: Clock;
  readonly log: Log;
}

export type Side = 'accepted' | 'dialled';

export interface SecuredSocket {
  readonly socket: Socket;
  readonly peer?: NodeId;
  /** Known to both ends and nobody else, SECRET_BYTES of it; absent = nothing is said beside the stream. */
  readonly secret?: Buffer;
}

export interface TcpTransportInit {
  /** Where datagrams beside the streams come to; absent = there are none. */
  readonly openMailbox?: (address: PeerAddress) => Mailbox;
  /** Turns a socket into an authenticated one, or rejects with the reason; absent = plain TCP. */
  readonly secure?: (socket: Socket, side: Side) => Promise<SecuredSocket>;
}

export function createTcpTransport(
  components: TcpTransportComponents,
  init: TcpTransportInit = {},
): PeerTransport {
  const { clock } = components;
  const log = components.log.child('peer');
  const refusals = new LimitedLog({ ...components, log });
  const turns = new Turns(components);
  const asides = new Asides();
  const open = async (socket: Socket, side: Side): Promise<SecuredSocket> => {
    socket.setNoDelay(true);
    socket.setKeepAlive(true, KEEPALIVE_MS);
    return init.secure === undefined ? { socket } : init.secure(socket, side);
  };
  return {
    listen: async (address, onConnection) => {
      const listener = await listen({ log, refusals, open, turns, asides }, address, onConnection);
      const { openMailbox } = init;
      const mailbox =
        openMailbox && new AwaitedMailbox({ clock, log, asides }, () => openMailbox(listener.address));
      return {
        address: listener.address,
        close: () => {
          mailbox?.close();
          return listener.close();
        },
      };
    },
    hear: () => asides.hear(),
    connect: async (address, options) => {
      const raw = await dial(address, options);
      try {
        const secured = await open(raw, 'dialled');
        const host = raw.remoteAddress ?? address.host;
        const way = { isDialled: true, host, port: address.port };
        return new TcpConnection(
          { turns, aside: channel(asides, secured, way) },
          { ...secured, remote: address },
        );
      } catch (error) {
        raw.destroy();
        throw unreachable(address, error as Error);
      }
    },
  };
}

interface Acceptor {
  readonly log: Log;
  readonly refusals: LimitedLog;
  readonly open: (socket: Socket, side: Side) => Promise<SecuredSocket>;
  readonly turns: Turns;
  readonly asides: Asides;
}

function channel(
  asides: Asides,
  { secret }: SecuredSocket,
  way: Omit<AsideWay, 'secret'>,
): AsideChannel | undefined {
  return secret === undefined ? undefined : asides.open({ ...way, secret });
}

async function listen(
  { log, refusals, open, turns, asides }: Acceptor,
  address: PeerAddress,
  onConnection: (connection: PeerConnection) => void,
): Promise<PeerListener> {
  const sockets = new Set<Socket>();
  const securing = new Admission({ max: MAX_SECURING, maxPerHost: MAX_SECURING_PER_HOST });
  const server = createServer((socket) => {
    const remote = { host: socket.remoteAddress ?? '', port: socket.remotePort ?? 0 };
    socket.once('error', (error) => log.debug('a connection failed', { remote, error }));
    if (!securing.begin(remote.host)) {
      refusals.warn(`many ${remote.host}`, 'refused a connection', {
        host: remote.host,
        reason: 'too many others have not shown yet who they are',
      });
      socket.destroy();
      return;
    }
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    open(socket, 'accepted')
      .then(
        (ready) => {
          const aside = channel(asides, ready, { isDialled: false, ...remote });
          onConnection(new TcpConnection({ turns, aside }, { ...ready, remote }));
        },
        (error: unknown) => {
          const reason = (error as Error).message;
          refusals.warn(`${remote.host} ${reason}`, 'refused a connection', { host: remote.host, reason });
          socket.destroy();
        },
      )
      .finally(() => securing.end(remote.host));
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
      reject(unreachable(address, cause));
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

function unreachable({ host, port }: PeerAddress, cause: Error): PortolanError {
  return new PortolanError('unavailable', `Cannot reach peer "${host}:${port}": ${cause.message}`, { cause });
}

class TcpConnection implements PeerConnection, TakesTurns {
  readonly remote: PeerAddress;
  readonly peer?: NodeId;
  readonly #socket: Socket;
  readonly #turns: Turns;
  readonly #aside: AsideChannel | undefined;
  readonly #reader = new FrameReader();
  /** Not taken yet. */
  #frames: Buffer[] = [];
  #at = 0;
  #onFrame: ((frame: Uint8Array) => void) | undefined;
  #onClose: ((error: Error | undefined) => void) | undefined;
  #error: Error | undefined;
  #closed = false;

  constructor(
    components: { readonly turns: Turns; readonly aside: AsideChannel | undefined },
    { socket, peer, remote }: SecuredSocket & { readonly remote: PeerAddress },
  ) {
    this.#turns = components.turns;
    this.#aside = components.aside;
    this.remote = remote;
    if (peer !== undefined) this.peer = peer;
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
    if (frame.length <= SMALL_FRAME_BYTES) this.#socket.write(encodeWhole(frame));
    else {
      this.#socket.cork();
      this.#socket.write(encodeLength(frame));
      this.#socket.write(frame);
      this.#socket.uncork();
    }
    return true;
  }

  sendAside(bytes: Uint8Array): void {
    if (!this.#closed) this.#aside?.send(bytes);
  }

  onAside(listener: (bytes: Uint8Array, ageMs: number) => void): void {
    this.#aside?.listen(listener);
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

  takeOne(): boolean {
    const frame = this.#frames[this.#at++];
    if (frame !== undefined) this.#guard(() => this.#onFrame?.(frame));
    if (this.#at < this.#frames.length) return true;
    this.#frames = [];
    this.#at = 0;
    return false;
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  #receive(chunk: Buffer): void {
    this.#guard(() => {
      const frames = this.#reader.push(chunk);
      if (frames.length === 0) return;
      const isWaiting = this.#frames.length > 0;
      this.#frames = isWaiting ? [...this.#frames, ...frames] : frames;
      if (!isWaiting) this.#turns.begin(this);
    });
  }

  /** Whatever goes wrong with what a peer has sent ends its connection. */
  #guard(take: () => void): void {
    try {
      take();
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
    // Its last words, of one read at most.
    while (this.#frames.length > 0) this.takeOne();
    this.#closed = true;
    this.#aside?.close();
    this.#onClose?.(this.#error);
  }
}
