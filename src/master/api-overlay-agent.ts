/**
 * `GET /overlay-agent/overlay` on a master's port, where consumers of DC/OS look for that of a master's host (reference
 * "overlay network", section 6): the answer of the agent beside it.
 */
import type { Hono } from 'hono';
import { isPortolanError, PortolanError } from '../base/errors.ts';
import { request } from '../http/client.ts';
import { answered } from '../http/errors.ts';
import { unsupported } from './api-overlay.ts';
import { acceptsJson, sendJson } from './json-answer.ts';

const TIMEOUT_MS = 5_000;

export function addOverlayAgentApi(
  app: Hono,
  init: { /** The agent's. */ readonly socketPath: string },
): void {
  for (const path of ['/overlay-agent/overlay', '/overlay-agent/overlays'])
    app.get(path, async (context) => {
      if (!acceptsJson(context.req.header('accept'))) return unsupported(context);
      return sendJson(context, await ask(init.socketPath, path));
    });
}

async function ask(socketPath: string, path: string): Promise<unknown> {
  try {
    return answered(await request({ socketPath }, { method: 'GET', path, timeoutMs: TIMEOUT_MS }));
  } catch (error) {
    if (!isPortolanError(error, 'unavailable')) throw error;
    throw new PortolanError(
      'unavailable',
      "Cannot tell the overlays of this master's host: no agent answers",
      {
        remedy: 'start the agent there',
        cause: error,
      },
    );
  }
}
