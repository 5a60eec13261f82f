/** What the API shows of a running session. */
import { linkTo, nodeStates, type NodeState } from '../node/node-states.ts';
import type { KnownNode } from '../node/record-view.ts';
import type { AgentStatus, AgentView } from './api.ts';
import { isRecordApplied } from './applied-record.ts';
import type { Clock } from '../base/clock.ts';
import type { ReconcilerStatus, RoundReport } from './reconciler.ts';
import type { Parts } from './session.ts';

export function agentView(parts: Parts, components: { readonly clock: Clock }): AgentView {
  return {
    overlayState: () => ({
      ip: parts.underlay.current().address.toString(),
      configuration_attempts: parts.registration.state().configuration_attempts,
      overlays: parts.states.overlays(),
    }),
    status: () => status(parts),
    nodes: () => nodes(parts),
    node: (ref) => node(parts, ref),
    endpoints: () => parts.records.endpoints(),
    isRecordApplied: (question) =>
      isRecordApplied(
        { exchange: parts.exchange, clock: components.clock, settle: () => settleAll(parts) },
        question,
      ),
    masters: () => parts.records.masters(),
  };
}

/** Whoever drains a task must know that no VIP leads to it any more. */
async function settleAll({ vips, reconciler }: Parts): Promise<RoundReport> {
  await vips.written();
  const round = await reconciler.confirm();
  const { enabled, applied } = vips.status();
  return { ...round, done: round.done && (applied || !enabled) };
}

function nodes(parts: Parts): readonly (KnownNode & NodeState)[] {
  const stateOf = nodeStates({ ...parts, self: parts.node });
  return parts.records.nodes().map((each) => ({ ...each, ...stateOf(each.id) }));
}

function node(parts: Parts, ref: string): object | undefined {
  const found = nodes(parts).find((each) => [each.id, each.name, each.address].includes(ref));
  if (found === undefined) return undefined;
  const place = parts.records.overlays().find((each) => each.node === found.id)?.record;
  return {
    ...found,
    ...(place === undefined
      ? {}
      : { grant_epoch: place.grant_epoch, vtep_ip: place.vtep_ip, vtep_mac: place.vtep_mac }),
    ...linkTo(parts, found.id),
    ...(found.id === parts.node ? { peers: parts.exchange.peers() } : {}),
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
    dns: parts.dns.status(),
    certificate: { expires: new Date(parts.certificateEnds()).toISOString() },
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
