/**
 * Changes in one namespace, as they happen.
 *
 * Node watches no netlink descriptor (net.Socket and dgram refuse it), and a blocked receive would cost a pool thread
 * and keep the process from ending; so the sockets are looked at every POLL_MS without waiting. An empty look costs
 * a microsecond, and the kernel queues meanwhile.
 * Invariants: events come in the kernel's order per protocol; lost ones are told as one `overrun`; the timer does not
 * keep the process alive.
 */
import type { Clock, Timer } from '../../base/clock.ts';
import type { Log } from '../../base/log.ts';
import { isErrno, type KernelEvent, type Monitor } from '../types.ts';
import type { FdbEchoes } from './echoes.ts';
import { NftEventDecoder, RouteEventDecoder, type DecodedEvent } from './events.ts';
import type { MessageVisitor, NetlinkSocket, OwnPorts } from './socket.ts';

/** RTNLGRP_* of links, neighbours (forwarding entries too), and addresses, routes and rules of both families. */
export const ROUTE_GROUPS: readonly number[] = [1, 3, 5, 7, 8, 9, 11, 19];
/** NFNLGRP_NFTABLES. */
export const NFT_GROUPS: readonly number[] = [7];
const POLL_MS = 25;
/** Datagrams read per look and socket, so that a storm does not hold the event loop; the rest waits a moment. */
const MAX_DATAGRAMS = 128;

export interface MonitorComponents {
  readonly clock: Clock;
  readonly log: Log;
  readonly routeSocket: NetlinkSocket;
  readonly nftSocket: NetlinkSocket;
  readonly ownPorts: OwnPorts;
  readonly echoes: FdbEchoes;
  readonly nameOf: (index: number) => string | undefined;
}

export class NetlinkMonitor implements Monitor {
  readonly #components: MonitorComponents;
  readonly #onEvent: (event: KernelEvent) => void;
  readonly #route = new RouteEventDecoder();
  readonly #nft = new NftEventDecoder();
  readonly #names = new Map<number, string | undefined>();
  #timer: Timer | undefined;
  #closed = false;

  constructor(components: MonitorComponents, init: { readonly onEvent: (event: KernelEvent) => void }) {
    this.#components = components;
    this.#onEvent = init.onEvent;
    components.echoes.opened();
    this.#schedule(POLL_MS);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#timer?.cancel();
    this.#components.echoes.closed();
    this.#components.routeSocket.close();
    this.#components.nftSocket.close();
  }

  #schedule(delayMs: number): void {
    this.#timer = this.#components.clock.after(delayMs, () => this.#look());
  }

  #look(): void {
    this.#names.clear();
    const moreRoutes = this.#read(this.#components.routeSocket, (buffer, message) =>
      this.#deliver(
        this.#route.decode(buffer, message, (index) => this.#nameOf(index)),
        message.portId,
      ),
    );
    const moreNft = this.#read(this.#components.nftSocket, (buffer, message) =>
      this.#deliver(this.#nft.decode(buffer, message), message.portId),
    );
    if (!this.#closed) this.#schedule(moreRoutes || moreNft ? 0 : POLL_MS);
  }

  /** True when there may be more. */
  #read(socket: NetlinkSocket, visit: MessageVisitor): boolean {
    try {
      for (let count = 0; count < MAX_DATAGRAMS; count++) if (!socket.poll('ip monitor', visit)) return false;
    } catch (error) {
      if (!isErrno(error, 'ENOBUFS')) throw error;
      this.#components.echoes.forget();
      this.#components.log.warn('kernel notifications were lost');
      const text = 'notifications were lost (ENOBUFS)';
      this.#call({ object: 'overrun', change: 'new', link: undefined, own: false, text });
    }
    return true;
  }

  #deliver(event: DecodedEvent | undefined, portId: number): void {
    if (event === undefined) return;
    const { object, change, link, text, fdbEntry } = event;
    const own =
      this.#components.ownPorts.has(portId) ||
      (fdbEntry !== undefined && this.#components.echoes.recognise(change, fdbEntry));
    this.#call({ object, change, link, own, text });
  }

  #call(event: KernelEvent): void {
    if (!this.#closed) this.#onEvent(event);
  }

  #nameOf(index: number): string | undefined {
    if (this.#names.has(index)) return this.#names.get(index);
    const name = this.#components.nameOf(index);
    this.#names.set(index, name);
    return name;
  }
}
