/**
 * Beats to the neighbours of this node, and which of them have fallen silent.
 *
 * Invariants: silence is measured in awake time (awake.ts); nobody is given up who was not asked and given time to answer;
 * a link that fell silent stays open and counts again with the next frame, so that the return of a stalled node takes
 * one message.
 */
import type { Random } from '../base/random.ts';
import { areExchanged, encodeAside, isHeard, takeAside, type Aside } from './asides.ts';
import type { AwakeTime } from './awake.ts';
import { beatFrame } from './codec.ts';
import type { Link, Links } from './links.ts';
import { SELF, type NodeTable } from './nodes.ts';
import type { Outbox } from './outbox.ts';
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
import type { Spread } from './spread.ts';

/** A silent connection is given up for good: TCP itself would go on trying for a quarter of an hour. */
const DEAD_MS = 20_000;
/** Neighbours of a dead node notice within less. Who has it back says so later, see own-row.ts. */
const SAID_MS = 2_000;

export interface SilenceComponents {
  readonly random: Random;
  readonly links: Links;
  readonly outbox: Outbox;
  readonly table: NodeTable;
  readonly spread: Spread;
  readonly awake: AwakeTime;
  /** The hash of everything that this node holds. */
  readonly held: () => string;
  /** Hardly any neighbour is certain to be there: others should be looked for now. */
  readonly seek: (now: number) => void;
}

export class Silence {
  readonly #components: SilenceComponents;
  #beatAt = 0;
  #isOddBeat = false;
  #checkAt = 0;
  /** Some neighbour that was not asked yet is silent for so long that it should be. No time to wake up at. */
  #lateAt = Infinity;
  #isAnyAsked = false;
  /** After this node could not run, others are to notice at once that it is back. */
  #backUntil = -Infinity;

  constructor(components: SilenceComponents) {
    this.#components = components;
  }

  get dueAt(): number {
    return Math.min(this.#beatAt, this.#checkAt);
  }

  /** What came beside the streams is to be heard before anything happens then. */
  get hearAt(): number {
    return Math.min(this.#beatAt, this.#checkAt, this.#lateAt);
  }

  isBeatDue(now: number): boolean {
    return now >= this.#beatAt;
  }

  /** After `lagMs` without running. */
  woke(lagMs: number, now: number): void {
    if (lagMs > 0) this.#backUntil = now + BEAT_MS;
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

  /** What came beside the streams; now, if `isBack` from not running. The links that had been given up until then. */
  hear(asides: readonly Aside[], isBack: boolean, now: number): readonly Link[] {
    const { links, awake } = this.#components;
    const held = this.#components.held();
    const regained: Link[] = [];
    for (const { connection, bytes, ageMs } of asides) {
      const link = links.get(connection);
      if (link?.node === undefined) continue;
      const at = awake.at(isBack ? now : now - ageMs);
      if (takeAside(link, bytes, held, at) && this.#heard(link, Math.max(at, link.heardAt), now))
        regained.push(link);
    }
    return regained;
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

  /** The rows of these have come: one may confirm that a neighbour that was asked is silent. */
  reconsider(rows: readonly number[], now: number): void {
    if (this.#isAnyAsked && rows.some((index) => this.#concernsAsked(index))) this.#checkAt = now;
  }

  #concernsAsked(index: number): boolean {
    const { links, table } = this.#components;
    return links.active().some((link) => {
      if (link.askedAt === undefined || link.isLost) return false;
      const peer = table.find(link.handle);
      return peer === index || table.lists(peer, index);
    });
  }

  /** True when it has looked at everybody. */
  tick(now: number): boolean {
    const isBeat = this.isBeatDue(now);
    if (isBeat) this.#beatAt = nextBeatAt(this.#beatAt, now, this.#components.random.next());
    const isCheck = isBeat || now >= this.#checkAt || now >= this.#lateAt;
    if (isCheck) this.#check(now);
    if (isBeat) this.#beat(now);
    return isCheck;
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
    const { links, awake, table } = this.#components;
    const { strain } = awake;
    const nodes = table.size;
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
        const limitAt = heardAt + silenceMs({ lateMs, strain, isConfirmed, isAside, nodes });
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
    spread.regraft();
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
}
