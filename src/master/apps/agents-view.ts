/** The agents of the records, as the scheduler and the drainer want them. */
import type { SchedulerAgent } from '../../apps/offers.ts';
import type { RecordExchange } from '../../node/record-exchange.ts';
import type { RecordView } from '../../node/record-view.ts';
import type { DrainingAgent } from './agent-asker.ts';

/** Agents that say what they offer. */
export function schedulerAgents(
  view: RecordView,
  exchange: Pick<RecordExchange, 'isReachable'>,
): SchedulerAgent[] {
  const resources = view.resources();
  return view.nodes().flatMap(({ id, name, address, overlays }) => {
    const offered = resources.get(id);
    if (offered === undefined) return [];
    return [
      {
        ...{ node: id, name, address, resources: offered, isDrained: false },
        isReachable: exchange.isReachable(id),
        overlays: new Set(Object.keys(overlays)),
      },
    ];
  });
}

export function drainingAgents(view: RecordView): DrainingAgent[] {
  return view
    .nodes()
    .filter(({ role }) => role === 'agent')
    .map(({ id, name, address, api_port }) => ({ node: id, name, address, apiPort: api_port }));
}
