/** The connections there are, from the first byte to the last. */
import type { NodeId } from '../model/names.ts';
import { areSpokenBy } from './asides.ts';
import { handleOf, type Handle } from './nodes.ts';

/** `host:port`, `[v6]:port` for IPv6. */
export type AddressText = string;

/** A comparison that takes longer than this has lost a message. */
const ROUND_MS = 10_000;

/** With fewer neighbours a node must not be declined by others. */
const FEW_LINKS = 2;

/** Why a connection was dialled. */
export type Purpose = 'join' | 'neighbour' | 'probe';

export interface Link {
  readonly connection: number;
  readonly address: AddressText;
  readonly isDialled: boolean;
  readonly purpose: Purpose | undefined;
  /** Who it has to be, where the transport knows. */
  readonly certified: NodeId | undefined;
  /** Of the connection, then of its hello. */
  since: number;
  /** Known by its hello, as are the following. */
  node: NodeId | undefined;
  handle: Handle;
  epoch: number;
  /** Where it can be dialled. */
  listens: AddressText;
  /** Both have agreed to be neighbours: records and beats go over it. */
  isActive: boolean;
  /** Active, but not heard of for too long: no neighbour until it is heard again. */
  isLost: boolean;
  lostAt: number;
  /** When it was heard again after that. */
  regainedAt: number;
  /** Its row has ceased to name this node: what is said to it does not arrive. */
  isDeaf: boolean;
  /** Half of the links have their beats while the other half is between two. */
  isOdd: boolean;
  /** News goes over it at once; otherwise only the word that there is some. As the peer wants it. */
  isEager: boolean;
  /** The peer is to push its news to this node, as far as it was told. */
  isPushing: boolean;
  /** Awake time of the last frame. */
  heardAt: number;
  /** How late frames were of late, decaying. */
  lateMs: number;
  /** Beats go beside the stream, too: see asides.ts. */
  speaksAside: boolean;
  /** Awake time of the last one from there; what it said: whether ours are heard, and that it holds the same. */
  asideAt: number;
  isHeardAside: boolean;
  holdsSame: boolean;
  /** Awake time at which it was asked whether it is there; `undefined` once it is heard. */
  askedAt: number | undefined;
  /** When the comparison under way was opened by us. */
  roundSince: number | undefined;
  /** One comparison was completed. */
  isCompared: boolean;
  isClosing: boolean;
}

export class Links {
  readonly #links = new Map<number, Link>();
  readonly #parted = new Set<Handle>();
  /** Rises whenever the set of neighbours may have changed. */
  version = 0;
  /** Asked for with every frame: made anew when they may have changed, and never changed themselves. */
  #listedVersion = 0;
  #active: readonly Link[] = [];
  #neighbours: readonly Link[] = [];

  add(
    init: Pick<Link, 'connection' | 'address' | 'isDialled' | 'certified' | 'since' | 'purpose' | 'heardAt'>,
  ): Link {
    const link: Link = {
      ...init,
      node: undefined,
      handle: '',
      epoch: 0,
      listens: '',
      isActive: false,
      isLost: false,
      isDeaf: false,
      isOdd: false,
      lostAt: 0,
      regainedAt: -Infinity,
      isEager: true,
      isPushing: true,
      lateMs: 0,
      speaksAside: false,
      asideAt: -Infinity,
      isHeardAside: false,
      holdsSame: false,
      askedAt: undefined,
      roundSince: undefined,
      isCompared: false,
      isClosing: false,
    };
    this.#links.set(init.connection, link);
    return link;
  }

  /** Its hello is there. */
  establish(
    link: Link,
    peer: { node: NodeId; epoch: number; listens: AddressText; protocol: number },
    now: number,
  ): void {
    link.node = peer.node;
    link.handle = handleOf(peer.node);
    link.epoch = peer.epoch;
    link.listens = peer.listens;
    link.speaksAside = areSpokenBy(peer.protocol);
    link.since = now;
  }

  activate(link: Link): void {
    const odd = this.active().filter((each) => each.isOdd).length;
    link.isOdd = odd * 2 < this.active().length;
    link.isActive = true;
    this.version++;
  }

  lose(link: Link, now: number): void {
    link.isLost = true;
    link.lostAt = now;
    this.version++;
  }

  regain(link: Link, now: number): void {
    link.isLost = false;
    link.regainedAt = now;
    this.version++;
  }

  /** `undefined` also for one that is being closed: what it says counts no more. */
  get(connection: number): Link | undefined {
    const link = this.#links.get(connection);
    return link?.isClosing === true ? undefined : link;
  }

  /** Neighbours no longer, by agreement: it is about to be closed, though both are there. */
  part(link: Link): void {
    if (link.isActive && !link.isLost) this.#parted.add(link.handle);
  }

  /** Those that were parted from since the last call. */
  takeParted(): Handle[] {
    const handles = Array.from(this.#parted);
    this.#parted.clear();
    return handles;
  }

  close(link: Link): void {
    link.isClosing = true;
    this.version++;
  }

  remove(connection: number): Link | undefined {
    const link = this.#links.get(connection);
    if (this.#links.delete(connection)) this.version++;
    return link;
  }

  all(): Link[] {
    return Array.from(this.#links.values()).filter((link) => !link.isClosing);
  }

  /** There is one with that address, or with that node. */
  hasOne(address: AddressText, node: NodeId | undefined): boolean {
    for (const link of this.#links.values())
      if (
        !link.isClosing &&
        (link.address === address || link.listens === address || (node !== undefined && link.node === node))
      )
        return true;
    return false;
  }

  /** The link as neighbours, else any. */
  ofNode(node: NodeId): Link | undefined {
    let found: Link | undefined;
    for (const link of this.#links.values())
      if (link.node === node && !link.isClosing && (found === undefined || link.isActive)) found = link;
    return found;
  }

  /** Some neighbour is silent. */
  get hasLost(): boolean {
    return this.neighbours().length < this.#active.length;
  }

  /** Neighbours, silent ones too. */
  active(): readonly Link[] {
    if (this.#listedVersion !== this.version) this.#list();
    return this.#active;
  }

  /** Neighbours that are heard. */
  neighbours(): readonly Link[] {
    if (this.#listedVersion !== this.version) this.#list();
    return this.#neighbours;
  }

  /** There are hardly any neighbours, or may not be the next moment. */
  get areFew(): boolean {
    return this.certainCount() < FEW_LINKS;
  }

  /** Neighbours that are heard and hear, and need not be asked whether they are there. */
  certainCount(): number {
    let count = 0;
    for (const link of this.neighbours()) if (link.askedAt === undefined && !link.isDeaf) count++;
    return count;
  }

  /** That of the neighbour with this handle. */
  ofHandle(handle: Handle): Link | undefined {
    return this.active().find((link) => link.handle === handle);
  }

  /** Connections that are not, or not yet, with neighbours. */
  idleCount(): number {
    let count = 0;
    for (const link of this.#links.values()) if (!link.isActive && !link.isClosing) count++;
    return count;
  }

  isComparing(link: Link, now: number): boolean {
    return link.roundSince !== undefined && now - link.roundSince < ROUND_MS;
  }

  /** A neighbour never compared with, unless some first comparison is under way. */
  nextToCompare(now: number): Link | undefined {
    const fresh = this.neighbours().filter((link) => link.isDialled && !link.isCompared);
    return fresh.some((link) => this.isComparing(link, now)) ? undefined : fresh[0];
  }

  #list(): void {
    this.#listedVersion = this.version;
    this.#active = Array.from(this.#links.values()).filter((link) => link.isActive && !link.isClosing);
    this.#neighbours = this.#active.filter((link) => !link.isLost);
  }
}
