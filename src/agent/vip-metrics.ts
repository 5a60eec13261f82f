/** VIPs as metrics, under the names that DC/OS's l4lb had where they still mean something; read when somebody asks. */
import type { Metrics } from '../base/metrics.ts';
import type { RecordView } from '../node/record-view.ts';
import { vipText } from '../node/vip-view.ts';
import type { NodeId } from '../model/names.ts';
import type { ViewedTask } from '../model/task-view.ts';
import type { Vip } from '../vip/table.ts';
import type { Vips } from './vips.ts';

export class VipMetrics {
  readonly #vips: Vips;
  #listed: readonly Vip[] = [];
  #connections: ReadonlyMap<string, number> = new Map();

  constructor(
    components: { readonly metrics: Metrics; readonly vips: Vips; readonly records: RecordView },
    init: { readonly node: NodeId },
  ) {
    const { metrics, vips, records } = components;
    this.#vips = vips;
    const gauge = (name: string, help: string, read: () => number): void =>
      metrics.read('gauge', `l4lb_${name}`, help, [], () => [[{}, read()]]);
    const ofNode = (): readonly ViewedTask[] => records.tasks().filter(({ node }) => node === init.node);
    const backends = (): Vip['backends'] => this.#listed.flatMap((vip) => vip.backends);
    const unreachable = (): Vip['backends'] => backends().filter(({ reachable }) => !reachable);
    gauge('vips', 'VIPs of the cluster', () => this.#listed.length);
    gauge('backends', 'Backends of all VIPs', () => backends().length);
    gauge('local_vips', 'VIPs with a backend on this host', () => this.#local().length);
    gauge(
      'local_backends',
      'Backends on this host',
      () => backends().filter((each) => each.node === init.node).length,
    );
    gauge('local_tasks', 'Tasks and plain containers on this host', () => ofNode().length);
    gauge(
      'local_running_tasks',
      'Those of them that run',
      () => ofNode().filter(({ task }) => task.state === 'TASK_RUNNING').length,
    );
    gauge('unreachable_backends', 'Backends on hosts that cannot be reached', () => unreachable().length);
    gauge(
      'unreachable_nodes',
      'Hosts with backends that cannot be reached',
      () => new Set(unreachable().map(({ node }) => node)).size,
    );
    gauge(
      'unreachable_vips',
      'VIPs of which no backend can be reached',
      () => this.#listed.filter((vip) => vip.backends.every(({ reachable }) => !reachable)).length,
    );
    metrics.read(
      'gauge',
      'portolan_vip_elements',
      'Elements of nftables sets that VIPs have here',
      [],
      () => [[{}, vips.status().elements]],
    );
    metrics.read(
      'counter',
      'portolan_vip_connections_total',
      'New connections to a VIP from this host and its containers, as the kernel counts them',
      ['vip', 'protocol'],
      () =>
        this.#listed.flatMap((vip) => {
          const count = this.#connections.get(vip.id);
          return count === undefined ? [] : [[{ vip: vipText(vip), protocol: vip.protocol }, count] as const];
        }),
    );
  }

  /** Before the metrics are read: what the kernel has is not there for the asking. */
  async refresh(): Promise<void> {
    this.#listed = this.#vips.view.vips();
    this.#connections = await this.#vips.connections();
  }

  #local(): readonly Vip[] {
    return this.#listed.filter((vip) => vip.backends.some(({ local }) => local));
  }
}
