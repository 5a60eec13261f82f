/**
 * The record exchange as a state machine: events in, effects out.
 *
 * Purpose: holds the parts together and hands each event to the one it concerns: links and who is a neighbour
 * (membership.ts), who is alive (liveness.ts), records (replication.ts), news (spread.ts).
 * Invariants: no await, no I/O, no clock; hostile frames change nothing but their own connection; all queues are bounded.
 * Review notes: bytes are codec.ts and forms.ts, the choice between records is records.ts, comparison is compare.ts.
 */
import type { Random } from '../base/random.ts';
import type { ClusterId, NodeId } from '../model/names.ts';
import type { Authenticator } from '../trust/authenticity.ts';
import { hasCompared, type Aside } from './asides.ts';
import { AwakeTime } from './awake.ts';
import { decodeMessage, type Message, type PeerRow } from './codec.ts';
import type { GossipEffect, GossipEvent } from './events.ts';
import { Handshake } from './handshake.ts';
import { Introductions } from './introductions.ts';
import { Links, type AddressText, type Link } from './links.ts';
import { Liveness } from './liveness.ts';
import { Membership } from './membership.ts';
import { NodeTable } from './nodes.ts';
import { Outbox } from './outbox.ts';
import { Probes } from './probes.ts';
import type { RecordStore } from './records.ts';
import { Replication } from './replication.ts';
import { Rounds } from './rounds.ts';
import { Spread } from './spread.ts';
import { OwnWriter } from './writer.ts';

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
  readonly #probes: Probes;
  readonly #introductions: Introductions;
  readonly #handshake: Handshake;
  readonly #init: GossipInit;
  #now = 0;
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
    const probe = (node: NodeId): boolean => this.#probes.begin(node, this.#now);
    const seek = (now: number): void => this.#membership.seek(now);
    const raiseEpoch = (epoch: number): void => this.#raiseEpoch(epoch);
    const spread = this.#spread;
    const held = (): string => `${store.hash} ${table.hash}`;
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
        onChanged: (held, gone) => this.#introductions.changed(held, gone, this.#now),
      },
      init,
    );
    const { liveness } = this;
    const [membership, replication, writer] = [this.#membership, this.#replication, this.#writer];
    this.#introductions = new Introductions({ store, links, outbox, liveness, membership }, init.node);
    const probes = new Probes({ table, doubts: liveness.doubts, membership, addressOf });
    this.#probes = probes;
    const { silence } = liveness;
    this.#handshake = new Handshake(
      { store, links, outbox, awake, writer, silence, membership, replication, probes, addressOf },
      init.node,
    );
    this.#membership.restore(init.peers ?? []);
    for (const record of store.records('')) this.#introductions.learn(record, this.#now);
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
    const membershipAt = this.#handshake.cluster === undefined ? Infinity : this.#membership.dueAt;
    const others = Math.min(this.#writer.dueAt, membershipAt);
    return Math.min(this.#spread.dueAt, this.#rounds.announceAt, this.liveness.dueAt, others);
  }

  /** Every known node but this one. */
  *nodes(): Generator<NodeId> {
    for (const [, node] of this.table.known()) yield node;
  }

  /** By the node's own record. */
  addressOf(node: NodeId): AddressText | undefined {
    return this.#introductions.addressOf(node);
  }

  /** From when on `step` wants to be given what came beside the streams. */
  get hearAt(): number {
    return this.liveness.silence.hearAt;
  }

  /** `asides`: what came beside the streams since the last step, oldest first. */
  step(event: GossipEvent, now: number, asides: readonly Aside[] = []): readonly GossipEffect[] {
    if (!this.#hasStarted) this.liveness.started(now);
    this.#hasStarted = true;
    const lagMs = this.#awake.observe(now, this.wakeAt);
    this.liveness.woke(lagMs, now);
    this.#now = now;
    if (asides.length > 0)
      for (const link of this.liveness.silence.hear(asides, lagMs > 0, now)) this.#regained(link, now);
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
        return this.#handshake.connected(event, now);
      case 'connect-failed':
        return this.#probes.failed(event.address, now);
      case 'frame':
        return this.#receive(event.connection, event.frame, now);
      case 'disconnected':
        return this.#disconnected(event.connection, now);
      case 'write':
        return this.#replication.write(event.values, now);
      case 'write-cluster':
        return this.#replication.writeCluster(event.key, event.value, event.revision, now);
      case 'cluster':
        this.#handshake.port = event.port ?? 0;
        return this.#join(event.cluster, event.isOther, now);
      case 'contacts':
        return this.#membership.addContacts(event.addresses, now);
      case 'tick':
        return;
    }
  }

  #tick(now: number): void {
    const isBeat = this.liveness.silence.isBeatDue(now);
    if (this.#handshake.cluster !== undefined && this.#membership.isDue(now, isBeat))
      this.#membership.maintain(now);
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
    this.#handshake.cluster = cluster;
    this.#membership.dueAt = now;
    this.#replication.signAll(now);
    if (!isOther) return;
    const dropped = this.store.clearExcept(this.#init.node);
    this.#membership.passive.clear();
    this.#outbox.log('warn', 'forgot the records of another cluster', { records: dropped.length, cluster });
    this.#replication.changed([], dropped, false);
  }

  #disconnected(connection: number, now: number): void {
    const link = this.links.remove(connection);
    if (link === undefined) return;
    this.#spread.drop(connection);
    this.#membership.gone(link, now);
    if (!link.isActive) return;
    this.#spread.regraft();
    const isLast = this.links.neighbours().length === 0;
    const level = isLast ? 'warn' : link.isClosing ? 'debug' : 'info';
    this.#outbox.log(level, isLast ? 'lost the last peer' : 'lost a peer', {
      node: link.node,
      address: link.address,
    });
  }

  #receive(connection: number, frame: Uint8Array, now: number): void {
    const link = this.links.get(connection);
    if (link === undefined) return;
    if (this.liveness.silence.heard(link, now)) this.#regained(link, now);
    const decoded = decodeMessage(frame);
    if (decoded.ok) return this.#take(link, decoded.message, now);
    if (!decoded.unknown) return this.#outbox.reject(link, `it sent what cannot be read: ${decoded.reason}`);
    this.#outbox.log('debug', 'ignored a message of a later version', { reason: decoded.reason });
  }

  #take(link: Link, message: Message, now: number): void {
    if (message.type === 'beat' || message.type === 'pong') return;
    if (message.type === 'hello') return this.#handshake.greet(link, message, now);
    if (link.node === undefined) return this.#outbox.reject(link, 'it spoke before its hello');
    if (message.type === 'ping') return this.#outbox.send(link, { type: 'pong' });
    if (this.#replication.take(link, message, now)) return;
    this.#membership.take(link, message, now, (each) => this.#handshake.activate(each, now));
  }

  #regained(link: Link, now: number): void {
    this.#probes.answered(link);
    this.#replication.compare(link, now);
  }

  #raiseEpoch(epoch: number): void {
    this.#writer.raise(epoch);
    this.#outbox.add({ do: 'persist-epoch', epoch });
  }
}
