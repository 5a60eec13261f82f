/** `GET /v1/trace`: the master asks an agent, which asks the one that the packet starts at. */
import type { Hono } from 'hono';
import { isPortolanError, PortolanError } from '../base/errors.ts';
import { request } from '../http/client.ts';
import { answered } from '../http/errors.ts';
import { TRACE_PATH } from '../model/trace.ts';
import type { NodeEntry } from './stored.ts';

/** An agent that does not answer at all is passed over soon; one that traces asks others in turn. */
const TIMEOUT_MS = 20_000;

export function addTraceApi(app: Hono, components: { readonly nodes: () => readonly NodeEntry[] }): void {
  app.get(TRACE_PATH, async (context) => {
    const query = new URLSearchParams(context.req.query()).toString();
    return context.json((await askAny(components.nodes(), `${TRACE_PATH}?${query}`)) as object);
  });
}

/** The first agent that can be reached; what it answers counts, refusals too. */
async function askAny(nodes: readonly NodeEntry[], path: string): Promise<unknown> {
  for (const { address, api_port: port } of nodes)
    try {
      return answered(await request({ host: address, port }, { method: 'GET', path, timeoutMs: TIMEOUT_MS }));
    } catch (error) {
      if (!isPortolanError(error, 'unavailable')) throw error;
    }
  throw new PortolanError('unavailable', 'Cannot trace: no agent answers', {
    remedy: 'see which nodes are up with "portolan node ls"',
  });
}
