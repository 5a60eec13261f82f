/**
 * One TCP port for two doors: plain HTTP for whoever wants to read, TLS for nodes.
 *
 * The first byte tells them apart: a TLS handshake begins with 22, and no HTTP request does. Behind TLS a request
 * carries who sent it, by its certificate; one without a certificate gets in too (it may want to join), and each path
 * decides. A certificate that is refused is refused here, with one line in the log.
 */
import type { X509Certificate } from 'node:crypto';
import { createServer as createHttpServer, type IncomingMessage, type Server } from 'node:http';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { getRequestListener } from '@hono/node-server';
import type { Context, Hono } from 'hono';
import { Admission } from '../base/admission.ts';
import type { Clock } from '../base/clock.ts';
import { LimitedLog } from '../base/limited-log.ts';
import type { Log } from '../base/log.ts';
import type { Credentials } from '../trust/credentials.ts';
import { verifyPeer, type Verdict } from '../trust/verify.ts';
import { listenOn, type HttpListener } from './server.ts';

const TLS_HANDSHAKE_BYTE = 22;
/** Until the first byte, then until the end of the handshake. */
const PATIENCE_MS = 10_000;
const MAX_WAITING = 1024;
const MAX_WAITING_PER_HOST = 64;
/** Nodes ask again every few seconds: one handshake serves them for long. */
const KEEP_ALIVE_MS = 60_000;

export interface TlsServerComponents {
  readonly clock: Clock;
  readonly log: Log;
}

export interface TlsServerInit {
  readonly host: string;
  readonly port: number;
  /** What plain HTTP gets. */
  readonly plain: Hono;
  /** What nodes get. */
  readonly secure: Hono;
  /** This node's, as of now. */
  readonly credentials: () => Credentials;
}

/** Who sent a request, as far as its certificate says; absent on plain HTTP and without a certificate. */
const verdicts = new WeakMap<Socket, Verdict>();

/** The verdict on the sender's certificate; `undefined` outside TLS and for requests that no server received. */
export function senderOf(context: Context): Verdict | undefined {
  const { incoming } = (context.env ?? {}) as { incoming?: IncomingMessage };
  return incoming === undefined ? undefined : verdicts.get(incoming.socket);
}

export async function listenTls(components: TlsServerComponents, init: TlsServerInit): Promise<HttpListener> {
  const doors = new Doors(components, init);
  const server = createServer((socket) => doors.meet(socket));
  await listenOn(server, { host: init.host, port: init.port });
  const { port } = server.address() as AddressInfo;
  return {
    port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        doors.close();
      }),
  };
}

class Doors {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #refusals: LimitedLog;
  readonly #credentials: () => Credentials;
  readonly #plain: Server;
  readonly #secure: Server;
  readonly #waiting = new Admission({ max: MAX_WAITING, maxPerHost: MAX_WAITING_PER_HOST });
  readonly #sockets = new Set<Socket>();

  constructor(components: TlsServerComponents, init: TlsServerInit) {
    this.#clock = components.clock;
    this.#log = components.log.child('http');
    this.#refusals = new LimitedLog({ clock: components.clock, log: this.#log });
    this.#credentials = init.credentials;
    this.#plain = httpServer(init.plain);
    this.#secure = httpServer(init.secure);
    this.#secure.keepAliveTimeout = KEEP_ALIVE_MS;
  }

  meet(socket: Socket): void {
    const host = socket.remoteAddress ?? '';
    socket.on('error', (error) => this.#log.debug('a connection failed', { host, error }));
    if (!this.#waiting.begin(host)) {
      socket.destroy();
      return this.#refuse(host, 'too many others have not said yet what they want');
    }
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    const timer = this.#clock.after(PATIENCE_MS, () => socket.destroy());
    let isWaiting = true;
    const settle = (): void => {
      if (!isWaiting) return;
      isWaiting = false;
      timer.cancel();
      this.#waiting.end(host);
    };
    socket.once('close', settle);
    socket.once('data', (chunk: Buffer) => {
      socket.pause();
      socket.unshift(chunk);
      if (chunk[0] === TLS_HANDSHAKE_BYTE) this.#secureDoor(socket, host, settle);
      else {
        settle();
        this.#plain.emit('connection', socket);
        process.nextTick(() => socket.resume());
      }
    });
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#plain.close();
    this.#secure.close();
  }

  #secureDoor(socket: Socket, host: string, settle: () => void): void {
    const own = this.#credentials();
    const secured = new TLSSocket(socket, {
      isServer: true,
      secureContext: own.context,
      requestCert: true,
      rejectUnauthorized: false,
      ALPNProtocols: ['http/1.1'],
    });
    secured.on('error', (error) => {
      this.#log.debug('a TLS connection failed', { host, error });
      socket.destroy();
    });
    // The event's name on a socket that no `tls.Server` accepted.
    secured.once('secure', () => {
      settle();
      const certificate: X509Certificate | undefined = secured.getPeerX509Certificate();
      if (certificate !== undefined) {
        const verdict = verifyPeer(certificate, own, this.#clock.wallMs());
        verdicts.set(secured, verdict);
        // Those whose time alone is wrong may still join anew under their name.
        if ('refused' in verdict) this.#refuse(host, verdict.reason);
        if ('refused' in verdict && verdict.was === undefined) return void secured.destroy();
      }
      this.#secure.emit('connection', secured);
    });
  }

  #refuse(host: string, reason: string): void {
    this.#refusals.warn(`${host} ${reason}`, 'refused a connection', { host, reason });
  }
}

function httpServer(app: Hono): Server {
  const handle = getRequestListener(app.fetch);
  const server = createHttpServer((request, response) => void handle(request, response));
  // It never listens itself, and begins to watch the time that requests take only when told that it does.
  server.emit('listening');
  return server;
}
