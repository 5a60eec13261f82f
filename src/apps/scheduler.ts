/**
 * Who waits for agents, and the rounds in which they get them.
 *
 * Purpose: joins what instances hold, what agents offer and who waits; `placement.ts` decides.
 * Invariants: an instance that its agent has not forgotten holds what it was given, also on a lost agent.
 */
import type { Random } from '../base/random.ts';
import type { App } from '../model/app.ts';
import type { QueueItem, RejectCount, RejectReason } from '../model/deployment.ts';
import type { NodeId } from '../model/names.ts';
import { demandOf } from './demand.ts';
import type { Instance } from './instance.ts';
import type { InstanceTable } from './instance-table.ts';
import { OfferBook } from './offer-book.ts';
import { Offer, type Held, type SchedulerAgent } from './offers.ts';
import { explain, place, type Place, type PlacementRequest } from './placement.ts';

export interface Waiting {
  readonly app: App;
  readonly count: number;
  /** RFC 3339. */
  readonly since: string;
}

export class Scheduler {
  readonly #instances: InstanceTable;
  readonly #random: Random;
  #agents: ReadonlyMap<NodeId, SchedulerAgent> = new Map();
  readonly #waiting = new Map<string, Waiting>();
  readonly #lastUsed = new Map<string, string>();
  #lastRound: string | undefined;
  /** Something has come free since the last round. */
  #isFresh = true;
  #tried: ReadonlySet<string> = new Set();

  constructor(instances: InstanceTable, random: Random) {
    this.#instances = instances;
    this.#random = random;
  }

  get agents(): ReadonlyMap<NodeId, SchedulerAgent> {
    return this.#agents;
  }

  setAgents(agents: readonly SchedulerAgent[]): void {
    this.#agents = new Map(agents.map((agent) => [agent.node, agent]));
    this.#isFresh = true;
  }

  /** What an instance held is free. */
  freed(): void {
    this.#isFresh = true;
  }

  /** Whether a round may place any of these apps: not when the last one could not and nothing has come free since. */
  isWorthTrying(due: readonly string[]): boolean {
    const isWorth = due.length > 0 && (this.#isFresh || due.some((app) => !this.#tried.has(app)));
    if (isWorth) {
      this.#isFresh = false;
      this.#tried = new Set(due);
    }
    return isWorth;
  }

  /** That many more are wanted; 0 = it waits no more. */
  want(app: App, count: number, nowIso: string): void {
    const before = this.#waiting.get(app.id);
    if (count <= 0) this.#waiting.delete(app.id);
    else this.#waiting.set(app.id, { app, count, since: before?.since ?? nowIso });
    // Another definition, or more than before: not tried yet.
    if (count > 0 && (before?.app !== app || before.count < count)) this.#isFresh = true;
  }

  forget(app: string): void {
    this.#waiting.delete(app);
    this.#lastUsed.delete(app);
  }

  waiting(): readonly Waiting[] {
    return Array.from(this.#waiting.values());
  }

  /** Offers as of now. */
  offers(): OfferBook {
    const offers = new Map(
      Array.from(this.#agents.values(), (agent, i) => [agent.node, new Offer(agent, i)]),
    );
    for (const node of this.#instances.nodes()) {
      const offer = offers.get(node);
      if (offer === undefined) continue;
      for (const instance of this.#instances.ofNode(node)) offer.hold(heldBy(instance));
    }
    return new OfferBook(Array.from(offers.values()));
  }

  /** Places instances of one app; `only` = nowhere else than on that node. */
  place(app: App, count: number, offers: OfferBook, nowIso: string, only?: NodeId): readonly Place[] {
    const request = { ...this.#request(app), count };
    this.#lastRound = nowIso;
    const places =
      only === undefined
        ? place(request, offers, this.#random)
        : this.#placeOn(offers.get(only), request, offers);
    if (places.length > 0) this.#lastUsed.set(app.id, nowIso);
    return places;
  }

  #placeOn(only: Offer | undefined, request: PlacementRequest, offers: OfferBook): readonly Place[] {
    if (only === undefined) return [];
    const places = place(request, new OfferBook([only]), this.#random);
    offers.refile([only]);
    return places;
  }

  #request(app: App): PlacementRequest {
    const existing = new Map<NodeId, number>();
    for (const { stored } of this.#instances.ofApp(app.id))
      if (stored.inactive !== true) existing.set(stored.node, (existing.get(stored.node) ?? 0) + 1);
    return { demand: demandOf(app), count: 1, existing };
  }

  queue(delayLeftMs: (app: App) => number): readonly QueueItem[] {
    const offers = this.offers();
    return this.waiting().map((waiting) => this.#queueItem(waiting, offers, delayLeftMs(waiting.app)));
  }

  #queueItem({ app, count, since }: Waiting, offers: OfferBook, leftMs: number): QueueItem {
    const reasons = explain(this.#request(app), offers);
    const counts = countReasons(
      reasons.map(({ reason }) => reason),
      offers.size,
    );
    const lastUsed = this.#lastUsed.get(app.id);
    return {
      ...{ app, count, since, reasons },
      delay: { timeLeftSeconds: Math.ceil(leftMs / 1000), overdue: leftMs <= 0 },
      processedOffersSummary: {
        processedOffersCount: offers.size,
        unusedOffersCount: reasons.length,
        ...(reasons.length === 0 || this.#lastRound === undefined
          ? {}
          : { lastUnusedOfferAt: this.#lastRound }),
        ...(lastUsed === undefined ? {} : { lastUsedOfferAt: lastUsed }),
        rejectSummaryLastOffers: counts,
        rejectSummaryLaunchAttempt: counts,
      },
    };
  }
}

/** What its agent does not yet count among the addresses it has given. */
function heldBy({ stored }: Instance): Held {
  const { launch } = stored;
  const { cpus, mem_mib: mem, disk_mib: disk, gpus } = launch.resources;
  return {
    ...{ cpus, mem, disk, gpus, runtime: launch.runtime },
    hostPorts: launch.ports.flatMap((port) => port.host_port ?? []),
    addresses: launch.networks.flatMap(({ name }) => name ?? []),
  };
}

/** In the order in which an agent is looked at, as Marathon tells it: each counts those that came so far. */
const ORDER: readonly RejectReason[] = [
  ...([
    'AgentUnreachable',
    'AgentMaintenance',
    'UnfulfilledRole',
    'RuntimeUnavailable',
    'NetworkUnavailable',
  ] as const),
  ...(['InsufficientCpus', 'InsufficientMemory', 'InsufficientDisk', 'InsufficientGpus'] as const),
  ...(['InsufficientPorts', 'InsufficientAddresses', 'UnfulfilledConstraint'] as const),
  ...(['NoCorrespondingReservationFound', 'DeclinedScarceResources'] as const),
];

function countReasons(reasons: readonly RejectReason[], offers: number): readonly RejectCount[] {
  let processed = offers;
  return ORDER.map((reason) => {
    const declined = reasons.filter((each) => each === reason).length;
    const count = { reason, declined, processed };
    processed -= declined;
    return count;
  });
}
