/** What nodes' own records say of them: where they are, that they have gone, and which ones the cluster has removed. */
import type { NodeId } from '../model/names.ts';
import type { GossipRecord } from '../model/record.ts';
import { announcedAddress, introducedNode } from './addresses.ts';
import type { AddressText, Links } from './links.ts';
import type { Liveness } from './liveness.ts';
import type { Membership } from './membership.ts';
import type { Outbox } from './outbox.ts';
import { recordFrames } from './paging.ts';
import type { RecordStore } from './records.ts';

interface IntroductionsComponents {
  readonly store: RecordStore;
  readonly links: Links;
  readonly outbox: Outbox;
  readonly liveness: Liveness;
  readonly membership: Membership;
}

export class Introductions {
  readonly #components: IntroductionsComponents;
  readonly #self: NodeId;
  readonly #addresses = new Map<NodeId, AddressText>();

  constructor(components: IntroductionsComponents, self: NodeId) {
    this.#components = components;
    this.#self = self;
  }

  /** By the node's own record. */
  addressOf(node: NodeId): AddressText | undefined {
    return this.#addresses.get(node);
  }

  changed(held: readonly GossipRecord[], gone: readonly GossipRecord[], now: number): void {
    for (const record of gone) {
      const node = introducedNode(record);
      if (node === undefined) continue;
      this.#addresses.delete(node);
      this.#components.liveness.forget(node);
    }
    for (const record of held) {
      this.learn(record, now);
      this.#partFromRemoved(record);
    }
  }

  learn(record: GossipRecord, now: number): void {
    const { liveness, membership } = this.#components;
    const removed = removedNode(record);
    if (removed !== undefined) {
      liveness.bar(removed);
      membership.forget(removed);
      return;
    }
    const node = introducedNode(record);
    if (node === undefined) return;
    const address = announcedAddress(record);
    if (address === undefined) this.#addresses.delete(node);
    else this.#addresses.set(node, address);
    if (address !== undefined && node !== this.#self) liveness.learn(node, now);
  }

  #partFromRemoved(record: GossipRecord): void {
    const { store, links, outbox } = this.#components;
    const node = removedNode(record);
    const removal = store.stored(record.key);
    if (node === undefined || removal === undefined) return;
    for (const link of links.all())
      if (link.node === node) {
        outbox.frames(link, recordFrames([removal], { repair: false }));
        outbox.reject(link, 'it was removed from the cluster');
      }
  }
}

function removedNode({ key }: GossipRecord): NodeId | undefined {
  return /^cluster\/removed\/(n[a-z2-7]{25})$/.exec(key)?.[1] as NodeId | undefined;
}
