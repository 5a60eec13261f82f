/** Members and the exchange's counts as metrics: read when somebody asks, so that they cost nothing in between. */
import type { Metrics } from '../base/metrics.ts';
import type { ReachState } from '../gossip/reach.ts';
import type { AppliedView } from './applied-view.ts';
import type { RecordExchange } from './record-exchange.ts';

const states: readonly ReachState[] = ['alive', 'suspect', 'unreachable'];

export function readMemberMetrics(components: {
  readonly metrics: Metrics;
  readonly exchange: Pick<RecordExchange, 'members' | 'stats'>;
  readonly applied: AppliedView;
}): void {
  const { metrics, exchange, applied } = components;
  metrics.read('gauge', 'portolan_members', 'Other nodes by their state as seen from here', ['state'], () => {
    const members = exchange.members();
    return states.map((state) => [{ state }, members.filter((each) => each.state === state).length]);
  });
  metrics.read('gauge', 'portolan_gossip_queue_depth', 'Records waiting to be told to peers', [], () => [
    [{}, exchange.stats().queueDepth],
  ]);
  metrics.read(
    'counter',
    'portolan_gossip_false_suspicions_total',
    'Nodes that were called unreachable and had been running all the while',
    [],
    () => [[{}, exchange.stats().falseSuspicions]],
  );
  metrics.read(
    'gauge',
    'portolan_applied_revision',
    "The newest of the masters' revisions known here",
    [],
    () => [[{}, applied.status().newest]],
  );
  metrics.read(
    'gauge',
    'portolan_applied_missing',
    'Agents whose kernels lack it, by reason',
    ['reason'],
    () => {
      const counts = new Map<string, number>();
      for (const { reason } of applied.status().missing) counts.set(reason, (counts.get(reason) ?? 0) + 1);
      return [...counts].map(([reason, count]) => [{ reason }, count]);
    },
  );
}
