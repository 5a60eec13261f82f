/**
 * Serving datagrams, many at a time.
 *
 * Purpose: a server of small questions and answers writes each answer where it will be sent from, and pays for system
 * calls once per batch.
 * Invariants: the handler is called once per datagram, synchronously; what it is given is valid during that call only.
 */
import type { IpAddress } from '../../base/ip.ts';

/** Who sent a datagram, as the kernel says it: to be given back. */
export type Peer = Buffer;

export interface Datagram {
  readonly bytes: Buffer;
  readonly length: number;
  /** A copy, for an answer that comes later. */
  peer(): Peer;
}

/** Writes the answer into `reply` and returns its length; 0 = none now. */
export type DatagramHandler = (datagram: Datagram, reply: Buffer) => number;

export interface UdpInit {
  readonly address: IpAddress;
  /** 0 = one that the kernel chooses. */
  readonly port: number;
  readonly onDatagram: DatagramHandler;
}

export interface UdpServer {
  readonly port: number;
  /** An answer that took longer. What cannot be sent is lost, as on the way. */
  send(peer: Peer, bytes: Uint8Array): void;
  close(): Promise<void>;
}

/** Datagrams for whose arrival nobody is woken: they wait until they are taken. */
export interface Mailbox {
  readonly port: number;
  /**
   * Everything that waits, oldest first, and how long it has. `bytes` are valid during the call only; what is longer than
   * MAIL_BYTES_MAX is left out.
   */
  take(visit: (bytes: Buffer, from: () => Peer, ageMs: number) => void): void;
  /** What cannot be sent is lost, as on the way. */
  send(to: Peer, bytes: Uint8Array): void;
  /** `undefined`: of the other family, or no address. */
  addressOf(host: string, port: number): Peer | undefined;
  close(): void;
}

export interface Udp {
  /**
   * Serves datagrams to an address, which need not be there yet. Rejects with KernelError: EADDRINUSE, EACCES.
   */
  serve(init: UdpInit): Promise<UdpServer>;
  /** Throws KernelError: EADDRINUSE, EACCES. Port 0 = one that the kernel chooses. */
  mailbox(address: IpAddress, port: number): Mailbox;
}

/** What a reply may be at most; longer datagrams than `DATAGRAM_BYTES_MAX` are not given to the handler. */
export const REPLY_BYTES_MAX = 4096;
export const DATAGRAM_BYTES_MAX = 2048;
export const MAIL_BYTES_MAX = 256;
