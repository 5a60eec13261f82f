/**
 * The API on 127.0.0.1:62080, where the node daemon of DC/OS had its own (reference "VIPs and DNS", section 7).
 *
 * It is a convenience: where its port is taken, the agent says so and goes on; everything is on the agent's other doors.
 */
import type { Hono } from 'hono';
import { describeError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { listenTcp } from '../http/server.ts';
import type { OnClose } from './session.ts';

export async function serveLocalApi(
  components: { readonly log: Log },
  init: { readonly app: Hono; readonly port: number },
  onClose: OnClose,
): Promise<void> {
  if (init.port === 0) return;
  try {
    const listener = await listenTcp(init.app, { host: '127.0.0.1', port: init.port });
    onClose(() => listener.close());
  } catch (error) {
    components.log.warn('No API on 127.0.0.1', {
      error: describeError(error),
      remedy: 'set local_port to a free port, or to 0',
    });
  }
}
