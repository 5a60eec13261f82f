/** The connections there are, from the first byte to the last. */
import type { NodeId } from '../model/names.ts';
import type { AddressText, LinkView } from './members.ts';

/** A comparison that takes longer than this has lost a message. */
const ROUND_MS = 10_000;

export interface Link {
  readonly connection: number;
  readonly address: AddressText;
  readonly isDialled: boolean;
  /** Of the connection, then of its hello. */
  since: number;
  heardAt: number;
  /** Known by its hello. */
  node: NodeId | undefined;
  /** When the comparison under way was opened by us. */
  roundSince: number | undefined;
  /** One comparison was completed. */
  isCompared: boolean;
  isClosing: boolean;
}

export class Links {
  readonly #links = new Map<number, Link>();

  add(init: Pick<Link, 'connection' | 'address' | 'isDialled' | 'since'>): void {
    this.#links.set(init.connection, {
      ...init,
      heardAt: init.since,
      node: undefined,
      roundSince: undefined,
      isCompared: false,
      isClosing: false,
    });
  }

  /** `undefined` also for one that is being closed: what it says counts no more. */
  get(connection: number): Link | undefined {
    const link = this.#links.get(connection);
    return link?.isClosing === true ? undefined : link;
  }

  close(connection: number): void {
    const link = this.#links.get(connection);
    if (link !== undefined) link.isClosing = true;
  }

  remove(connection: number): Link | undefined {
    const link = this.#links.get(connection);
    this.#links.delete(connection);
    return link;
  }

  all(): Link[] {
    return Array.from(this.#links.values()).filter((link) => !link.isClosing);
  }

  ofNode(node: NodeId): Link | undefined {
    return this.all().find((link) => link.node === node);
  }

  established(): LinkView[] {
    const views: LinkView[] = [];
    for (const { connection, node, address, isDialled, isClosing } of this.#links.values())
      if (node !== undefined && !isClosing) views.push({ connection, node, address, isDialled });
    return views;
  }

  establishedCount(): number {
    let count = 0;
    for (const { node, isClosing } of this.#links.values()) if (node !== undefined && !isClosing) count++;
    return count;
  }

  isComparing(link: Link, now: number): boolean {
    return link.roundSince !== undefined && now - link.roundSince < ROUND_MS;
  }

  /** A dialled peer never compared with, unless some first comparison is under way. */
  nextToCompare(now: number): Link | undefined {
    const fresh = this.all().filter((link) => link.node !== undefined && link.isDialled && !link.isCompared);
    return fresh.some((link) => this.isComparing(link, now)) ? undefined : fresh[0];
  }
}
