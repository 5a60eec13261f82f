/**
 * The record exchange as a state machine: events in, effects out.
 *
 * Purpose: holds the parts together and hands each event to the one it concerns: links and who is a neighbour
 * (membership.ts), who is alive (liveness.ts), records (replication.ts), news (spread.ts).
 * Invariants: no await, no I/O, no clock; hostile frames change nothing but their own connection; nothing is taken from
 * a connection before its hello has shown the cluster's id, so that two clusters never merge; all queues are bounded.
 * Review notes: bytes are codec.ts and forms.ts, the choice between records is records.ts, comparison is compare.ts.
 */
import type { Random } from '../base/random.ts';
import type { ClusterId, NodeId } from '../model/names.ts';
import type { GossipRecord } from '../model/record.ts';
import type { Authenticator } from '../trust/authenticity.ts';
import { announcedAddress, formatPeerAddress, introducedNode, parsePeerAddress } from './addresses.ts';
import { hasCompared, type Aside } from './asides.ts';
import { AwakeTime } from './awake.ts';
import {
  decodeMessage,
  OLDEST_PROTOCOL,
  PROTOCOL_VERSION,
  type Hello,
  type Message,
  type PeerRow,
} from './codec.ts';
import type { GossipEffect, GossipEvent } from './events.ts';
import { judgeHello, type Peer } from './greeting.ts';
import { Links, type AddressText, type Link } from './links.ts';
import { Liveness } from './liveness.ts';
import { Membership } from './membership.ts';
import { handleOf, NodeTable } from './nodes.ts';
import { Outbox } from './outbox.ts';
import { recordFrames } from './paging.ts';
import type { RecordStore } from './records.ts';
import { Replication } from './replication.ts';
import { Rounds } from './rounds.ts';
import { Spread } from './spread.ts';
import { OwnWriter } from './writer.ts';

/** Connections that are not neighbours; more are turned away. */
const MAX_IDLE_LINKS = 128;

export interface GossipInit {
  readonly node: NodeId;
  /** Higher than at any earlier start. */
  readonly epoch: number;
  /** Spare peers of the last start. */
  readonly peers?: readonly PeerRow[];
}

/** Counts since the start, and sizes now. */
export interface GossipStatistics {
  readonly digestRounds: number;
  readonly repairs: number;
  readonly refused: number;
  readonly falseSuspicions: number;
  /** News waiting to be told, over all neighbours. */
  readonly queueDepth: number;
  readonly activePeers: number;
  /** Time this node was kept from running, ms. */
  readonly lagMs: number;
}

export class GossipCore {
  readonly store: RecordStore;
  readonly links = new Links();
  readonly table = new NodeTable();
  readonly liveness: Liveness;
  readonly #outbox = new Outbox(this.links);
  readonly #awake = new AwakeTime();
  readonly #membership: Membership;
  readonly #replication: Replication;
  readonly #spread: Spread;
  readonly #rounds: Rounds;
  readonly #writer: OwnWriter;
  readonly #init: GossipInit;
  /** Nodes dialled to see whether they answer. */
  readonly #probes = new Map<AddressText, NodeId>();
  /** Those that nodes' own records tell. */
  readonly #addresses = new Map<NodeId, AddressText>();
  /** Unknown until the first registration; until then nobody is spoken to. */
  #cluster: ClusterId | undefined;
  #port = 0;
  #now = 0;
  /** Of everything that is held. */
  readonly #held: () => string;
  #hasStarted = false;

  /** `store` holds what was known at the last stop. */
  constructor(
    components: {
      readonly random: Random;
      readonly store: RecordStore;
      /** Absent where nothing is signed. */
      readonly authenticator?: Authenticator | undefined;
    },
    init: GossipInit,
  ) {
    const { random, store, authenticator } = components;
    const [links, table, outbox, awake] = [this.links, this.table, this.#outbox, this.#awake];
    this.store = store;
    this.#init = init;
    this.#writer = new OwnWriter(store, init.node, init.epoch);
    this.#rounds = new Rounds(random, links);
    this.#spread = new Spread({ random, links, outbox, store, table });
    const addressOf = (node: NodeId): AddressText | undefined => this.addressOf(node);
    const isReachable = (index: number): boolean => this.liveness.isReachable(index);
    const probe = (node: NodeId): boolean => this.#probe(node);
    const seek = (now: number): void => this.#membership.seek(now);
    const raiseEpoch = (epoch: number): void => this.#raiseEpoch(epoch);
    const spread = this.#spread;
    const held = (): string => `${store.hash} ${table.hash}`;
    this.#held = held;
    this.liveness = new Liveness(
      { random, links, table, outbox, awake, held, spread, addressOf, probe, seek, raiseEpoch },
      init,
    );
    this.#membership = new Membership({ random, links, outbox, table, addressOf, isReachable }, init);
    this.#replication = new Replication(
      {
        store,
        authenticator,
        outbox,
        table,
        spread,
        rounds: this.#rounds,
        writer: this.#writer,
        liveness: this.liveness,
        onChanged: (held, gone) => this.#changed(held, gone),
      },
      init,
    );
    this.#membership.restore(init.peers ?? []);
    for (const record of store.records('')) this.#learn(record);
  }

  get statistics(): GossipStatistics {
    return {
      digestRounds: this.#rounds.opened,
      repairs: this.#replication.repairs,
      refused: this.#replication.refused,
      falseSuspicions: this.liveness.falseSuspicions,
      queueDepth: this.#spread.depth,
      activePeers: this.links.neighbours().length,
      lagMs: this.#awake.lagMs,
    };
  }

  /** What is remembered of whom it could talk to. */
  get memory(): { readonly peers: number; readonly addresses: number } {
    const { passive, attempts } = this.#membership;
    return { peers: passive.entries().length, addresses: attempts.size };
  }

  /** When a tick is due next. What merely has to be done now and then waits for the next beat. */
  get wakeAt(): number {
    const membershipAt = this.#cluster === undefined ? Infinity : this.#membership.dueAt;
    const others = Math.min(this.#writer.dueAt, membershipAt);
    return Math.min(this.#spread.dueAt, this.#rounds.announceAt, this.liveness.dueAt, others);
  }

  /** Every known node but this one. */
  *nodes(): Generator<NodeId> {
    for (const [, node] of this.table.known()) yield node;
  }

  /** By the node's own record. */
  addressOf(node: NodeId): AddressText | undefined {
    return this.#addresses.get(node);
  }

  /** From when on `step` wants to be given what came beside the streams. */
  get hearAt(): number {
    return this.liveness.hearAt;
  }

  /** `asides`: what came beside the streams since the last step, oldest first. */
  step(event: GossipEvent, now: number, asides: readonly Aside[] = []): readonly GossipEffect[] {
    if (!this.#hasStarted) this.liveness.started(now);
    this.#hasStarted = true;
    const lagMs = this.#awake.observe(now, this.wakeAt);
    this.liveness.woke(lagMs, now);
    this.#now = now;
    if (asides.length > 0) this.#hear(asides, now, lagMs > 0);
    this.#handle(event, now);
    this.#tick(now);
    const returned = this.liveness.settle(now);
    if (returned.length > 0) this.#membership.returned(returned, now);
    if (now >= this.#spread.dueAt) this.#spread.flush(now);
    const changes = this.liveness.reach.takeChanges();
    if (changes.length > 0) this.#outbox.add({ do: 'notify-members', changes });
    return this.#outbox.take();
  }

  #handle(event: GossipEvent, now: number): void {
    switch (event.on) {
      case 'connected':
        return this.#connected(event, now);
      case 'connect-failed':
        return this.#connectFailed(event.address, now);
      case 'frame':
        return this.#receive(event.connection, event.frame, now);
      case 'disconnected':
        return this.#disconnected(event.connection, now);
      case 'write':
        return this.#replication.write(event.values, now);
      case 'write-cluster':
        return this.#replication.writeCluster(event.key, event.value, event.revision, now);
      case 'cluster':
        this.#port = event.port ?? 0;
        return this.#join(event.cluster, event.isOther, now);
      case 'contacts':
        return this.#membership.addContacts(event.addresses, now);
      case 'tick':
        return;
    }
  }

  #tick(now: number): void {
    const isBeat = this.liveness.isBeatDue(now);
    if (this.#cluster !== undefined && this.#membership.isDue(now, isBeat)) this.#membership.maintain(now);
    if (now >= this.#rounds.announceAt)
      for (const link of this.#rounds.announce()) this.#replication.compare(link, now);
    // Before the beat, in whose place it goes.
    if (isBeat) this.#compareRegularly(now);
    this.liveness.tick(now);
    if (now >= this.#writer.dueAt) this.#replication.forgetTombstones(now);
  }

  #compareRegularly(now: number): void {
    const link = this.#rounds.regular(now);
    if (link !== undefined && !hasCompared(link, this.#awake.at(now))) this.#replication.compare(link, now);
  }

  #join(cluster: ClusterId, isOther: boolean, now: number): void {
    this.#cluster = cluster;
    this.#membership.dueAt = now;
    this.#replication.signAll(now);
    if (!isOther) return;
    const dropped = this.store.clearExcept(this.#init.node);
    this.#membership.passive.clear();
    this.#outbox.log('warn', 'forgot the records of another cluster', { records: dropped.length, cluster });
    this.#replication.changed([], dropped, false);
  }

  #connected(event: Extract<GossipEvent, { on: 'connected' }>, now: number): void {
    const { connection, address, isDialled, certified } = event;
    const purpose = isDialled ? this.#membership.takePurpose(address) : undefined;
    const heardAt = this.#awake.at(now);
    const link = this.links.add({ connection, address, isDialled, certified, purpose, since: now, heardAt });
    if (isDialled) this.#reached(address, certified);
    if (this.#cluster === undefined) return this.#outbox.disconnect(link, 'this node has no cluster yet');
    if (this.links.idleCount() > MAX_IDLE_LINKS) return this.#outbox.disconnect(link, 'too many connections');
    const hello: Hello = {
      type: 'hello',
      protocol: PROTOCOL_VERSION,
      oldest: OLDEST_PROTOCOL,
      cluster: this.#cluster,
      node: this.#init.node,
      epoch: this.#writer.epoch,
      port: this.#port,
      address: this.addressOf(this.#init.node) ?? '',
    };
    this.#outbox.send(link, hello);
  }

  /** Packets pass both ways, whether or not its hello is delayed. */
  #reached(address: AddressText, certified: NodeId | undefined): void {
    const probed = this.#probes.get(address);
    if (probed === undefined || (certified !== undefined && certified !== probed)) return;
    this.#probes.delete(address);
    this.liveness.doubts.answered(this.table.find(handleOf(probed)));
  }

  #connectFailed(address: AddressText, now: number): void {
    const probed = this.#probes.get(address);
    this.#probes.delete(address);
    this.#membership.dialFailed(address, now);
    if (probed !== undefined) this.liveness.doubts.vain(this.table.find(handleOf(probed)), now);
  }

  #disconnected(connection: number, now: number): void {
    const link = this.links.remove(connection);
    if (link === undefined) return;
    this.#spread.drop(connection);
    this.#membership.gone(link, now);
    if (!link.isActive) return;
    this.#spread.reopen();
    const isLast = this.links.neighbours().length === 0;
    const level = isLast ? 'warn' : link.isClosing ? 'debug' : 'info';
    this.#outbox.log(level, isLast ? 'lost the last peer' : 'lost a peer', {
      node: link.node,
      address: link.address,
    });
  }

  /** What came while this node could not run counts as heard now. */
  #hear(asides: readonly Aside[], now: number, isBack: boolean): void {
    const held = this.#held();
    for (const { connection, bytes, ageMs } of asides) {
      const link = this.links.get(connection);
      if (link === undefined || link.node === undefined) continue;
      if (this.liveness.heardAside(link, bytes, held, isBack ? now : now - ageMs, now))
        this.#regained(link, now);
    }
  }

  #receive(connection: number, frame: Uint8Array, now: number): void {
    const link = this.links.get(connection);
    if (link === undefined) return;
    if (this.liveness.heard(link, now)) this.#regained(link, now);
    const decoded = decodeMessage(frame);
    if (decoded.ok) return this.#take(link, decoded.message, now);
    if (!decoded.unknown) return this.#outbox.reject(link, `it sent what cannot be read: ${decoded.reason}`);
    this.#outbox.log('debug', 'ignored a message of a later version', { reason: decoded.reason });
  }

  #take(link: Link, message: Message, now: number): void {
    if (message.type === 'beat' || message.type === 'pong') return;
    if (message.type === 'hello') return this.#greet(link, message, now);
    if (link.node === undefined) return this.#outbox.reject(link, 'it spoke before its hello');
    if (message.type === 'ping') return this.#outbox.send(link, { type: 'pong' });
    if (this.#replication.take(link, message, now)) return;
    this.#membership.take(link, message, now, (each) => this.#activate(each, now));
  }

  #greet(link: Link, hello: Hello, now: number): void {
    if (link.node !== undefined) return this.#outbox.reject(link, 'it said hello twice');
    const own = { cluster: this.#cluster, node: this.#init.node, store: this.store };
    const judged = judgeHello(hello, own, link.certified);
    switch (judged.is) {
      case 'peer':
        return this.#establish(link, judged, now);
      case 'self':
        this.#membership.attempts.never(link.address);
        return this.#outbox.disconnect(link, 'that is this node itself');
      case 'stranger':
        this.#membership.attempts.refused(link.address, now);
        return this.#outbox.reject(link, judged.reason);
      case 'removed':
        // It may not know: this is the last thing it hears from us.
        this.#outbox.frames(link, recordFrames([judged.removal], { repair: true }));
        return this.#outbox.reject(link, 'it was removed from the cluster');
    }
  }

  #establish(link: Link, peer: Peer, now: number): void {
    this.links.establish(link, { ...peer, listens: this.#listens(link, peer) }, now);
    this.#answered(link);
    this.#membership.established(link);
  }

  /** Where the peer can be dialled. */
  #listens(link: Link, peer: Peer): AddressText {
    if (parsePeerAddress(peer.address) !== undefined) return peer.address;
    const host = parsePeerAddress(link.address)?.host;
    return link.isDialled || host === undefined || peer.port === 0
      ? link.address
      : formatPeerAddress({ host, port: peer.port });
  }

  #activate(link: Link, now: number): void {
    const { node } = link;
    if (node === undefined) return;
    const other = this.links.ofNode(node);
    if (other !== undefined && other !== link && other.isActive) {
      const loser = this.#duplicate(other, link, node);
      this.#outbox.disconnect(loser, 'there is another connection to this peer');
      if (loser === link) return;
    }
    const isFirst = this.links.neighbours().length === 0;
    this.links.activate(link);
    this.liveness.activated(link, now);
    this.#membership.passive.delete(node);
    this.#outbox.log(
      isFirst ? 'info' : 'debug',
      isFirst ? 'connected to a first peer' : 'connected to a peer',
      {
        node,
        address: link.address,
      },
    );
    if (link.isDialled) this.#replication.compare(this.links.nextToCompare(now), now);
  }

  /**
   * Of two connections with one node both sides drop the same: that with its earlier start, or a silent one; else the
   * one that the lesser id dialled; else the newer.
   */
  #duplicate(older: Link, newer: Link, node: NodeId): Link {
    if (newer.epoch > older.epoch || older.isLost) return older;
    if (older.isDialled === newer.isDialled) return newer;
    const keepsDialled = this.#init.node > node;
    return older.isDialled === keepsDialled ? newer : older;
  }

  #regained(link: Link, now: number): void {
    this.#answered(link);
    this.#replication.compare(link, now);
  }

  #answered(link: Link): void {
    this.liveness.doubts.answered(this.table.find(link.handle));
    this.#probes.delete(link.address);
  }

  #probe(node: NodeId): boolean {
    const address = this.addressOf(node);
    if (address === undefined || !this.#membership.attempts.isFit(address, this.#now)) return false;
    this.#probes.set(address, node);
    this.#membership.dial(address, 'probe');
    return true;
  }

  #raiseEpoch(epoch: number): void {
    this.#writer.raise(epoch);
    this.#outbox.add({ do: 'persist-epoch', epoch });
  }

  #changed(held: readonly GossipRecord[], gone: readonly GossipRecord[]): void {
    for (const record of gone) {
      const node = introducedNode(record);
      if (node === undefined) continue;
      this.#addresses.delete(node);
      this.liveness.forget(node);
    }
    for (const record of held) {
      this.#learn(record);
      this.#partFromRemoved(record);
    }
  }

  #learn(record: GossipRecord): void {
    const removed = removedNode(record);
    if (removed !== undefined) {
      this.liveness.bar(removed);
      this.#membership.forget(removed);
      return;
    }
    const node = introducedNode(record);
    if (node === undefined) return;
    const address = announcedAddress(record);
    if (address === undefined) this.#addresses.delete(node);
    else this.#addresses.set(node, address);
    if (address !== undefined && node !== this.#init.node) this.liveness.learn(node, this.#now);
  }

  #partFromRemoved(record: GossipRecord): void {
    const node = removedNode(record);
    const removal = this.store.stored(record.key);
    if (node === undefined || removal === undefined) return;
    for (const link of this.links.all())
      if (link.node === node) {
        this.#outbox.frames(link, recordFrames([removal], { repair: false }));
        this.#outbox.reject(link, 'it was removed from the cluster');
      }
  }
}

function removedNode({ key }: GossipRecord): NodeId | undefined {
  return /^cluster\/removed\/(n[a-z2-7]{25})$/.exec(key)?.[1] as NodeId | undefined;
}
