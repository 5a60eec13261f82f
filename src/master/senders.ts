/** Which node a request speaks for, by the door it came through. */
import type { Context } from 'hono';
import { unreachable } from '../base/assert.ts';
import { PortolanError } from '../base/errors.ts';
import { senderOf } from '../http/tls-server.ts';
import type { NodeId } from '../model/names.ts';
import type { NodeName } from '../trust/certificate.ts';

/** The master's unix socket, which is root's; TLS; or plain HTTP, which anybody can send. */
export type Door = 'local' | 'node' | 'public';

/** Throws 'forbidden' unless the sender is `node`, or root on this host. */
export function mustSpeakFor(door: Door, context: Context, node: NodeId): void {
  switch (door) {
    case 'local':
      return;
    case 'node': {
      const sender = certifiedSender(context);
      if (sender.node === node) return;
      throw new PortolanError(
        'forbidden',
        `Cannot speak for node "${node}": the sender's certificate is of node "${sender.node}"`,
        { field: 'node' },
      );
    }
    case 'public':
      throw withoutTls();
    default:
      unreachable(door);
  }
}

/** The node whose valid certificate came with the request. */
export function certifiedSender(context: Context): NodeName {
  const verdict = senderOf(context);
  if (verdict !== undefined && 'peer' in verdict) return verdict.peer;
  const why = verdict === undefined ? 'it shows no certificate' : verdict.reason;
  throw new PortolanError('forbidden', `Cannot tell who sends this request: ${why}`, {
    remedy: 'join the cluster with "portolan join TOKEN@HOST:PORT"',
  });
}

/** The node that a certificate named, also where its time is over. */
export function formerName(context: Context): NodeName | undefined {
  const verdict = senderOf(context);
  if (verdict === undefined) return undefined;
  return 'peer' in verdict ? verdict.peer : verdict.was;
}

export function withoutTls(): PortolanError {
  return new PortolanError('forbidden', 'Cannot take this over plain HTTP: nodes show a certificate', {
    remedy: 'use TLS on the same port, with the certificate that "portolan join" gave',
  });
}

/** For logs: the address a request came from. */
export function hostOf(context: Context): string {
  const { incoming } = (context.env ?? {}) as { incoming?: { socket: { remoteAddress?: string } } };
  return incoming?.socket.remoteAddress ?? '';
}
