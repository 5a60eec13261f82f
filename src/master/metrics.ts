/**
 * The master's metrics under both their names: Prometheus' for us, and those that DC/OS dashboards ask
 * `/metrics/snapshot` for (reference "overlay network", section 8).
 */
import type { Counter, Gauge, Metrics } from '../base/metrics.ts';

const PREFIX = 'portolan_overlay_master_';

/** Mesos name below `overlay/master/` -> ours, and what it counts. */
const counters = {
  process_restarts: ['recoveries_total', 'Recoveries from the store after a failed commit'],
  ip_allocation_failures: [
    'ip_allocation_failures_total',
    'Registrations refused for want of a VTEP address',
  ],
  ip6_allocation_failures: ['ip6_allocation_failures_total', 'The same for want of an IPv6 VTEP address'],
  subnet_allocation_failures: ['subnet_allocation_failures_total', 'Overlays left out for want of a block'],
  subnet6_allocation_failures: ['subnet6_allocation_failures_total', 'The same for want of an IPv6 block'],
  bridge_allocation_failures: [
    'bridge_allocation_failures_total',
    'Blocks too small for two bridges; always 0',
  ],
  'internal/register_agent_messages_received': ['register_agent_messages_received_total', 'Registrations'],
  'internal/register_agent_messages_dropped': [
    'register_agent_messages_dropped_total',
    'Refused registrations',
  ],
  'internal/update_agent_overlays_messages_sent': [
    'update_agent_overlays_messages_sent_total',
    'Grants answered',
  ],
  'internal/agent_registered_messages_received': [
    'agent_registered_messages_received_total',
    'Agent reports',
  ],
  'internal/agent_registered_messages_dropped': [
    'agent_registered_messages_dropped_total',
    'Refused reports',
  ],
  'internal/agent_registered_acknowledgements_sent': [
    'agent_registered_acknowledgements_sent_total',
    'Agent reports acknowledged',
  ],
} as const;

export type MasterCounter = keyof typeof counters;

export interface MasterMetrics {
  count(name: MasterCounter): void;
  readonly recovering: Gauge;
  readonly nodes: Gauge;
  /** Flat `overlay/master/...` -> value. */
  snapshot(): Promise<Readonly<Record<string, number>>>;
  /** Prometheus' text format. */
  expose(): Promise<string>;
}

export function createMasterMetrics(metrics: Metrics): MasterMetrics {
  const made = new Map<MasterCounter, Counter>();
  for (const [name, [ours, help]] of Object.entries(counters)) {
    const counter = metrics.counter(PREFIX + ours, help);
    counter.add(0);
    made.set(name as MasterCounter, counter);
  }
  return {
    count: (name) => made.get(name)?.add(),
    recovering: metrics.gauge(`${PREFIX}recovering`, '1 while the master reads its store'),
    nodes: metrics.gauge(`${PREFIX}nodes`, 'Nodes that hold a grant'),
    snapshot: async () => mesosNames(await metrics.snapshot()),
    expose: () => metrics.expose(),
  };
}

function mesosNames(flat: Readonly<Record<string, number>>): Readonly<Record<string, number>> {
  const named = Object.entries(counters).map(([name, [ours]]) => [name, flat[PREFIX + ours] ?? 0] as const);
  const all = [...named, ['recovering', flat[`${PREFIX}recovering`] ?? 0] as const];
  return Object.fromEntries(all.map(([name, value]) => [`overlay/master/${name}`, value]));
}
