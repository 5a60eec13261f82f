/**
 * Nodes that others reach and this one does not: asymmetric partitions.
 *
 * A path over others says that a node lives, not that packets from here get to it. So a neighbour that fell silent here
 * but not elsewhere is dialled anew, and so is, at a bounded rate, whom another node reports in its row as failing.
 * Several attempts in vain, more where packets are lost, make it unreachable for this viewer, who reports it in turn.
 * Having failed to reach one node, a viewer tries all others too, since whatever cuts it off from one cuts it off from
 * that one's neighbours in the rack.
 * Invariants: an answer, or any frame, ends the doubt; nothing is concluded about nodes without a path.
 */
import { randomBelow, type Random } from '../base/random.ts';
import type { NodeId } from '../model/names.ts';
import type { Links } from './links.ts';
import { MAX_NEIGHBOURS, type Handle, type NodeTable } from './nodes.ts';

/** Silence of a neighbour that others hear, before it is dialled. */
const SILENT_MS = 1_500;
/** Packets are lost, and so are attempts: one in four with a peer that loses every other packet. */
const ATTEMPTS = 4;
/** When most neighbours are this late, it is this node that loses packets. */
const LOSSY_LATE_MS = 150;
const LOSSY_ATTEMPTS = 8;
const STEP_MS = 500;
/** A failing node is dialled again this often. */
const AGAIN_MS = 5_000;
const SWEEP_MS = 300_000;
const MAX_WAITING = 1_024;
/** Reports reach everybody at once: who acts on them when is spread over this, per node of the cluster. */
const SPREAD_PER_NODE_MS = 20;

export interface DoubtsComponents {
  readonly random: Random;
  readonly links: Links;
  readonly table: NodeTable;
  /** Dials the node to see whether it answers; false when that is not possible now. */
  readonly probe: (node: NodeId) => boolean;
}

export class Doubts {
  readonly #components: DoubtsComponents;
  readonly #isReached: (index: number) => boolean;
  /** When to dial a doubtful node next, and how often that was in vain. */
  readonly #doubtful = new Map<number, { at: number; failures: number }>();
  readonly #failed = new Set<number>();
  /** Answered when they were doubted: these lose packets rather than all of them. */
  readonly #fickle = new Set<number>();
  #sweep: number[] = [];
  #sweptAt = -Infinity;
  #nextAt = 0;
  /** Nodes that fail, or do so no more, unlike at the last `takeChanged`. */
  readonly #changed = new Set<number>();

  constructor(components: DoubtsComponents, tree: { readonly isReached: (index: number) => boolean }) {
    this.#components = components;
    this.#isReached = tree.isReached;
  }

  get dueAt(): number {
    return this.#doubtful.size + this.#sweep.length > 0 || this.#hasSilent() ? this.#nextAt : Infinity;
  }

  isFailed(index: number): boolean {
    return this.#failed.has(index);
  }

  takeChanged(): number[] {
    if (this.#changed.size === 0) return [];
    const changed = Array.from(this.#changed);
    this.#changed.clear();
    return changed;
  }

  /** Handles of the nodes that fail, for the own row; some of them when they are many. */
  failedHandles(): string {
    const { table } = this.#components;
    return Array.from(this.#failed)
      .slice(-MAX_NEIGHBOURS)
      .map((index) => table.handle(index))
      .join('');
  }

  /** Nodes that are dialled, or about to be, to see whether they answer. */
  doubtful(): readonly number[] {
    return Array.from(this.#doubtful.keys());
  }

  /** Another node cannot reach these. */
  reported(handles: readonly Handle[], now: number): void {
    const { random, table } = this.#components;
    for (const handle of handles) {
      const index = table.find(handle);
      if (index <= 0 || this.#doubtful.has(index) || this.#doubtful.size >= MAX_WAITING) continue;
      const at = now + random.next() * table.size * SPREAD_PER_NODE_MS;
      this.#doubtful.set(index, { at, failures: 0 });
    }
  }

  answered(index: number): void {
    if (this.#doubtful.has(index)) this.#fickle.add(index);
    this.#end(index);
  }

  #end(index: number): void {
    this.#doubtful.delete(index);
    if (this.#failed.delete(index)) this.#changed.add(index);
  }

  vain(index: number, now: number): void {
    const doubt = this.#doubtful.get(index);
    if (doubt === undefined) return;
    doubt.failures++;
    const attempts = this.#attempts(index);
    doubt.at = now + (doubt.failures < attempts ? STEP_MS : AGAIN_MS);
    if (!this.#isReached(index)) this.#end(index);
    else if (doubt.failures >= attempts && !this.#failed.has(index)) {
      this.#failed.add(index);
      this.#changed.add(index);
      this.#openSweep(now);
    }
  }

  tick(now: number): void {
    if (now < this.dueAt) return;
    this.#nextAt = now + STEP_MS * (0.75 + this.#components.random.next() / 2);
    this.#noticeSilent(now);
    for (const [index, doubt] of this.#doubtful)
      if (now >= doubt.at) {
        doubt.at = now + AGAIN_MS;
        return this.#dial(index);
      }
    const next = this.#sweep.pop();
    if (next !== undefined && !this.#doubtful.has(next)) this.#doubtful.set(next, { at: now, failures: 0 });
  }

  #dial(index: number): void {
    const node = this.#components.table.id(index);
    if (node === undefined || !this.#isReached(index)) return this.#end(index);
    // A link that is heard is an answer.
    const link = this.#components.links.ofNode(node);
    if (link !== undefined && !link.isLost) return this.answered(index);
    this.#components.probe(node);
  }

  #attempts(index: number): number {
    if (this.#losesPackets(index)) return LOSSY_ATTEMPTS;
    const neighbours = this.#components.links.neighbours();
    const late = neighbours.filter(({ lateMs }) => lateMs > LOSSY_LATE_MS).length;
    return late > neighbours.length / 2 ? LOSSY_ATTEMPTS : ATTEMPTS;
  }

  /** What it says does not always arrive elsewhere either. */
  #losesPackets(index: number): boolean {
    if (this.#fickle.has(index)) return true;
    const { table } = this.#components;
    for (let at = 0; at < table.count(index); at++) {
      const other = table.neighbour(index, at);
      if (other > 0 && table.hasRow(other) && !table.lists(other, index)) return true;
    }
    return false;
  }

  #hasSilent(): boolean {
    return this.#components.links.hasLost;
  }

  #noticeSilent(now: number): void {
    const { links, table } = this.#components;
    for (const link of links.active()) {
      if (!link.isLost || now - link.lostAt < SILENT_MS) continue;
      const index = table.find(link.handle);
      if (this.#isReached(index) && !this.#doubtful.has(index))
        this.#doubtful.set(index, { at: now, failures: 0 });
    }
  }

  /** Every other node once, in random order. */
  #openSweep(now: number): void {
    if (now - this.#sweptAt < SWEEP_MS) return;
    this.#sweptAt = now;
    const { random, table } = this.#components;
    this.#sweep = Array.from(table.known(), ([index]) => index).filter((index) => !this.#failed.has(index));
    for (let i = this.#sweep.length - 1; i > 0; i--) {
      const j = randomBelow(random, i + 1);
      [this.#sweep[i], this.#sweep[j]] = [this.#sweep[j] as number, this.#sweep[i] as number];
    }
  }
}
