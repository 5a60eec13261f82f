/** One simulated host: its clock, its disk, its program, and what can befall it. */
import type { Clock, Timer } from '../src/base/clock.ts';
import { PortolanError } from '../src/base/errors.ts';
import { silentLog, type Log, type LogFields } from '../src/base/log.ts';
import type { Metrics } from '../src/base/metrics.ts';
import { seededRandom, type Random } from '../src/base/random.ts';
import type { RecordStore } from '../src/gossip/records.ts';
import { newNodeId, type NodeId } from '../src/model/names.ts';
import type { RecordValue } from '../src/model/record.ts';
import type { MemoryHost } from '../src/peer/memory-host.ts';
import type { PeerTransport } from '../src/peer/types.ts';
import { hostAddress, PORT } from './address.ts';
import type { Cluster } from './cluster.ts';
import { Disk, type DiskImage } from './disk.ts';
import { ownRecords } from './preload.ts';
import type { NodeProgram } from './protocol.ts';
import { simulatedSignatures } from './signatures.ts';

/** Connecting and being heard of takes a program this long. */
const STARTING_MS = 2_000;
/** 1 January 2026. */
const WALL_START_MS = 1_767_225_600_000;

export const noMetrics: Metrics = {
  counter: () => ({ add: () => undefined }),
  gauge: () => ({ set: () => undefined }),
  histogram: () => ({ observe: () => undefined }),
  read: () => undefined,
  expose: () => Promise.resolve(''),
  snapshot: () => Promise.resolve({}),
};

export class Host {
  readonly index: number;
  readonly address: string;
  readonly link: MemoryHost;
  readonly random: Random;
  readonly disk: Disk;
  readonly #cluster: Cluster;
  /** Timers that came due while it was stalled. */
  #lateTimers: (() => void)[] = [];
  #hasStarted = false;
  node: NodeId;
  program: NodeProgram | undefined;
  isStalled = false;
  /** Since when it has run without interruption, which may lie ahead; `undefined` while it does not run. */
  healthySince: number | undefined;
  /** When its cable was plugged in again. */
  rejoinedAt = -Infinity;
  /** How far its wall clock is off, ms. */
  wallOffsetMs = 0;
  /** Own records: what it is to publish after a start, and has published. */
  readonly own = new Map<string, RecordValue>();
  /** Of those what is on its disk, and what was to be written last. */
  readonly #acknowledged = new Map<string, RecordValue>();
  readonly #written = new Map<string, RecordValue>();

  constructor(cluster: Cluster, index: number, base: ReadonlyMap<string, unknown>, node: NodeId) {
    this.#cluster = cluster;
    this.index = index;
    this.address = hostAddress(index);
    this.link = cluster.network.host(this.address);
    this.random = seededRandom(cluster.seed * 1_000_003 + index * 7_919 + 1);
    this.disk = new Disk(cluster.timeline, () => cluster.settle(), base);
    this.node = node;
  }

  get isRunning(): boolean {
    return this.program !== undefined;
  }

  /** Resolves when the program is up and has published what it has to say. */
  async start(): Promise<void> {
    const { link } = this;
    link.boot();
    const { life } = link;
    const program = await this.#cluster.open(
      {
        clock: this.#clock(life),
        random: this.random,
        log: this.#log(),
        metrics: noMetrics,
        transport: this.#transport(),
        journal: this.disk.journal(),
        authenticator: simulatedSignatures,
        ...this.#known(),
      },
      {
        cluster: this.#cluster.clusterId,
        node: this.node,
        listen: { host: this.address, port: PORT },
        contacts: this.#cluster.contacts,
      },
    );
    if (life !== link.life) return;
    this.program = program;
    this.#checkKept(program);
    this.healthySince = this.#cluster.timeline.nowMs() + STARTING_MS;
    this.#cluster.observer.watch(this, program);
    for (const [key, value] of Array.from(this.own)) await this.publish(key, value);
  }

  /** Its lines carry virtual time. */
  #log(): Log {
    const { log, timeline } = this.#cluster;
    if (log === undefined) return silentLog;
    const stamped = (to: Log): Log => {
      const at = (level: 'debug' | 'info' | 'warn' | 'error') => (message: string, fields?: LogFields) =>
        to[level](message, { atMs: Math.round(timeline.nowMs()), ...fields });
      return {
        debug: at('debug'),
        info: at('info'),
        warn: at('warn'),
        error: at('error'),
        child: (component, fields) => stamped(to.child(component, fields)),
      };
    };
    return stamped(log.child('node', { host: this.index }));
  }

  /** At its first start the disk is as it was made. */
  #known(): { readonly known?: RecordStore } {
    const { known } = this.#cluster;
    const isFirst = !this.#hasStarted;
    this.#hasStarted = true;
    return known === undefined || !isFirst ? {} : { known };
  }

  /** Resolves when it is on disk; never, when the host crashes before. */
  async publish(key: string, value: RecordValue): Promise<void> {
    const { life } = this.link;
    this.#written.set(key, value);
    try {
      await this.program?.publish(key, value);
    } catch (error) {
      // A removed node that has just heard of it must not publish; nothing else may be refused.
      if (this.#cluster.observer.isRemoved(this.node) && error instanceof PortolanError) return;
      throw error;
    }
    if (life !== this.link.life) return;
    this.own.set(key, value);
    this.#acknowledged.set(key, value);
  }

  /** What was acknowledged is still there after a crash, or else what it was about to write over it. */
  #checkKept(program: NodeProgram): void {
    for (const [key, value] of this.#acknowledged) {
      const text = JSON.stringify(
        Array.from(program.records(key)).find((record) => record.key === key)?.value,
      );
      if (text !== JSON.stringify(value) && text !== JSON.stringify(this.#written.get(key)))
        this.#cluster.observer.violation(`host ${this.index} has lost "${key}", which was acknowledged`);
    }
  }

  /** No power: silence. */
  crash(): void {
    this.#ended();
    this.link.crash();
    this.disk.crash(this.random);
  }

  /** SIGKILL: the kernel closes its connections. */
  kill(): void {
    this.#ended();
    this.link.kill();
    this.disk.kill();
  }

  async stop(): Promise<void> {
    const { program } = this;
    const { life } = this.link;
    this.healthySince = undefined;
    await program?.close();
    if (life === this.link.life) this.kill();
  }

  /** Gets no processor for a while; then everything that waited happens at once, timers first. */
  stall(ms: number): void {
    if (this.isStalled || !this.isRunning) return;
    this.isStalled = true;
    this.#log().info('gets no processor', { ms });
    this.healthySince = undefined;
    this.link.freeze();
    const { life } = this.link;
    this.#cluster.timeline.after(ms, () => {
      if (life === this.link.life) this.#wake();
    });
  }

  /** Its network cable is pulled for a while. */
  unplug(ms: number): void {
    if (!this.isRunning || !this.link.isPlugged) return;
    this.link.isPlugged = false;
    this.healthySince = undefined;
    this.#cluster.timeline.after(ms, () => {
      this.link.isPlugged = true;
      this.rejoinedAt = this.#cluster.timeline.nowMs();
      if (this.isRunning) this.healthySince = this.rejoinedAt;
    });
  }

  /** An old copy of its disk is put back. */
  turnBack(disk: DiskImage): void {
    this.disk.restore(disk);
    this.#acknowledged.clear();
  }

  /** An empty disk: a node that nobody knows. */
  takeIdentity(): void {
    this.disk.wipe();
    this.#acknowledged.clear();
    this.node = newNodeId(this.random);
    this.own.clear();
    for (const [key, value] of ownRecords(this.node, this.index, 1)) this.own.set(key, value);
  }

  /** Another disk is put in. */
  become(other: { node: NodeId; disk: DiskImage; own: ReadonlyMap<string, RecordValue> }): void {
    this.node = other.node;
    this.turnBack(other.disk);
    this.own.clear();
    for (const [key, value] of other.own) this.own.set(key, value);
  }

  #wake(): void {
    this.isStalled = false;
    this.healthySince = this.#cluster.timeline.nowMs();
    const timers = this.#lateTimers;
    this.#lateTimers = [];
    for (const run of timers) run();
    this.link.thaw();
  }

  #ended(): void {
    if (this.program !== undefined) this.#cluster.observer.unwatch(this);
    this.program = undefined;
    this.isStalled = false;
    this.healthySince = undefined;
    this.#lateTimers = [];
  }

  #clock(life: number): Clock {
    const { timeline } = this.#cluster;
    return {
      nowMs: () => timeline.nowMs(),
      wallMs: () => WALL_START_MS + timeline.nowMs() + this.wallOffsetMs,
      after: (delayMs, action) => {
        let isDone = false;
        const run = (): void => {
          if (isDone || life !== this.link.life) return;
          if (this.isStalled) {
            this.#lateTimers.push(run);
            return;
          }
          isDone = true;
          action();
        };
        const timer: Timer = timeline.after(delayMs, run);
        return {
          cancel: () => {
            isDone = true;
            timer.cancel();
          },
        };
      },
    };
  }

  /** The network's, with word to the cluster that promises were settled. */
  #transport(): PeerTransport {
    const transport = this.#cluster.network.transport(this.address);
    const settle = (): void => this.#cluster.settle();
    return {
      listen: transport.listen,
      hear: transport.hear,
      connect: (address, options) => {
        const connecting = transport.connect(address, options);
        connecting.then(settle, settle);
        return connecting;
      },
    };
  }
}
