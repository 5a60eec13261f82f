/**
 * Brings the kernel to the desired state, and back to it whenever somebody else changes what is ours.
 *
 * Purpose: the only writer of the overlay's kernel state. One `ensure` serves first set-up, restart, reboot, change
 * and repair: look, plan, perform. What changes of remote nodes alone is performed without a look while the kernel is
 * known: since the last round left it as desired, nobody else has been heard to touch it.
 * Invariants: no kernel write before the first desired state; one round at a time; a failed object is reported and
 * retried while the round goes on; what is not ours is never touched (docs/OWNERSHIP.md); the kernel is looked at once
 * in `sweepMs` at least, and after every doubt.
 * Review notes: what is seen and not desired is removed, so the desired state must be asked for after the look, and
 * whoever makes an object must have it desired before.
 */
import type { Clock } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { Counter, Gauge, Histogram, Metrics } from '../base/metrics.ts';
import type { SysctlMemory } from '../kernel/sysctl-memory.ts';
import type { Kernel, KernelEvent, Monitor } from '../kernel/types.ts';
import { nothingDesired } from '../overlay/desired.ts';
import type { DesiredState, Fault } from '../overlay/desired.ts';
import { takeInventory } from '../overlay/inventory.ts';
import type { Inventory } from '../overlay/inventory.ts';
import { ConcatenatedSteps } from '../overlay/object-steps.ts';
import { planChange } from '../overlay/plan-change.ts';
import { planSliced } from '../overlay/plan.ts';
import type { ObjectKind, Observed, Steps } from '../overlay/step.ts';
import { blame } from './blame.ts';
import type { OverlayHealth } from './blame.ts';
import { concerns } from './concerns.ts';
import { observe, sameScope } from './observe.ts';
import { KnownKernel } from './known-kernel.ts';
import { perform } from './perform.ts';
import type { Failure, Performed } from './perform.ts';
import { findRepairs, tellRepairs } from './repairs.ts';
import { Rounds, SWEEP } from './rounds.ts';
import { inSlices } from './slices.ts';
import { TableMemory } from './table-memory.ts';

const SWEEP_MS = 60_000;
/** Rounds within a round: a correction may make the kernel drop other objects of ours. */
const PASSES_MAX = 4;
/** How often the kernel is read again because devices or settings became desired or ceased to be meanwhile. */
const LOOKS_MAX = 5;
/** A stray veth is removed when it is still one after this: attachments come and go in milliseconds. */
const STRAY_MS = 1_000;
/** Containers come in crowds; a port that somebody else changes is put back a little later than other things. */
const PORT_GATHER_MS = 300;
/** Event texts kept for the log line of the repair they cause. */
const EVENTS_MAX = 5;

export interface ReconcilerComponents {
  readonly kernel: Kernel;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Puts the host's own sysctls back in `removeAll`; absent = they stay as we set them. */
  readonly sysctls?: Pick<SysctlMemory, 'ensure' | 'restore'>;
}

type MaybePromise<T> = T | Promise<T>;
type Desired = () => MaybePromise<DesiredState | undefined>;

export interface ReconcilerInit {
  /**
   * What the kernel should hold now; `undefined` until that is known, and then nothing is written. Asked for in every
   * round: give the same object while nothing has changed, since what is derived from it is kept.
   */
  desired(): MaybePromise<DesiredState | undefined>;
  /** @default 60,000 */
  readonly sweepMs?: number;
  /** Every kernel event that somebody else caused, whether it concerns what is ours or not. */
  onForeignEvent?(event: KernelEvent): void;
  /** Every round that was done, also the one that somebody waits for. */
  onRound?(report: RoundReport): void;
}

export interface RoundReport {
  readonly reason: string;
  /** False = there was no desired state, or the kernel could not be read. */
  readonly done: boolean;
  readonly durationMs: number;
  /** How many were performed, failed ones included. */
  readonly steps: number;
  /** Them, in their order. */
  readonly performed: Steps;
  readonly repairs: Readonly<Partial<Record<ObjectKind, number>>>;
  readonly failures: readonly Failure[];
  readonly faults: readonly Fault[];
  /** By overlay of this node. */
  readonly overlays: ReadonlyMap<string, OverlayHealth>;
}

export interface ReconcilerStatus {
  readonly rounds: number;
  readonly repairs: number;
  /** The last round that was done. */
  readonly last: RoundReport | undefined;
}

export interface Reconciler {
  /** Begins to listen and to reconcile. */
  start(): Promise<void>;
  /** The desired state has changed. */
  trigger(reason: string): void;
  /** Resolves with the report of a round that began after this call and has looked at the kernel. */
  settle(): Promise<RoundReport>;
  /** The same, content with what is known of the kernel: enough to know that what is desired now is in it. */
  confirm(): Promise<RoundReport>;
  status(): ReconcilerStatus;
  /** Removes everything that is ours, and nothing else; no round follows. */
  removeAll(): Promise<RoundReport>;
  /** Leaves the kernel as it is. */
  stop(): Promise<void>;
}

export function createReconciler(components: ReconcilerComponents, init: ReconcilerInit): Reconciler {
  return new KernelReconciler(components, init);
}

class KernelReconciler implements Reconciler {
  readonly #components: ReconcilerComponents;
  readonly #desired: Desired;
  readonly #onForeignEvent: (event: KernelEvent) => void;
  readonly #onRound: (report: RoundReport) => void;
  readonly #table: TableMemory;
  readonly #rounds: Rounds<RoundReport>;
  readonly #metrics: { repairs: Counter; seconds: Histogram; failing: Gauge };
  readonly #events: string[] = [];
  #monitor: Monitor | undefined;
  #inventory: Inventory | undefined;
  readonly #known: KnownKernel;
  /** What the last finished round wanted: the measure of what is a repair. */
  #settled: Inventory | undefined;
  /** Reasons by object, of the last finished round. */
  #failed: ReadonlyMap<string, string> = new Map();
  #strays: ReadonlySet<number> = new Set();
  #status: ReconcilerStatus = { rounds: 0, repairs: 0, last: undefined };

  constructor(components: ReconcilerComponents, init: ReconcilerInit) {
    const { kernel, metrics, clock } = components;
    this.#components = components;
    this.#desired = () => init.desired();
    this.#onForeignEvent = (event) => init.onForeignEvent?.(event);
    this.#onRound = (report) => init.onRound?.(report);
    this.#table = new TableMemory({ nft: kernel.nft });
    const { sweepMs = SWEEP_MS } = init;
    this.#known = new KnownKernel({ sweepMs });
    this.#rounds = new Rounds(
      { clock },
      {
        sweepMs,
        untilSweepMs: () => this.#known.untilLookMs(clock.nowMs()),
        run: (reason) => this.#round(reason),
      },
    );
    this.#metrics = {
      repairs: metrics.counter(
        'portolan_repairs_total',
        'Kernel objects of ours that somebody else changed and that were put back',
        ['object'],
      ),
      seconds: metrics.histogram('portolan_reconcile_seconds', 'Duration of one round of reconciliation'),
      failing: metrics.gauge('portolan_reconcile_failures', 'Kernel objects that could not be brought about'),
    };
  }

  async start(): Promise<void> {
    this.#monitor = await this.#components.kernel.monitor((event) => this.#onEvent(event));
    this.#rounds.start();
  }

  trigger(reason: string): void {
    this.#rounds.now(reason);
  }

  settle(): Promise<RoundReport> {
    this.#known.wantLook();
    return this.#rounds.settle();
  }

  confirm(): Promise<RoundReport> {
    return this.#rounds.settle();
  }

  status(): ReconcilerStatus {
    return this.#status;
  }

  async stop(): Promise<void> {
    this.#monitor?.close();
    this.#monitor = undefined;
    await this.#rounds.stop();
  }

  async removeAll(): Promise<RoundReport> {
    await this.stop();
    const begun = this.#components.clock.nowMs();
    // The second time confirms the strays that the first has seen.
    const first = await this.#passes(() => nothingDesired);
    const rest = await this.#passes(() => nothingDesired);
    const passes = {
      ...rest,
      steps: first.steps + rest.steps,
      performed: new ConcatenatedSteps([...first.performed.runs, ...rest.performed.runs]),
    };
    this.#settled = undefined;
    this.#known.doubt();
    const restored = (await this.#components.sysctls?.restore()) ?? [];
    this.#components.log.info('removed everything of ours', { steps: passes.steps, restored });
    return this.#report('remove', begun, passes, {});
  }

  #onEvent(event: KernelEvent): void {
    this.#onForeignEvent(event);
    if (!concerns(event, this.#settled)) return;
    this.#known.doubt();
    if (this.#events.length < EVENTS_MAX) this.#events.push(event.text);
    this.#rounds.soon(`${event.object} ${event.change}`, this.#isPort(event) ? PORT_GATHER_MS : undefined);
  }

  /** A container's port that changes: mostly its own coming up, told by the kernel after we have done everything. */
  #isPort({ object, change, link }: KernelEvent): boolean {
    return (
      object === 'link' && change === 'new' && link !== undefined && this.#settled?.ports.has(link) === true
    );
  }

  async #round(reason: string): Promise<{ report: RoundReport; failed: boolean }> {
    const begun = this.#components.clock.nowMs();
    if (reason === SWEEP) this.#known.wantLook();
    try {
      const followed = await this.#follow();
      if (followed !== undefined) return { report: this.#done(reason, begun, followed, {}), failed: false };
      const events = this.#events.splice(0);
      const passes = await this.#passes(this.#desired);
      if (passes.inventory === undefined)
        return { report: this.#report(reason, begun, passes, {}), failed: false };
      const report = await this.#conclude(reason, begun, { ...passes, inventory: passes.inventory }, events);
      return { report, failed: report.failures.length > 0 };
    } catch (error) {
      this.#known.doubt();
      this.#components.log.error('cannot read the kernel, will try again', { reason, error });
      return { report: this.#report(reason, begun, nothingDone, {}), failed: true };
    }
  }

  /** Performs what has changed since the last round; `undefined` when the kernel has to be looked at. */
  async #follow(): Promise<FinishedPasses | undefined> {
    const { clock } = this.#components;
    // What somebody else has done until now is heard here, and leaves nothing known.
    if (this.#known.holds(clock.nowMs()) === undefined || this.#monitor?.read() !== true) return undefined;
    const { doubts } = this.#known;
    const state = await this.#desired();
    const before = this.#known.holds(clock.nowMs());
    if (before === undefined || state === undefined) return undefined;
    const inventory = this.#inventoryOf(state);
    const planned = await inSlices(this.#components, planChange(before, inventory));
    if (planned === undefined || doubts !== this.#known.doubts) return undefined;
    const { steps, failures } = await this.#perform(state, planned);
    if (failures.length > 0) return undefined;
    this.#known.is(inventory, doubts);
    return { inventory, steps, performed: planned, failures, faults: [] };
  }

  /** Looks, plans and performs until the kernel drops nothing more in answer. */
  async #passes(desired: Desired): Promise<Passes> {
    let passes = nothingDone;
    const doubts = this.#known.look(this.#components.clock.nowMs());
    for (let count = 0; count < PASSES_MAX; count++) {
      const seen = await this.#look(desired);
      if (seen === undefined) return passes;
      const { inventory, observed } = seen;
      const plan = await inSlices(this.#components, planSliced(inventory, observed));
      const { steps, failures } = await this.#perform(inventory.state, plan.steps);
      passes = {
        inventory,
        steps: passes.steps + steps,
        performed: new ConcatenatedSteps([...passes.performed.runs, ...plan.steps.runs]),
        failures,
        faults: plan.faults,
      };
      const unconfirmed = [...plan.strays].some((index) => !this.#strays.has(index));
      this.#strays = plan.strays;
      if (unconfirmed) this.#rounds.later('stray devices', STRAY_MS);
      const isLast = !plan.lookAgain && !failures.some(({ contended }) => contended);
      if (isLast && failures.length + plan.faults.length + plan.strays.size === 0)
        this.#known.is(inventory, doubts);
      if (isLast) break;
    }
    return passes;
  }

  #perform(desired: DesiredState, steps: Steps): Promise<Performed> {
    const { kernel, sysctls } = this.#components;
    return perform({ kernel, sysctls, table: this.#table }, desired, steps);
  }

  /**
   * The kernel first, the desired state last: an attachment is desired before its veth and its host ports are made, and
   * until they are unmade, so what is seen and not desired is nobody's.
   */
  async #look(desired: Desired): Promise<{ inventory: Inventory; observed: Observed } | undefined> {
    const { kernel } = this.#components;
    let state = await desired();
    for (let attempt = 0; state !== undefined; attempt++) {
      const looked = this.#inventoryOf(state);
      const table = await this.#table.observe(state.table);
      const observed = await observe(kernel, await kernel.links(), looked, table, this.#strays);
      state = await desired();
      if (state !== undefined && (sameScope(state, looked.state) || attempt === LOOKS_MAX))
        return { inventory: this.#inventoryOf(state), observed };
    }
    return undefined;
  }

  #inventoryOf(state: DesiredState): Inventory {
    if (this.#inventory?.state !== state) this.#inventory = takeInventory(state);
    return this.#inventory;
  }

  async #conclude(
    reason: string,
    begun: number,
    passes: FinishedPasses,
    events: readonly string[],
  ): Promise<RoundReport> {
    const { log } = this.#components;
    const finding = findRepairs(passes.performed, this.#settled, passes.inventory, this.#failed);
    const repaired = await inSlices(this.#components, finding);
    const repairs = tellRepairs({ log, counter: this.#metrics.repairs }, repaired, events);
    return this.#done(reason, begun, passes, repairs);
  }

  #done(reason: string, begun: number, passes: FinishedPasses, repairs: RoundReport['repairs']): RoundReport {
    const report = this.#report(reason, begun, passes, repairs);
    this.#tellFailures(report);
    this.#settled = passes.inventory;
    this.#failed = new Map(report.failures.map(({ change, reason: why }) => [change.id, why]));
    this.#metrics.failing.set(report.failures.length + report.faults.length);
    this.#metrics.seconds.observe(report.durationMs / 1000);
    this.#status = {
      rounds: this.#status.rounds + 1,
      repairs: this.#status.repairs + Object.values(repairs).reduce((sum, count) => sum + count, 0),
      last: report,
    };
    this.#onRound(report);
    return report;
  }

  #report(
    reason: string,
    begun: number,
    { inventory, steps, performed, failures, faults }: Passes,
    repairs: RoundReport['repairs'],
  ): RoundReport {
    const all = [...(inventory?.state.faults ?? []), ...faults];
    return {
      reason,
      done: inventory !== undefined,
      durationMs: this.#components.clock.nowMs() - begun,
      steps,
      performed,
      repairs,
      failures,
      faults: all,
      overlays: inventory === undefined ? new Map() : blame(inventory, failures, all),
    };
  }

  /** Transitions only: what fails anew, and that all is well again. */
  #tellFailures(report: RoundReport): void {
    const { log } = this.#components;
    const fresh = report.failures.filter(({ change, reason }) => this.#failed.get(change.id) !== reason);
    if (fresh.length > 0) {
      const what = fresh.slice(0, EVENTS_MAX).map(({ change, reason }) => `${change.what}: ${reason}`);
      log.error('kernel objects cannot be brought about, will try again', { count: fresh.length, what });
    }
    const known = new Set((this.#status.last?.faults ?? []).map(({ reason }) => reason));
    const faults = new Set(report.faults.map(({ reason }) => reason).filter((text) => !known.has(text)));
    for (const fault of faults) log.error('overlay cannot be configured as granted', { fault });
    if (this.#failed.size > 0 && report.failures.length === 0) log.info('kernel is as desired again');
  }
}

interface Passes {
  /** Absent when there was no desired state. */
  readonly inventory: Inventory | undefined;
  readonly steps: number;
  readonly performed: Steps;
  /** Of the last pass. */
  readonly failures: readonly Failure[];
  readonly faults: readonly Fault[];
}

type FinishedPasses = Passes & { readonly inventory: Inventory };

const nothingDone: Passes = {
  inventory: undefined,
  steps: 0,
  performed: new ConcatenatedSteps([]),
  failures: [],
  faults: [],
};
