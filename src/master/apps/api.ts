/** The orchestrator's own routes: the lists that agents ask for, and the emptying of agents. */
import type { Context, Hono } from 'hono';
import { PortolanError } from '../../base/errors.ts';
import { isNodeId, type NodeId } from '../../model/names.ts';
import { TASKS_PATH, tasksRequest } from '../../model/task.ts';
import { findNode, readJson } from '../api.ts';
import type { Registry } from '../registry.ts';
import type { AppOrchestrator } from './orchestrator.ts';

export interface AppsApiComponents {
  readonly orchestrator: AppOrchestrator;
  readonly registry: Registry;
  /** Throws unless the sender may speak for the node. */
  readonly mustSpeakFor: (context: Context, node: NodeId) => void;
}

export function addAppsApi(app: Hono, { orchestrator, registry, mustSpeakFor }: AppsApiComponents): void {
  app.post(TASKS_PATH, async (context) => {
    const { node, have, wait_ms: waitMs } = tasksRequest.parse(await readJson(context.req));
    if (!isNodeId(node))
      throw new PortolanError('invalid', `Cannot tell tasks: "${node}" is no node id`, { field: 'node' });
    mustSpeakFor(context, node);
    const { signal } = context.req.raw;
    return context.json(await orchestrator.poll(node, have, { waitMs, signal }));
  });
  const setDrained = async (context: Context, drained: boolean): Promise<Response> => {
    await registry.settled();
    const { node, name, address } = findNode(registry, context.req.param('ref') ?? '');
    await orchestrator.setDrained(node, drained);
    return context.json({ id: node, name, address, drained });
  };
  app.post('/v1/nodes/:ref/drain', (context) => setDrained(context, true));
  app.delete('/v1/nodes/:ref/drain', (context) => setDrained(context, false));
}
