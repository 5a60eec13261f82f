/**
 * What is known of each node's state: as seen from here, and as others say they see it.
 *
 * Reachability is in the eye of the viewer: a one-way cut is seen by one side, a partition by both. Each agent tells
 * whom it cannot reach (`node/<id>/unreachable`); the word of one that is itself out of reach is old and left out.
 */
import type { NodeId } from '../model/names.ts';
import { keys, unreachableRecord } from '../model/record.ts';
import type { ReachState } from '../gossip/reach.ts';
import type { AgentApplied } from './applied.ts';
import type { AppliedView } from './applied-view.ts';
import type { RecordExchange } from './record-exchange.ts';

export interface NodeState {
  /** As seen from here; absent for a node of which nothing was heard. */
  readonly state?: ReachState;
  /** When it became so, in ISO 8601; absent for this node itself. */
  readonly state_since?: string;
  /** Names of other agents that cannot reach it. */
  readonly unreachable_for: readonly string[];
  /** The masters' newest revision in its kernel, as it last told. */
  readonly applied?: number;
}

export interface NodeStatesComponents {
  readonly exchange: Pick<RecordExchange, 'members' | 'get' | 'peers'>;
  readonly applied: AppliedView;
  /** This node, where it is one of those that are listed. */
  readonly self?: NodeId;
}

/** As of now, for as many nodes as one likes. */
export function nodeStates(components: NodeStatesComponents): (node: NodeId) => NodeState {
  const { exchange, self } = components;
  const members = new Map(exchange.members().map((member) => [member.node, member]));
  const agents = components.applied.agents();
  const byNode = new Map(agents.map((agent) => [agent.node, agent]));
  const viewers = viewersByTarget(exchange, agents);
  return (node) => {
    const member = members.get(node);
    const applied = byNode.get(node)?.applied?.revision;
    return {
      ...(node === self ? { state: 'alive' } : {}),
      ...(member === undefined
        ? {}
        : { state: member.state, state_since: new Date(member.since).toISOString() }),
      unreachable_for: viewers.get(node)?.sort() ?? [],
      ...(applied === undefined ? {} : { applied }),
    };
  };
}

function viewersByTarget(
  exchange: NodeStatesComponents['exchange'],
  agents: readonly AgentApplied[],
): Map<NodeId, string[]> {
  const viewers = new Map<NodeId, string[]>();
  for (const { node: viewer, name, reachable } of agents) {
    const told = unreachableRecord.safeParse(exchange.get(keys.unreachable(viewer))?.value);
    if (!told.success || !reachable) continue;
    for (const node of told.data.nodes as NodeId[]) viewers.set(node, [...(viewers.get(node) ?? []), name]);
  }
  return viewers;
}

/** This node's connection to another one; absent where there is none: records come by way of others. */
export function linkTo(components: NodeStatesComponents, node: NodeId): { readonly link?: object } {
  const peer = components.exchange.peers().find((each) => each.node === node);
  if (peer?.connected !== true) return {};
  const { address, since } = peer;
  return { link: { address, ...(since === undefined ? {} : { since: new Date(since).toISOString() }) } };
}
