/**
 * DNS over TCP: for answers that do not fit a datagram.
 *
 * Invariants: bounded connections, altogether and of one client; a connection that says nothing for 10 s, takes longer
 * than that for one message, or does not take its answers is closed; what a client has under way is bounded, the rest
 * waits unread.
 */
import { createServer, type Server, type Socket } from 'node:net';
import type { Clock, Timer } from '../base/clock.ts';
import type { IpAddress } from '../base/ip.ts';
import { boundPort, boundSocket } from '../kernel/udp/bound-socket.ts';
import { frame, FrameReader } from './dns-frames.ts';

const IDLE_MS = 10_000;
const CONNECTIONS_MAX = 100;
const CONNECTIONS_OF_CLIENT_MAX = 25;
const UNDER_WAY_MAX = 16;
/** A client that lets this much of its answers wait does not want them. */
const UNSENT_BYTES_MAX = 512 * 1024;
const NOTHING = Buffer.alloc(0);

/** Answers by calling `reply`, at once or later; not at all for what gets no answer. */
export type TcpQueryHandler = (packet: Buffer, reply: (answer: Buffer | undefined) => void) => void;

export interface DnsTcpListener {
  readonly port: number;
  close(): Promise<void>;
}

/** Shared by the listeners of one server. */
export class TcpLimits {
  readonly #byClient = new Map<string, number>();
  #total = 0;

  enter(client: string): boolean {
    const count = this.#byClient.get(client) ?? 0;
    if (this.#total >= CONNECTIONS_MAX || count >= CONNECTIONS_OF_CLIENT_MAX) return false;
    this.#total++;
    this.#byClient.set(client, count + 1);
    return true;
  }

  leave(client: string): void {
    const count = (this.#byClient.get(client) ?? 1) - 1;
    this.#total--;
    if (count === 0) this.#byClient.delete(client);
    else this.#byClient.set(client, count);
  }
}

export function listenDnsTcp(
  components: { readonly clock: Clock; readonly limits: TcpLimits },
  init: { readonly address: IpAddress; readonly port: number; readonly onQuery: TcpQueryHandler },
): Promise<DnsTcpListener> {
  const { limits } = components;
  const connections = new Map<Socket, Connection>();
  const server: Server = createServer((socket) => {
    const client = socket.remoteAddress ?? '';
    if (!limits.enter(client)) {
      socket.destroy();
      return;
    }
    socket.once('close', () => {
      connections.delete(socket);
      limits.leave(client);
    });
    connections.set(socket, new Connection(socket, components, init.onQuery));
  });
  const fd = boundSocket('tcp', init.address, init.port);
  const port = boundPort(fd);
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ fd }, () => {
      server.removeListener('error', reject);
      resolve({
        port,
        close: () =>
          new Promise((done) => {
            server.close(() => done());
            for (const socket of connections.keys()) socket.destroy();
          }),
      });
    });
  });
}

class Connection {
  readonly #socket: Socket;
  readonly #clock: Clock;
  readonly #onQuery: TcpQueryHandler;
  readonly #reader = new FrameReader();
  #underWay = 0;
  #timer: Timer | undefined;

  constructor(socket: Socket, { clock }: { readonly clock: Clock }, onQuery: TcpQueryHandler) {
    this.#socket = socket;
    this.#clock = clock;
    this.#onQuery = onQuery;
    socket.setNoDelay(true);
    socket.on('data', (chunk) => this.#take(chunk));
    // The client has gone.
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.#timer?.cancel());
    this.#wait();
  }

  /** From the last whole message, not the last byte: a message may not come byte by byte for ever. */
  #wait(): void {
    this.#timer?.cancel();
    this.#timer = this.#clock.after(IDLE_MS, () => this.#socket.destroy());
  }

  #take(chunk: Buffer): void {
    // Most are answered at once, so there is room for more.
    for (let next = chunk; ; next = NOTHING) {
      const messages = this.#reader.push(next, UNDER_WAY_MAX - this.#underWay);
      if (messages.length === 0) break;
      this.#wait();
      for (const packet of messages) {
        this.#underWay++;
        this.#onQuery(packet, (answer) => this.#reply(answer));
      }
    }
    if (this.#underWay >= UNDER_WAY_MAX) this.#socket.pause();
  }

  #reply(answer: Buffer | undefined): void {
    this.#underWay--;
    if (this.#socket.destroyed) return;
    if (answer !== undefined) this.#socket.write(frame(answer));
    if (this.#socket.writableLength > UNSENT_BYTES_MAX) {
      this.#socket.destroy();
      return;
    }
    if (!this.#socket.isPaused()) return;
    this.#socket.resume();
    // What came with the last chunk waits in the reader.
    setImmediate(() => this.#take(NOTHING));
  }
}
