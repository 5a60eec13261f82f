/**
 * Who is whose neighbour (HyParView: an active view of links, a passive view of spare peers).
 *
 * A node that knows nobody asks a contact to take it in; the contact sends word of it on random walks, and where they
 * end, further neighbours are found. A node short of neighbours asks spare ones; one that is full declines, naming
 * others to try, unless the asker has hardly anybody else: then the neighbour that can best spare it has to go.
 * Once a minute nodes exchange spare peers along a random walk. Nodes that cannot be reached are dialled now and then,
 * so that two halves of a cluster, each content with its own, find each other again.
 * Invariants: both ends of a link agree that they are neighbours; timers are randomised; joins are throttled; silence
 * is not judged here (liveness.ts), but one who was silent for REPLACE_MS is replaced.
 * Review notes: places are flexible, ACTIVE_MIN to ACTIVE_MAX around the reference's 7. With exactly 7 nearly everyone is
 * full, and a newcomer gets in only by pushing others out, who then push others.
 */
import { randomBelow, type Random } from '../base/random.ts';
import { isNodeId, type NodeId } from '../model/names.ts';
import { parsePeerAddress } from './addresses.ts';
import type { Message, Neighbour, PeerRow, Shuffle, Shuffled, Walk } from './codec.ts';
import type { AddressText, Link, Links, Purpose } from './links.ts';
import { handleOf, type NodeTable } from './nodes.ts';
import type { Outbox } from './outbox.ts';
import { Attempts, JoinThrottle, PassiveView, shuffled } from './views.ts';

/** The reference's size. */
const ACTIVE_VIEW = 7;
export const ACTIVE_MIN = 6;
export const ACTIVE_MAX = 8;
const ACTIVE_WALK = 8;
const PASSIVE_WALK = 5;
const JOIN_WALKS = 4;
const SHUFFLE_MS = 60_000;
const SHUFFLE_ACTIVE = 3;
const SHUFFLE_PASSIVE = 4;
/** Ways back that are remembered. */
const MAX_WAYS = 64;
/** Silence after which a neighbour's place is given to another. */
const REPLACE_MS = 3_000;
const FILL_MS = 500;
const CHECK_MS = 1_000;
/** A greeted link that nobody makes use of. */
const UNUSED_MS = 5_000;
/** An unreachable node is dialled this often by each node, times the size of the cluster over HEAL_NODES. */
const HEAL_MS = 1_000;
const HEAL_NODES = 80;
const MAX_HEAL_MS = 12_000;
/** Share of all nodes that come back at once when a partition heals, rather than a host. */
const HEALED_SHARE = 0.2;
const MAX_DIALLING = 4;
/** By one who may be alone the next moment: half of them may be cut off, too. */
const MAX_SEEKING = 8;
/** By one that knows nobody: each join makes others work. */
const MAX_JOINING = 2;
const MAX_CONTACTS = 1_024;
const NAMED_PEERS = 10;
const PICKS = 16;

export interface MembershipComponents {
  readonly random: Random;
  readonly links: Links;
  readonly outbox: Outbox;
  readonly table: NodeTable;
  /** Where a node says it can be reached. */
  readonly addressOf: (node: NodeId) => AddressText | undefined;
  readonly isReachable: (index: number) => boolean;
}

interface Candidate {
  readonly address: AddressText;
  readonly node?: NodeId;
}

export class Membership {
  readonly passive: PassiveView;
  readonly attempts: Attempts;
  readonly #components: MembershipComponents;
  readonly #node: NodeId;
  readonly #contacts = new Set<AddressText>();
  readonly #throttle = new JoinThrottle();
  readonly #purposes = new Map<AddressText, Purpose>();
  /** Shuffles under way: the link they came over, or none for our own. */
  readonly #ways = new Map<number, number | undefined>();
  /** Further neighbours wanted from those that came back. */
  #mixing: NodeId[] = [];
  #shuffleAt = 0;
  #healAt = 0;
  /** When `maintain` is to look whether all is well, at a beat. */
  #checkAt = 0;
  /** When `maintain` has something to do. */
  dueAt = 0;

  constructor(components: MembershipComponents, init: { readonly node: NodeId }) {
    this.#components = components;
    this.#node = init.node;
    this.passive = new PassiveView(components.random);
    this.attempts = new Attempts(components.random);
  }

  isDue(now: number, isBeat: boolean): boolean {
    return now >= this.dueAt || (isBeat && now >= this.#checkAt);
  }

  addContacts(addresses: readonly AddressText[], now: number): void {
    for (const address of addresses) if (this.#contacts.size < MAX_CONTACTS) this.#contacts.add(address);
    this.dueAt = now;
  }

  /** Peers that were known at the last stop. */
  restore(peers: readonly PeerRow[]): void {
    this.#learn(peers);
    this.passive.isDirty = false;
  }

  /** Others are needed now: those there were have fallen silent together. */
  seek(now: number): void {
    if (this.attempts.dialling < MAX_SEEKING) this.dueAt = Math.min(this.dueAt, now);
  }

  forget(node: NodeId): void {
    this.passive.delete(node);
    this.#mixing = this.#mixing.filter((each) => each !== node);
  }

  /** Why the address is being dialled. */
  takePurpose(address: AddressText): Purpose {
    const purpose = this.#purposes.get(address) ?? 'neighbour';
    this.#purposes.delete(address);
    return purpose;
  }

  dialFailed(address: AddressText, now: number): void {
    this.#purposes.delete(address);
    this.attempts.failed(address, now);
    this.#soon(now);
  }

  dial(address: AddressText, purpose: Purpose): void {
    this.attempts.begin(address);
    this.#purposes.set(address, purpose);
    this.#components.outbox.add({ do: 'connect', address });
  }

  /** The other end has said hello. */
  established(link: Link): void {
    if (!link.isDialled) return;
    this.attempts.succeeded(link.address);
    if (link.purpose === 'probe')
      return this.#components.outbox.disconnect(link, 'it was only asked whether it is there');
    const { links, outbox } = this.#components;
    outbox.send(link, { type: 'neighbour', join: link.purpose === 'join', urgent: links.areFew });
  }

  gone(link: Link, now: number): void {
    this.#components.table.index(link.handle);
    if (link.node !== undefined && link.isActive) this.passive.add(link.node, link.listens);
    if (link.isDialled && link.node === undefined) this.attempts.failed(link.address, now);
    this.#soon(now);
  }

  /** Many nodes are back at once: links with some of them, or what joins the two halves stays thin. */
  returned(nodes: readonly NodeId[], now: number): void {
    if (nodes.length < 2 || nodes.length < this.#components.table.size * HEALED_SHARE) return;
    this.#mixing = shuffled(this.#components.random, Array.from(nodes)).slice(0, 2);
    this.#soon(now + this.#random(CHECK_MS));
  }

  /** True when the message was one of ours. `activate`: the link's ends are neighbours from now on. */
  take(link: Link, message: Message, now: number, activate: (link: Link) => void): boolean {
    switch (message.type) {
      case 'neighbour':
        this.#asked(link, message, now, activate);
        return true;
      case 'accept':
        if (link.isDialled && !link.isActive) activate(link);
        return true;
      case 'deny':
      case 'part':
        this.#denied(link, message, now);
        return true;
      case 'walk':
        this.#walk(link, message, now);
        return true;
      case 'shuffle':
        this.#shuffle(link, message);
        return true;
      case 'shuffled':
        this.#shuffled(message);
        return true;
      default:
        return false;
    }
  }

  maintain(now: number): void {
    this.dueAt = Infinity;
    this.#checkAt = now + this.#random(CHECK_MS);
    const { links, outbox } = this.#components;
    for (const link of links.all())
      if (!link.isActive && now - link.since >= UNUSED_MS)
        outbox.disconnect(link, link.node === undefined ? 'it did not say hello' : 'not a neighbour');
    const heard = links.neighbours();
    if (heard.length > ACTIVE_MAX) this.#makeRoom(undefined);
    this.#fill(now, heard.length);
    this.#heal(now);
    if (now >= this.#shuffleAt) this.#openShuffle(now, heard);
    this.#keep();
  }

  #fill(now: number, heard: number): void {
    const { links } = this.#components;
    const active = links.active();
    const isSeeking = active.length > 0 && links.areFew;
    const present = isSeeking
      ? links.certainCount()
      : active.filter((link) => !link.isDeaf && (!link.isLost || now - link.lostAt < REPLACE_MS)).length;
    const isNew = active.length === 0;
    const mixing = this.#mixing.shift();
    const address = mixing === undefined ? undefined : this.#components.addressOf(mixing);
    if (mixing !== undefined && address !== undefined && this.#isFit({ address, node: mixing }, now))
      this.dial(address, 'neighbour');
    const most = isSeeking ? MAX_SEEKING : Math.min(ACTIVE_MIN - present, isNew ? MAX_JOINING : MAX_DIALLING);
    const missing = most - this.attempts.dialling;
    const purpose = isNew ? 'join' : 'neighbour';
    const dialled = missing > 0 ? this.#dialSome(missing, purpose, heard === 0, now) : 0;
    // In a cluster of few nodes there is nobody else: then the next look is soon enough.
    const isPressed = heard === 0 || (isSeeking && links.certainCount() < heard);
    if (dialled > 0 || isPressed || this.#mixing.length > 0) this.#soon(now + this.#random(FILL_MS) - 50);
  }

  /** At most `count`; how many. */
  #dialSome(count: number, purpose: Purpose, isAlone: boolean, now: number): number {
    let dialled = 0;
    for (const { address } of this.#candidates(now, isAlone)) {
      this.dial(address, purpose);
      if (++dialled === count) break;
    }
    return dialled;
  }

  *#candidates(now: number, isAlone: boolean): Generator<Candidate> {
    const { random, table, addressOf, isReachable } = this.#components;
    const contacts = shuffled(
      random,
      Array.from(this.#contacts, (address): Candidate => ({ address })),
    );
    const fits = (candidate: Candidate): boolean => this.#isFit(candidate, now);
    if (isAlone) yield* contacts.filter(fits);
    for (const [node, address] of this.passive.sample(PICKS)) {
      const candidate = { node, address: addressOf(node) ?? address };
      const index = table.find(handleOf(node));
      if ((isAlone || index < 0 || isReachable(index)) && fits(candidate)) yield candidate;
    }
    for (let i = 0; i < PICKS && table.size > 0; i++) {
      const index = randomBelow(random, table.size);
      const node = table.id(index);
      if (node === undefined || (!isAlone && !isReachable(index))) continue;
      const address = addressOf(node);
      if (address === undefined) continue;
      if (fits({ node, address })) yield { node, address };
    }
    if (!isAlone) yield* contacts.filter(fits);
  }

  #isFit({ address, node }: Candidate, now: number): boolean {
    if (node === this.#node || !this.attempts.isFit(address, now)) return false;
    return !this.#components.links.hasOne(address, node);
  }

  /** Dials one that cannot be reached, when it is time for that. */
  #heal(now: number): void {
    if (now < this.#healAt) return;
    const { random, table, addressOf, isReachable } = this.#components;
    const everyMs = Math.min(MAX_HEAL_MS, HEAL_MS * Math.max(1, table.size / HEAL_NODES));
    this.#healAt = now + everyMs * (0.5 + random.next());
    const missing: NodeId[] = [];
    for (const [index, node] of table.known())
      if (node !== this.#node && !isReachable(index)) missing.push(node);
    const node = missing[randomBelow(random, missing.length)];
    const address = node === undefined ? undefined : addressOf(node);
    if (node !== undefined && address !== undefined && this.#isFit({ address, node }, now))
      this.dial(address, 'neighbour');
    else this.#tryContact(now);
  }

  /** Contacts that have no record of their own, masters for example, are not among the known nodes. */
  #tryContact(now: number): void {
    if (this.#components.links.neighbours().length >= ACTIVE_MIN) return;
    for (const address of shuffled(this.#components.random, Array.from(this.#contacts)))
      if (this.#isFit({ address }, now)) return this.dial(address, 'neighbour');
  }

  #asked(link: Link, { join, urgent }: Neighbour, now: number, activate: (link: Link) => void): void {
    const { links, outbox } = this.#components;
    const others = links.neighbours().filter((each) => each !== link);
    const isFull = others.length >= ACTIVE_MAX;
    if (isFull && !((join || urgent) && this.#throttle.take(now)))
      return outbox.send(link, { type: 'deny', peers: this.#named() });
    if (!link.isActive) activate(link);
    outbox.send(link, { type: 'accept' });
    if (isFull) this.#makeRoom(link);
    if (!join || link.node === undefined) return;
    const walk: Walk = { type: 'walk', node: link.node, address: link.listens, ttl: ACTIVE_WALK };
    for (const other of shuffled(this.#components.random, others).slice(0, JOIN_WALKS))
      outbox.send(other, walk);
  }

  /** Parts from a neighbour that does not hear this node, or else from that with most others: nobody is left alone. */
  #makeRoom(keep: Link | undefined): void {
    const { random, links, outbox, table } = this.#components;
    const others = shuffled(random, links.neighbours()).filter((link) => link !== keep);
    const degree = ({ handle, isDeaf }: Link): number =>
      isDeaf ? Infinity : table.count(table.find(handle));
    const [first] = others;
    if (first === undefined) return;
    const spare = others.reduce((best, link) => (degree(link) > degree(best) ? link : best), first);
    outbox.send(spare, { type: 'part', peers: this.#named() });
    if (spare.node !== undefined) this.passive.add(spare.node, spare.listens);
    links.part(spare);
    outbox.disconnect(spare, 'enough other neighbours');
  }

  #denied(link: Link, { peers }: { readonly peers: readonly PeerRow[] }, now: number): void {
    this.#learn(peers);
    // Full now: not to be asked again at once.
    if (link.isDialled) this.attempts.failed(link.address, now);
    this.#components.links.part(link);
    this.#components.outbox.disconnect(link, 'it has enough neighbours');
    this.#soon(now);
  }

  #walk(from: Link, walk: Walk, now: number): void {
    const { random, links, outbox } = this.#components;
    if (!isNodeId(walk.node) || walk.node === this.#node || parsePeerAddress(walk.address) === undefined)
      return;
    if (walk.ttl <= PASSIVE_WALK) this.passive.add(walk.node, walk.address);
    const others = links.neighbours().filter((link) => link !== from && link.node !== walk.node);
    const next = walk.ttl > 0 ? others[randomBelow(random, others.length)] : undefined;
    if (next !== undefined) return outbox.send(next, { ...walk, ttl: Math.min(walk.ttl, ACTIVE_WALK) - 1 });
    const isRoom = links.neighbours().length < ACTIVE_VIEW;
    const isIdle = this.attempts.dialling < MAX_DIALLING;
    if (isRoom && isIdle && this.#isFit({ address: walk.address, node: walk.node }, now))
      this.dial(walk.address, 'neighbour');
  }

  #openShuffle(now: number, neighbours: readonly Link[]): void {
    const { random, outbox } = this.#components;
    const isFirst = this.#shuffleAt === 0;
    this.#shuffleAt = now + SHUFFLE_MS * (0.5 + random.next());
    const to = neighbours[randomBelow(random, neighbours.length)];
    if (to === undefined || isFirst) return;
    const id = randomBelow(random, 2 ** 31);
    this.#remember(id, undefined);
    outbox.send(to, { type: 'shuffle', id, ttl: PASSIVE_WALK, peers: this.#spare(to) });
  }

  #shuffle(from: Link, shuffle: Shuffle): void {
    const { random, links, outbox } = this.#components;
    const others = links.neighbours().filter((link) => link !== from);
    const next = shuffle.ttl > 0 ? others[randomBelow(random, others.length)] : undefined;
    if (next !== undefined) {
      this.#remember(shuffle.id, from.connection);
      return outbox.send(next, { ...shuffle, ttl: Math.min(shuffle.ttl, PASSIVE_WALK) - 1 });
    }
    outbox.send(from, { type: 'shuffled', id: shuffle.id, peers: this.#spare(from) });
    this.#learn(shuffle.peers);
  }

  #shuffled({ id, peers }: Shuffled): void {
    if (!this.#ways.has(id)) return;
    const back = this.#ways.get(id);
    this.#ways.delete(id);
    if (back === undefined) return this.#learn(peers);
    const link = this.#components.links.get(back);
    if (link !== undefined) this.#components.outbox.send(link, { type: 'shuffled', id, peers });
  }

  #remember(id: number, connection: number | undefined): void {
    const [oldest] = this.#ways.keys();
    if (oldest !== undefined && this.#ways.size >= MAX_WAYS) this.#ways.delete(oldest);
    this.#ways.set(id, connection);
  }

  /** Some neighbours and some spare peers. */
  #spare(except: Link): PeerRow[] {
    const { random, links } = this.#components;
    const neighbours = shuffled(random, links.neighbours()).filter((link) => link !== except);
    const rows = neighbours
      .slice(0, SHUFFLE_ACTIVE)
      .flatMap(({ node, listens }): PeerRow[] => (node === undefined ? [] : [[node, listens]]));
    return [...rows, ...this.passive.sample(SHUFFLE_PASSIVE)];
  }

  #named(): PeerRow[] {
    const rows = this.#components.links
      .neighbours()
      .flatMap(({ node, listens }): PeerRow[] => (node === undefined ? [] : [[node, listens]]));
    return [...rows, ...this.passive.sample(NAMED_PEERS)].slice(0, NAMED_PEERS + ACTIVE_MAX);
  }

  #learn(peers: readonly PeerRow[]): void {
    for (const [node, address] of peers)
      if (isNodeId(node) && node !== this.#node && parsePeerAddress(address) !== undefined)
        this.passive.add(node, address);
  }

  #keep(): void {
    if (!this.passive.isDirty) return;
    this.passive.isDirty = false;
    this.#components.outbox.add({ do: 'persist-peers', peers: this.passive.entries() });
  }

  #soon(at: number): void {
    this.dueAt = Math.min(this.dueAt, at + 50);
  }

  #random(ms: number): number {
    return ms * (0.5 + this.#components.random.next());
  }
}
