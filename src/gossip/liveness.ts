/**
 * Who is alive, as seen from here.
 *
 * Every node gives up neighbours that fall silent (silence.ts), and publishes the list of those it hears: its row. A node
 * is reachable while there is a path to it over edges that both ends confirm. So one accuser, starved or cut off, harms
 * nobody: it takes all neighbours of a node to make it unreachable, and losing the masters marks no one.
 * What a viewer fails to reach itself although others can is doubts.ts.
 * Invariants: rows are ordered by (epoch, sequence); nobody is judged while the fault may be this node's own (patience.ts).
 */
import type { NodeId } from '../model/names.ts';
import type { Answer } from './answers.ts';
import { Doubts } from './doubts.ts';
import type { AddressText, Link } from './links.ts';
import { handleOf, SELF, splitHandles, type AnswerRow, type Row, type RowChange } from './nodes.ts';
import { OwnRow } from './own-row.ts';
import { rowFrames } from './paging.ts';
import { Patience } from './patience.ts';
import { ReachTable } from './reach.ts';
import { ReachTree } from './reach-tree.ts';
import { Silence, type SilenceComponents } from './silence.ts';

/**
 * Starts that one row may be ahead of what is known: rows are not signed, and a node that took up an invented epoch near
 * the end of all numbers could never say anything newer again.
 */
const MAX_EPOCH_STEP = 2 ** 20;
/** Time for the row of a node that was just heard of to come. */
const UNHEARD_MS = 5_000;

export interface LivenessComponents extends SilenceComponents {
  readonly addressOf: (node: NodeId) => AddressText | undefined;
  readonly probe: (node: NodeId) => boolean;
  /** Others know of a later start of this node than it does. */
  readonly raiseEpoch: (epoch: number) => void;
}

export class Liveness {
  readonly reach = new ReachTable();
  readonly doubts: Doubts;
  readonly silence: Silence;
  readonly #components: LivenessComponents;
  readonly #tree: ReachTree;
  /** Never reached so far, since when they are known. */
  readonly #unheard = new Map<number, number>();
  readonly #toJudge = new Set<number>();
  readonly #patience = new Patience();
  readonly #own: OwnRow;
  #seenVersion = 0;
  /** Nodes that were called unreachable and had been running all the while. */
  falseSuspicions = 0;
  readonly #epochWhenLost = new Map<number, number>();

  /** `table` is empty: its first entry becomes this node itself. */
  constructor(components: LivenessComponents, init: { readonly node: NodeId; readonly epoch: number }) {
    this.#components = components;
    const { random, table } = components;
    table.index(handleOf(init.node));
    this.#tree = new ReachTree(table, SELF);
    const isReached = (index: number): boolean => this.#tree.isReached(index);
    const set = (row: RowChange): void => this.#set(SELF, row);
    this.#own = new OwnRow({ random, table, set, isReached }, { index: SELF, epoch: init.epoch });
    this.doubts = new Doubts(components, { isReached });
    this.silence = new Silence(components);
  }

  get dueAt(): number {
    const judgeAt = this.#toJudge.size > 0 ? this.#patience.until : Infinity;
    return Math.min(this.silence.dueAt, this.#own.tellAt, this.doubts.dueAt, judgeAt);
  }

  /** Not known means not hidden. */
  isReachable(index: number): boolean {
    const node = this.#components.table.id(index);
    return node === undefined || this.reach.get(node)?.state !== 'unreachable';
  }

  /** At the first step: what is known is of an earlier start. */
  started(now: number): void {
    this.#patience.started(now);
    for (const index of this.#unheard.keys()) this.#unheard.set(index, now);
  }

  /** A node has a record of its own. */
  learn(node: NodeId, now: number): void {
    const { table } = this.#components;
    const index = table.index(handleOf(node));
    if (index <= SELF || table.id(index) === node || table.epoch(index) === Infinity) return;
    table.setId(index, node);
    if (this.#tree.isReached(index)) this.#toJudge.add(index);
    else this.#unheard.set(index, now);
  }

  /** Its record is gone, as it was withdrawn or of another cluster. */
  forget(node: NodeId): void {
    const { table } = this.#components;
    const index = table.find(handleOf(node));
    table.setId(index, undefined);
    this.#unheard.delete(index);
    this.reach.forget(node);
  }

  /** It was removed from the cluster. */
  bar(node: NodeId): void {
    const { table } = this.#components;
    const index = table.index(handleOf(node));
    if (index <= SELF) return;
    this.forget(node);
    const orphans = this.#tree.cut(index, []);
    table.bar(index);
    this.#tree.mend(index, orphans);
  }

  /** After `lagMs` without running. */
  woke(lagMs: number, now: number): void {
    this.#patience.woke(lagMs, now);
    this.#own.woke(lagMs, now);
    this.silence.woke(lagMs, now);
  }

  /** The neighbours of this node as a new start: its epoch has risen. */
  raise(epoch: number, now: number): void {
    this.#own.raise(epoch, now);
  }

  tick(now: number): void {
    if (this.silence.tick(now))
      for (const [index, since] of this.#unheard) if (now - since >= UNHEARD_MS) this.#toJudge.add(index);
    this.doubts.tick(now);
  }

  /** At the end of each step: notes and publishes what has changed of this node's neighbours, and judges whom that concerns. */
  settle(now: number): readonly NodeId[] {
    const { links } = this.#components;
    const doubted = this.doubts.takeChanged();
    for (const index of doubted) this.#toJudge.add(index);
    if (links.version !== this.#seenVersion || doubted.length > 0) {
      this.#seenVersion = links.version;
      this.#note(links.neighbours(), now);
      this.#patience.neighbours(links.neighbours().length, now);
      for (const link of links.active()) this.#toJudge.add(this.#components.table.find(link.handle));
    }
    if (this.#own.tell(now))
      this.#components.spread.rows([[SELF, this.#components.table.row(SELF)]], undefined, now);
    for (const index of this.#tree.takeChanged()) {
      this.#toJudge.add(index);
      if (!this.#tree.isReached(index)) this.#patience.lost(now);
    }
    return this.#judge(now);
  }

  takeRows(link: Link, rows: readonly Row[], now: number): void {
    const news: (readonly [number, Row])[] = [];
    for (const row of rows) {
      const index = this.#takeRow(link, row, now);
      if (index !== undefined) news.push([index, row]);
    }
    this.#components.spread.rows(news, link, now);
    if (rows.length > 0 && news.length === 0) this.#components.spread.duplicate(link);
    if (news.length === 0) return;
    this.#own.reconsider(now);
    this.silence.reconsider(
      news.map(([index]) => index),
      now,
    );
  }

  #takeRow(link: Link, row: Row, now: number): number | undefined {
    const { table, spread, outbox } = this.#components;
    const [handle, epoch, sequence, neighbours, failed = '', answers = []] = row;
    const index = table.index(handle);
    if (index < 0) return undefined;
    const order = table.compare(index, epoch, sequence);
    if (table.hasRow(index) && epoch - table.epoch(index) > MAX_EPOCH_STEP) return undefined;
    if (index === SELF) {
      // Others hold what this node cannot have said since its start: its disk was set back.
      if (order < 0) this.#reclaim(epoch, now);
      return undefined;
    }
    if (order >= 0) {
      if (order === 0) spread.knowsRow(link, index);
      else if (handle === link.handle) outbox.frames(link, rowFrames(table, [index]));
      return undefined;
    }
    const wasNamed = table.lists(index, SELF);
    this.#set(index, {
      epoch,
      sequence,
      neighbours: table.indices(index, neighbours),
      failed,
      answers: this.#answers(answers),
    });
    table.said(index, now);
    if (wasNamed !== table.lists(index, SELF)) this.#named(index, !wasNamed, now);
    if (failed !== '') this.doubts.reported(splitHandles(failed) ?? [], now);
    return index;
  }

  /**
   * A neighbour that is heard and ceases to name this node, which has been running all the while, does not hear it: others
   * are looked for before all neighbours wait at the same time. After a stall, or when the way there was cut, they have
   * given it up with good reason, and say late that they have it back.
   */
  #named(index: number, isNamed: boolean, now: number): void {
    const { links, awake, seek, table } = this.#components;
    const link = links.ofHandle(table.handle(index));
    if (link === undefined) return;
    if (!isNamed) this.#own.answer(index, now);
    const isHeard = !link.isLost && now - link.regainedAt > UNHEARD_MS;
    link.isDeaf = !isNamed && isHeard && awake.strain === 0;
    if (link.isDeaf) seek(now);
  }

  #answers(rows: readonly AnswerRow[]): Answer[] {
    return rows.flatMap(([handle, epoch, sequence]) => {
      const index = this.#components.table.index(handle);
      return index < 0 ? [] : [{ index, epoch, sequence }];
    });
  }

  #set(index: number, row: RowChange): void {
    const orphans = this.#tree.cut(index, this.#components.table.edgesAfter(index, row));
    this.#components.table.set(index, row);
    this.#tree.mend(index, orphans);
  }

  #reclaim(epoch: number, now: number): void {
    this.#components.raiseEpoch(epoch + 1);
    this.raise(epoch + 1, now);
  }

  #note(neighbours: readonly Link[], now: number): void {
    const { table, links } = this.#components;
    const parted = links.takeParted().map((handle) => table.find(handle));
    const indices = new Set(
      neighbours.map(({ handle }) => table.index(handle)).filter((index) => index > SELF),
    );
    this.#own.note(Array.from(indices), this.doubts.failedHandles(), now, parted);
  }

  #judge(now: number): readonly NodeId[] {
    if (this.#toJudge.size === 0 || now < this.#patience.until) return [];
    const returned: NodeId[] = [];
    for (const index of this.#toJudge) {
      const node = this.#components.table.id(index);
      if (node === undefined || index === SELF) continue;
      const before = this.reach.get(node)?.state;
      const state = this.#stateOf(index, node, now);
      if (state === undefined || before === state) continue;
      if (before !== undefined || state !== 'alive') this.reach.judge(node, state, now);
      if (state === 'unreachable') this.#epochWhenLost.set(index, this.#components.table.epoch(index));
      if (before === 'unreachable') this.#wasWrong(index, node, returned);
    }
    this.#toJudge.clear();
    return returned;
  }

  #stateOf(index: number, node: NodeId, now: number): 'alive' | 'suspect' | 'unreachable' | undefined {
    const isReached = this.#tree.isReached(index);
    const unheardSince = this.#unheard.get(index);
    if (isReached) this.#unheard.delete(index);
    else if (unheardSince !== undefined && now - unheardSince < UNHEARD_MS) return undefined;
    if (!isReached || this.doubts.isFailed(index)) return 'unreachable';
    return this.#components.links.ofNode(node)?.isLost === true ? 'suspect' : 'alive';
  }

  #wasWrong(index: number, node: NodeId, returned: NodeId[]): void {
    returned.push(node);
    const epoch = this.#epochWhenLost.get(index);
    this.#epochWhenLost.delete(index);
    if (epoch !== undefined && epoch > 0 && epoch === this.#components.table.epoch(index))
      this.falseSuspicions++;
  }
}
