/**
 * What the master knows of agents and tasks as metrics, under the names of DC/OS's `mesos_listener` where they still mean
 * something (reference "VIPs and DNS", section 8): that one heard of both from Mesos. Read when somebody asks.
 */
import type { Metrics } from '../base/metrics.ts';
import type { RecordView } from '../node/record-view.ts';

export function readTaskMetrics(components: {
  readonly metrics: Metrics;
  readonly records: Pick<RecordView, 'nodes' | 'tasks'>;
}): void {
  const { metrics, records } = components;
  const gauge = (name: string, help: string, read: () => number): void =>
    metrics.read('gauge', `mesos_listener_${name}`, help, [], () => [[{}, read()]]);
  gauge('agents_total', 'Agents', () => records.nodes().filter(({ role }) => role === 'agent').length);
  gauge('tasks_total', 'Tasks and plain containers of all agents', () => records.tasks().length);
  gauge(
    'frameworks_total',
    'Frameworks that have tasks',
    () => new Set(records.tasks().map(({ task }) => task.framework)).size,
  );
}
