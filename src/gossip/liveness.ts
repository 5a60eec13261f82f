/**
 * Who is alive, as seen from here.
 *
 * Every node beats on its links, gives up neighbours that fall silent, and publishes the list of those it hears: its
 * row. A node is reachable while there is a path to it over edges that both ends confirm. So one accuser, starved or cut
 * off, harms nobody: it takes all neighbours of a node to make it unreachable, and losing the masters marks no one.
 * What a viewer fails to reach itself although others can is doubts.ts.
 * Invariants: silence is measured in awake time (awake.ts); a link that fell silent stays open and counts again with
 * the next frame, so that the return of a stalled node takes one message; rows are ordered by (epoch, sequence).
 */
import type { Random } from '../base/random.ts';
import type { NodeId } from '../model/names.ts';
import type { Answer } from './answers.ts';
import { areExchanged, encodeAside, isHeard, takeAside } from './asides.ts';
import type { AwakeTime } from './awake.ts';
import { beatFrame } from './codec.ts';
import { Doubts } from './doubts.ts';
import type { AddressText, Link, Links } from './links.ts';
import {
  handleOf,
  SELF,
  splitHandles,
  type AnswerRow,
  type NodeTable,
  type Row,
  type RowChange,
} from './nodes.ts';
import type { Outbox } from './outbox.ts';
import { OwnRow } from './own-row.ts';
import { rowFrames } from './paging.ts';
import { Patience } from './patience.ts';
import {
  ANSWER_MS,
  ASK_AFTER_MS,
  ASK_ASIDE_AFTER_MS,
  BEAT_MS,
  CONFIRMATIONS,
  MISSED_MS,
  nextBeatAt,
  nextLateness,
  silenceMs,
} from './pulse.ts';
import { ReachTable } from './reach.ts';
import { ReachTree } from './reach-tree.ts';
import type { Spread } from './spread.ts';

/** A silent connection is given up for good: TCP itself would go on trying for a quarter of an hour. */
const DEAD_MS = 20_000;
/**
 * Starts that one row may be ahead of what is known: rows are not signed, and a node that took up an invented epoch near
 * the end of all numbers could never say anything newer again.
 */
const MAX_EPOCH_STEP = 2 ** 20;
/** Time for the row of a node that was just heard of to come. */
const UNHEARD_MS = 5_000;
/** Neighbours of a dead node notice within less. Who has it back says so later, see own-row.ts. */
const SAID_MS = 2_000;

export interface LivenessComponents {
  readonly random: Random;
  readonly links: Links;
  readonly outbox: Outbox;
  readonly table: NodeTable;
  readonly spread: Spread;
  readonly awake: AwakeTime;
  /** The hash of everything that this node holds. */
  readonly held: () => string;
  readonly addressOf: (node: NodeId) => AddressText | undefined;
  readonly probe: (node: NodeId) => boolean;
  /** Hardly any neighbour is certain to be there: others should be looked for now. */
  readonly seek: (now: number) => void;
  /** Others know of a later start of this node than it does. */
  readonly raiseEpoch: (epoch: number) => void;
}

export class Liveness {
  readonly reach = new ReachTable();
  readonly doubts: Doubts;
  readonly #components: LivenessComponents;
  readonly #tree: ReachTree;
  /** Never reached so far, since when they are known. */
  readonly #unheard = new Map<number, number>();
  readonly #toJudge = new Set<number>();
  readonly #patience = new Patience();
  readonly #own: OwnRow;
  #seenVersion = 0;
  #beatAt = 0;
  #isOddBeat = false;
  #checkAt = 0;
  /** Some neighbour that was not asked yet is silent for so long that it should be. No time to wake up at. */
  #lateAt = Infinity;
  #isAnyAsked = false;
  /** After this node could not run, others are to notice at once that it is back. */
  #backUntil = -Infinity;
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
  }

  get dueAt(): number {
    const judgeAt = this.#toJudge.size > 0 ? this.#patience.until : Infinity;
    return Math.min(this.#beatAt, this.#checkAt, this.#own.tellAt, this.doubts.dueAt, judgeAt);
  }

  /** What came beside the streams is to be heard before anything happens then. */
  get hearAt(): number {
    return Math.min(this.#beatAt, this.#checkAt, this.#lateAt);
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
    if (lagMs > 0) this.#backUntil = now + BEAT_MS;
  }

  /** The neighbours of this node as a new start: its epoch has risen. */
  raise(epoch: number, now: number): void {
    this.#own.raise(epoch, now);
  }

  activated(link: Link, now: number): void {
    link.heardAt = this.#components.awake.at(now);
    link.lateMs = this.#usualLateness(link);
    link.askedAt = undefined;
    link.isDeaf = false;
  }

  /** Nothing is known yet of a new link but what the others are like: their median. */
  #usualLateness(fresh: Link): number {
    const others = this.#components.links.neighbours().filter((link) => link !== fresh);
    const late = others.map(({ lateMs }) => lateMs);
    return late.sort((a, b) => a - b)[late.length >> 1] ?? 0;
  }

  /** A frame has come; true when the link had been given up. */
  heard(link: Link, now: number): boolean {
    return this.#heard(link, this.#components.awake.at(now), now);
  }

  /** Something came beside the stream at the moment `cameAt`, when this node held `held`. */
  heardAside(link: Link, bytes: Uint8Array, held: string, cameAt: number, now: number): boolean {
    const at = this.#components.awake.at(cameAt);
    return takeAside(link, bytes, held, at) && this.#heard(link, Math.max(at, link.heardAt), now);
  }

  #heard(link: Link, at: number, now: number): boolean {
    // Beside the stream a loss is no lateness: how long it took to answer is.
    const asked = isHeard(link, at) ? link.askedAt : undefined;
    const gapMs = asked === undefined ? at - link.heardAt : BEAT_MS + at - asked;
    if (link.isActive) link.lateMs = nextLateness(link.lateMs, gapMs);
    link.heardAt = at;
    link.askedAt = undefined;
    if (!link.isLost) return false;
    this.#components.links.regain(link, now);
    return true;
  }

  tick(now: number): void {
    const isBeat = this.isBeatDue(now);
    if (isBeat) this.#beatAt = nextBeatAt(this.#beatAt, now, this.#components.random.next());
    if (isBeat || now >= this.#checkAt || now >= this.#lateAt) this.#check(now);
    if (isBeat) this.#beat(now);
    this.doubts.tick(now);
  }

  isBeatDue(now: number): boolean {
    return now >= this.#beatAt;
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
    for (const index of this.#tree.takeChanged()) this.#toJudge.add(index);
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
    if (this.#isAnyAsked && news.some(([index]) => this.#concernsAsked(index))) this.#checkAt = now;
  }

  /** Its row may confirm that a neighbour that was asked is silent. */
  #concernsAsked(index: number): boolean {
    const { links, table } = this.#components;
    return links.active().some((link) => {
      if (link.askedAt === undefined || link.isLost) return false;
      const peer = table.find(link.handle);
      return peer === index || table.lists(peer, index);
    });
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

  /**
   * Beside the stream to all links, on it to half of them: when this node dies, some of its neighbours notice early, and
   * the others then sooner. Whoever has something said to it anyhow, or hears what is said aside, needs no beat.
   */
  #beat(now: number): void {
    const { links, outbox, spread, awake } = this.#components;
    const at = awake.at(now);
    this.#isOddBeat = !this.#isOddBeat;
    const held = this.#components.held();
    for (const link of links.active()) {
      if (link.speaksAside) outbox.aside(link, encodeAside(link, held, at));
      if (link.isOdd !== this.#isOddBeat) continue;
      else if (link.isLost) outbox.send(link, { type: 'ping' });
      else if (this.#isHeardAside(link, now)) spread.mentionRows(link, now);
      else if (!outbox.isTold(link) && !spread.mention(link, now)) outbox.frame(link, beatFrame);
    }
  }

  #isHeardAside(link: Link, now: number): boolean {
    return now >= this.#backUntil && areExchanged(link, this.#components.awake.at(now));
  }

  /**
   * At every beat, and whenever a neighbour is late while something happens anyhow; in between, the node wakes up for
   * those only whose silence will come to mean something.
   */
  #check(now: number): void {
    const { links, awake } = this.#components;
    const at = awake.at(now);
    let [next, unasked] = [Infinity, Infinity];
    this.#isAnyAsked = false;
    for (const link of links.active()) {
      if (link.isLost) this.#giveUp(link, at);
      else {
        const { lateMs, heardAt } = link;
        const isAside = isHeard(link, at);
        const isConfirmed = this.#isConfirmed(link, now);
        const askAt = heardAt + (isAside ? ASK_ASIDE_AFTER_MS : ASK_AFTER_MS);
        const limitAt = heardAt + silenceMs({ lateMs, strain: awake.strain, isConfirmed, isAside });
        if (this.#isSilent(link, Math.min(askAt, limitAt), limitAt, at)) this.#lose(link, now);
        else if (link.askedAt === undefined) {
          unasked = Math.min(unasked, askAt);
          if (isAside && at - heardAt > MISSED_MS) next = Math.min(next, askAt);
        } else {
          this.#isAnyAsked = true;
          next = Math.min(next, Math.max(limitAt, link.askedAt + ANSWER_MS));
        }
      }
    }
    if (this.#isAnyAsked && links.areFew) this.#components.seek(now);
    this.#lateAt = awake.moment(unasked);
    const nextAt = Math.max(awake.moment(next), now + 1);
    this.#checkAt = nextAt < this.#beatAt ? nextAt : Infinity;
    for (const [index, since] of this.#unheard) if (now - since >= UNHEARD_MS) this.#toJudge.add(index);
  }

  /** Silent for too long, and has been given time to answer by a node that was awake. */
  #isSilent(link: Link, askAt: number, limitAt: number, at: number): boolean {
    if (at >= askAt && link.askedAt === undefined) {
      link.askedAt = at;
      this.#components.outbox.send(link, { type: 'ping' });
    }
    return link.askedAt !== undefined && at >= Math.max(limitAt, link.askedAt + ANSWER_MS);
  }

  #lose(link: Link, now: number): void {
    const { links, outbox, spread } = this.#components;
    links.lose(link, now);
    spread.reopen();
    outbox.log('debug', 'a neighbour has fallen silent', { node: link.node, address: link.address });
  }

  #giveUp(link: Link, at: number): void {
    const silent = at - link.heardAt;
    if (silent >= DEAD_MS) this.#components.outbox.disconnect(link, `silent for ${Math.round(silent)} ms`);
  }

  /** Other neighbours of the peer do not hear it either, as they have just said: enough of them, or all. */
  #isConfirmed(link: Link, now: number): boolean {
    const { table } = this.#components;
    const peer = table.find(link.handle);
    let [others, silent] = [0, 0];
    for (let at = 0; at < table.count(peer); at++) {
      const other = table.neighbour(peer, at);
      if (other === SELF) continue;
      others++;
      const hasJustSaid = table.hasRow(other) && now - table.saidAt(other) < SAID_MS;
      if (hasJustSaid && !table.lists(other, peer)) silent++;
    }
    return silent >= Math.min(CONFIRMATIONS, Math.max(1, others));
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
