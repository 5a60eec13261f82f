/**
 * The row of this node: whom it hears, as it judges by itself at once, and as it tells everybody when that matters.
 *
 * Each telling reaches every node there is, so it has to be worth it. A loss is told now, as others wait for it to
 * know who died. A gain is told soon where a node may be out of reach without it, otherwise some time later: when a
 * starved node wakes, most of its neighbours have not given it up, and nobody needs to know that the others have it back.
 * If most have, it answers their rows itself, in one of its own (answers.ts), for which they wait a moment.
 * Whom it parts from by agreement stays in the row for a while, so that those that come in their place are told first: of a
 * contact that many nodes join at once, all neighbours change within milliseconds.
 * Invariants: what others are told of this node under one version is always the same; what is noted is told in the end,
 * unless it was undone meanwhile.
 */
import type { Random } from '../base/random.ts';
import type { Answer } from './answers.ts';
import { MAX_NEIGHBOURS, type NodeTable, type RowChange } from './nodes.ts';

/** For as long the edge to a node that was parted from counts: longer than a gain takes to be told everywhere. */
const PARTED_MS = 1_000;
/** Between two tellings of gains: newcomers come in crowds. */
const SOON_MS = 250;
/** Of a gain that nobody waits for, on average: long enough to go with another change, as a rule, where there are many. */
const LATER_MS = 20_000;
/** Edges of a node that both ends confirm, with which one more is not urgent: two may go at the same time. */
const ENOUGH = 3;
/** All neighbours of a node notice its return at once: the first ones of its own row tell of it, the others wait for them. */
const FIRST = 4;
const OTHERS_MS = 120;
/** The same where the node itself, stalled until now, is expected to say that it is back. */
const RETURN_MS = 80;
const RETURN_OTHERS_MS = 160;
/** A node that missed this much of the time may have been given up for it. */
const STALL_MS = 300;
/** After that, neighbours' rows that do not name it are of before its return. */
const STALLED_MS = 1_000;
/** With fewer edges left it answers now: a few more may break the next moment. */
const MANY = 5;
/** Answers to several neighbours go together: what they said meanwhile comes within a few round trips. */
const GATHER_MS = 20;
const ANSWER_SPACING_MS = 60;
/** Who says it is back, but is not heard, may have lost a packet or two. */
const UNHEARD_MS = 700;
/** Of a gain that the node itself has told: for those who got that from an older version, which leaves out answers. */
const MUCH_LATER_MS = 30_000;

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
  #toldAnswers: readonly Answer[] = [];
  #toldAt = -Infinity;
  /** Neighbours no longer, by agreement, and until when the row still has them. */
  readonly #parted = new Map<number, number>();
  #partedAt = Infinity;
  /** Left out of the row since they fell silent. */
  readonly #denied = new Set<number>();
  /** Neighbours' rows to answer, by neighbour. */
  readonly #answers = new Map<number, Answer>();
  #wokeAt = -Infinity;
  /** When to tell what was noted since, by how urgent it is. */
  #urgentAt = Infinity;
  #laterAt = Infinity;
  #answerAt = Infinity;

  constructor(components: OwnRowComponents, init: { readonly index: number; readonly epoch: number }) {
    this.#components = components;
    this.#index = init.index;
    this.#epoch = init.epoch;
    const { epoch } = init;
    components.table.set(this.#index, { epoch, sequence: 0, neighbours: [], failed: '', answers: [] });
    components.table.tell(this.#index);
  }

  /** When to tell; Infinity = nothing is noted that was not told. */
  get tellAt(): number {
    return Math.min(this.#urgentAt, this.#answerAt, this.#laterAt, this.#partedAt);
  }

  /** As of a new start. */
  raise(epoch: number, now: number): void {
    this.#epoch = epoch;
    this.#urgentAt = now;
  }

  /** This node hears `neighbours` and fails to reach `failed`, though others can. `parted`: neighbours until now. */
  note(neighbours: readonly number[], failed: string, now: number, parted: readonly number[] = []): void {
    const { table, set } = this.#components;
    for (const index of parted) if (this.#told.includes(index)) this.#parted.set(index, now + PARTED_MS);
    for (const index of neighbours) this.#parted.delete(index);
    this.#partedAt = Math.min(Infinity, ...this.#parted.values());
    const next = [...neighbours, ...this.#parted.keys()].slice(0, MAX_NEIGHBOURS);
    if (isSameSet(next, this.#held()) && failed === table.failedOf(this.#index)) return;
    // Before the row changes: what it names is reached.
    const isUrgent = this.#areUrgent(this.#openOf(next), next);
    const isLoss = this.#held().some((index) => !next.includes(index) && this.#isStated(index));
    const [epoch, sequence] = [table.epoch(this.#index), table.sequence(this.#index)];
    set({ epoch, sequence, neighbours: next, failed, answers: this.#toldAnswers });
    if (isLoss) this.#urgentAt = now;
    else this.#arrange(isUrgent, now);
  }

  /** Rows of other nodes have changed: what was not urgent may be, or no longer. */
  reconsider(now: number): void {
    if (this.tellAt === Infinity && !this.#hasUnheard()) return;
    const held = this.#held();
    this.#arrange(this.#areUrgent(this.#openOf(held), held), now);
  }

  /** After `lagMs` without running. */
  woke(lagMs: number, now: number): void {
    if (lagMs >= STALL_MS) this.#wokeAt = now;
  }

  /** The row of a neighbour that is heard has ceased to name this node. */
  answer(index: number, now: number): void {
    const { table } = this.#components;
    if (now - this.#wokeAt > STALLED_MS || !this.#held().includes(index)) return;
    this.#answers.set(index, { index, epoch: table.epoch(index), sequence: table.sequence(index) });
    const edges = this.#told.filter((each) => table.names(each, this.#index)).length;
    if (edges >= MANY) return;
    this.#answerAt = Math.min(this.#answerAt, Math.max(now + GATHER_MS, this.#toldAt + ANSWER_SPACING_MS));
  }

  /** True when it is time to tell everyone, as `table.row` does from now on. */
  tell(now: number): boolean {
    if (now < this.tellAt) return false;
    const { table, set } = this.#components;
    const held = this.#held().filter((index) => !((this.#parted.get(index) ?? Infinity) <= now));
    for (const index of this.#told) if (!held.includes(index)) this.#parted.delete(index);
    this.#partedAt = Math.min(Infinity, ...this.#parted.values());
    this.#urgentAt = this.#answerAt = this.#laterAt = Infinity;
    const [neighbours, failed, answers] = [held, table.failedOf(this.#index), this.#validAnswers()];
    const isNewStart = table.epoch(this.#index) !== this.#epoch;
    if (
      !isNewStart &&
      failed === this.#toldFailed &&
      isSameSet(neighbours, this.#told) &&
      !this.#hasUnheard() &&
      answers.every((answer) => this.#toldAnswers.includes(answer))
    )
      return false;
    const sequence = isNewStart ? 1 : table.sequence(this.#index) + 1;
    set({ epoch: this.#epoch, sequence, neighbours, failed, answers });
    table.tell(this.#index);
    for (const index of this.#told) if (!neighbours.includes(index)) this.#denied.add(index);
    for (const index of this.#denied)
      if (neighbours.includes(index) || this.#denied.size > MAX_NEIGHBOURS) this.#denied.delete(index);
    this.#told = neighbours;
    this.#toldFailed = failed;
    this.#toldAnswers = answers;
    this.#toldAt = now;
    return true;
  }

  #arrange(isUrgent: boolean, now: number): void {
    const { table, random } = this.#components;
    const isNewStart = table.epoch(this.#index) !== this.#epoch;
    const held = this.#held();
    if (isNewStart || this.#told.some((index) => !held.includes(index))) this.#urgentAt = now;
    else if (this.#hasUnheard()) this.#urgentAt = Math.min(this.#urgentAt, now + UNHEARD_MS);
    else if (isUrgent || table.failedOf(this.#index) !== this.#toldFailed) {
      const waitMs = this.#waitMs(this.#openOf(held));
      this.#urgentAt = Math.min(this.#urgentAt, Math.max(now + waitMs, this.#toldAt + SOON_MS));
    } else {
      this.#urgentAt = Infinity;
      const laterMs = this.#openOf(held).length > 0 ? LATER_MS : MUCH_LATER_MS;
      this.#laterAt = Math.min(this.#laterAt, now + laterMs * (0.5 + random.next()));
    }
  }

  /** Others take it for a neighbour of this node: it was told, or that node answers what was told. */
  #isStated(index: number): boolean {
    return this.#told.includes(index) || this.#components.table.answering(this.#index).includes(index);
  }

  /** Those of `next` that others do not take for neighbours of this node. */
  #openOf(next: readonly number[]): number[] {
    return next.filter((index) => !this.#isStated(index));
  }

  /** Some node that was left out answers that it is back, and is not heard. */
  #hasUnheard(): boolean {
    const answering = this.#components.table.answering(this.#index);
    if (answering.length === 0) return false;
    const held = this.#held();
    return answering.some((index) => !held.includes(index));
  }

  /** Answers to rows that are still the latest, and still do not name this node. */
  #validAnswers(): Answer[] {
    const { table } = this.#components;
    const held = this.#held();
    for (const { index, epoch, sequence } of this.#answers.values())
      if (
        !held.includes(index) ||
        table.compare(index, epoch, sequence) !== 0 ||
        table.names(index, this.#index)
      )
        this.#answers.delete(index);
    return Array.from(this.#answers.values());
  }

  /** So that others, or the nodes themselves, may tell of `gained` first. */
  #waitMs(gained: readonly number[]): number {
    const leaves = this.#leavesToOthers(gained);
    if (gained.length === 0 || !gained.every((index) => this.#denied.has(index)))
      return leaves ? OTHERS_MS : 0;
    return leaves ? RETURN_OTHERS_MS : RETURN_MS;
  }

  /** Without one of `gained`, it or this node may be out of reach for others. */
  #areUrgent(gained: readonly number[], held: readonly number[]): boolean {
    if (gained.length === 0) return false;
    const { table, isReached } = this.#components;
    const own = this.#told.filter(
      (index) => held.includes(index) && !this.#parted.has(index) && table.lists(index, this.#index),
    );
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
