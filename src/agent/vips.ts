/**
 * This host's VIPs: from the records into the kernel, and kept there.
 *
 * Purpose: compiles the VIPs that changed, tells the kernel the difference, and compares the kernel with what it should
 * hold whenever somebody else has touched our tables, and once a minute anyway.
 * Invariants: nothing is written before all that is known at the start is compiled, and nothing without a grant; one
 * writer at a time; a change that the kernel refuses leads to a comparison; a backend that is gone loses its UDP
 * connections, one of weight 0 keeps them; connections to VIPs from before the rules are forgotten.
 * Review notes: a task that changes costs work for its VIPs alone, done in the turn in which its record came when nothing
 * else is being written.
 */
import { parsePrefix, type IpAddress, type Prefix } from '../base/ip.ts';
import type { Clock, Timer } from '../base/clock.ts';
import { describeError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { Counter, Histogram, Metrics } from '../base/metrics.ts';
import type { Kernel, KernelEvent } from '../kernel/types.ts';
import type { VipsConfig } from '../model/config.ts';
import type { NodeId } from '../model/names.ts';
import type { RecordView } from '../node/record-view.ts';
import { VipView } from '../node/vip-view.ts';
import { isHostLinkName } from '../overlay/marks.ts';
import type { Journal } from '../store/types.ts';
import type { Protocol, VipBackend } from '../vip/claims.ts';
import { ElementChanges, ElementTable } from '../vip/elements.ts';
import { countedKey, renderVip, usableBackends } from '../vip/render.ts';
import { outermost, VIP_TABLE } from '../vip/ruleset.ts';
import type { Reserved } from '../vip/table.ts';
import { DockerPorts } from './docker-ports.ts';
import { HostNetworks } from './host-networks.ts';
import { Rounds } from './rounds.ts';
import { inSlices, nextTurn } from './slices.ts';
import { UdpConnections } from './vip-udp.ts';
import { VipTables, type Correction } from './vip-tables.ts';

const SWEEP_MS = 60_000;
/** Elements of one transaction while many VIPs change: about 3 ms. */
const PART = 1_000;
/** VIPs compiled between two looks at the clock. */
const SLICE = 20;

/** What the VIPs need to know of this host's networks. */
export interface VipSurroundings {
  /** The whole spaces of the overlays; empty without a grant: then no VIP is in the kernel. */
  readonly overlays: readonly Prefix[];
  readonly reserved: readonly Reserved[];
}

export interface VipsComponents {
  readonly kernel: Kernel;
  readonly journal: Journal;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly records: RecordView;
}

export interface VipsInit {
  readonly node: NodeId;
  readonly config: VipsConfig;
  /** The same object until it changes. */
  surroundings(): VipSurroundings;
  /** The addresses that must be routed to this host's own rules are others. */
  onRoutes(): void;
}

export interface VipsStatus {
  readonly enabled: boolean;
  /** The kernel holds what it should. */
  readonly applied: boolean;
  readonly elements: number;
  readonly corrections: number;
  readonly problem?: string;
}

export class Vips {
  readonly view: VipView;
  readonly #components: VipsComponents;
  readonly #init: VipsInit;
  readonly #tables: VipTables;
  readonly #networks: HostNetworks;
  readonly #ranges: readonly Prefix[];
  readonly #elements = new ElementTable();
  readonly #rounds: Rounds<undefined>;
  readonly #metrics: { readonly repairs: Counter; readonly seconds: Histogram };
  /** Ids of VIPs whose elements may be others than those in the table. */
  readonly #dirty = new Set<string>();
  readonly #udp = new UdpConnections();
  readonly #events: string[] = [];
  #surroundings: VipSurroundings = { overlays: [], reserved: [] };
  /** What they were made of. */
  #given: VipSurroundings | undefined;
  #networksChanged = false;
  #networksTimer: Timer | undefined;
  #loading: Promise<void> | undefined;
  #loaded = false;
  /** The rules are in the kernel, and the elements as of the last write. */
  #installed = false;
  #writing: Promise<void> | undefined;
  #applied = false;
  /** As last told. */
  #routes = '';
  #corrections = 0;
  #problem: string | undefined;

  constructor(components: VipsComponents, init: VipsInit) {
    const { kernel, journal, log, clock, metrics, records } = components;
    this.#components = components;
    this.#init = init;
    const { range, range6 } = init.config;
    this.#ranges = [parsePrefix(range), parsePrefix(range6)].filter((each) => each !== undefined);
    this.#tables = new VipTables({ nft: kernel.nft, journal, log });
    const ports = new DockerPorts({ kernel, log });
    this.#networks = new HostNetworks({ kernel }, { onLinks: (links) => ports.ensure(links) });
    this.view = new VipView({ records, log }, { config: init.config, self: init.node });
    this.view.subscribe((changed) => this.#onVips(changed));
    this.#rounds = new Rounds({ clock }, { sweepMs: SWEEP_MS, run: (reason) => this.#round(reason) });
    this.#metrics = {
      repairs: metrics.counter(
        'portolan_repairs_total',
        'Kernel objects of ours that somebody else changed and that were put back',
        ['object'],
      ),
      seconds: metrics.histogram(
        'l4lb_vips_duration_seconds',
        'From changed VIPs until they were in the kernel',
      ),
    };
  }

  /** Compiles what is known, as `start` would do it: others need names before the kernel has its turn. */
  async load(): Promise<void> {
    if (!this.#init.config.enabled) return;
    await (this.#loading ??= inSlices(this.#components, this.view.load()));
  }

  /** Compiles what is known and begins to write. */
  async start(): Promise<void> {
    if (!this.#init.config.enabled) return;
    await this.load();
    this.#loaded = true;
    this.#rounds.start();
  }

  /** The grant, the records' overlays or this host's addresses may have changed. */
  refresh(): void {
    if (!this.#loaded || this.#init.surroundings() === this.#given) return;
    const before = this.#wanted();
    this.#takeSurroundings();
    // A host more in the cluster is no reason to compare a hundred thousand elements.
    if (this.#wanted() !== before) this.#rounds.now('the surroundings changed');
  }

  /** Somebody else has changed something in this host's network. */
  onForeignEvent(event: KernelEvent): void {
    if (!this.#loaded) return;
    if (event.object === 'link' || event.object === 'address') this.#lookAtNetworksSoon(event);
    const isOurs = event.object === 'nft' && event.text.includes(VIP_TABLE.name);
    if (!isOurs && event.object !== 'overrun') return;
    if (this.#events.length < EVENTS_MAX) this.#events.push(event.text);
    this.#rounds.soon(event.text);
  }

  /** Resolves when all that is known now is in the kernel. */
  async settle(): Promise<void> {
    if (this.#loaded) await this.#rounds.settle();
  }

  /** After it was closed: a host without a grant has no VIPs in its kernel. */
  async remove(): Promise<void> {
    if (this.#loaded) await this.#tables.remove();
  }

  /** Resolves when what has changed until now is in the kernel, without a comparison. */
  async written(): Promise<void> {
    while (this.#writing !== undefined) await this.#writing;
  }

  /** What must be routed so that this host's own connections come to the rules. */
  routes(): readonly Prefix[] {
    return this.#isWanted() ? this.#prefixes() : [];
  }

  /** Where the kernel may lead a new connection; `undefined` = the address is no VIP's. */
  backendsAt(
    address: IpAddress,
    protocol: Protocol,
    port: number,
  ): readonly Pick<VipBackend, 'address' | 'port' | 'weight'>[] | undefined {
    if (!this.routes().some((prefix) => prefix.contains(address))) return undefined;
    const vip = this.view
      .vips()
      .find(
        (each) =>
          each.protocol === protocol &&
          each.port === port &&
          each.addresses.some((own) => own.equals(address)),
      );
    return usableBackends(vip?.backends ?? []).filter((each) => each.address.family === address.family);
  }

  status(): VipsStatus {
    return {
      enabled: this.#init.config.enabled,
      applied: this.#applied && (this.#dirty.size === 0 || !this.#installed),
      elements: this.#elements.size,
      corrections: this.#corrections,
      ...(this.#problem === undefined ? {} : { problem: this.#problem }),
    };
  }

  /** New connections since the VIP is in the kernel, by its id. */
  async connections(): Promise<ReadonlyMap<string, number>> {
    const counts = this.#installed ? await this.#tables.counts() : new Map<string, number>();
    const connections = new Map<string, number>();
    for (const vip of this.view.vips())
      for (const address of vip.addresses) {
        const count = counts.get(countedKey(vip, address));
        if (count !== undefined) connections.set(vip.id, (connections.get(vip.id) ?? 0) + count);
      }
    return connections;
  }

  /** Leaves the kernel as it is. */
  async close(): Promise<void> {
    this.view.close();
    this.#networksTimer?.cancel();
    await this.#rounds.stop();
    await this.#writing;
  }

  #isWanted(): boolean {
    return this.#init.config.enabled && this.#surroundings.overlays.length > 0 && this.#problem === undefined;
  }

  /** The ranges of named VIPs, and addresses that labels give. */
  #prefixes(): readonly Prefix[] {
    return outermost([...this.#ranges, ...this.view.table.givenAddresses()]);
  }

  #onVips(changed: ReadonlySet<string>): void {
    for (const id of changed) this.#dirty.add(id);
    if (!this.#loaded || !this.#installed) return;
    if (this.view.table.takeGiven()) this.#rounds.now('addresses of VIPs changed');
    this.#writing ??= this.#write();
  }

  /** Writes until nothing is dirty; others ask for it while it runs by making VIPs dirty. */
  async #write(): Promise<void> {
    const begun = this.#components.clock.nowMs();
    try {
      while (this.#dirty.size > 0) {
        const changes = new ElementChanges();
        for (const id of this.#dirty) {
          if (changes.size >= PART) break;
          this.#compile(id, changes);
        }
        await this.#tables.change(changes.all());
        if (this.#dirty.size > 0) await nextTurn();
      }
      await this.#cutDoomed();
      this.#metrics.seconds.observe((this.#components.clock.nowMs() - begun) / 1000);
    } catch (error) {
      this.#applied = false;
      this.#components.log.warn('The kernel refused a change of VIPs: comparing all', {
        error: describeError(error),
      });
      this.#rounds.now('a change was refused');
      this.#writing = undefined;
      return;
    }
    this.#writing = this.#dirty.size > 0 ? this.#write() : undefined;
  }

  #compile(id: string, changes?: ElementChanges): void {
    this.#dirty.delete(id);
    const vip = this.view.table.get(id);
    const elements =
      vip === undefined ? [] : renderVip(vip, (container) => this.#networks.bridgeMac(container));
    this.#elements.replace(id, elements, changes);
    this.#udp.compare(id, vip);
  }

  async #cutDoomed(): Promise<void> {
    const doomed = this.#udp.takeDoomed();
    if (doomed.length > 0) await this.#components.kernel.deleteConnections(...doomed);
  }

  /** Connections that began without the rules would go on without them, to nowhere, for as long as anybody sends. */
  async #forgetUntranslated(): Promise<void> {
    const filters = this.#prefixes().map((within) => ({ within, untranslated: true as const }));
    await this.#components.kernel.deleteConnections(...filters);
  }

  async #round(reason: string): Promise<{ report: undefined; failed: boolean }> {
    // No write during a comparison; those that come meanwhile make VIPs dirty and are written after it.
    await this.written();
    let done = (): void => undefined;
    this.#writing = new Promise((resolve) => {
      done = resolve;
    });
    try {
      await this.#look();
      if (this.#isWanted()) await this.#ensure(reason);
      else await this.#removeAll();
      this.#compareRoutes();
      return { report: undefined, failed: false };
    } catch (error) {
      this.#applied = false;
      this.#components.log.warn('VIPs could not be brought about', { reason, error: describeError(error) });
      return { report: undefined, failed: true };
    } finally {
      this.#writing = undefined;
      done();
      if (this.#installed && this.#dirty.size > 0) this.#writing ??= this.#write();
    }
  }

  async #ensure(reason: string): Promise<void> {
    const events = this.#events.splice(0);
    await inSlices(this.#components, this.#compileAll());
    const correction = await this.#tables.ensure(
      { vips: this.#prefixes(), overlays: outermost(this.#surroundings.overlays) },
      this.#elements,
    );
    // What has come while the kernel was read is dirty, and written next.
    const isFirst = !this.#installed;
    this.#installed = true;
    this.#applied = true;
    await this.#cutDoomed();
    if (correction.opened) await this.#forgetUntranslated();
    if (!isFirst && (reason === 'sweep' || events.length > 0)) this.#tellCorrection(correction, events);
  }

  #compareRoutes(): void {
    const routes = this.routes().map(String).join(' ');
    if (routes !== this.#routes) this.#init.onRoutes();
    this.#routes = routes;
  }

  *#compileAll(): Generator<undefined, void> {
    let count = 0;
    for (const id of this.#dirty) {
      this.#compile(id);
      if (++count % SLICE === 0) yield;
    }
  }

  async #removeAll(): Promise<void> {
    for (const id of this.#elements.vips()) this.#dirty.add(id);
    if (this.#installed || !this.#applied) await this.#tables.remove();
    this.#installed = false;
    this.#applied = true;
  }

  #tellCorrection({ rules, elements, examples }: Correction, events: readonly string[]): void {
    if (rules.length + elements === 0) return;
    this.#corrections += rules.length + elements;
    this.#metrics.repairs.add(rules.length + elements, { object: 'vip' });
    this.#components.log.warn('repaired what somebody else changed', {
      object: 'vip',
      count: rules.length + elements,
      rules,
      what: examples,
      events,
    });
  }

  /** At what may have changed around us. */
  async #look(): Promise<void> {
    if (await this.#networks.refresh()) this.#networksChanged = true;
    if (this.#networksChanged) for (const id of this.#localVips()) this.#dirty.add(id);
    this.#networksChanged = false;
    this.#takeSurroundings();
  }

  #takeSurroundings(): void {
    this.#given = this.#init.surroundings();
    const { overlays, reserved } = this.#given;
    const before = reservedText(this.#surroundings);
    this.#surroundings = { overlays, reserved: [...reserved, ...this.#networks.reserved()] };
    if (before === reservedText(this.#surroundings)) return;
    this.view.reserve(this.#surroundings.reserved);
    this.#judgeRanges();
  }

  /** What the rules are made of, as text. */
  #wanted(): string {
    return [...this.routes(), '-', ...this.#surroundings.overlays].map(String).join(' ');
  }

  /** Containers come in crowds, each with a link or two, of which hardly any is a bridge. */
  #lookAtNetworksSoon(event: KernelEvent): void {
    if (event.link !== undefined && isHostLinkName(event.link)) return;
    this.#networks.invalidate();
    this.#networksTimer ??= this.#components.clock.after(LINKS_GATHER_MS, () => {
      this.#networksTimer = undefined;
      this.#networks.refresh().then(
        (changed) => {
          if (!changed) return;
          this.#networksChanged = true;
          this.#rounds.now("this host's networks changed");
        },
        (error: unknown) => {
          this.#components.log.warn("This host's networks could not be read", {
            error: describeError(error),
          });
          this.#networks.invalidate();
        },
      );
    });
  }

  /** A range that overlaps what is in use would take it off the network. */
  #judgeRanges(): void {
    const problems = this.#ranges.flatMap((each) =>
      this.#surroundings.reserved
        .filter(({ prefix }) => each.overlaps(prefix))
        .map(({ owner }) => `the range ${String(each)} of named VIPs overlaps ${owner}`),
    );
    const problem = problems[0] === undefined ? undefined : `${problems[0]}: set vips.range or vips.range6`;
    if (problem !== undefined && problem !== this.#problem)
      this.#components.log.error('There are no VIPs on this host', { problem });
    this.#problem = problem;
  }

  #localVips(): readonly string[] {
    return this.view
      .vips()
      .filter(({ backends }) => backends.some(({ local }) => local))
      .map(({ id }) => id);
  }
}

/** Event texts kept for the log line of the repair they cause. */
const EVENTS_MAX = 5;
const LINKS_GATHER_MS = 300;

const reservedText = ({ reserved }: VipSurroundings): string =>
  JSON.stringify(reserved.map(({ prefix, owner }) => `${String(prefix)} ${owner}`));
