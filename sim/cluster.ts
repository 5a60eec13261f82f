/**
 * Many hosts on one network under one virtual time, repeatable from one seed.
 *
 * Purpose: runs the shipped record exchange, unchanged, on a thousand nodes in one process.
 * Invariants: nothing but the seed decides what happens; events run one after another, and what promises an event has
 * settled runs before the next one.
 */
import type { Log } from '../src/base/log.ts';
import { randomBelow, seededRandom, type Random } from '../src/base/random.ts';
import { Timeline } from '../src/base/timeline.ts';
import type { RecordStore } from '../src/gossip/records.ts';
import { newClusterId, newNodeId, type ClusterId } from '../src/model/names.ts';
import type { RecordValue } from '../src/model/record.ts';
import { MemoryNetwork } from '../src/peer/memory.ts';
import { hostAddress, PORT } from './address.ts';
import { Host } from './host.ts';
import { HostilePeer } from './hostile.ts';
import { Observer } from './observer.ts';
import { baseOf, ownRecords, storeOf } from './preload.ts';
import type { OpenNode } from './protocol.ts';

export interface ClusterInit {
  readonly nodes: number;
  readonly seed: number;
  /** Records of each node. */
  readonly recordsPerNode: number;
  readonly delayMs: number;
  readonly packetLoss: number;
  /** Every node starts with all records on its disk, as after a restart of the whole cluster. */
  readonly isPreloaded: boolean;
  /** Nodes share the records that they are preloaded with: a thousand times fifty thousand do not fit otherwise. */
  readonly isSharing: boolean;
  readonly open: OpenNode;
  readonly log?: Log | undefined;
  /** Now and then, while time passes. */
  readonly onProgress?: ((cluster: Cluster) => void) | undefined;
}

/** Promises of the shipped code settle in chains of this many turns at most. */
const SETTLING_TURNS = 12;
/** Awaiting it gives way to everything that waits already. */
const turn = Promise.resolve();
const CONTACTS = 3;
const HEALING_MS = 30_000;
const GIGABIT_BYTES_PER_MS = 125_000;

export class Cluster {
  readonly timeline = new Timeline();
  readonly random: Random;
  readonly network: MemoryNetwork;
  readonly observer: Observer;
  readonly clusterId: ClusterId;
  readonly contacts: readonly string[];
  readonly hosts: readonly Host[];
  readonly seed: number;
  readonly open: OpenNode;
  /** What every disk holds at the start. */
  readonly known: RecordStore | undefined;
  readonly log: Log | undefined;
  readonly onProgress: ((cluster: Cluster) => void) | undefined;
  /** Of the masters' store. */
  #revision = 0;
  #isSettling = false;
  /** When the network was last healed: what was out of reach then is given time to be found again. */
  #healedAt = -Infinity;
  #failure: unknown;

  constructor(init: ClusterInit) {
    this.seed = init.seed;
    this.open = init.open;
    this.log = init.log;
    this.onProgress = init.onProgress;
    this.random = seededRandom(init.seed);
    this.network = new MemoryNetwork(
      { clock: { ...timelineClock(this.timeline) }, random: seededRandom(init.seed ^ 0x5eed) },
      { delayMs: init.delayMs, packetLoss: init.packetLoss, bytesPerMs: GIGABIT_BYTES_PER_MS },
    );
    this.clusterId = newClusterId(this.random);
    this.contacts = Array.from(
      { length: Math.min(CONTACTS, init.nodes) },
      (_, i) => `${hostAddress(i)}:${PORT}`,
    );
    const identities = Array.from({ length: init.nodes }, () => newNodeId(this.random));
    const records = identities.map((node, i) => ownRecords(node, i, init.recordsPerNode));
    const base = init.isPreloaded ? baseOf(this.clusterId, records) : new Map<string, unknown>();
    this.known = init.isPreloaded && init.isSharing ? storeOf(base) : undefined;
    this.hosts = identities.map((node, i) => new Host(this, i, base, node));
    for (const host of this.hosts)
      for (const [key, value] of records[host.index] ?? []) host.own.set(key, value);
    this.observer = new Observer(this);
  }

  /** From now on a stranger listens to everything. */
  admitHostile(): HostilePeer {
    const hostile = new HostilePeer(this);
    this.network.onSend = (frame, isFirst) => hostile.overhear(frame, isFirst);
    return hostile;
  }

  get isSettledSinceHealing(): boolean {
    return this.timeline.nowMs() - this.#healedAt > HEALING_MS;
  }

  get running(): readonly Host[] {
    return this.hosts.filter((host) => host.isRunning);
  }

  /** Something has settled a promise: what waits for it runs before the next event. */
  settle(): void {
    this.#isSettling = true;
  }

  async run(ms: number): Promise<void> {
    const until = this.timeline.nowMs() + ms;
    await this.#turns();
    while (this.timeline.runNext(until)) {
      await turn;
      while (this.#isSettling) await this.#turns();
    }
    this.timeline.runUntil(until);
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Virtual ms until `condition` held; `undefined` when it did not within `limitMs`. */
  async until(condition: () => boolean, limitMs: number, stepMs = 100): Promise<number | undefined> {
    const start = this.timeline.nowMs();
    while (!condition()) {
      if (this.timeline.nowMs() - start >= limitMs) return undefined;
      await this.run(stepMs);
    }
    return this.timeline.nowMs() - start;
  }

  heal(): void {
    this.network.heal();
    this.#healedAt = this.timeline.nowMs();
  }

  /** Lets `work` go on as time runs; its failure ends the run. */
  begin(work: Promise<void>): void {
    work.catch((error: unknown) => {
      this.#failure ??= error;
    });
  }

  /** `count` different hosts out of `from`. */
  pick(count: number, from: readonly Host[] = this.running): Host[] {
    const rest = Array.from(from);
    const chosen: Host[] = [];
    while (chosen.length < count && rest.length > 0)
      chosen.push(...rest.splice(randomBelow(this.random, rest.length), 1));
    return chosen;
  }

  /** A master writes a cluster record. */
  publishCluster(key: string, value: RecordValue): void {
    const master = this.running.find((host) => !host.isStalled);
    this.begin(master?.program?.publishCluster(key, value, ++this.#revision) ?? Promise.resolve());
  }

  async #turns(): Promise<void> {
    this.#isSettling = false;
    for (let i = 0; i < SETTLING_TURNS; i++) await turn;
  }
}

function timelineClock(timeline: Timeline) {
  return {
    nowMs: () => timeline.nowMs(),
    wallMs: () => timeline.nowMs(),
    after: (delayMs: number, action: () => void) => timeline.after(delayMs, action),
  };
}
