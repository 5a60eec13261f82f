/** The HTTP API of the DC/OS overlay master (reference "overlay network", sections 3 and 6). */
import type { Context, Hono } from 'hono';
import { z } from 'zod';
import { PortolanError } from '../base/errors.ts';
import { parseIp } from '../base/ip.ts';
import { acceptsJson, sendJson } from './json-answer.ts';
import type { Registry } from './registry.ts';
import { overlayMasterState } from './views.ts';

const deletion = z.object({ agents: z.array(z.unknown()) });

export function addOverlayMasterApi(app: Hono, registry: Registry): void {
  app.get('/overlay-master/state', async (context) => {
    if (!acceptsJson(context.req.header('accept'))) return unsupported(context);
    await registry.settled();
    return sendJson(context, overlayMasterState(registry));
  });
  app.all('/overlay-master/agents/delete', async (context) => {
    if (context.req.method !== 'POST') return notAllowed(context, 'POST');
    await registry.settled();
    const ids = agentAddresses(await context.req.text()).flatMap((address) =>
      registry.ledger.withAddress(address).map(({ node }) => node),
    );
    await registry.remove(ids);
    return sendJson(context, overlayMasterState(registry));
  });
}

/** The IPv4 addresses of a deletion; addresses that no agent has are dealt with by whoever looks them up. */
function agentAddresses(body: string): readonly string[] {
  const parsed = deletion.safeParse(parseJson(body));
  if (!parsed.success)
    throw invalid('Cannot read the request: "agents" is not an array', 'send {"agents": ["10.0.0.1"]}');
  return parsed.data.agents.map((entry) => {
    const address = typeof entry === 'string' ? parseIp(entry) : undefined;
    if (address?.family === 4) return String(address);
    throw invalid(
      `Cannot read the request: ${JSON.stringify(entry)} is not an IPv4 address`,
      'send IPv4 addresses only; remove other nodes with DELETE /v1/nodes/ID',
    );
  });
}

function parseJson(body: string): unknown {
  try {
    return JSON.parse(body) as unknown;
  } catch (error) {
    throw invalid(`Cannot read the request: ${(error as Error).message}`, 'send JSON');
  }
}

function invalid(message: string, remedy: string): PortolanError {
  return new PortolanError('invalid', message, { field: 'agents', remedy });
}

function notAllowed(context: Context, allowed: string): Response {
  return context.json(
    { message: `Cannot ${context.req.method} here`, code: 'invalid', remedy: `use ${allowed}` },
    405,
    { Allow: allowed },
  );
}

export function unsupported(context: Context): Response {
  return context.json(
    {
      message: 'Cannot answer in the media type asked for',
      code: 'invalid',
      remedy: 'accept application/json',
    },
    415,
  );
}
