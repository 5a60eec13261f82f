/**
 * The agent's HTTP API, the same on TCP and on its unix socket.
 *
 * `/overlay-agent/*` keeps the shape that DC/OS consumers know (reference "overlay network", section 6); `/v1/*` is ours.
 */
import type { Context, Hono } from 'hono';
import { z } from 'zod';
import { PortolanError } from '../base/errors.ts';
import type { Metrics } from '../base/metrics.ts';
import type { AgentOverlay } from '../model/overlay.ts';
import type { OverlayRecord } from '../model/record.ts';
import { TOKENS_PATH } from '../model/trust.ts';
import type { AppliedRecordQuestion } from './applied-record.ts';
import type { NodeState } from '../node/node-states.ts';
import type { KnownEndpoint, KnownNode } from '../node/record-view.ts';

export interface AgentStatus {
  readonly node: string;
  readonly name: string;
  readonly cluster: string | null;
  readonly address: string | null;
  readonly registered: boolean;
  readonly registration: unknown;
  readonly overlays: readonly AgentOverlay[];
  /** Nodes known from records, this one included. */
  readonly nodes: number;
  /** True when the last round left the kernel exactly as desired. */
  readonly applied: boolean;
  readonly reconciler: unknown;
  readonly docker: unknown;
  readonly dns: unknown;
  readonly fast_path: unknown;
  /** ISO 8601 */
  readonly certificate: { readonly expires: string; readonly renews: string };
  readonly peers: unknown;
  readonly memory_rss: number;
}

/** Where a node is in the overlays, as it told. */
export type NodePlace = Pick<OverlayRecord, 'grant_epoch' | 'vtep_ip' | 'vtep_ip6' | 'vtep_mac'>;
export type ListedNode = KnownNode & NodeState & Partial<NodePlace>;

/** What the API shows; the agent gives it. */
export interface AgentView {
  overlayState(): { ip: string; configuration_attempts: number; overlays: readonly AgentOverlay[] };
  status(): AgentStatus;
  nodes(): readonly ListedNode[];
  /** By id, name or address; `undefined` when there is no such node. */
  node(ref: string): object | undefined;
  endpoints(): readonly KnownEndpoint[];
  isRecordApplied(question: AppliedRecordQuestion): Promise<boolean>;
  masters(): readonly string[];
}

/** Is this record, at this version or a later one, in this host's kernel? */
const recordVersion = z.object({
  key: z.string().min(1),
  epoch: z.coerce.number().int().nonnegative(),
  sequence: z.coerce.number().int().nonnegative(),
});
const waitSeconds = z.coerce.number().nonnegative().max(300).default(0);
const recordQuestion = recordVersion.extend({ wait: waitSeconds });
/** Of many at once; answered when all of them are, or after `wait`. */
const recordsQuestion = z.object({ records: z.array(recordVersion).max(1000), wait: waitSeconds });

export function addAgentRoutes(
  app: Hono,
  components: { readonly metrics: Pick<Metrics, 'expose'>; readonly view: AgentView },
): void {
  const { metrics, view } = components;
  for (const path of ['/overlay-agent/overlay', '/overlay-agent/overlays'])
    app.get(path, (context) => {
      if (!acceptsJson(context)) return context.body(null, 415);
      return context.json(view.overlayState());
    });
  app.get('/v1/status', (context) => context.json(view.status()));
  app.get('/v1/nodes', (context) => context.json({ nodes: view.nodes() }));
  app.get('/v1/nodes/:ref', (context) => {
    const ref = context.req.param('ref');
    const node = view.node(ref);
    if (node !== undefined) return context.json(node);
    throw new PortolanError('not-found', `Cannot find node "${ref}"`, {
      field: 'node',
      remedy: 'list the nodes with "portolan node ls"',
    });
  });
  app.get('/v1/applied/here', async (context) => {
    const { key, epoch, sequence, wait } = recordQuestion.parse(context.req.query());
    const question = { key, version: { epoch, sequence }, timeoutMs: wait * 1000 };
    const applied = await view.isRecordApplied({ ...question, signal: context.req.raw.signal });
    return context.json({ key, epoch, sequence, applied });
  });
  app.post('/v1/applied/here', async (context) => {
    const { records, wait } = recordsQuestion.parse(await context.req.json());
    const { signal } = context.req.raw;
    const applied = records.map(({ key, ...version }) =>
      view.isRecordApplied({ key, version, timeoutMs: wait * 1000, signal }),
    );
    return context.json({ applied: await Promise.all(applied) });
  });
  app.get('/v1/endpoints', (context) => context.json({ endpoints: view.endpoints() }));
  for (const path of [TOKENS_PATH, `${TOKENS_PATH}/:id`])
    app.all(path, () => {
      throw new PortolanError('forbidden', 'Cannot manage join tokens here: this host runs no master', {
        remedy: 'run "portolan token" on a master\'s host',
      });
    });
  app.get('/v1/masters', (context) => context.json({ masters: view.masters() }));
  // As the node daemon of DC/OS had it; of its registries there is one.
  for (const path of ['/metrics', '/v1/metrics', '/v1/metrics/default'])
    app.get(path, async (context) => context.text(await metrics.expose()));
  app.get('/v1/metrics/:registry', (context) => context.text('Unknown Registry', 404));
}

/** DC/OS answered JSON or protobuf; this answers JSON and refuses those who take nothing else. */
function acceptsJson(context: Context): boolean {
  const accept = context.req.header('accept');
  return accept === undefined || accept === '' || /\*\/\*|application\/(json|\*)/i.test(accept);
}
