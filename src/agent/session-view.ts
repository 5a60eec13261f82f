/** What the API shows of a running session. */
import type { AgentStatus, AgentView } from './api.ts';
import type { ReconcilerStatus } from './reconciler.ts';
import type { Parts } from './session.ts';

export function agentView(parts: Parts): AgentView {
  return {
    overlayState: () => ({
      ip: parts.underlay.current().address.toString(),
      configuration_attempts: parts.registration.state().configuration_attempts,
      overlays: parts.states.overlays(),
    }),
    status: () => status(parts),
    nodes: () => parts.records.nodes(),
    endpoints: () => parts.records.endpoints(),
    masters: () => parts.records.masters(),
  };
}

function status(parts: Parts): AgentStatus {
  const { reconciler, registration } = parts;
  const round = reconciler.status().last;
  return {
    node: parts.node,
    name: parts.name,
    cluster: parts.grants.cluster() ?? null,
    address: parts.underlay.current().address.toString(),
    registered: registration.state().status === 'REGISTERED',
    registration: registrationSummary(parts),
    overlays: parts.states.overlays(),
    nodes: parts.records.nodes().length,
    applied: round !== undefined && round.done && round.failures.length === 0 && round.faults.length === 0,
    reconciler: roundSummary(reconciler.status()),
    docker: parts.docker?.status() ?? { daemon: 'disabled' },
    peers: parts.exchange.peers(),
    memory_rss: process.memoryUsage.rss(),
  };
}

function registrationSummary({ registration }: Parts): object {
  const { status: state, configuration_attempts, error } = registration.state();
  return { state, configuration_attempts, ...(error === undefined ? {} : { error }) };
}

function roundSummary(reconciler: ReconcilerStatus): object {
  const { rounds, repairs, last } = reconciler;
  if (last === undefined) return { rounds, repairs };
  return {
    rounds,
    repairs,
    last: {
      reason: last.reason,
      duration_ms: last.durationMs,
      steps: last.steps,
      failures: last.failures.map(({ change, reason }) => `${change.what}: ${reason}`),
      faults: last.faults.map((fault) => fault.reason),
    },
  };
}
