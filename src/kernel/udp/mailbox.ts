/**
 * A socket that the event loop does not watch: its datagrams wait in the kernel until somebody looks.
 *
 * The kernel notes when each of them came, so that looking late costs no knowledge. It does so by the wall clock, which may
 * be set meanwhile: an age is never more than the time since the last look, by a clock that is not.
 */
import { parseIp, type IpAddress } from '../../base/ip.ts';
import { kernelError } from '../errno.ts';
import * as libc from '../libc.ts';
import { Batch } from './batch.ts';
import { boundPort, boundSocket, socketAddress } from './bound-socket.ts';
import { MAIL_BYTES_MAX, type Mailbox, type Peer } from './types.ts';

/** Taken by one call of the kernel. */
const MAIL_BATCH = 32;
/** In one look: more is not left to wait, it is left to be lost. */
const ROUNDS_MAX = 8;
const ON = Buffer.from([1, 0, 0, 0]);

export class RealMailbox implements Mailbox {
  readonly port: number;
  readonly #fd: number;
  readonly #family: IpAddress['family'];
  readonly #received = new Batch(MAIL_BYTES_MAX, MAIL_BATCH, { stamped: true });
  readonly #sent = new Batch(MAIL_BYTES_MAX, 1);
  #lookedAt = performance.now();
  #closed = false;

  constructor(address: IpAddress, port: number) {
    this.#fd = boundSocket('udp', address, port);
    this.#family = address.family;
    const result = libc.setsockopt(this.#fd, libc.SOL_SOCKET, libc.SO_TIMESTAMPNS, ON);
    if (result < 0) {
      libc.close(this.#fd);
      throw kernelError('have datagrams stamped', -result);
    }
    this.port = boundPort(this.#fd);
  }

  take(visit: (bytes: Buffer, from: () => Peer, ageMs: number) => void): void {
    const now = performance.now();
    const oldestMs = now - this.#lookedAt;
    this.#lookedAt = now;
    const received = this.#received;
    for (let round = 0; round < ROUNDS_MAX && !this.#closed; round++) {
      const count = received.receive(this.#fd);
      const wallMs = Date.now();
      for (let i = 0; i < count; i++) {
        if (received.truncated(i)) continue;
        const ageMs = Math.min(oldestMs, Math.max(0, wallMs - (received.cameAt(i) ?? wallMs)));
        const bytes = (received.slots[i] as Buffer).subarray(0, received.length(i));
        visit(bytes, () => received.address(i), ageMs);
      }
      if (count < MAIL_BATCH) return;
    }
  }

  send(to: Peer, bytes: Uint8Array): void {
    if (this.#closed || bytes.length > MAIL_BYTES_MAX) return;
    this.#sent.slots[0]?.set(bytes);
    this.#sent.send(0, bytes.length, to);
    this.#sent.transmit(this.#fd, 1);
  }

  addressOf(host: string, port: number): Peer | undefined {
    const address = parseIp(host);
    return address?.family === this.#family ? socketAddress(address, port) : undefined;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    libc.close(this.#fd);
  }
}
