/** The registration's metrics (reference "overlay network", section 8, "Agent"). */
import type { Counter, Metrics } from '../base/metrics.ts';
import type { AgentOverlay } from '../model/overlay.ts';
import type { RegistrationStatus } from '../overlay/registration.ts';

const PREFIX = 'portolan_overlay_agent_';

const messages = [
  'register_agent_messages_sent',
  'update_agent_overlays_messages_received',
  'agent_registered_messages_sent',
  'agent_registered_messages_dropped',
  'agent_registered_acknowledgements_received',
] as const;

export interface RegistrationMetrics {
  count(message: (typeof messages)[number]): void;
  observe(status: RegistrationStatus, overlays: readonly AgentOverlay[]): void;
  configured(overlays: readonly AgentOverlay[]): void;
}

export function createRegistrationMetrics(metrics: Metrics): RegistrationMetrics {
  const counters = new Map<string, Counter>(
    messages.map((name) => [name, metrics.counter(`${PREFIX}${name}_total`, `Messages: ${name}`)]),
  );
  const registering = metrics.gauge(`${PREFIX}registering`, '1 while the agent is not registered');
  const failed = metrics.gauge(`${PREFIX}overlay_config_failed`, '1 while registered with a failed overlay');
  const failures = metrics.counter(
    `${PREFIX}overlay_config_failures_total`,
    'Overlays that failed to configure',
  );
  const bare = metrics.gauge(
    `${PREFIX}overlays_without_subnets`,
    'Overlays that this node is only a gateway to',
  );
  return {
    count: (message) => counters.get(message)?.add(),
    observe: (status, overlays) => {
      registering.set(status === 'REGISTERING' ? 1 : 0);
      failed.set(status === 'REGISTERED' && overlays.some(isFailed) ? 1 : 0);
      bare.set(
        overlays.filter(({ subnet, subnet6 }) => subnet === undefined && subnet6 === undefined).length,
      );
    },
    configured: (overlays) => failures.add(overlays.filter(isFailed).length),
  };
}

function isFailed({ state }: AgentOverlay): boolean {
  return state?.status === 'STATUS_FAILED';
}
