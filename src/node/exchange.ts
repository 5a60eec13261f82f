/**
 * The record exchange as agent and master use it: the gossip core with sockets, timers and a disk.
 *
 * Invariants: no rules live here; an own record is on disk before `publish` resolves, what others wrote is stored when
 * convenient, since they would tell it again; after a restart everything last known is there before the first peer is;
 * listeners are called after the core has finished its step, so that they may publish in turn.
 * Review notes: an agent learns its cluster's id by its first registration; until then nothing is listened to, dialled
 * or published further than the own disk.
 */
import type { Clock, Timer } from '../base/clock.ts';
import { describeError, PortolanError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { Metrics } from '../base/metrics.ts';
import type { Random } from '../base/random.ts';
import { formatPeerAddress, parsePeerAddress } from '../gossip/addresses.ts';
import type { Aside } from '../gossip/asides.ts';
import { GossipCore } from '../gossip/core.ts';
import type { GossipEffect, GossipEvent } from '../gossip/events.ts';
import type { Reach } from '../gossip/reach.ts';
import type { RecordStore } from '../gossip/records.ts';
import type { ClusterId, NodeId } from '../model/names.ts';
import { keys, type GossipRecord, type RecordValue } from '../model/record.ts';
import type { PeerAddress, PeerConnection, PeerListener, PeerTransport } from '../peer/types.ts';
import type { Journal } from '../store/types.ts';
import type { Authenticator } from '../trust/authenticity.ts';
import { ExchangeJournal } from './exchange-journal.ts';
import { ExchangeListeners } from './exchange-listeners.ts';
import { readExchangeMetrics } from './exchange-metrics.ts';
import type { ExchangeStatistics, MemberStatus, PeerStatus, RecordExchange } from './record-exchange.ts';

const CONNECT_TIMEOUT_MS = 2_000;
/** How often a node that belongs to no cluster yet asks whether it does. */
const WAIT_FOR_CLUSTER_MS = 100;
/** Timers are armed in time, but not more often than this. */
const MIN_TICK_MS = 0.5;
/** Timers count whole ms from when their turn began, and so fire early: that is in time, or there would be a second one. */
const EARLY_MS = 2;
/** Long enough for everything that waits to be pushed. */
const LAST_WORDS_MS = 50;

/** Who signs with a key that others have to be told. */
export interface Introducing {
  /** What the node's signer record has to be; `undefined` when `held` does. */
  introduction(held: GossipRecord | undefined): RecordValue | undefined;
}

export interface ExchangeComponents {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly transport: PeerTransport;
  readonly journal: Journal;
  /** Absent where nothing is signed. */
  readonly authenticator?: (Authenticator & Introducing) | undefined;
  /** What the journal holds, for who opens many nodes in one process; read from the journal otherwise. */
  readonly known?: RecordStore;
}

export interface ExchangeInit {
  readonly cluster: ClusterId | (() => ClusterId | undefined);
  readonly node: NodeId;
  readonly listen: PeerAddress;
  readonly contacts: readonly string[];
}

/** Resolves when it listens or, without a cluster, when it is ready to wait for one. */
export async function openExchange(
  components: ExchangeComponents,
  init: ExchangeInit,
): Promise<RecordExchange> {
  const log = components.log.child('gossip');
  const journal = new ExchangeJournal({ journal: components.journal, log });
  const epoch = await journal.nextEpoch();
  const store = components.known?.copy() ?? journal.records(init.node, components.authenticator);
  const exchange = new Exchange({ ...components, log, journal, store }, { ...init, epoch });
  await exchange.start();
  return exchange;
}

interface Parts extends Omit<ExchangeComponents, 'journal' | 'known'> {
  readonly journal: ExchangeJournal;
  readonly store: RecordStore;
}

class Exchange implements RecordExchange {
  readonly #components: Parts;
  readonly #init: ExchangeInit;
  readonly #log: Log;
  readonly #listeners: ExchangeListeners;
  readonly #core: GossipCore;
  readonly #connections = new Map<number, PeerConnection>();
  readonly #traffic = { messagesSent: 0, messagesReceived: 0, bytesSent: 0, bytesReceived: 0 };
  readonly #closing = new AbortController();
  /** As its signal says, which costs more to ask: this is asked with every frame. */
  #isClosing = false;
  readonly #startedAt: number;
  #listener: PeerListener | undefined;
  #timer: Timer | undefined;
  #timerAt = Infinity;
  #nextConnection = 1;
  /** What came beside the streams and is not taken yet. */
  #asides: Aside[] = [];
  /** What steps asked for, in order; listeners may cause further steps meanwhile. */
  readonly #effects: Exclude<GossipEffect, { do: 'persist' }>[] = [];
  #isPerforming = false;

  constructor(components: Parts, init: ExchangeInit & { readonly epoch: number }) {
    const { random, store, authenticator, log, journal } = components;
    this.#components = components;
    this.#init = init;
    this.#log = log;
    this.#listeners = new ExchangeListeners(log);
    this.#core = new GossipCore(
      { random, store, authenticator },
      { node: init.node, epoch: init.epoch, peers: journal.peers() },
    );
    this.#startedAt = components.clock.nowMs();
    readExchangeMetrics(components.metrics, this);
  }

  async start(): Promise<void> {
    this.addContacts(this.#init.contacts);
    // Before all other records: they are verified by it.
    if (this.#introduction() !== undefined) await this.introduce();
    const cluster = this.#cluster();
    if (cluster === undefined) this.#waitForCluster();
    else await this.#join(cluster);
  }

  publish(key: string, value: RecordValue): Promise<void> {
    return this.publishAll(new Map([[key, value]]));
  }

  publishAll(values: ReadonlyMap<string, RecordValue | object>): Promise<void> {
    const copies = Array.from(values, ([key, value]) => [key, plain(value)] as const);
    return this.#write({ on: 'write', values: new Map(copies) });
  }

  async introduce(): Promise<void> {
    const introduction = this.#introduction();
    if (introduction !== undefined) await this.publish(keys.signer(this.#init.node), introduction);
  }

  withdraw(key: string): Promise<void> {
    return this.publishAll(new Map([[key, null]]));
  }

  publishCluster(key: string, value: RecordValue, revision: number): Promise<void> {
    return this.#write({ on: 'write-cluster', key, value: plain(value), revision });
  }

  get(key: string): GossipRecord | undefined {
    return this.#core.store.get(key);
  }

  records(prefix: string): Iterable<GossipRecord> {
    return this.#core.store.records(prefix);
  }

  subscribe(prefix: string, listener: (changes: readonly GossipRecord[]) => void): () => void {
    return this.#listeners.subscribe(prefix, listener);
  }

  addContacts(addresses: readonly string[]): void {
    const valid = addresses.filter((address) => parsePeerAddress(address) !== undefined);
    for (const address of addresses)
      if (!valid.includes(address)) this.#log.warn('ignored a contact that is not host:port', { address });
    this.#step({ on: 'contacts', addresses: valid });
  }

  redial(): void {
    for (const connection of this.#connections.values()) connection.close('this host has another address');
  }

  peers(): readonly PeerStatus[] {
    const { clock } = this.#components;
    const status = new Map<NodeId, PeerStatus>();
    for (const node of this.#core.nodes())
      status.set(node, { node, address: this.#core.addressOf(node) ?? '', connected: false });
    for (const { node, address, since } of this.#core.links.neighbours())
      if (node !== undefined)
        status.set(node, {
          node,
          address: status.get(node)?.address ?? address,
          connected: true,
          since: clock.wallMs() - (clock.nowMs() - since),
        });
    return Array.from(status.values());
  }

  members(): readonly MemberStatus[] {
    return Array.from(this.#core.nodes(), (node) =>
      this.#memberStatus(
        this.#core.liveness.reach.get(node) ?? { node, state: 'alive', since: this.#startedAt },
      ),
    );
  }

  isReachable(node: NodeId): boolean {
    return this.#core.liveness.reach.get(node)?.state !== 'unreachable';
  }

  subscribeMembers(listener: (changes: readonly MemberStatus[]) => void): () => void {
    return this.#listeners.subscribeMembers(listener);
  }

  stats(): ExchangeStatistics {
    return { ...this.#traffic, ...this.#core.statistics };
  }

  digest(): { readonly records: number; readonly hash: string } {
    return { records: this.#core.store.size, hash: this.#core.store.hash };
  }

  address(): PeerAddress | undefined {
    return this.#listener?.address;
  }

  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    // What was published a moment ago is still said.
    this.#step({ on: 'tick' }, this.#components.clock.nowMs() + LAST_WORDS_MS);
    this.#isClosing = true;
    this.#closing.abort();
    this.#timer?.cancel();
    for (const connection of this.#connections.values()) connection.close();
    await this.#listener?.close();
  }

  #introduction(): RecordValue | undefined {
    return this.#components.authenticator?.introduction(this.get(keys.signer(this.#init.node)));
  }

  #cluster(): ClusterId | undefined {
    const { cluster } = this.#init;
    return typeof cluster === 'function' ? cluster() : cluster;
  }

  #waitForCluster(): void {
    this.#components.clock.after(WAIT_FOR_CLUSTER_MS, () => {
      if (this.#closing.signal.aborted) return;
      const cluster = this.#cluster();
      if (cluster === undefined) return this.#waitForCluster();
      this.#join(cluster).catch((error: unknown) => {
        this.#log.error('cannot exchange records', { error: describeError(error) });
        this.#waitForCluster();
      });
    });
  }

  async #join(cluster: ClusterId): Promise<void> {
    const { journal, transport } = this.#components;
    this.#listener = await transport.listen(this.#init.listen, (connection) =>
      this.#connected(connection, formatPeerAddress(connection.remote), false),
    );
    if (this.#closing.signal.aborted) return this.#listener.close();
    const { isOther } = await journal.joins(cluster);
    this.#step({ on: 'cluster', cluster, isOther, port: this.#listener.address.port });
  }

  async #write(event: GossipEvent): Promise<void> {
    const { clock, journal } = this.#components;
    if (this.#closing.signal.aborted)
      throw new PortolanError('unavailable', 'Cannot publish: the record exchange is closed');
    let effects: readonly GossipEffect[];
    try {
      effects = this.#stepCore(event, clock.nowMs());
    } catch (error) {
      // One of many was refused: the others are to be carried out.
      this.#step({ on: 'tick' });
      throw error;
    }
    // Unchanged means published before: possibly a moment ago, and not on disk yet.
    await (this.#carryOut(effects) ?? journal.flushed());
  }

  #step(event: GossipEvent, now = this.#components.clock.nowMs()): void {
    if (!this.#isClosing) void this.#carryOut(this.#stepCore(event, now));
  }

  #stepCore(event: GossipEvent, now: number): readonly GossipEffect[] {
    if (now < this.#core.hearAt) return this.#core.step(event, now);
    this.#components.transport.hear();
    const asides = this.#asides;
    this.#asides = [];
    return this.#core.step(event, now, asides);
  }

  /** The promise of the disk, when there is a durable write among `effects`. */
  #carryOut(effects: readonly GossipEffect[]): Promise<void> | undefined {
    let durable: Promise<void> | undefined;
    for (const effect of effects)
      if (effect.do === 'persist') durable = this.#components.journal.persist(effect) ?? durable;
      else this.#effects.push(effect);
    this.#perform();
    this.#arm();
    return durable;
  }

  #perform(): void {
    if (this.#isPerforming) return;
    this.#isPerforming = true;
    for (let effect = this.#effects.shift(); effect !== undefined; effect = this.#effects.shift())
      this.#performOne(effect);
    this.#isPerforming = false;
  }

  #performOne(effect: Exclude<GossipEffect, { do: 'persist' }>): void {
    switch (effect.do) {
      case 'send':
        return this.#send(effect.connection, effect.frame);
      case 'aside':
        this.#traffic.bytesSent += effect.bytes.length;
        return this.#connections.get(effect.connection)?.sendAside(effect.bytes);
      case 'connect':
        return this.#connect(effect.address);
      case 'disconnect':
        return this.#connections.get(effect.connection)?.close(effect.reason);
      case 'persist-epoch':
        return this.#components.journal.keepEpoch(effect.epoch);
      case 'persist-peers':
        return this.#components.journal.keepPeers(effect.peers);
      case 'notify':
        return this.#listeners.notify(effect.changes);
      case 'notify-members':
        return this.#listeners.notifyMembers(() => effect.changes.map((reach) => this.#memberStatus(reach)));
      case 'log':
        return this.#log[effect.level](effect.message, effect.fields);
    }
  }

  #memberStatus({ node, state, since }: Reach): MemberStatus {
    const { clock } = this.#components;
    const address = this.#core.addressOf(node) ?? '';
    return { node, address, state, since: clock.wallMs() - (clock.nowMs() - since) };
  }

  #send(id: number, frame: Uint8Array): void {
    if (this.#connections.get(id)?.send(frame) !== true) return;
    this.#traffic.messagesSent++;
    this.#traffic.bytesSent += frame.length;
  }

  #connect(address: string): void {
    const remote = parsePeerAddress(address);
    if (remote === undefined) return;
    const { signal } = this.#closing;
    this.#components.transport.connect(remote, { timeoutMs: CONNECT_TIMEOUT_MS, signal }).then(
      (connection) => this.#connected(connection, address, true),
      (error: unknown) => {
        this.#log.debug('could not reach a peer', { address, error: describeError(error) });
        this.#step({ on: 'connect-failed', address });
      },
    );
  }

  #connected(connection: PeerConnection, address: string, isDialled: boolean): void {
    if (this.#closing.signal.aborted) return connection.close();
    const id = this.#nextConnection++;
    this.#connections.set(id, connection);
    this.#step({ on: 'connected', connection: id, address, isDialled, certified: connection.peer });
    connection.onFrame((frame) => {
      this.#traffic.messagesReceived++;
      this.#traffic.bytesReceived += frame.length;
      this.#step({ on: 'frame', connection: id, frame });
    });
    connection.onAside((bytes, ageMs) => {
      this.#traffic.bytesReceived += bytes.length;
      this.#asides.push({ connection: id, bytes, ageMs });
    });
    connection.onClose((error) => {
      this.#connections.delete(id);
      if (error !== undefined) this.#log.debug('a connection ended', { address, error });
      this.#step({ on: 'disconnected', connection: id });
    });
  }

  /** One timer, for the next thing that is due. */
  #arm(): void {
    const at = this.#core.wakeAt;
    if (at >= this.#timerAt) return;
    const { clock } = this.#components;
    this.#timer?.cancel();
    this.#timerAt = at;
    this.#timer = clock.after(Math.max(MIN_TICK_MS, at - clock.nowMs()), () => {
      this.#timerAt = Infinity;
      const now = clock.nowMs();
      this.#step({ on: 'tick' }, at - now <= EARLY_MS ? Math.max(now, at) : now);
    });
  }
}

/** A copy in the form that others will read: own records are compared with what comes back from them. */
function plain(value: RecordValue | object): RecordValue {
  return JSON.parse(JSON.stringify(value)) as RecordValue;
}
