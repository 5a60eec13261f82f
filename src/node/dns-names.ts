/**
 * The names of the cluster, from the records that this node holds.
 *
 * Purpose: keeps the names in step with tasks, nodes, masters and VIPs; agents answer queries from it, masters
 * show it.
 * Invariants: a change of one task concerns that task's names only; nothing is taken out because it cannot be reached;
 * whatever changes at once, a turn of the event loop is kept short by it.
 * Review notes: `settled` is waited for before anybody is answered: a name that was not read yet is not "no such name".
 */
import type { Clock, Timer } from '../base/clock.ts';
import { ip, parseIp, parsePrefix, type IpAddress, type Prefix } from '../base/ip.ts';
import type { Metrics } from '../base/metrics.ts';
import { Answerer } from '../dns/answer.ts';
import {
  agentRecords,
  customRecords,
  frameworkRecords,
  masterRecords,
  ownRecords,
  vipRecords,
  type ClusterNode,
  type CustomZones,
} from '../dns/cluster-names.ts';
import { Names } from '../dns/names.ts';
import { apexRecords, Zones, type TimesToLive } from '../dns/zones.ts';
import { AGENT_PORT, MASTER_PORT } from '../model/config.ts';
import type { ClusterId } from '../model/names.ts';
import type { GossipRecord } from '../model/record.ts';
import type { ViewedTask } from '../model/task-view.ts';
import type { RecordExchange } from './record-exchange.ts';
import type { RecordView } from './record-view.ts';
import type { VipView } from './vip-view.ts';

/** Nodes come and go in crowds; their names are made anew together. */
const GATHER_MS = 100;
/** Records that have names. */
const NAMED = /^cluster\/(masters$|removed\/)|^node\/[^/]+\/node$/;
const PLACE = /^node\/[^/]+\/overlay\//;
const FRAMEWORK = 'marathon';
/** A turn of the event loop takes no longer for it than this. */
const TURN_MS = 2;
/** Of more owners than this, none is taken in the turn that told of them, which has had its own work. */
const AT_ONCE_MAX = 100;

export interface DnsNamesComponents {
  readonly records: RecordView;
  readonly exchange: Pick<RecordExchange, 'subscribe' | 'subscribeMembers' | 'isReachable'>;
  readonly clock: Clock;
  readonly metrics: Metrics;
}

export interface DnsNamesInit {
  readonly listen: readonly IpAddress[];
  readonly ttls: TimesToLive;
  /** Whoever has an address of these is a VIP. */
  readonly vipRanges: readonly Prefix[];
  /** Zones that the operator has made. */
  readonly custom?: CustomZones;
  cluster(): ClusterId | undefined;
}

export class DnsNames {
  readonly table: Names;
  readonly answerer: Answerer;
  readonly #components: DnsNamesComponents;
  readonly #init: DnsNamesInit;
  readonly #unsubscribe: (() => void)[];
  /** Tasks and VIPs whose names have to be taken anew. */
  readonly #changed = { tasks: new Set<string>(), vips: new Set<string>() };
  /** Tasks that were known at the start and have not had their turn yet. */
  #known: Iterator<ViewedTask> | undefined;
  readonly #waiting: (() => void)[] = [];
  #zones: Zones;
  /** The overlays' spaces of the zones, as text. */
  #spaces = '';
  #vips: VipView | undefined;
  #timer: Timer | undefined;
  #nextTurn: Timer | undefined;

  constructor(components: DnsNamesComponents, init: DnsNamesInit) {
    this.#components = components;
    this.#init = init;
    this.#zones = this.#makeZones();
    this.table = new Names({ task: (id) => components.records.task(id), ttls: init.ttls });
    this.answerer = new Answerer({ names: this.table, zones: () => this.#zones });
    this.table.set('own', ownRecords(init.listen, init.ttls));
    this.table.set('custom', customRecords(init.custom ?? new Map<string, never>(), init.ttls));
    const { records, exchange } = components;
    const tasks = records.tasks();
    this.#known = tasks.values();
    if (tasks.length > AT_ONCE_MAX) this.#takeNextTurn();
    else this.#takeSome();
    this.#refresh();
    const soon = (): void => this.#refreshSoon();
    this.#unsubscribe = [
      records.subscribeTasks(({ tasks }) => this.#take(this.#changed.tasks, tasks)),
      exchange.subscribe('', (changes) => {
        if (changes.some(({ key }) => NAMED.test(key)) || this.#haveSpacesChanged(changes)) soon();
      }),
      exchange.subscribeMembers(soon),
    ];
    this.#readMetrics();
  }

  get ttls(): TimesToLive {
    return this.#init.ttls;
  }

  close(): void {
    this.#timer?.cancel();
    this.#nextTurn?.cancel();
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  /** Names of VIPs as well, from now on. */
  follow(vips: VipView): void {
    this.#vips = vips;
    this.#take(this.#changed.vips, vips.table.ids());
    this.#unsubscribe.push(vips.subscribe((changed) => this.#take(this.#changed.vips, changed)));
  }

  /** Resolves when the names of all that was told until now are there. */
  async settled(): Promise<void> {
    if (this.#isWaiting()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  /** At once where it is little, as nearly always; the rest in further turns. */
  #take(changed: Set<string>, ids: Iterable<string>): void {
    for (const id of ids) changed.add(id);
    if (this.#nextTurn !== undefined) return;
    if (this.#changed.tasks.size + this.#changed.vips.size > AT_ONCE_MAX) this.#takeNextTurn();
    else this.#takeSome();
  }

  #takeSome(): void {
    const { clock } = this.#components;
    this.#nextTurn = undefined;
    const endMs = clock.nowMs() + TURN_MS;
    while (this.#takeOne()) if (clock.nowMs() >= endMs) break;
    if (this.#isWaiting()) this.#takeNextTurn();
    else for (const resolve of this.#waiting.splice(0)) resolve();
  }

  #takeNextTurn(): void {
    this.#nextTurn = this.#components.clock.after(0, () => this.#takeSome());
  }

  #isWaiting(): boolean {
    return this.#known !== undefined || this.#changed.tasks.size + this.#changed.vips.size > 0;
  }

  /** Answers whether there was one to take: as it is now, for records may have come between two turns. */
  #takeOne(): boolean {
    const task = this.#nextTask();
    if (task !== undefined) {
      this.table.put(task, this.#components.records.task(task));
      return true;
    }
    const [vip] = this.#changed.vips;
    if (vip === undefined) return false;
    this.#changed.vips.delete(vip);
    // VIPs of one name have one address, so it counts once however many say so.
    const { name, addresses = [] } = this.#vips?.table.get(vip) ?? {};
    this.table.set(`vip/${vip}`, name === undefined ? [] : vipRecords({ name, addresses }, this.#init.ttls));
    return true;
  }

  #nextTask(): string | undefined {
    const known = this.#known?.next();
    if (known?.done === false) return known.value.id;
    this.#known = undefined;
    const [changed] = this.#changed.tasks;
    if (changed !== undefined) this.#changed.tasks.delete(changed);
    return changed;
  }

  #refreshSoon(): void {
    this.#timer ??= this.#components.clock.after(GATHER_MS, () => {
      this.#timer = undefined;
      this.#refresh();
    });
  }

  #refresh(): void {
    const { ttls } = this.#init;
    this.#zones = this.#makeZones();
    this.table.set('reverse', apexRecords(ttls, this.#zones.reverseNames));
    const masters = this.#masters();
    this.table.set('masters', masterRecords(masters, ttls));
    const leader = masters.find(({ reachable }) => reachable) ?? masters[0];
    this.table.set('framework', leader === undefined ? [] : frameworkRecords(FRAMEWORK, leader, ttls));
    const agents = this.#agents();
    for (const owner of [...this.table.owners()])
      if (owner.startsWith('agent/') && !agents.has(owner)) this.table.set(owner, []);
    for (const [owner, agent] of agents) this.table.set(owner, agentRecords(agent, ttls));
  }

  #agents(): ReadonlyMap<string, ClusterNode> {
    const { records, exchange } = this.#components;
    const agents = records.nodes().filter(({ role }) => role === 'agent');
    return new Map(
      agents.map(({ id, address, api_port: port }) => [
        `agent/${id}`,
        { address: ip(address), reachable: exchange.isReachable(id), port: port === 0 ? AGENT_PORT : port },
      ]),
    );
  }

  /** In the order in which they lead: as the cluster's records name them. */
  #masters(): readonly ClusterNode[] {
    const { records, exchange } = this.#components;
    const nodes = records.nodes();
    return records.masters().flatMap((text) => {
      const at = text.lastIndexOf(':');
      const address = parseIp(text.slice(0, at).replace(/^\[|\]$/g, ''));
      if (address === undefined) return [];
      const node = nodes.find((each) => each.role === 'master' && each.address === address.toString());
      const reachable = node === undefined || exchange.isReachable(node.id);
      return [{ address, reachable, port: Number(text.slice(at + 1)) || MASTER_PORT }];
    });
  }

  #makeZones(): Zones {
    const cluster = this.#init.cluster();
    return new Zones({
      ...(cluster === undefined ? {} : { cluster }),
      reverse: [...this.#init.vipRanges, ...this.#overlaySpaces()],
      custom: Array.from(this.#init.custom?.keys() ?? []),
      ttls: this.#init.ttls,
    });
  }

  /** A node's block is in no name, and moves without a change of any. */
  #haveSpacesChanged(changes: readonly GossipRecord[]): boolean {
    return changes.some(({ key }) => PLACE.test(key)) && this.#spaceTexts().join(' ') !== this.#spaces;
  }

  #spaceTexts(): readonly string[] {
    const spaces = new Set<string>();
    for (const { record } of this.#components.records.overlays())
      for (const text of [record.space, record.space6]) if (text !== undefined) spaces.add(text);
    return Array.from(spaces);
  }

  #overlaySpaces(): readonly Prefix[] {
    const texts = this.#spaceTexts();
    this.#spaces = texts.join(' ');
    return texts.flatMap((text) => parsePrefix(text) ?? []);
  }

  #readMetrics(): void {
    const { metrics } = this.#components;
    metrics.read('gauge', 'dns_zone_records', 'Records by zone', ['zone'], () =>
      [...this.table.zoneCounts].map(([zone, count]) => [{ zone }, count] as const),
    );
  }
}
