/** Nodes that are dialled only to see whether they answer: doubts.ts says which, and hears of it. */
import type { NodeId } from '../model/names.ts';
import type { Doubts } from './doubts.ts';
import type { AddressText, Link } from './links.ts';
import type { Membership } from './membership.ts';
import { handleOf, type NodeTable } from './nodes.ts';

interface ProbesComponents {
  readonly table: NodeTable;
  readonly doubts: Doubts;
  readonly membership: Membership;
  readonly addressOf: (node: NodeId) => AddressText | undefined;
}

export class Probes {
  readonly #components: ProbesComponents;
  readonly #nodes = new Map<AddressText, NodeId>();

  constructor(components: ProbesComponents) {
    this.#components = components;
  }

  /** False when the node cannot be dialled now. */
  begin(node: NodeId, now: number): boolean {
    const { membership, addressOf } = this.#components;
    const address = addressOf(node);
    if (address === undefined || !membership.attempts.isFit(address, now)) return false;
    this.#nodes.set(address, node);
    membership.dial(address, 'probe');
    return true;
  }

  /** Packets pass both ways, whether or not its hello is delayed. */
  reached(address: AddressText, certified: NodeId | undefined): void {
    const node = this.#nodes.get(address);
    if (node === undefined || (certified !== undefined && certified !== node)) return;
    this.#nodes.delete(address);
    const { doubts, table } = this.#components;
    doubts.answered(table.find(handleOf(node)));
  }

  failed(address: AddressText, now: number): void {
    const node = this.#nodes.get(address);
    this.#nodes.delete(address);
    const { doubts, membership, table } = this.#components;
    membership.dialFailed(address, now);
    if (node !== undefined) doubts.vain(table.find(handleOf(node)), now);
  }

  /** It is heard, probed or not. */
  answered(link: Link): void {
    const { doubts, table } = this.#components;
    doubts.answered(table.find(link.handle));
    this.#nodes.delete(link.address);
  }
}
