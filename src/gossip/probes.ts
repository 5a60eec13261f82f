/** Nodes that are dialled only to see whether they answer: doubts.ts says which, and hears of it. */
import type { NodeId } from '../model/names.ts';
import type { Doubts } from './doubts.ts';
import type { AddressText, Link } from './links.ts';
import type { Membership } from './membership.ts';
import type { NodeTable } from './nodes.ts';

interface ProbesComponents {
  readonly table: NodeTable;
  readonly doubts: Doubts;
  readonly membership: Membership;
  readonly addressOf: (node: NodeId) => AddressText | undefined;
}

export class Probes {
  readonly #components: ProbesComponents;

  constructor(components: ProbesComponents) {
    this.#components = components;
  }

  /** False when the node cannot be dialled now. */
  begin(node: NodeId, now: number): boolean {
    const { membership, addressOf } = this.#components;
    const address = addressOf(node);
    if (address === undefined || !membership.attempts.isFit(address, now)) return false;
    membership.dial(address, 'probe');
    return true;
  }

  /** Packets pass both ways, whether or not its hello is delayed. */
  reached(address: AddressText, certified: NodeId | undefined): void {
    const { doubts, table } = this.#components;
    for (const index of this.#doubtfulAt(address))
      if (certified === undefined || certified === table.id(index)) doubts.answered(index);
  }

  failed(address: AddressText, now: number): void {
    const { doubts, membership } = this.#components;
    membership.dialFailed(address, now);
    for (const index of this.#doubtfulAt(address)) doubts.vain(index, now);
  }

  /** It is heard, probed or not. */
  answered(link: Link): void {
    const { doubts, table } = this.#components;
    doubts.answered(table.find(link.handle));
  }

  /**
   * Whatever the address was dialled for: in a small cluster, whose nodes are all neighbours, one that is doubted is missing
   * as a neighbour, too, and is dialled as such before a probe can be.
   */
  #doubtfulAt(address: AddressText): readonly number[] {
    const { doubts, table, addressOf } = this.#components;
    return doubts.doubtful().filter((index) => {
      const node = table.id(index);
      return node !== undefined && addressOf(node) === address;
    });
  }
}
