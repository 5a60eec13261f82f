/**
 * The master's HTTP API: registration, nodes, networks, health, metrics, and the DC/OS paths.
 *
 * Invariants: everything shown is durable (`settled`); errors are those of http/errors.ts.
 */
import type { Context, Hono } from 'hono';
import { PortolanError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { createApp } from '../http/server.ts';
import { isNodeId, type NodeId } from '../model/names.ts';
import { keys, type GossipRecord } from '../model/record.ts';
import { overlayInfo } from '../model/overlay.ts';
import { addAppliedRoutes } from '../node/applied-api.ts';
import type { AppliedView } from '../node/applied-view.ts';
import { resourcesOf } from '../node/node-resources.ts';
import { linkTo, nodeStates, type NodeStatesComponents } from '../node/node-states.ts';
import { REGISTERED_PATH, REGISTER_PATH, agentRegistered, registerAgent } from '../model/registration.ts';
import { addOverlayMasterApi } from './api-overlay.ts';
import { addTraceApi } from './api-trace.ts';
import { sendJson } from './json-answer.ts';
import { canonical } from './ledger.ts';
import type { MasterMetrics } from './metrics.ts';
import type { Registry } from './registry.ts';
import type { NodeEntry } from './stored.ts';
import { endpointViews } from './endpoint-views.ts';
import { certificateOf, networkDetail, networkViews, nodeView, rolesOf } from './views.ts';

export interface MasterApiComponents {
  readonly registry: Registry;
  /** What the cluster's nodes publish. */
  readonly records: (prefix: string) => Iterable<GossipRecord>;
  readonly applied: AppliedView;
  readonly exchange: NodeStatesComponents['exchange'];
  readonly metrics: MasterMetrics;
  readonly log: Log;
  /** Whether the node's operator wants no tasks on it. */
  readonly isDrained: (node: NodeId) => boolean;
  /** Throws unless the sender may speak for the node. */
  readonly mustSpeakFor: (context: Context, node: NodeId) => void;
}

export function createMasterApi(components: MasterApiComponents): Hono {
  const app = createApp(components);
  addOverlayMasterApi(app, components.registry);
  addRegistration(app, components);
  addNodes(app, components);
  app.get('/v1/endpoints', (context) => context.json({ endpoints: endpointViews(components) }));
  app.get('/v1/masters', (context) => context.json({ masters: components.registry.masters }));
  addAppliedRoutes(app, components);
  addNetworks(app, components.registry);
  addTraceApi(app, { nodes: () => components.registry.ledger.nodes() });
  addHealth(app, components);
  return app;
}

function addRegistration(app: Hono, { registry, mustSpeakFor }: MasterApiComponents): void {
  app.post(REGISTER_PATH, async (context) => {
    const message = registerAgent.parse(await readJson(context.req));
    mustSpeakFor(context, message.node);
    return context.json(await registry.register(message));
  });
  app.post(REGISTERED_PATH, async (context) => {
    const message = agentRegistered.parse(await readJson(context.req));
    mustSpeakFor(context, message.node);
    return context.json(registry.registered(message));
  });
}

function addNodes(app: Hono, components: MasterApiComponents): void {
  const { registry, records, isDrained } = components;
  const view = (entry: NodeEntry, roles = rolesOf(records('node/'))) => ({
    ...nodeView(registry, roles, entry),
    ...(isDrained(entry.node) ? { drained: true } : {}),
  });
  app.get('/v1/nodes', async (context) => {
    await registry.settled();
    const roles = rolesOf(records('node/'));
    const stateOf = nodeStates(components);
    const nodes = registry.ledger.nodes();
    return context.json({ nodes: nodes.map((entry) => ({ ...view(entry, roles), ...stateOf(entry.node) })) });
  });
  app.get('/v1/nodes/:ref', async (context) => {
    await registry.settled();
    const entry = findNode(registry, context.req.param('ref'));
    const state = nodeStates(components)(entry.node);
    const certificate = certificateOf(records(keys.signer(entry.node)));
    const told = { ...state, ...linkTo(components, entry.node), ...resourcesOf(components, entry.node) };
    return context.json({ ...view(entry), ...certificate, ...told });
  });
  app.delete('/v1/nodes/:ref', async (context) => {
    await registry.settled();
    const entry = findNode(registry, context.req.param('ref'));
    const last = view(entry);
    await registry.remove([entry.node]);
    return context.json(last);
  });
}

function addNetworks(app: Hono, registry: Registry): void {
  app.get('/v1/networks', async (context) => {
    await registry.settled();
    return context.json({ networks: networkViews(registry) });
  });
  app.post('/v1/networks', async (context) => {
    const info = overlayInfo.parse(await readJson(context.req));
    await registry.addOverlay(info);
    return context.json(networkDetail(registry, info.name), 201);
  });
  app.get('/v1/networks/:name', async (context) => {
    await registry.settled();
    return context.json(networkDetail(registry, context.req.param('name')));
  });
  app.delete('/v1/networks/:name', async (context) => {
    await registry.settled();
    const detail = networkDetail(registry, context.req.param('name'));
    await registry.removeOverlay(detail.name);
    return context.json(detail);
  });
}

function addHealth(app: Hono, { registry, metrics }: MasterApiComponents): void {
  app.get('/health', (context) =>
    context.json({
      status: registry.recovering ? 'recovering' : 'ok',
      role: 'master',
      master: registry.instance,
      cluster: registry.cluster,
    }),
  );
  app.get('/metrics', async (context) =>
    context.body(await metrics.expose(), 200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' }),
  );
  app.get('/metrics/snapshot', async (context) => sendJson(context, await metrics.snapshot()));
}

/** By id, else by name or last address; two that fit are a conflict, never a guess. */
export function findNode(registry: Registry, ref: string): NodeEntry {
  const { ledger } = registry;
  const byId = isNodeId(ref) ? ledger.node(ref) : undefined;
  if (byId !== undefined) return byId;
  const found = new Map<NodeId, NodeEntry>();
  for (const entry of ledger.withAddress(canonical(ref))) found.set(entry.node, entry);
  for (const entry of ledger.nodes()) if (entry.name === ref) found.set(entry.node, entry);
  const [first, second] = found.values();
  if (first === undefined)
    throw new PortolanError('not-found', `Cannot find node "${ref}"`, {
      field: 'node',
      remedy: 'list the nodes with "portolan node ls"',
    });
  if (second === undefined) return first;
  throw new PortolanError('conflict', `Cannot choose node "${ref}": ${[...found.keys()].join(' and ')} fit`, {
    field: 'node',
    remedy: 'name it by its id',
  });
}

/** Rejects with 'invalid'. */
export async function readJson(request: { text(): Promise<string> }): Promise<unknown> {
  const text = await request.text();
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new PortolanError('invalid', `Cannot read the request: ${(error as Error).message}`, {
      field: 'body',
      remedy: 'send JSON',
    });
  }
}
