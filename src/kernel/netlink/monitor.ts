/**
 * Changes in one namespace, as they happen.
 *
 * While things happen, the sockets are looked at every POLL_MS, so that a burst costs a few looks; once nothing has come
 * for a while, the event loop watches them, so that an idle agent does not wake up for it, and the first look is POLL_MS
 * after something has come. The kernel queues meanwhile.
 * Invariants: what we change ourselves is not told; events come in the kernel's order per protocol; a link is told only when something changed that a `Link`
 * shows (the kernel announces a port's every state); lost ones are told as one `overrun`; the timer does not keep the
 * process alive.
 */
import type { Clock, Timer } from '../../base/clock.ts';
import type { Log } from '../../base/log.ts';
import { isErrno, type KernelEvent, type LinkDetails, type Monitor } from '../types.ts';
import { echoKey, type EchoListener, type Echoes } from './echoes.ts';
import {
  isAboutLink,
  isPortState,
  linkEvent,
  LinkEventDecoder,
  NftEventDecoder,
  RouteEventDecoder,
} from './events.ts';
import { copyMessage, forEachMessage, type Message } from './message.ts';
import { ownFilter } from './own-filter.ts';
import { RTM_DELLINK, RTM_DELNEIGH, RTM_NEWLINK, RTM_NEWNEIGH } from './rtnetlink/constants.ts';
import { linkIndexOf, type DecodedLink } from './rtnetlink/link.ts';
import type { Watch } from '../libc.ts';
import type { OwnPorts } from './own-ports.ts';
import type { NetlinkSocket } from './socket.ts';

/** RTNLGRP_* of links, neighbours (forwarding entries too), and addresses, routes, rules and settings of both families. */
export const ROUTE_GROUPS: readonly number[] = [1, 3, 5, 7, 8, 9, 11, 19, 24, 25];
/** NFNLGRP_NFTABLES. */
export const NFT_GROUPS: readonly number[] = [7];
/** Room for a burst of 20,000 changes by somebody else, or for the forwarding entries of as many remote agents. */
export const MONITOR_QUEUE_BYTES = 32 * 1024 * 1024;
const POLL_MS = 25;
/** After nothing has come for so long, the event loop watches. */
const QUIET_AFTER_MS = 100;
/** A look takes no longer, so that a storm does not hold the event loop; the rest waits a moment. */
const LOOK_MS = 2;
/** Datagrams read between two looks at the clock. */
const DATAGRAMS_PER_CHECK = 32;
/** Messages set apart between two looks; past this they stay in the socket and count as nobody's. */
const MAX_APART = 1024;

export interface MonitorComponents {
  readonly clock: Clock;
  readonly log: Log;
  readonly routeSocket: NetlinkSocket;
  readonly nftSocket: NetlinkSocket;
  readonly ownPorts: OwnPorts;
  readonly echoes: Echoes;
  readonly nameOf: (index: number) => string | undefined;
}

/** Names of links remembered, gone ones included. */
const MAX_NAMES = 16_384;

/** A message waiting for the next look, with the links that we were changing when it came. */
interface Apart {
  bytes: Buffer;
  readonly links: ReadonlySet<string>;
}

export class NetlinkMonitor implements Monitor, EchoListener {
  readonly #components: MonitorComponents;
  readonly #onEvent: (event: KernelEvent) => void;
  readonly #route = new RouteEventDecoder();
  readonly #nft = new NftEventDecoder();
  readonly #names = new Map<number, string>();
  readonly #shown = new Map<number, DecodedLink>();
  readonly #links = new LinkEventDecoder();
  readonly #unwatch: () => void;
  #apart: Apart[] = [];
  #overrun = false;
  /** When something last came. */
  #heardAt: number;
  #timer: Timer | undefined;
  /** Of both sockets, while it is quiet. */
  #watches: readonly Watch[] = [];
  #closed = false;

  constructor(components: MonitorComponents, init: { readonly onEvent: (event: KernelEvent) => void }) {
    this.#components = components;
    this.#onEvent = init.onEvent;
    this.#heardAt = components.clock.nowMs();
    components.echoes.add(this);
    this.#unwatch = components.ownPorts.watch((ports) => components.routeSocket.filter(ownFilter(ports)));
    this.#schedule(POLL_MS);
  }

  setApart(links: ReadonlySet<string>): void {
    const latest = new Map<number, Apart>();
    const { routeSocket } = this.#components;
    try {
      while (this.#apart.length < MAX_APART)
        if (!routeSocket.poll('ip monitor', (buffer, message) => this.#put(buffer, message, links, latest)))
          return;
    } catch (error) {
      if (!isErrno(error, 'ENOBUFS')) throw error;
      this.#overrun = true;
    }
  }

  /** One change of a link is told in up to ten messages, each with all that the link is: the last of them says it. */
  #put(buffer: Buffer, message: Message, links: ReadonlySet<string>, latest: Map<number, Apart>): void {
    if (this.#isEcho(buffer, message)) return;
    const isLink = isAboutLink(message);
    if (isLink && isPortState(buffer, message)) return;
    const bytes = copyMessage(buffer, message);
    const index = isLink ? linkIndexOf(buffer, message) : 0;
    const earlier = latest.get(index);
    if (isLink && earlier !== undefined) {
      earlier.bytes = bytes;
      return;
    }
    const apart: Apart = { bytes, links };
    this.#apart.push(apart);
    if (isLink) latest.set(index, apart);
  }

  read(): boolean {
    return this.#closed || !this.#look();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#rest();
    this.#unwatch();
    this.#components.echoes.remove(this);
    this.#components.routeSocket.close();
    this.#components.nftSocket.close();
  }

  #schedule(delayMs: number): void {
    this.#timer = this.#components.clock.after(delayMs, () => void this.#look());
  }

  #watch(): void {
    const { routeSocket, nftSocket } = this.#components;
    this.#watches = [routeSocket, nftSocket].map((socket) => socket.onceReadable(() => this.#gather()));
  }

  /** The first of several, mostly of our own doing: a look now would be in the way of what is being done. */
  #gather(): void {
    if (this.#closed) return;
    this.#rest();
    this.#schedule(POLL_MS);
  }

  /** Nothing leads to a look any more. */
  #rest(): void {
    this.#timer?.cancel();
    for (const watch of this.#watches) watch.close();
    this.#watches = [];
  }

  /** True when there may be more. */
  #look(): boolean {
    this.#rest();
    for (const { bytes, links } of this.#apart.splice(0))
      forEachMessage(bytes, bytes.length, (message) => {
        this.#told(bytes, message, links);
        return true;
      });
    const { routeSocket, nftSocket } = this.#components;
    const moreRoutes = this.#read(routeSocket, (buffer, message) =>
      this.#isEcho(buffer, message) ? undefined : this.#told(buffer, message, this.#components.echoes.making),
    );
    const moreNft = this.#read(nftSocket, (buffer, message) => {
      if (this.#components.ownPorts.has(message.portId)) return;
      const event = this.#nft.decode(buffer, message);
      if (event !== undefined) this.#call(event);
    });
    if (this.#overrun) this.#tellOverrun();
    const more = moreRoutes || moreNft;
    const isHurried = more && !this.#components.echoes.programming;
    if (this.#closed) return more;
    if (!more && this.#isQuiet()) this.#watch();
    else this.#schedule(isHurried ? 0 : POLL_MS);
    return more;
  }

  #isQuiet(): boolean {
    return this.#components.clock.nowMs() - this.#heardAt > QUIET_AFTER_MS;
  }

  /** True when there may be more. */
  #read(socket: NetlinkSocket, visit: (buffer: Buffer, message: Message) => void): boolean {
    const { clock } = this.#components;
    const since = clock.nowMs();
    try {
      do
        for (let count = 0; count < DATAGRAMS_PER_CHECK; count++)
          if (!socket.poll('ip monitor', visit)) return false;
          else this.#heardAt = since;
      while (clock.nowMs() - since < LOOK_MS);
    } catch (error) {
      if (!isErrno(error, 'ENOBUFS')) throw error;
      this.#overrun = true;
    }
    return true;
  }

  #told(buffer: Buffer, message: Message, links: ReadonlySet<string>): void {
    const own = message.portId !== 0 && this.#components.ownPorts.has(message.portId);
    if (isAboutLink(message)) return this.#linkTold(buffer, message, own, links);
    if (own) return;
    const event = this.#route.decode(buffer, message, (index) => this.#nameOf(index));
    const isOurs = message.portId === 0 && event?.link !== undefined && links.has(event.link);
    if (event !== undefined && !isOurs) this.#call(event);
  }

  #linkTold(buffer: Buffer, message: Message, own: boolean, links: ReadonlySet<string>): void {
    const link = this.#links.decode(buffer, message);
    if (link === undefined) return;
    const change = message.type === RTM_DELLINK ? 'delete' : 'new';
    this.#rename(link.index, link.name);
    if (!this.#isNews(change, link)) return;
    if (this.#components.echoes.recogniseDoomed(change, link.name) || own) return;
    if (message.portId === 0 && links.has(link.name)) return;
    this.#call(linkEvent(change, link));
  }

  /** Told by the message alone; never of a link, of which must be known what it shows. */
  #isEcho(buffer: Buffer, { type, portId, start, end }: Message): boolean {
    const { echoes, ownPorts } = this.#components;
    if (type === RTM_NEWLINK || type === RTM_DELLINK) return false;
    if (portId !== 0) return ownPorts.has(portId);
    if ((type !== RTM_NEWNEIGH && type !== RTM_DELNEIGH) || !echoes.expecting) return false;
    const key = echoKey(buffer, start, end);
    return key !== undefined && echoes.recognise(type === RTM_NEWNEIGH ? 'new' : 'delete', key);
  }

  /** Remembers what the link shows; false when it showed the same before. */
  #isNews(change: KernelEvent['change'], link: DecodedLink): boolean {
    if (change === 'delete') {
      this.#shown.delete(link.index);
      return true;
    }
    const before = this.#shown.get(link.index);
    if (before !== undefined && showsSame(before, link)) return false;
    this.#shown.set(link.index, link);
    return true;
  }

  #tellOverrun(): void {
    this.#overrun = false;
    this.#components.echoes.forget();
    this.#components.log.warn('kernel notifications were lost');
    const text = 'notifications were lost (ENOBUFS)';
    this.#call({ object: 'overrun', change: 'new', link: undefined, text });
  }

  #call(event: KernelEvent): void {
    if (!this.#closed) this.#onEvent(event);
  }

  /** Links that are gone keep the name they were last told under: indexes are not given twice for a long time. */
  #nameOf(index: number): string | undefined {
    const known = this.#names.get(index);
    if (known !== undefined) return known;
    const name = this.#components.nameOf(index);
    if (name !== undefined) this.#rename(index, name);
    return name;
  }

  #rename(index: number, name: string): void {
    if (this.#names.size >= MAX_NAMES) this.#names.clear();
    this.#names.set(index, name);
  }
}

function showsSame(a: DecodedLink, b: DecodedLink): boolean {
  return (
    a.name === b.name &&
    a.up === b.up &&
    a.mtu === b.mtu &&
    a.mac === b.mac &&
    a.alias === b.alias &&
    a.masterIndex === b.masterIndex &&
    a.group === b.group &&
    a.altNames.join('/') === b.altNames.join('/') &&
    kindText(a.details) === kindText(b.details)
  );
}

function kindText(details: LinkDetails): string {
  switch (details.kind) {
    case 'vxlan':
      return `vxlan ${details.vni} ${String(details.local)} ${details.port} ${String(details.learning)}`;
    case 'other':
      return `other ${details.name}`;
    default:
      return details.kind;
  }
}
