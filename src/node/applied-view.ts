/**
 * What the cluster has applied, as seen from here: agents tell in records, callers ask and wait.
 *
 * Purpose: the same on masters and agents, so that any of them can answer.
 * Invariants: a wait ends by itself, at the latest with its time; unreachable agents are named but not waited for.
 * Review notes: how long it took is measured from here, by the own monotonic clock, from the first word of a revision
 * to word of its application: the clocks of hosts differ. An agent that was away or unknown meanwhile is measured by
 * what it says itself.
 */
import type { Clock, Timer } from '../base/clock.ts';
import type { Histogram, Metrics } from '../base/metrics.ts';
import type { NodeId } from '../model/names.ts';
import {
  appliedRecord,
  nodeRecord,
  recordNode,
  type AppliedRecord,
  type GossipRecord,
} from '../model/record.ts';
import { judgeApplied, type AgentApplied, type AppliedStatus } from './applied.ts';
import { CLUSTER_PREFIX, ClusterRecords } from './cluster-marker.ts';
import type { RecordExchange } from './record-exchange.ts';

/** A thousand agents tell within moments: waiting callers look again this long after the first word. */
const LOOK_AGAIN_MS = 5;
const MAX_WAITING = 1_000;

export type AppliedExchange = Pick<
  RecordExchange,
  'get' | 'records' | 'subscribe' | 'isReachable' | 'subscribeMembers'
>;

interface Waiting {
  readonly revision: number;
  readonly end: (status: AppliedStatus) => void;
}

export class AppliedView {
  readonly #exchange: AppliedExchange;
  readonly #clock: Clock;
  readonly #cluster: ClusterRecords;
  readonly #names = new Map<NodeId, string>();
  readonly #applied = new Map<NodeId, AppliedRecord>();
  readonly #afterMs = new Map<NodeId, number>();
  /** Agents that were there when the newest revision was first heard of, and ever since. */
  #witnesses = new Set<NodeId>();
  #heardAt: number;
  readonly #waiting = new Set<Waiting>();
  readonly #histogram: Histogram;
  #timer: Timer | undefined;
  readonly #closers: (() => void)[];

  constructor(components: {
    readonly exchange: AppliedExchange;
    readonly clock: Clock;
    readonly metrics: Metrics;
  }) {
    const { exchange, clock, metrics } = components;
    this.#exchange = exchange;
    this.#clock = clock;
    this.#histogram = metrics.histogram(
      'portolan_convergence_seconds',
      "From the first word of the masters' change here to word of an agent having applied it",
    );
    this.#cluster = new ClusterRecords(exchange);
    this.#heardAt = clock.nowMs();
    for (const record of exchange.records('node/')) this.#take(record);
    this.#closers = [
      exchange.subscribe('', (changes) => this.#changed(changes)),
      exchange.subscribeMembers(() => this.#membersChanged()),
    ];
  }

  /** Of the newest revision known here, or of another one. */
  status(revision = this.#cluster.marker.revision): AppliedStatus {
    return judgeApplied(revision, this.#cluster.marker, this.agents());
  }

  /** By name. */
  agents(): readonly AgentApplied[] {
    return [...this.#names]
      .map(([node, name]) => {
        const applied = this.#applied.get(node);
        const afterMs = this.#afterMs.get(node);
        return {
          node,
          name,
          reachable: this.#exchange.isReachable(node),
          ...(applied === undefined ? {} : { applied }),
          ...(afterMs === undefined ? {} : { afterMs }),
        };
      })
      .sort((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }));
  }

  /** Resolves when every reachable agent has applied it, or with who has not after `timeoutMs`. */
  wait(
    revision: number | undefined,
    options: { readonly timeoutMs: number; readonly signal?: AbortSignal },
  ): Promise<AppliedStatus> {
    const wanted = revision ?? this.#cluster.marker.revision;
    const now = this.status(wanted);
    if (now.done || options.timeoutMs <= 0 || this.#waiting.size >= MAX_WAITING) return Promise.resolve(now);
    return new Promise((resolve) => {
      const giveUp = (): void => waiting.end(this.status(wanted));
      const waiting: Waiting = {
        revision: wanted,
        end: (status) => {
          timer.cancel();
          options.signal?.removeEventListener('abort', giveUp);
          this.#waiting.delete(waiting);
          resolve(status);
        },
      };
      const timer = this.#clock.after(options.timeoutMs, giveUp);
      options.signal?.addEventListener('abort', giveUp, { once: true });
      this.#waiting.add(waiting);
    });
  }

  close(): void {
    for (const closer of this.#closers) closer();
    this.#timer?.cancel();
    for (const { revision, end } of this.#waiting) end(this.status(revision));
  }

  #changed(changes: readonly GossipRecord[]): void {
    const cluster = changes.filter(({ key }) => key.startsWith(CLUSTER_PREFIX));
    if (cluster.length > 0) this.#clusterChanged(cluster);
    const told = changes.map((record) => this.#take(record));
    if (cluster.length > 0 || told.includes(true)) this.#lookAgain();
  }

  #clusterChanged(changes: readonly GossipRecord[]): void {
    const before = this.#cluster.marker.revision;
    this.#cluster.take(changes);
    if (this.#cluster.marker.revision <= before) return;
    this.#heardAt = this.#clock.nowMs();
    this.#afterMs.clear();
    this.#witnesses = new Set([...this.#names.keys()].filter((node) => this.#exchange.isReachable(node)));
  }

  #membersChanged(): void {
    for (const node of this.#witnesses) if (!this.#exchange.isReachable(node)) this.#witnesses.delete(node);
    this.#lookAgain();
  }

  /** Returns whether it matters here. */
  #take(record: GossipRecord): boolean {
    const node = recordNode(record.key);
    const kind = record.key.split('/')[2];
    if (node === undefined || (kind !== 'node' && kind !== 'applied')) return false;
    if (kind === 'applied') this.#takeApplied(node, record);
    else this.#takeNode(node, record);
    return true;
  }

  #takeNode(node: NodeId, record: GossipRecord): void {
    const parsed = nodeRecord.safeParse(record.value);
    if (parsed.success && parsed.data.role === 'agent') this.#names.set(node, parsed.data.name);
    else this.#names.delete(node);
  }

  #takeApplied(node: NodeId, record: GossipRecord): void {
    const parsed = appliedRecord.safeParse(record.value);
    if (!parsed.success) {
      this.#applied.delete(node);
      this.#afterMs.delete(node);
      return;
    }
    this.#applied.set(node, parsed.data);
    if (parsed.data.revision < this.#cluster.marker.revision || this.#afterMs.has(node)) return;
    const isWitness = this.#witnesses.has(node);
    const afterMs = isWitness ? Math.round(this.#clock.nowMs() - this.#heardAt) : parsed.data.took_ms;
    this.#afterMs.set(node, afterMs);
    if (isWitness) this.#histogram.observe(afterMs / 1000);
  }

  #lookAgain(): void {
    if (this.#waiting.size === 0) return;
    this.#timer ??= this.#clock.after(LOOK_AGAIN_MS, () => {
      this.#timer = undefined;
      const judged = new Map<number, AppliedStatus>();
      for (const { revision, end } of this.#waiting) {
        const status = judged.get(revision) ?? this.status(revision);
        judged.set(revision, status);
        if (status.done) end(status);
      }
    });
  }
}
