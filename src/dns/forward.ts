/**
 * Asking others: the core of the forwarder (reference "VIPs and DNS", section 6; DESIGN decision 11).
 *
 * Purpose: `step(event, now) -> effects`. A question goes to one or two upstreams at once and the first good answer
 * wins; whoever asks the same meanwhile waits for the same answer.
 * Invariants: every client that asked gets exactly one answer, within the request's time; questions, clients and the
 * cache are bounded; an answer counts only when it has the id and the question of what was sent.
 * Review notes: an upstream's SERVFAIL or REFUSED is no answer while another one may have a better.
 */
import { randomBelow, type Random } from '../base/random.ts';
import { AnswerCache, addressTo } from './cache.ts';
import { flags, HEADER_BYTES, rcodes, types, UPSTREAM_UDP_BYTES } from './constants.ts';
import type { Query } from './query.ts';
import { questionText, readResponse, type Response } from './response.ts';
import {
  ForwardRoutes,
  UpstreamChoice,
  type ForwardingRules,
  type Route,
  type Upstream,
} from './upstreams.ts';

export const UPSTREAM_TIMEOUT_MS = 5_000;
export const REQUEST_TIMEOUT_MS = 10_000;
/** Requests under way; more are answered SERVFAIL at once. */
const CLIENTS_MAX = 1024;
const CACHE = { entriesMax: 10_000, bytesMax: 16 * 1024 * 1024 };

export type Protocol = 'udp' | 'tcp';

export type ForwardEvent<Client> =
  | { readonly kind: 'ask'; readonly client: Client; readonly query: Query; readonly head: Buffer }
  /** What came for an attempt; the bytes are the core's from now on. */
  | { readonly kind: 'received'; readonly attempt: number; readonly packet: Buffer }
  | { readonly kind: 'failed'; readonly attempt: number; readonly reason: string }
  /** Time has passed. */
  | { readonly kind: 'tick' };

export type ForwardEffect<Client> =
  | {
      readonly do: 'send';
      readonly attempt: number;
      readonly upstream: Upstream;
      readonly protocol: Protocol;
      readonly packet: Buffer;
    }
  /** Nothing is expected of the attempt any more. */
  | { readonly do: 'close'; readonly attempt: number }
  | { readonly do: 'reply'; readonly client: Client; readonly query: Query; readonly packet: Buffer }
  | {
      readonly do: 'count-failure';
      readonly upstream: Upstream;
      readonly protocol: Protocol;
      readonly reason: string;
    }
  | { readonly do: 'count-request'; readonly zone: string; readonly ms: number; readonly answered: boolean };

interface Attempt {
  readonly id: number;
  readonly upstream: Upstream;
  readonly protocol: Protocol;
  readonly question: Question<unknown>;
  readonly messageId: number;
  readonly deadlineMs: number;
}

interface Question<Client> {
  readonly key: string;
  readonly zone: string;
  readonly query: Query;
  readonly head: Buffer;
  /** As in answers. */
  readonly text: string;
  readonly clients: { readonly client: Client; readonly query: Query; readonly head: Buffer }[];
  readonly attempts: Set<Attempt>;
  untried: readonly Upstream[];
  readonly startMs: number;
}

export class Forwarder<Client> {
  readonly #random: Random;
  readonly #choice: UpstreamChoice;
  readonly #cache = new AnswerCache(CACHE);
  readonly #questions = new Map<string, Question<Client>>();
  readonly #attempts = new Map<number, Attempt>();
  #routes: ForwardRoutes;
  #clients = 0;
  #lastAttempt = 0;

  constructor(components: { readonly random: Random }, init: { readonly rules: ForwardingRules }) {
    this.#random = components.random;
    this.#choice = new UpstreamChoice(components);
    this.#routes = new ForwardRoutes(init.rules);
  }

  /** Other upstreams from now on; what is under way goes on. */
  setRules(rules: ForwardingRules): void {
    this.#routes = new ForwardRoutes(rules);
  }

  /** Whom a name is for, by its key. */
  route(key: string): Route {
    return this.#routes.find(key);
  }

  get cacheSize(): { readonly entries: number; readonly bytes: number } {
    return { entries: this.#cache.size, bytes: this.#cache.bytes };
  }

  get busy(): boolean {
    return this.#questions.size > 0;
  }

  step(event: ForwardEvent<Client>, nowMs: number): readonly ForwardEffect<Client>[] {
    const effects: ForwardEffect<Client>[] = [];
    switch (event.kind) {
      case 'ask':
        this.#ask(event, nowMs, effects);
        break;
      case 'received': {
        const attempt = this.#attempts.get(event.attempt);
        if (attempt !== undefined) this.#received(attempt, event.packet, nowMs, effects);
        break;
      }
      case 'failed': {
        const attempt = this.#attempts.get(event.attempt);
        if (attempt !== undefined) this.#fail(attempt, event.reason, nowMs, effects);
        break;
      }
      case 'tick':
        this.#tick(nowMs, effects);
        break;
    }
    return effects;
  }

  #ask(event: ForwardEvent<Client> & { kind: 'ask' }, nowMs: number, effects: ForwardEffect<Client>[]): void {
    const { client, query, head } = event;
    const key = cacheKey(query, head);
    const cached = this.#cache.get(key, nowMs);
    if (cached !== undefined) {
      effects.push({ do: 'reply', client, query, packet: addressTo(head, cached) });
      return;
    }
    const route = this.#routes.find(query.key);
    if (route.upstreams.length === 0 || this.#clients >= CLIENTS_MAX) {
      effects.push({ do: 'reply', client, query, packet: failure(head, query) });
      effects.push({ do: 'count-request', zone: route.zone, ms: 0, answered: false });
      return;
    }
    this.#clients++;
    const underWay = this.#questions.get(key);
    if (underWay !== undefined) {
      underWay.clients.push({ client, query, head });
      return;
    }
    const question: Question<Client> = {
      key,
      zone: route.zone,
      query,
      head,
      text: questionText(head, query.questionEnd),
      clients: [{ client, query, head }],
      attempts: new Set(),
      untried: route.upstreams,
      startMs: nowMs,
    };
    this.#questions.set(key, question);
    this.#askNext(question, nowMs, effects);
  }

  #askNext(question: Question<Client>, nowMs: number, effects: ForwardEffect<Client>[]): void {
    const picked = this.#choice.pick(question.untried, nowMs);
    question.untried = question.untried.filter((upstream) => !picked.includes(upstream));
    const deadlineMs = Math.min(nowMs + UPSTREAM_TIMEOUT_MS, question.startMs + REQUEST_TIMEOUT_MS);
    for (const upstream of picked) this.#send(question, { upstream, protocol: 'udp', deadlineMs }, effects);
  }

  #send(
    question: Question<Client>,
    to: Pick<Attempt, 'upstream' | 'protocol' | 'deadlineMs'>,
    effects: ForwardEffect<Client>[],
  ): void {
    const id = ++this.#lastAttempt;
    const messageId = randomBelow(this.#random, 0x1_0000);
    const attempt: Attempt = { id, ...to, question, messageId };
    question.attempts.add(attempt);
    this.#attempts.set(id, attempt);
    const packet = upstreamQuery(question.head, question.query, messageId);
    effects.push({ do: 'send', attempt: id, upstream: to.upstream, protocol: to.protocol, packet });
  }

  #received(attempt: Attempt, packet: Buffer, nowMs: number, effects: ForwardEffect<Client>[]): void {
    // From somebody else, or to an older question: the right one may still come.
    if (packet.length < HEADER_BYTES || packet.readUInt16BE(0) !== attempt.messageId) return;
    const response = readResponse(packet);
    if (response === undefined) {
      this.#fail(attempt, 'malformed', nowMs, effects);
      return;
    }
    if (response.question !== attempt.question.text) return;
    if (response.truncated && attempt.protocol === 'udp') this.#askByTcp(attempt, effects);
    else if (response.rcode === rcodes.NOERROR || response.rcode === rcodes.NXDOMAIN)
      this.#answered(attempt, packet, response, nowMs, effects);
    else this.#fail(attempt, rcodeReason(response.rcode), nowMs, effects);
  }

  #askByTcp(attempt: Attempt, effects: ForwardEffect<Client>[]): void {
    const question = attempt.question as Question<Client>;
    this.#close(attempt, effects);
    this.#send(question, { ...attempt, protocol: 'tcp' }, effects);
  }

  #answered(
    attempt: Attempt,
    packet: Buffer,
    response: Response,
    nowMs: number,
    effects: ForwardEffect<Client>[],
  ): void {
    const question = attempt.question as Question<Client>;
    this.#cache.put(question.key, packet, response, nowMs);
    this.#finish(question, nowMs, true, effects, (head) => addressTo(head, Buffer.from(packet)));
  }

  #fail(attempt: Attempt, reason: string, nowMs: number, effects: ForwardEffect<Client>[]): void {
    const { upstream, protocol } = attempt;
    const question = attempt.question as Question<Client>;
    this.#close(attempt, effects);
    effects.push({ do: 'count-failure', upstream, protocol, reason });
    // A broken domain is not the upstream's fault.
    if (reason !== SERVER_FAILURE) this.#choice.failed(upstream, nowMs);
    if (question.attempts.size > 0) return;
    if (question.untried.length > 0 && nowMs < question.startMs + REQUEST_TIMEOUT_MS)
      this.#askNext(question, nowMs, effects);
    else this.#finish(question, nowMs, false, effects, failure);
  }

  #tick(nowMs: number, effects: ForwardEffect<Client>[]): void {
    for (const attempt of [...this.#attempts.values()])
      if (nowMs >= attempt.deadlineMs && this.#attempts.has(attempt.id))
        this.#fail(attempt, 'timeout', nowMs, effects);
  }

  #finish(
    question: Question<Client>,
    nowMs: number,
    answered: boolean,
    effects: ForwardEffect<Client>[],
    packetFor: (head: Buffer, query: Query) => Buffer,
  ): void {
    for (const attempt of [...question.attempts]) this.#close(attempt, effects);
    this.#questions.delete(question.key);
    this.#clients -= question.clients.length;
    for (const { client, query, head } of question.clients)
      effects.push({ do: 'reply', client, query, packet: packetFor(head, query) });
    effects.push({ do: 'count-request', zone: question.zone, ms: nowMs - question.startMs, answered });
  }

  #close(attempt: Attempt, effects: ForwardEffect<Client>[]): void {
    attempt.question.attempts.delete(attempt);
    this.#attempts.delete(attempt.id);
    effects.push({ do: 'close', attempt: attempt.id });
  }
}

const SERVER_FAILURE = 'servfail';

function rcodeReason(rcode: number): string {
  if (rcode === rcodes.SERVFAIL) return SERVER_FAILURE;
  return rcode === rcodes.REFUSED ? 'refused' : `rcode${rcode}`;
}

/** Questions that differ in what an answer may hold are different ones. */
function cacheKey(query: Query, head: Buffer): string {
  const options = (query.edns ? 1 : 0) | (query.dnssec ? 2 : 0) | (query.checkingDisabled ? 4 : 0);
  return `${options}${query.key}${head.toString('latin1', query.questionEnd - 4, query.questionEnd)}`;
}

/** The client's question as one of ours; options that mean something between two hops only are left out. */
function upstreamQuery(head: Buffer, query: Query, messageId: number): Buffer {
  const packet = Buffer.alloc(head.length + (query.edns ? 11 : 0));
  head.copy(packet);
  packet.writeUInt16BE(messageId, 0);
  packet[2] = flags.RD;
  packet[3] = query.checkingDisabled ? flags.CD : 0;
  packet.writeUInt32BE(0x0001_0000, 4);
  packet.writeUInt32BE(query.edns ? 1 : 0, 8);
  if (!query.edns) return packet;
  packet.writeUInt16BE(types.OPT, head.length + 1);
  packet.writeUInt16BE(UPSTREAM_UDP_BYTES, head.length + 3);
  packet[head.length + 7] = query.dnssec ? 0x80 : 0;
  return packet;
}

/** SERVFAIL, with the question. */
function failure(head: Buffer, query: Query): Buffer {
  const packet = Buffer.from(head);
  packet[2] = flags.QR | (query.recursionDesired ? flags.RD : 0);
  packet[3] = flags.RA | (query.checkingDisabled ? flags.CD : 0) | rcodes.SERVFAIL;
  packet.writeUInt32BE(0x0001_0000, 4);
  packet.writeUInt32BE(0, 8);
  return packet;
}

/** A forwarded answer that is longer than the client takes: the question, and word to ask by TCP. */
export function fitted(packet: Buffer, questionEnd: number, limit: number): Buffer {
  if (packet.length <= limit) return packet;
  const short = packet.subarray(0, questionEnd);
  short[2] = (short[2] ?? 0) | flags.TC;
  short.writeUInt32BE(0x0001_0000, 4);
  short.writeUInt32BE(0, 8);
  return short;
}
