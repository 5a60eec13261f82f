/**
 * Which nodes there is a path to, over edges that both ends confirm.
 *
 * Keeps a spanning tree from this node outwards. A row that changes costs what hangs on the edges it takes away, a
 * handful of nodes as a rule, instead of a walk over all; the slow obvious walk is the oracle beside the test.
 * The root's own word is enough for its edges: it hears those neighbours itself, while their rows, which will confirm it,
 * may still be on their way.
 * Invariants: a node is reached when it has a parent; a parent is always a confirmed neighbour that is reached.
 */
import type { NodeTable } from './nodes.ts';

const NONE = -1;
const FIRST_CAPACITY = 16;

export class ReachTree {
  readonly #table: NodeTable;
  readonly #root: number;
  #parents = new Int32Array(FIRST_CAPACITY).fill(NONE);
  /** As of the last `takeChanged`: 1 = reached. Most nodes that lose their parent are given another at once. */
  #told = new Uint8Array(FIRST_CAPACITY);
  readonly #changed = new Set<number>();

  constructor(table: NodeTable, root: number) {
    this.#table = table;
    this.#root = root;
    this.#parents[root] = root;
    this.#told[root] = 1;
  }

  isReached(index: number): boolean {
    return (this.#parents[index] ?? NONE) !== NONE;
  }

  /** Nodes that are reached, or not, unlike at the last call. */
  takeChanged(): number[] {
    if (this.#changed.size === 0) return [];
    const changed: number[] = [];
    for (const index of this.#changed) {
      const state = this.isReached(index) ? 1 : 0;
      if (this.#told[index] === state) continue;
      this.#told[index] = state;
      changed.push(index);
    }
    this.#changed.clear();
    return changed;
  }

  /** Before the table takes the node's new row: cuts what hung on edges that the row does not name. */
  cut(index: number, next: readonly number[]): number[] {
    this.#reserve();
    const orphans: number[] = [];
    for (let at = 0; at < this.#table.count(index); at++) {
      const other = this.#table.neighbour(index, at);
      if (next.includes(other)) continue;
      if (this.#parents[other] === index && other !== this.#root) this.#orphan(other, orphans);
      else if (this.#parents[index] === other && other !== this.#root) this.#orphan(index, orphans);
    }
    return orphans;
  }

  /** After the table took it: gives orphans new parents where there are any, and follows the node's new edges. */
  mend(index: number, orphans: readonly number[]): void {
    this.#reserve();
    const reached: number[] = [];
    for (const orphan of orphans) this.#adopt(orphan, reached);
    if (this.isReached(index)) reached.push(index);
    else this.#adopt(index, reached);
    this.#spread(reached);
  }

  /** Takes the subtree at `root` out of the tree. */
  #orphan(root: number, orphans: number[]): void {
    const from = orphans.length;
    this.#take(root, orphans);
    for (let i = from; i < orphans.length; i++) {
      const parent = orphans[i] as number;
      for (let at = 0; at < this.#table.count(parent); at++) {
        const child = this.#table.neighbour(parent, at);
        if (this.#parents[child] === parent && child !== this.#root) this.#take(child, orphans);
      }
    }
  }

  #adopt(index: number, reached: number[]): void {
    if (this.isReached(index)) return;
    if (this.#table.lists(this.#root, index)) return this.#give(index, this.#root, reached);
    for (let at = 0; at < this.#table.count(index); at++) {
      const other = this.#table.neighbour(index, at);
      if (other === this.#root || !this.isReached(other) || !this.#table.lists(other, index)) continue;
      return this.#give(index, other, reached);
    }
  }

  #spread(from: number[]): void {
    const queue = from;
    for (let i = 0; i < queue.length; i++) {
      const index = queue[i] as number;
      for (let at = 0; at < this.#table.count(index); at++) {
        const other = this.#table.neighbour(index, at);
        if (this.isReached(other)) continue;
        if (index === this.#root || this.#table.lists(other, index)) this.#give(other, index, queue);
      }
    }
  }

  #take(index: number, orphans: number[]): void {
    this.#parents[index] = NONE;
    this.#changed.add(index);
    orphans.push(index);
  }

  #give(index: number, parent: number, reached: number[]): void {
    this.#parents[index] = parent;
    this.#changed.add(index);
    reached.push(index);
  }

  #reserve(): void {
    const { size } = this.#table;
    if (size <= this.#parents.length) return;
    const grown = new Int32Array(Math.max(size, this.#parents.length * 2)).fill(NONE);
    grown.set(this.#parents);
    this.#parents = grown;
    const told = new Uint8Array(grown.length);
    told.set(this.#told);
    this.#told = told;
  }
}
