/**
 * The row of this node: whom it hears, as it judges by itself at once, and as it tells everybody when that matters.
 *
 * Each telling reaches every node there is, so it has to be worth it. A loss is told now, as others wait for it to
 * know who died. A gain is told soon where a node may be out of reach without it, otherwise some time later: when a
 * starved node wakes, most of its neighbours have not given it up, and nobody needs to know that the others have it back.
 * Invariants: what others are told of this node under one version is always the same; what is noted is told in the end,
 * unless it was undone meanwhile.
 */
import type { Random } from '../base/random.ts';
import { MAX_NEIGHBOURS, type NodeTable, type RowChange } from './nodes.ts';

/** Between two tellings of gains: newcomers come in crowds. */
const SOON_MS = 250;
/** Of a gain that nobody waits for, on average: long enough to go with another change, as a rule, where there are many. */
const LATER_MS = 10_000;
/** Edges of a node that both ends confirm, with which one more is not urgent: two may go at the same time. */
const ENOUGH = 3;
/** All neighbours of a node notice its return at once: the first ones of its own row tell of it, the others wait for them. */
const FIRST = 4;
const OTHERS_MS = 120;

interface OwnRowComponents {
  readonly random: Random;
  readonly table: NodeTable;
  /** Changes the row as this node itself judges by it. */
  readonly set: (row: RowChange) => void;
  readonly isReached: (index: number) => boolean;
}

export class OwnRow {
  readonly #components: OwnRowComponents;
  readonly #index: number;
  #epoch: number;
  /** As told last. */
  #told: readonly number[] = [];
  #toldFailed = '';
  #toldAt = -Infinity;
  /** When to tell what was noted since, by how urgent it is. */
  #urgentAt = Infinity;
  #laterAt = Infinity;

  constructor(components: OwnRowComponents, init: { readonly index: number; readonly epoch: number }) {
    this.#components = components;
    this.#index = init.index;
    this.#epoch = init.epoch;
    components.table.set(this.#index, { epoch: init.epoch, sequence: 0, neighbours: [], failed: '' });
    components.table.tell(this.#index);
  }

  /** When to tell; Infinity = nothing is noted that was not told. */
  get tellAt(): number {
    return Math.min(this.#urgentAt, this.#laterAt);
  }

  /** As of a new start. */
  raise(epoch: number, now: number): void {
    this.#epoch = epoch;
    this.#urgentAt = now;
  }

  /** This node hears `neighbours` and fails to reach `failed`, though others can. */
  note(neighbours: readonly number[], failed: string, now: number): void {
    const { table, set } = this.#components;
    const next = neighbours.slice(0, MAX_NEIGHBOURS);
    if (isSameSet(next, this.#held()) && failed === table.failedOf(this.#index)) return;
    // Before the row changes: what it names is reached.
    const isUrgent = this.#areUrgent(this.#gainedBy(next), next);
    const [epoch, sequence] = [table.epoch(this.#index), table.sequence(this.#index)];
    set({ epoch, sequence, neighbours: next, failed });
    this.#arrange(isUrgent, now);
  }

  /** Rows of other nodes have changed: what was not urgent may be, or no longer. */
  reconsider(now: number): void {
    if (this.tellAt === Infinity) return;
    const held = this.#held();
    this.#arrange(this.#areUrgent(this.#gainedBy(held), held), now);
  }

  /** True when it is time to tell everyone, as `table.row` does from now on. */
  tell(now: number): boolean {
    if (now < this.tellAt) return false;
    const { table, set } = this.#components;
    this.#urgentAt = this.#laterAt = Infinity;
    const [neighbours, failed] = [this.#held(), table.failedOf(this.#index)];
    const isNewStart = table.epoch(this.#index) !== this.#epoch;
    if (!isNewStart && failed === this.#toldFailed && isSameSet(neighbours, this.#told)) return false;
    const sequence = isNewStart ? 1 : table.sequence(this.#index) + 1;
    set({ epoch: this.#epoch, sequence, neighbours, failed });
    table.tell(this.#index);
    this.#told = neighbours;
    this.#toldFailed = failed;
    this.#toldAt = now;
    return true;
  }

  #arrange(isUrgent: boolean, now: number): void {
    const { table, random } = this.#components;
    const isNewStart = table.epoch(this.#index) !== this.#epoch;
    const held = this.#held();
    if (isNewStart || this.#told.some((index) => !held.includes(index))) this.#urgentAt = now;
    else if (isUrgent || table.failedOf(this.#index) !== this.#toldFailed) {
      const waitMs = this.#leavesToOthers(this.#gainedBy(held)) ? OTHERS_MS : 0;
      this.#urgentAt = Math.min(this.#urgentAt, Math.max(now + waitMs, this.#toldAt + SOON_MS));
    } else {
      this.#urgentAt = Infinity;
      this.#laterAt = Math.min(this.#laterAt, now + LATER_MS * (0.5 + random.next()));
    }
  }

  /** Those of `next` that were not told. */
  #gainedBy(next: readonly number[]): number[] {
    return next.filter((index) => !this.#told.includes(index));
  }

  /** Without one of `gained`, it or this node may be out of reach for others. */
  #areUrgent(gained: readonly number[], held: readonly number[]): boolean {
    if (gained.length === 0) return false;
    const { table, isReached } = this.#components;
    const own = this.#told.filter((index) => held.includes(index) && table.lists(index, this.#index));
    return own.length < ENOUGH || gained.some((index) => !isReached(index) || this.#edges(index) < ENOUGH);
  }

  /** Each of `gained` has others among its neighbours that tell of it first. */
  #leavesToOthers(gained: readonly number[]): boolean {
    return gained.length > 0 && gained.every((index) => this.#rank(index) >= FIRST);
  }

  /** This node's place among the neighbours of another. */
  #rank(index: number): number {
    const { table } = this.#components;
    for (let at = 0; at < table.count(index); at++) if (table.neighbour(index, at) === this.#index) return at;
    return 0;
  }

  /** Confirmed edges of another node that do not lead here. */
  #edges(index: number): number {
    const { table } = this.#components;
    let count = 0;
    for (let at = 0; at < table.count(index); at++) {
      const other = table.neighbour(index, at);
      if (other !== this.#index && table.lists(other, index)) count++;
    }
    return count;
  }

  /** The neighbours of the row as this node judges by it. */
  #held(): number[] {
    const { table } = this.#components;
    return Array.from({ length: table.count(this.#index) }, (_, at) => table.neighbour(this.#index, at));
  }
}

function isSameSet(some: readonly number[], others: readonly number[]): boolean {
  return some.length === others.length && some.every((each) => others.includes(each));
}
