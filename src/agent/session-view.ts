/** What the API shows of a running session. */
import type { OverlayRecord } from '../model/record.ts';
import { resourcesOf } from '../node/node-resources.ts';
import { linkTo, nodeStates } from '../node/node-states.ts';
import type { AgentStatus, AgentView, ListedNode, NodePlace } from './api.ts';
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

/** With the place that each told. */
function nodes(parts: Parts): readonly ListedNode[] {
  const stateOf = nodeStates({ ...parts, self: parts.node });
  const places = new Map(parts.records.overlays().map(({ node, record }) => [node, record]));
  return parts.records
    .nodes()
    .map((each) => ({ ...each, ...stateOf(each.id), ...place(places.get(each.id)) }));
}

function place(record: OverlayRecord | undefined): NodePlace | undefined {
  if (record === undefined) return undefined;
  const { grant_epoch, vtep_ip, vtep_ip6, vtep_mac } = record;
  return { grant_epoch, vtep_ip, ...(vtep_ip6 === undefined ? {} : { vtep_ip6 }), vtep_mac };
}

function node(parts: Parts, ref: string): object | undefined {
  const found = nodes(parts).find((each) => [each.id, each.name, each.address].includes(ref));
  if (found === undefined) return undefined;
  return {
    ...found,
    ...linkTo(parts, found.id),
    ...resourcesOf(parts, found.id),
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
    fast_path: parts.fastPaths.status(),
    certificate: certificateSummary(parts),
    peers: parts.exchange.peers(),
    memory_rss: process.memoryUsage.rss(),
  };
}

function certificateSummary({ certificateTimes }: Parts): AgentStatus['certificate'] {
  const { expiresAt, renewsAt } = certificateTimes();
  return { expires: new Date(expiresAt).toISOString(), renews: new Date(renewsAt).toISOString() };
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
