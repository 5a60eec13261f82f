/**
 * The record exchange as a state machine: events in, effects out.
 *
 * Purpose: every node learns every record soon (news is pushed from peer to peer) and certainly (stores are compared
 * with a random peer every DIGEST_MS and after every link-up, both sides sending what the other lacks).
 * Invariants: no await, no I/O, no clock; hostile frames change nothing but their own connection; nothing is taken from
 * a connection before its hello has shown the cluster's id, so that two clusters never merge; own records are written
 * here only; all queues are bounded.
 * Review notes: any agent passes on any record, since a record's version, not its messenger, decides. Who the peers
 * are is members.ts, bytes are codec.ts, the choice between records is records.ts, comparison is compare.ts.
 */
import { PortolanError } from '../base/errors.ts';
import type { LogFields } from '../base/log.ts';
import { randomBelow, type Random } from '../base/random.ts';
import type { ClusterId, NodeId } from '../model/names.ts';
import { compareVersions, keys, recordNode, type GossipRecord, type RecordValue } from '../model/record.ts';
import { announcedAddress } from './addresses.ts';
import {
  decodeMessage,
  encodeMessage,
  PROTOCOL_VERSION,
  type Hello,
  type Message,
  type Records,
} from './codec.ts';
import { answerDigest, answerSummaries, answerVersions, answerWant, openRound } from './compare.ts';
import type { GossipEffect, GossipEvent } from './events.ts';
import { judgeHello } from './greeting.ts';
import { Links, type Link } from './links.ts';
import { Members, type AddressText } from './members.ts';
import { PushQueue } from './push.ts';
import { recordFrames } from './paging.ts';
import { ReachTable } from './reach.ts';
import type { RecordStore, StoredRecord } from './records.ts';
import { Rounds } from './rounds.ts';
import { OwnWriter } from './writer.ts';

const MAINTAIN_MS = 250;
const PING_AFTER_MS = 3_000;
/** Silence after which a peer counts as gone: TCP itself would go on trying for a quarter of an hour. */
const SILENCE_MS = 9_000;
const HELLO_MS = 5_000;
/** Nodes named to a peer that has to go. */
const INTRODUCTIONS = 10;
/** Attempts in a row to dial a node after which it counts as unreachable. */
const VAIN_ATTEMPTS = 2;
/** Distinct refusals that are logged; the rest is counted. */
const MAX_LOGGED_REFUSALS = 256;

export interface GossipInit {
  readonly node: NodeId;
  /** Higher than at any earlier start. */
  readonly epoch: number;
}

/** Counts since the start. */
export interface GossipStatistics {
  readonly digestRounds: number;
  readonly repairs: number;
  readonly refused: number;
  readonly falseSuspicions: number;
  /** Records waiting to be pushed, over all peers. */
  readonly queueDepth: number;
  readonly activePeers: number;
}

export class GossipCore {
  readonly store: RecordStore;
  readonly members: Members;
  readonly links = new Links();
  readonly reach = new ReachTable();
  #repairs = 0;
  #refused = 0;
  readonly #random: Random;
  /** Unknown until the first registration; until then nobody is spoken to. */
  #cluster: ClusterId | undefined;
  readonly #node: NodeId;
  readonly #writer: OwnWriter;
  readonly #pushes: PushQueue;
  readonly #rounds: Rounds;
  readonly #loggedRefusals = new Set<string>();
  #maintainAt = 0;
  #effects: GossipEffect[] = [];

  /** `store` holds what was known at the last stop. */
  constructor(components: { readonly random: Random; readonly store: RecordStore }, init: GossipInit) {
    this.#random = components.random;
    this.store = components.store;
    this.#node = init.node;
    this.members = new Members(components);
    this.#writer = new OwnWriter(this.store, init.node, init.epoch);
    this.#pushes = new PushQueue(this.#random, this.store);
    this.#rounds = new Rounds(this.#random, this.links);
    for (const record of this.store.records('node/')) this.#learnAddress(record);
  }

  get statistics(): GossipStatistics {
    return {
      digestRounds: this.#rounds.opened,
      repairs: this.#repairs,
      refused: this.#refused,
      falseSuspicions: 0,
      queueDepth: this.#pushes.depth,
      activePeers: this.links.establishedCount(),
    };
  }

  /** When a tick is due next. */
  get wakeAt(): number {
    return Math.min(this.#pushes.dueAt, this.#rounds.dueAt, this.#maintainAt);
  }

  step(event: GossipEvent, now: number): readonly GossipEffect[] {
    this.#effects = [];
    this.#handle(event, now);
    if (now >= this.#maintainAt) this.#maintain(now);
    for (const link of this.#rounds.announce(now)) this.#compare(link, now);
    if (now >= this.#pushes.dueAt)
      for (const [connection, frames] of this.#pushes.flush()) this.#send(connection, frames);
    const changes = this.reach.takeChanges();
    if (changes.length > 0) this.#effects.push({ do: 'notify-members', changes });
    return this.#effects;
  }

  #handle(event: GossipEvent, now: number): void {
    switch (event.on) {
      case 'connected':
        return this.#connected(event.connection, event.address, event.isDialled, now);
      case 'connect-failed':
        this.members.failed(event.address, now);
        this.#judge(now);
        return;
      case 'frame':
        return this.#receive(event.connection, event.frame, now);
      case 'disconnected':
        return this.#disconnected(event.connection, now);
      case 'write':
        return this.#write(event.key, event.value, now);
      case 'write-cluster':
        return this.#writeCluster(event.key, event.value, event.revision, now);
      case 'cluster':
        return this.#join(event.cluster, event.isOther, now);
      case 'contacts':
        this.members.addContacts(event.addresses);
        this.#maintainAt = now;
        return;
      case 'tick':
        return;
    }
  }

  #join(cluster: ClusterId, isOther: boolean, now: number): void {
    this.#cluster = cluster;
    this.#maintainAt = now;
    if (!isOther) return;
    const dropped = this.store.clearExcept(this.#node);
    for (const record of dropped) this.#forgetAddress(record);
    this.#log('warn', 'forgot the records of another cluster', { records: dropped.length, cluster });
    this.#changed([], dropped, false);
  }

  #connected(connection: number, address: AddressText, isDialled: boolean, now: number): void {
    this.links.add({ connection, address, isDialled, since: now });
    if (this.#cluster === undefined) return this.#disconnect(connection, 'this node has no cluster yet');
    const hello: Hello = {
      type: 'hello',
      protocol: PROTOCOL_VERSION,
      cluster: this.#cluster,
      node: this.#node,
    };
    this.#send(connection, [encodeMessage(hello)]);
  }

  #disconnected(connection: number, now: number): void {
    const link = this.links.remove(connection);
    if (link === undefined) return;
    this.#pushes.drop(connection);
    if (link.isDialled) this.members.failed(link.address, now, link.node !== undefined);
    if (link.node !== undefined) this.#logLost(link);
    this.#maintainAt = Math.min(this.#maintainAt, now + 50);
    this.#judge(now);
  }

  #logLost(link: Link): void {
    const isLast = this.links.establishedCount() === 0;
    const level = isLast ? 'warn' : link.isClosing ? 'debug' : 'info';
    this.#log(level, isLast ? 'lost the last peer' : 'lost a peer', {
      node: link.node,
      address: link.address,
    });
  }

  #receive(connection: number, frame: Uint8Array, now: number): void {
    const link = this.links.get(connection);
    if (link === undefined) return;
    link.heardAt = now;
    const decoded = decodeMessage(frame);
    if (decoded.ok) return this.#take(link, decoded.message, now);
    if (!decoded.unknown) return this.#reject(link, `it sent what cannot be read: ${decoded.reason}`);
    this.#log('debug', 'ignored a message of a later version', { reason: decoded.reason });
  }

  #take(link: Link, message: Message, now: number): void {
    if (message.type === 'hello') return this.#greet(link, message, now);
    if (link.node === undefined) return this.#reject(link, 'it spoke before its hello');
    switch (message.type) {
      case 'digest':
        return this.#send(link.connection, answerDigest(this.store, message));
      case 'summaries':
        return this.#send(link.connection, answerSummaries(this.store, message));
      case 'versions':
        return this.#send(link.connection, answerVersions(this.store, message));
      case 'want':
        return this.#send(link.connection, answerWant(this.store, message));
      case 'records':
        return this.#takeRecords(link, message, now);
      case 'done':
        return this.#compare(this.#rounds.end(link, message.more, now), now);
      case 'ping':
        return this.#send(link.connection, [encodeMessage({ type: 'pong' })]);
      case 'pong':
        return;
    }
  }

  #greet(link: Link, hello: Hello, now: number): void {
    if (link.node !== undefined) return this.#reject(link, 'it said hello twice');
    const judged = judgeHello(hello, { cluster: this.#cluster, node: this.#node, store: this.store });
    switch (judged.is) {
      case 'peer':
        return this.#establish(link, judged.node, now);
      case 'self':
        this.members.isOwn(link.address);
        return this.#disconnect(link.connection, 'that is this node itself');
      case 'stranger':
        this.members.refused(link.address, now);
        return this.#reject(link, judged.reason);
      case 'removed':
        // It may not know: this is the last thing it hears from us.
        this.#send(link.connection, recordFrames([judged.removal], { repair: true }));
        return this.#reject(link, 'it was removed from the cluster');
    }
  }

  #establish(link: Link, node: NodeId, now: number): void {
    const other = this.links.ofNode(node);
    if (other !== undefined) {
      const loser = this.#duplicate(other, link, node);
      this.#disconnect(loser.connection, 'there is another connection to this peer');
      if (loser === link) return;
    }
    link.node = node;
    link.since = now;
    this.#judge(now);
    if (link.isDialled) this.members.connected(link.address);
    const isFirst = this.links.establishedCount() === 1;
    this.#log(isFirst ? 'info' : 'debug', isFirst ? 'connected to a first peer' : 'connected to a peer', {
      node,
      address: link.address,
    });
    if (link.isDialled) this.#compare(this.links.nextToCompare(now), now);
    const surplus = this.members.surplus(this.links.established(), link.connection);
    if (surplus !== undefined) this.#partFrom(surplus);
  }

  /** Not without telling whom else it may talk to: one who just joined may know nobody. */
  #partFrom(connection: number): void {
    this.#send(connection, recordFrames(this.#introductions(), { repair: false }));
    this.#disconnect(connection, 'enough other peers');
  }

  #introductions(): StoredRecord[] {
    const known = Array.from(this.members.nodes(), ([node]) => node);
    const chosen: StoredRecord[] = [];
    for (let i = 0; i < INTRODUCTIONS && known.length > 0; i++) {
      const [node] = known.splice(randomBelow(this.#random, known.length), 1) as [NodeId];
      const stored = this.store.stored(keys.node(node));
      if (stored !== undefined) chosen.push(stored);
    }
    return chosen;
  }

  /** Of two connections with one node both sides drop the same: the one that the greater id dialled; else the older. */
  #duplicate(older: Link, newer: Link, node: NodeId): Link {
    if (older.isDialled === newer.isDialled) return older;
    const keepsDialled = this.#node < node;
    return older.isDialled === keepsDialled ? newer : older;
  }

  #takeRecords(link: Link, message: Records, now: number): void {
    const stored: GossipRecord[] = [];
    const dropped: GossipRecord[] = [];
    for (const record of message.records) {
      if (recordNode(record.key) === this.#node) this.#takeOwn(record, now);
      else this.#takeOne(link, record, stored, dropped);
    }
    if (stored.length === 0) return;
    this.#changed(stored, dropped, false);
    if (message.repair) {
      this.#repairs += stored.length;
      this.#rounds.repaired(link.connection, now);
    } else this.#push(stored, now, link.connection);
  }

  #takeOne(link: Link, record: GossipRecord, stored: GossipRecord[], dropped: GossipRecord[]): void {
    const outcome = this.store.put(record);
    if (outcome.put === 'stored') {
      stored.push(record);
      dropped.push(...outcome.dropped);
    } else if (outcome.put === 'known') this.#pushes.isKnown(link.connection, record.key);
    else if (outcome.put === 'refused') this.#countRefusal(link, record, outcome.reason);
  }

  #countRefusal(link: Link, record: GossipRecord, reason: string): void {
    this.#refused++;
    const name = `${record.key} ${reason}`;
    if (this.#loggedRefusals.has(name) || this.#loggedRefusals.size >= MAX_LOGGED_REFUSALS) return;
    this.#loggedRefusals.add(name);
    this.#log('warn', 'refused a record', { key: record.key, reason, from: link.node });
  }

  /** Someone holds a record under our name. */
  #takeOwn(record: GossipRecord, now: number): void {
    if (this.store.isVoid(record)) return;
    const ours = this.store.get(record.key);
    if (ours !== undefined) {
      const newer = compareVersions(record.version, ours.version);
      if (newer < 0 || (newer === 0 && isSameValue(ours, record.value))) return;
    }
    const epochBefore = this.#writer.epoch;
    const claim = this.#writer.reclaim(record, ours);
    if (claim === undefined) return;
    if (this.#writer.epoch !== epochBefore)
      this.#effects.push({ do: 'persist-epoch', epoch: this.#writer.epoch });
    this.#log('debug', 'corrected what others hold of this node', { key: record.key });
    this.#store(claim, now, false);
  }

  #write(key: string, value: RecordValue, now: number): void {
    this.#writer.check(key);
    if (isSameValue(this.store.get(key), value)) return;
    const record = this.#store(this.#writer.make(key, value), now, true);
    for (const again of this.#writer.afterWrite(record, now)) this.#store(again, now, false);
  }

  #writeCluster(key: string, value: RecordValue, revision: number, now: number): void {
    if (!key.startsWith('cluster/'))
      throw new PortolanError('invalid', `Cannot publish "${key}": masters write below "cluster/" only`, {
        field: 'key',
      });
    if (isSameValue(this.store.get(key), value)) return;
    this.#store({ key, version: { epoch: revision, sequence: 0 }, value }, now, true);
  }

  /** Stores what was written here and tells everyone. */
  #store(record: GossipRecord, now: number, durable: boolean): GossipRecord {
    const outcome = this.store.put(record);
    if (outcome.put === 'refused') this.#refuseOwn(record, outcome.reason, durable);
    if (outcome.put !== 'stored') return record;
    if (outcome.dropped.length > 0) this.#writer.recount();
    this.#changed([record], outcome.dropped, durable);
    this.#push([record], now, undefined);
    return record;
  }

  /** A caller is told by an exception; what the core itself wanted to write is given up. */
  #refuseOwn(record: GossipRecord, reason: string, hasCaller: boolean): void {
    this.#refused++;
    if (!hasCaller) return this.#log('warn', 'could not write an own record', { key: record.key, reason });
    throw new PortolanError('invalid', `Cannot publish "${record.key}": ${reason}`, {
      field: 'value',
      remedy: 'publish less, or in several records',
    });
  }

  #changed(stored: readonly GossipRecord[], dropped: readonly GossipRecord[], durable: boolean): void {
    const gone = dropped.filter(({ key }) => this.store.get(key) === undefined);
    const held = stored.filter((record) => this.store.get(record.key) === record);
    this.#effects.push({ do: 'persist', records: held, dropped: gone.map(({ key }) => key), durable });
    const voids = gone.filter(({ value }) => value !== null).map((record) => ({ ...record, value: null }));
    this.#effects.push({ do: 'notify', changes: [...held, ...voids] });
    for (const record of held) {
      this.#learnAddress(record);
      this.#forgetRemoved(record);
    }
  }

  #learnAddress(record: GossipRecord): void {
    const known = announcedAddress(record);
    if (known !== undefined && known.node !== this.#node) this.members.learn(known.node, known.address);
  }

  #judge(now: number): void {
    for (const [node, address] of this.members.nodes()) {
      const isVain = this.links.ofNode(node) === undefined && this.members.failures(address) >= VAIN_ATTEMPTS;
      this.reach.judge(node, isVain ? 'unreachable' : 'alive', now);
    }
  }

  #forgetAddress(record: GossipRecord): void {
    const known = announcedAddress(record);
    if (known === undefined) return;
    this.members.forget(known.node);
    this.reach.forget(known.node);
  }

  #forgetRemoved(record: GossipRecord): void {
    const node = /^cluster\/removed\/(n[a-z2-7]{25})$/.exec(record.key)?.[1] as NodeId | undefined;
    if (node === undefined) return;
    this.members.forget(node);
    this.reach.forget(node);
    const link = this.links.ofNode(node);
    const removal = this.store.stored(record.key);
    if (link === undefined || removal === undefined) return;
    this.#send(link.connection, recordFrames([removal], { repair: false }));
    this.#reject(link, 'it was removed from the cluster');
  }

  #push(records: readonly GossipRecord[], now: number, from: number | undefined): void {
    const targets = this.links.established().map((link) => link.connection);
    this.#pushes.add(
      records.map(({ key }) => key),
      targets.filter((connection) => connection !== from),
      { isOwn: from === undefined, now },
    );
  }

  #compare(link: Link | undefined, now: number): void {
    if (link !== undefined && this.#rounds.begin(link, now))
      this.#send(link.connection, [openRound(this.store)]);
  }

  #maintain(now: number): void {
    this.#maintainAt = now + MAINTAIN_MS;
    this.#dropSilent(now);
    this.#compare(this.#rounds.regular(now), now);
    const horizon = this.#writer.forgetTombstones(now);
    if (horizon !== undefined) this.#store(horizon, now, false);
    if (this.#cluster === undefined) return;
    for (const address of this.members.dial(this.links.established(), now))
      this.#effects.push({ do: 'connect', address });
  }

  #dropSilent(now: number): void {
    for (const link of this.links.all()) {
      const silentMs = now - link.heardAt;
      if (silentMs >= SILENCE_MS || (link.node === undefined && now - link.since >= HELLO_MS))
        this.#disconnect(link.connection, `silent for ${Math.round(silentMs)} ms`);
      else if (silentMs >= PING_AFTER_MS && link.node !== undefined)
        this.#send(link.connection, [encodeMessage({ type: 'ping' })]);
    }
  }

  #send(connection: number, frames: readonly Uint8Array[]): void {
    for (const frame of frames) this.#effects.push({ do: 'send', connection, frame });
  }

  #reject(link: Link, reason: string): void {
    this.#log('warn', 'refused a peer', { address: link.address, node: link.node, reason });
    this.#disconnect(link.connection, reason);
  }

  /** The shell answers with `disconnected`, which cleans up; until then the link takes no part. */
  #disconnect(connection: number, reason: string): void {
    this.links.close(connection);
    this.#effects.push({ do: 'disconnect', connection, reason });
  }

  #log(level: 'debug' | 'info' | 'warn', message: string, fields: LogFields): void {
    this.#effects.push({ do: 'log', level, message, fields });
  }
}

function isSameValue(record: GossipRecord | undefined, value: RecordValue): boolean {
  if (record === undefined) return value === null;
  return JSON.stringify(record.value) === JSON.stringify(value);
}
