/**
 * The names of the cluster, from the records that this node holds.
 *
 * Purpose: keeps the table of names in step with tasks, nodes, masters and VIPs; agents answer queries from it, masters
 * show it.
 * Invariants: a change of one task changes that task's names only; nothing is taken out because it cannot be reached.
 */
import type { Clock, Timer } from '../base/clock.ts';
import { ip, parseIp, parsePrefix, type IpAddress, type Prefix } from '../base/ip.ts';
import type { Metrics } from '../base/metrics.ts';
import { Answerer } from '../dns/answer.ts';
import {
  agentRecords,
  frameworkRecords,
  masterRecords,
  ownRecords,
  vipRecords,
  type ClusterNode,
} from '../dns/cluster-names.ts';
import { NameTable } from '../dns/table.ts';
import { taskRecords } from '../dns/task-names.ts';
import { Zones, zoneNames, type TimesToLive } from '../dns/zones.ts';
import { AGENT_PORT, MASTER_PORT } from '../model/config.ts';
import type { ClusterId } from '../model/names.ts';
import type { RecordExchange } from './exchange.ts';
import type { RecordView } from './record-view.ts';
import type { VipView } from './vip-view.ts';

/** Nodes come and go in crowds; their names are made anew together. */
const GATHER_MS = 100;
/** The most specific first. */
const ZONES = zoneNames.toSorted((a, b) => b.length - a.length);
const FRAMEWORK = 'marathon';

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
  cluster(): ClusterId | undefined;
}

export class DnsNames {
  readonly table = new NameTable();
  readonly answerer: Answerer;
  readonly #components: DnsNamesComponents;
  readonly #init: DnsNamesInit;
  readonly #unsubscribe: (() => void)[];
  #zones: Zones;
  #timer: Timer | undefined;

  constructor(components: DnsNamesComponents, init: DnsNamesInit) {
    this.#components = components;
    this.#init = init;
    this.#zones = this.#makeZones();
    this.answerer = new Answerer({ table: this.table, zones: () => this.#zones });
    this.table.set('own', ownRecords(init.listen, init.ttls));
    const { records, exchange } = components;
    for (const { id } of records.tasks()) this.#takeTask(id);
    this.#refresh();
    const soon = (): void => this.#refreshSoon();
    this.#unsubscribe = [
      records.subscribeTasks(({ tasks }) => {
        for (const id of tasks) this.#takeTask(id);
      }),
      exchange.subscribe('', (changes) => {
        if (changes.some(({ key }) => /^cluster\/|^node\/[^/]+\/(node|overlay)/.test(key))) soon();
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
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
  }

  /** Names of VIPs as well, from now on. */
  follow(vips: VipView): void {
    for (const { id } of vips.vips()) this.#takeVip(vips, id);
    this.#unsubscribe.push(
      vips.subscribe((changed) => {
        for (const id of changed) this.#takeVip(vips, id);
      }),
    );
  }

  /** VIPs of one name have one address, so it counts once however many say so. */
  #takeVip(vips: VipView, id: string): void {
    const vip = vips.table.get(id);
    const records =
      vip?.name === undefined
        ? []
        : vipRecords({ name: vip.name, addresses: vip.addresses }, this.#init.ttls);
    this.table.set(`vip/${id}`, records);
  }

  #takeTask(id: string): void {
    const viewed = this.#components.records.task(id);
    this.table.set(`task/${id}`, viewed === undefined ? [] : taskRecords(viewed, this.#init.ttls));
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
      ttls: this.#init.ttls,
    });
  }

  #overlaySpaces(): readonly Prefix[] {
    const spaces = this.#components.records
      .overlays()
      .flatMap(({ record }) => [record.space, record.space6].filter((text) => text !== undefined));
    return [...new Set(spaces)].flatMap((text) => parsePrefix(text) ?? []);
  }

  #readMetrics(): void {
    const { metrics } = this.#components;
    metrics.read('gauge', 'dns_zone_records', 'Records by zone', ['zone'], () => {
      const counts = new Map(zoneNames.map((name) => [name, 0]));
      for (const record of this.table.told()) {
        const zone = ZONES.find((name) => record.name === name || record.name.endsWith(`.${name}`));
        if (zone !== undefined) counts.set(zone, (counts.get(zone) ?? 0) + 1);
      }
      return [...counts].map(([zone, count]) => [{ zone }, count] as const);
    });
  }
}
