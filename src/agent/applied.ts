/**
 * Tells the others which of the masters' changes this host has in its kernel.
 *
 * Invariants: a revision is told only after a round of the reconciler that began when all its records were known has
 * left the kernel exactly as desired; it is told when it has moved, and not more often than the size of the cluster
 * allows, since every agent tells after every change of the masters'. A kernel that loses what it had, and does not take it
 * back, has applied nothing.
 * Review notes: the word of it waits until the change itself can be everywhere. All agents tell of the same change, so that
 * telling costs far more than the change; the first ones' word would keep it from the last ones, and go from node to node
 * in many messages instead of a few. When it was applied is told as it was.
 */
import type { Clock, Timer } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { Histogram, Metrics } from '../base/metrics.ts';
import type { NodeId } from '../model/names.ts';
import { keys, MAX_BECAUSE, type AppliedRecord } from '../model/record.ts';
import { CLUSTER_PREFIX, ClusterRecords, isSameMarker, type ClusterMarker } from '../node/cluster-marker.ts';
import type { RecordExchange } from '../node/record-exchange.ts';
import type { RoundReport } from './reconciler.ts';

const SPACING_MS = 100;
/** A node hears every agent's word: at most 500 of them a second, whatever the size of the cluster. */
const SPACING_PER_NODE_MS = 2;
/** After hearing of a change, for each node of the cluster: as long as it takes until all have heard of it, and applied it. */
const PATIENCE_PER_NODE_MS = 5;
const PATIENCE_MAX_MS = 200;
const RETRY_FIRST_MS = 1_000;
const RETRY_MAX_MS = 60_000;

const nothingApplied = { revision: 0, set: '', took_ms: 0 };

/** As it is published: JSON knows no `undefined`. */
type Told = Omit<AppliedRecord, 'failing' | 'because'> & { failing?: number; because?: string };
type Outcome = Pick<RoundReport, 'done' | 'failures' | 'faults'>;

export type AppliedKeeperExchange = Pick<RecordExchange, 'get' | 'records' | 'subscribe' | 'publish'>;

export interface AppliedKeeperInit {
  readonly node: NodeId;
  /** The report of a round of reconciliation that begins after the call. */
  settle(): Promise<Outcome>;
  /** Nodes in the cluster. */
  nodes(): number;
}

export class AppliedKeeper {
  readonly #components: {
    readonly exchange: AppliedKeeperExchange;
    readonly clock: Clock;
    readonly log: Log;
  };
  readonly #init: AppliedKeeperInit;
  readonly #cluster: ClusterRecords;
  readonly #seconds: Histogram;
  #heardAt: number;
  #applied: Told | undefined;
  #isWorking = false;
  /** A round has failed since the revision was applied. */
  #isDoubted = false;
  #isClosed = false;
  #unsubscribe: () => void = () => undefined;
  #retryMs = RETRY_FIRST_MS;
  #retry: Timer | undefined;
  #publishing: Timer | undefined;
  #publishedAt = Number.NEGATIVE_INFINITY;

  constructor(
    components: {
      readonly exchange: AppliedKeeperExchange;
      readonly clock: Clock;
      readonly log: Log;
      readonly metrics: Metrics;
    },
    init: AppliedKeeperInit,
  ) {
    this.#components = components;
    this.#init = init;
    this.#cluster = new ClusterRecords(components.exchange);
    this.#heardAt = components.clock.nowMs();
    this.#seconds = components.metrics.histogram(
      'portolan_applied_seconds',
      "From hearing of the masters' change until it was in this host's kernel",
    );
  }

  /** What this host has applied; `undefined` before its first round. */
  get applied(): Pick<Told, 'revision' | 'took_ms' | 'failing' | 'because'> | undefined {
    return this.#applied;
  }

  /** The reconciler runs. */
  start(): void {
    const { exchange, clock } = this.#components;
    this.#cluster.take(exchange.records(CLUSTER_PREFIX));
    this.#unsubscribe = exchange.subscribe(CLUSTER_PREFIX, (changes) => {
      this.#cluster.take(changes);
      this.#heardAt = clock.nowMs();
      this.#work();
    });
    this.#work();
  }

  close(): void {
    this.#isClosed = true;
    this.#unsubscribe();
    this.#retry?.cancel();
    this.#publishing?.cancel();
  }

  /** What kept a change from the kernel may be over. */
  look(): void {
    this.#work();
  }

  /** A round that somebody else's doing has caused may have brought about what was refused, or lost what was applied. */
  roundEnded(outcome: Outcome): void {
    if (!outcome.done || this.#applied === undefined || this.#isWorking) return;
    const isRefused = this.#applied.failing !== undefined;
    const isFailing = refusals(outcome).length > 0;
    if (isRefused && !isFailing) this.#work();
    if (isRefused || !isFailing || this.#isDoubted) return;
    // The reconciler tries again first: what it mends then was nobody's business.
    this.#isDoubted = true;
    this.#workLater();
  }

  #work(): void {
    if (this.#isWorking || this.#isClosed) return;
    this.#apply().catch((error: unknown) => {
      if (!this.#isClosed) this.#components.log.error('Cannot tell what is applied', { error });
    });
  }

  async #apply(): Promise<void> {
    this.#isWorking = true;
    try {
      for (let known = this.#cluster.marker; this.#isNews(known); known = this.#cluster.marker)
        if (!(await this.#applyOne(known))) break;
    } finally {
      // In the very turn in which nothing new was found, so that no news falls in between.
      this.#isWorking = false;
    }
  }

  /** Resolves to whether the kernel took it. */
  async #applyOne(known: ClusterMarker): Promise<boolean> {
    const heardAt = this.#heardAt;
    const outcome = await this.#init.settle();
    if (this.#isClosed) return false;
    const refused = refusals(outcome);
    if (!outcome.done || refused.length > 0) {
      this.#failed(known, refused);
      return false;
    }
    this.#retryMs = RETRY_FIRST_MS;
    this.#isDoubted = false;
    if (!this.#isNews(known)) return true;
    const { clock } = this.#components;
    const tookMs = clock.nowMs() - heardAt;
    this.#seconds.observe(tookMs / 1000);
    this.#applied = { ...known, at: Math.round(clock.wallMs()), took_ms: Math.round(tookMs) };
    this.#publishSoon(heardAt);
    return true;
  }

  #isNews(known: ClusterMarker): boolean {
    if (known.revision === 0) return false;
    return (
      this.#isDoubted ||
      this.#applied === undefined ||
      this.#applied.failing !== undefined ||
      !isSameMarker(known, this.#applied)
    );
  }

  #failed(known: ClusterMarker, refused: readonly string[]): void {
    const failing = refused.length;
    const because = (refused[0] ?? '').slice(0, MAX_BECAUSE);
    const before = this.#applied ?? nothingApplied;
    if (failing > 0 && (this.#applied?.failing !== failing || this.#applied.because !== because)) {
      const at = Math.round(this.#components.clock.wallMs());
      const left = isSameMarker(known, before) ? nothingApplied : before;
      this.#applied = { ...left, at, failing, because };
      this.#publishSoon(this.#heardAt);
    }
    this.#workLater();
  }

  /** The reconciler tries again by itself; this looks whether it has succeeded. */
  #workLater(): void {
    this.#retry?.cancel();
    this.#retry = this.#components.clock.after(this.#retryMs, () => this.#work());
    this.#retryMs = Math.min(this.#retryMs * 2, RETRY_MAX_MS);
  }

  #publishSoon(heardAt: number): void {
    const { clock } = this.#components;
    const nodes = this.#init.nodes();
    const patienceMs = Math.min(PATIENCE_PER_NODE_MS * nodes, PATIENCE_MAX_MS);
    const spacingMs = Math.max(SPACING_MS, SPACING_PER_NODE_MS * nodes);
    const dueAt = Math.max(heardAt + patienceMs, this.#publishedAt + spacingMs);
    const waitMs = Math.max(0, dueAt - clock.nowMs());
    if (waitMs === 0) return this.#publish();
    this.#publishing ??= clock.after(waitMs, () => this.#publish());
  }

  #publish(): void {
    const { exchange, clock, log } = this.#components;
    this.#publishing?.cancel();
    this.#publishing = undefined;
    if (this.#applied === undefined) return;
    this.#publishedAt = clock.nowMs();
    exchange.publish(keys.applied(this.#init.node), this.#applied).catch((error: unknown) => {
      // A removed node has no say any more; its session is about to end.
      if (!this.#isClosed) log.warn('Cannot publish what is applied', { error });
    });
  }
}

/** In words, what stands in the way. */
function refusals({ failures, faults }: Outcome): readonly string[] {
  return [
    ...faults.map(({ reason }) => reason),
    ...failures.map(({ change, reason }) => `${change.what}: ${reason}`),
  ];
}
