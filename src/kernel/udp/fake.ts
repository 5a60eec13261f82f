/** Datagrams in memory: a peer is the number of a client, whose inbox gets what is sent to it. */
import { parseIp, type IpAddress } from '../../base/ip.ts';
import { kernelErrorOf } from '../errno.ts';
import {
  DATAGRAM_BYTES_MAX,
  MAIL_BYTES_MAX,
  REPLY_BYTES_MAX,
  type Mailbox,
  type Peer,
  type Udp,
  type UdpInit,
} from './types.ts';

const FIRST_PORT = 49_152;

export class FakeUdp implements Udp {
  readonly #serving = new Map<string, UdpInit>();
  /** By address and port. */
  readonly #mailboxes = new Map<string, (bytes: Buffer, from: Peer) => void>();
  readonly #inboxes: Buffer[][] = [];
  #nextPort = FIRST_PORT;

  async serve(init: UdpInit): ReturnType<Udp['serve']> {
    const port = init.port === 0 ? this.#nextPort++ : init.port;
    const key = `${init.address} ${port}`;
    if (this.#serving.has(key)) throw kernelErrorOf(`listen on ${key}`, 'EADDRINUSE');
    this.#serving.set(key, init);
    return {
      port,
      send: (peer, bytes) => {
        if (this.#serving.get(key) === init) this.#deliver(peer, Buffer.from(bytes));
      },
      close: async () => {
        if (this.#serving.get(key) === init) this.#serving.delete(key);
      },
    };
  }

  mailbox(address: IpAddress, port: number): Mailbox {
    const own = port === 0 ? this.#nextPort++ : port;
    const waiting: { readonly bytes: Buffer; readonly from: Peer }[] = [];
    const name = `${address} ${own}`;
    if (this.#mailboxes.has(name)) throw kernelErrorOf(`listen on ${name}`, 'EADDRINUSE');
    this.#mailboxes.set(name, (bytes, from) => waiting.push({ bytes, from }));
    return {
      port: own,
      take: (visit) => {
        for (const { bytes, from } of waiting.splice(0)) visit(bytes, () => from, 0);
      },
      send: (to, bytes) => {
        if (bytes.length <= MAIL_BYTES_MAX)
          this.#mailboxes.get(to.toString())?.(Buffer.from(bytes), Buffer.from(name));
      },
      addressOf: (host, to) => {
        const there = parseIp(host);
        return there?.family === address.family ? Buffer.from(`${there} ${to}`) : undefined;
      },
      close: () => this.#mailboxes.delete(name),
    };
  }

  /** A client's socket: what it sends, and what has come back to it so far. */
  client(): { send(to: IpAddress, port: number, bytes: Buffer): void; readonly inbox: readonly Buffer[] } {
    const peer = Buffer.alloc(4);
    peer.writeUInt32LE(this.#inboxes.length);
    const inbox: Buffer[] = [];
    this.#inboxes.push(inbox);
    return {
      inbox,
      send: (to, port, bytes) => {
        const init = this.#serving.get(`${to} ${port}`);
        if (init === undefined || bytes.length > DATAGRAM_BYTES_MAX) return;
        const reply = Buffer.alloc(REPLY_BYTES_MAX);
        const datagram = { bytes: Buffer.from(bytes), length: bytes.length, peer: () => Buffer.from(peer) };
        const length = init.onDatagram(datagram, reply);
        if (length > 0) this.#deliver(peer, reply.subarray(0, length));
      },
    };
  }

  #deliver(peer: Buffer, bytes: Buffer): void {
    this.#inboxes[peer.readUInt32LE()]?.push(bytes);
  }
}
