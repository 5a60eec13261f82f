/**
 * What nodes answer to rows that have ceased to name them.
 *
 * A node that was stalled is left out by each of its neighbours in a row of its own. When it is back it says so itself, in
 * one row: "the rows of these neighbours, up to these versions, are wrong about me". Otherwise all of those would have to
 * be told again, and until most were, the node hung on a few edges.
 * An answer holds up to the version it names: a neighbour that does not hear the node after all tells a newer row.
 * Invariants: what holds follows from the two rows alone, whatever the order in which they came.
 */

/** The row of `index` up to this version. */
export interface Answer {
  readonly index: number;
  readonly epoch: number;
  readonly sequence: number;
}

const none: readonly Answer[] = [];

export class Answers {
  readonly #by = new Map<number, readonly Answer[]>();
  /** By the node whose row is answered, then by who answers. */
  readonly #to = new Map<number, Map<number, Answer>>();

  /** Those that the latest row of a node has. */
  by(index: number): readonly Answer[] {
    return this.#by.get(index) ?? none;
  }

  set(index: number, answers: readonly Answer[]): void {
    for (const before of this.by(index)) {
      const others = this.#to.get(before.index);
      others?.delete(index);
      if (others?.size === 0) this.#to.delete(before.index);
    }
    if (answers.length === 0) this.#by.delete(index);
    else this.#by.set(index, answers);
    for (const answer of answers) {
      const others = this.#to.get(answer.index) ?? new Map<number, Answer>();
      this.#to.set(answer.index, others.set(index, answer));
    }
  }

  /** Who answers the row of `index`, if it has this version. */
  to(index: number, epoch: number, sequence: number): number[] {
    const found: number[] = [];
    for (const [by, answer] of this.#to.get(index) ?? []) if (holds(answer, epoch, sequence)) found.push(by);
    return found;
  }
}

/** For a row of this version. */
export function holds(answer: Answer, epoch: number, sequence: number): boolean {
  return (answer.epoch - epoch || answer.sequence - sequence) >= 0;
}
