/**
 * The plain alternative, to be compared with: every node keeps a connection to every other one, tells each of them
 * every change itself and says each second that it is alive; three seconds of silence mean death.
 *
 * Only as good as the comparison needs: it trusts its peers, and keeps no disk but its epoch.
 */
import type { Clock } from '../src/base/clock.ts';
import type { NodeId } from '../src/model/names.ts';
import { recordNode, type GossipRecord, type RecordValue } from '../src/model/record.ts';
import type { ExchangeComponents, ExchangeInit } from '../src/node/exchange.ts';
import { formatPeerAddress, parsePeerAddress } from '../src/gossip/addresses.ts';
import type { RecordStore } from '../src/gossip/records.ts';
import type { PeerConnection } from '../src/peer/types.ts';
import { storeOf } from './preload.ts';
import type { MemberChange, NodeProgram } from './protocol.ts';

const HEARTBEAT_MS = 1_000;
const DEAD_MS = 3_000;
const CONNECT_TIMEOUT_MS = 2_000;
const HEARTBEAT = Buffer.from('{"alive":true}');

interface Message {
  readonly node?: NodeId;
  readonly records?: readonly GossipRecord[];
}

interface Peer {
  readonly connection: PeerConnection;
  readonly isDialled: boolean;
  node: NodeId | undefined;
  heardAt: number;
}

export async function openFullMesh(components: ExchangeComponents, init: ExchangeInit): Promise<NodeProgram> {
  const { journal } = components;
  const epoch = Number(journal.get('gossip/epoch') ?? 0) + 1;
  await journal.write({ 'gossip/epoch': epoch });
  const mesh = new FullMesh(components, init, epoch);
  await mesh.start();
  return mesh;
}

class FullMesh implements NodeProgram {
  readonly #components: ExchangeComponents;
  readonly #clock: Clock;
  readonly #init: ExchangeInit;
  readonly #store: RecordStore;
  readonly #peers = new Set<Peer>();
  readonly #byNode = new Map<NodeId, Peer>();
  readonly #dialling = new Set<string>();
  readonly #states = new Map<NodeId, 'alive' | 'unreachable'>();
  readonly #listeners: ((changes: readonly GossipRecord[]) => void)[] = [];
  readonly #memberListeners: ((changes: readonly MemberChange[]) => void)[] = [];
  readonly #isContact: boolean;
  readonly #epoch: number;
  #sequence = 0;
  #isClosed = false;

  constructor(components: ExchangeComponents, init: ExchangeInit, epoch: number) {
    this.#components = components;
    this.#clock = components.clock;
    this.#init = init;
    this.#epoch = epoch;
    this.#isContact = init.contacts.includes(formatPeerAddress(init.listen));
    this.#store = components.known?.copy() ?? storeOf(components.journal.entries('record/'));
  }

  async start(): Promise<void> {
    await this.#components.transport.listen(this.#init.listen, (connection) => this.#add(connection, false));
    this.#clock.after(this.#components.random.next() * HEARTBEAT_MS, () => this.#beat());
  }

  publish(key: string, value: RecordValue): Promise<void> {
    if (JSON.stringify(this.#store.get(key)?.value) === JSON.stringify(value)) return Promise.resolve();
    return this.#write({ key, version: { epoch: this.#epoch, sequence: ++this.#sequence }, value });
  }

  publishCluster(key: string, value: RecordValue, revision: number): Promise<void> {
    return this.#write({ key, version: { epoch: revision, sequence: 0 }, value });
  }

  records(prefix: string): Iterable<GossipRecord> {
    return this.#store.records(prefix);
  }

  subscribe(_prefix: string, listener: (changes: readonly GossipRecord[]) => void): () => void {
    this.#listeners.push(listener);
    return () => undefined;
  }

  subscribeMembers(listener: (changes: readonly MemberChange[]) => void): () => void {
    this.#memberListeners.push(listener);
    return () => undefined;
  }

  stats(): { readonly queueDepth: number } {
    return { queueDepth: 0 };
  }

  digest(): { readonly records: number; readonly hash: string } {
    return { records: this.#store.size, hash: this.#store.hash };
  }

  close(): Promise<void> {
    this.#isClosed = true;
    for (const { connection } of this.#peers) connection.close();
    return Promise.resolve();
  }

  async #write(record: GossipRecord): Promise<void> {
    this.#take([record]);
    const frame = encode({ records: [record] });
    for (const { connection } of this.#peers) connection.send(frame);
    await this.#components.journal.write({});
  }

  #take(records: readonly GossipRecord[]): void {
    const stored = records.filter((record) => this.#store.put(record).put === 'stored');
    if (stored.length > 0) for (const listener of this.#listeners) listener(stored);
  }

  #beat(): void {
    if (this.#isClosed) return;
    const now = this.#clock.nowMs();
    this.#clock.after(HEARTBEAT_MS, () => this.#beat());
    for (const peer of this.#peers)
      if (now - peer.heardAt > DEAD_MS) peer.connection.close('silent');
      else peer.connection.send(HEARTBEAT);
    for (const record of this.#store.records('node/')) {
      const node = recordNode(record.key);
      if (node === undefined || !record.key.endsWith('/node')) continue;
      const { address, gossip_port } = record.value as { address: string; gossip_port: number };
      // Of two nodes the one with the lesser id dials.
      if (this.#init.node < node && !this.#byNode.has(node))
        this.#dial(formatPeerAddress({ host: address, port: gossip_port }));
    }
    if (this.#peers.size === 0) for (const contact of this.#init.contacts) this.#dial(contact);
  }

  #dial(address: string): void {
    const remote = parsePeerAddress(address);
    if (remote === undefined || remote.host === this.#init.listen.host || this.#dialling.has(address)) return;
    this.#dialling.add(address);
    this.#components.transport.connect(remote, { timeoutMs: CONNECT_TIMEOUT_MS }).then(
      (connection) => {
        this.#dialling.delete(address);
        this.#add(connection, true);
      },
      () => this.#dialling.delete(address),
    );
  }

  #add(connection: PeerConnection, isDialled: boolean): void {
    const peer: Peer = { connection, isDialled, node: undefined, heardAt: this.#clock.nowMs() };
    this.#peers.add(peer);
    connection.onFrame((frame) => {
      peer.heardAt = this.#clock.nowMs();
      if (frame.length !== HEARTBEAT.length) this.#receive(peer, decode(frame));
    });
    connection.onClose(() => this.#lost(peer));
    connection.send(encode({ node: this.#init.node }));
  }

  #receive(peer: Peer, { node, records }: Message): void {
    if (node !== undefined) this.#greet(peer, node);
    if (records === undefined) return;
    const unknown = records.filter(({ key }) => this.#store.get(key) === undefined);
    this.#take(records);
    // Those who know only the contacts hear of each other through them.
    if (unknown.length > 0 && this.#isContact)
      for (const other of this.#peers)
        if (other !== peer) other.connection.send(encode({ records: unknown }));
  }

  /** Both sides tell what they have themselves, contacts all they know. */
  #greet(peer: Peer, node: NodeId): void {
    const other = this.#byNode.get(node);
    if (other !== undefined && other !== peer) {
      const loser =
        peer.isDialled !== other.isDialled && other.isDialled === this.#init.node < node ? peer : other;
      this.#peers.delete(loser);
      loser.connection.close('there is another');
      if (loser === peer) return;
    }
    peer.node = node;
    this.#byNode.set(node, peer);
    this.#judge(node, 'alive');
    const own = Array.from(this.#store.records(`node/${this.#init.node}/`));
    const cluster = Array.from(this.#store.records('cluster/'));
    const records = this.#isContact ? Array.from(this.#store.records('')) : [...own, ...cluster];
    peer.connection.send(encode({ records }));
  }

  #lost(peer: Peer): void {
    this.#peers.delete(peer);
    if (peer.node === undefined || this.#byNode.get(peer.node) !== peer) return;
    this.#byNode.delete(peer.node);
    this.#judge(peer.node, 'unreachable');
  }

  #judge(node: NodeId, state: 'alive' | 'unreachable'): void {
    if ((this.#states.get(node) ?? 'alive') === state) return;
    this.#states.set(node, state);
    for (const listener of this.#memberListeners) listener([{ node, state }]);
  }
}

function encode(message: Message): Uint8Array {
  return Buffer.from(JSON.stringify(message));
}

function decode(frame: Uint8Array): Message {
  return JSON.parse(Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength).toString()) as Message;
}
