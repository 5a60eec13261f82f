/**
 * The registration protocol between agent and master (reference "overlay network", section 4), over HTTP:
 * RegisterAgent is answered with UpdateAgentOverlays, AgentRegistered with AgentRegisteredAcknowledgement.
 */
import { z } from 'zod';
import { agentNetworkConfig, agentOverlay } from './overlay.ts';
import { ipText } from './text.ts';
import type { ClusterId, NodeId } from './names.ts';

export const REGISTER_PATH = '/v1/agents/register';
export const REGISTERED_PATH = '/v1/agents/registered';

const nodeId = z.string().regex(/^n[a-z2-7]{25}$/) as unknown as z.ZodType<NodeId>;
const clusterId = z.string().regex(/^c[a-z2-7]{25}$/) as unknown as z.ZodType<ClusterId>;

/** Message 1, agent -> master. */
export const registerAgent = z.strictObject({
  node: nodeId,
  /** Absent on a first start; a master of another cluster refuses. */
  cluster: clusterId.optional(),
  /** Human name, the host's. */
  name: z.string().min(1).max(253),
  /** Underlay address. */
  address: ipText,
  gossip_port: z.int().min(1).max(65_535),
  api_port: z.int().min(1).max(65_535),
  network_config: agentNetworkConfig,
});
export type RegisterAgent = z.infer<typeof registerAgent>;

/** Message 3, master -> agent: overlays without `state`. */
export const updateAgentOverlays = z.strictObject({
  cluster: clusterId,
  /** Differs between two runs of a master: an agent that sees another one registers again. */
  master: z.string(),
  /** Fencing epoch of the grant: of two claims to one block, the higher is the true one. */
  grant_epoch: z.int(),
  overlays: z.array(agentOverlay),
  /** `host:port` of nodes to exchange records with, masters first. */
  contacts: z.array(z.string()),
});
export type UpdateAgentOverlays = z.infer<typeof updateAgentOverlays>;

/** Message 4, agent -> master: overlays with `state`. */
export const agentRegistered = z.strictObject({ node: nodeId, overlays: z.array(agentOverlay) });
export type AgentRegistered = z.infer<typeof agentRegistered>;

/** Message 5, master -> agent. */
export const agentRegisteredAcknowledgement = z.strictObject({ master: z.string() });
export type AgentRegisteredAcknowledgement = z.infer<typeof agentRegisteredAcknowledgement>;
