/**
 * A connection from its opening until the node at its other end is a neighbour.
 *
 * Invariants: nothing is taken from a connection before its hello has shown the cluster's id, so that two clusters never
 * merge; connections that are not neighbours are bounded; of two with one node, both ends drop the same.
 */
import type { ClusterId, NodeId } from '../model/names.ts';
import { formatPeerAddress, parsePeerAddress } from './addresses.ts';
import type { AwakeTime } from './awake.ts';
import { OLDEST_PROTOCOL, PROTOCOL_VERSION, type Hello } from './codec.ts';
import type { GossipEvent } from './events.ts';
import { judgeHello, type Peer } from './greeting.ts';
import type { AddressText, Link, Links } from './links.ts';
import type { Membership } from './membership.ts';
import type { Outbox } from './outbox.ts';
import { recordFrames } from './paging.ts';
import type { Probes } from './probes.ts';
import type { RecordStore } from './records.ts';
import type { Replication } from './replication.ts';
import type { Silence } from './silence.ts';
import type { OwnWriter } from './writer.ts';

/** Connections that are not neighbours; more are turned away. */
const MAX_IDLE_LINKS = 128;

interface HandshakeComponents {
  readonly store: RecordStore;
  readonly links: Links;
  readonly outbox: Outbox;
  readonly awake: AwakeTime;
  readonly writer: OwnWriter;
  readonly silence: Silence;
  readonly membership: Membership;
  readonly replication: Replication;
  readonly probes: Probes;
  readonly addressOf: (node: NodeId) => AddressText | undefined;
}

export class Handshake {
  readonly #components: HandshakeComponents;
  readonly #self: NodeId;
  /** Unknown until the first registration; until then nobody is spoken to. */
  cluster: ClusterId | undefined;
  /** Where this node listens. */
  port = 0;

  constructor(components: HandshakeComponents, self: NodeId) {
    this.#components = components;
    this.#self = self;
  }

  connected(event: Extract<GossipEvent, { on: 'connected' }>, now: number): void {
    const { links, outbox, awake, membership, probes, writer, addressOf } = this.#components;
    const { connection, address, isDialled, certified } = event;
    const purpose = isDialled ? membership.takePurpose(address) : undefined;
    const heardAt = awake.at(now);
    const link = links.add({ connection, address, isDialled, certified, purpose, since: now, heardAt });
    if (isDialled) probes.reached(address, certified);
    if (this.cluster === undefined) return outbox.disconnect(link, 'this node has no cluster yet');
    if (links.idleCount() > MAX_IDLE_LINKS) return outbox.disconnect(link, 'too many connections');
    const hello: Hello = {
      type: 'hello',
      protocol: PROTOCOL_VERSION,
      oldest: OLDEST_PROTOCOL,
      cluster: this.cluster,
      node: this.#self,
      epoch: writer.epoch,
      port: this.port,
      address: addressOf(this.#self) ?? '',
    };
    outbox.send(link, hello);
  }

  greet(link: Link, hello: Hello, now: number): void {
    const { store, outbox, membership } = this.#components;
    if (link.node !== undefined) return outbox.reject(link, 'it said hello twice');
    const own = { cluster: this.cluster, node: this.#self, store };
    const judged = judgeHello(hello, own, link.certified);
    switch (judged.is) {
      case 'peer':
        return this.#establish(link, judged, now);
      case 'self':
        membership.attempts.never(link.address);
        return outbox.disconnect(link, 'that is this node itself');
      case 'stranger':
        membership.attempts.refused(link.address, now);
        return outbox.reject(link, judged.reason);
      case 'removed':
        // It may not know: this is the last thing it hears from us.
        outbox.frames(link, recordFrames([judged.removal], { repair: true }));
        return outbox.reject(link, 'it was removed from the cluster');
    }
  }

  #establish(link: Link, peer: Peer, now: number): void {
    const { links, probes, membership } = this.#components;
    links.establish(link, { ...peer, listens: listens(link, peer) }, now);
    probes.answered(link);
    membership.established(link);
  }

  /** It is a neighbour from now on, unless there is a better connection to its node. */
  activate(link: Link, now: number): void {
    const { links, outbox, silence, membership, replication } = this.#components;
    const { node, address } = link;
    if (node === undefined) return;
    const other = links.ofNode(node);
    if (other !== undefined && other !== link && other.isActive) {
      const loser = this.#duplicate(other, link, node);
      outbox.disconnect(loser, 'there is another connection to this peer');
      if (loser === link) return;
    }
    const isFirst = links.neighbours().length === 0;
    links.activate(link);
    silence.activated(link, now);
    membership.passive.delete(node);
    if (isFirst) outbox.log('info', 'connected to a first peer', { node, address });
    else outbox.log('debug', 'connected to a peer', { node, address });
    if (link.isDialled) replication.compare(links.nextToCompare(now), now);
  }

  /**
   * Of two connections with one node both sides drop the same: that with its earlier start, or a silent one; else the
   * one that the lesser id dialled; else the newer.
   */
  #duplicate(older: Link, newer: Link, node: NodeId): Link {
    if (newer.epoch > older.epoch || older.isLost) return older;
    if (older.isDialled === newer.isDialled) return newer;
    const keepsDialled = this.#self > node;
    return older.isDialled === keepsDialled ? newer : older;
  }
}

/** Where the peer can be dialled. */
function listens(link: Link, peer: Peer): AddressText {
  if (parsePeerAddress(peer.address) !== undefined) return peer.address;
  const host = parsePeerAddress(link.address)?.host;
  return link.isDialled || host === undefined || peer.port === 0
    ? link.address
    : formatPeerAddress({ host, port: peer.port });
}
