/**
 * The REST API of DC/OS's node daemon, on 127.0.0.1:62080 as programs on a host expect it.
 *
 * For this host's own processes only. Whoever has the port already keeps it: the same paths are on the agent's other
 * doors.
 */
import type { Hono } from 'hono';
import { describeError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { createApp, listenTcp } from '../http/server.ts';
import type { OnClose } from './session.ts';

const HOST = '127.0.0.1';
const PORT = 62_080;

export async function serveLocalApi(
  { log }: { readonly log: Log },
  addRoutes: (app: Hono) => void,
  onClose: OnClose,
): Promise<void> {
  const app = createApp({ log });
  addRoutes(app);
  try {
    const listener = await listenTcp(app, { host: HOST, port: PORT });
    onClose(() => listener.close());
  } catch (error) {
    log.warn('The local API has no port of its own', { host: HOST, port: PORT, error: describeError(error) });
  }
}
