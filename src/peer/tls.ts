/**
 * The peer transport of real clusters: frames over mutual TLS 1.3.
 *
 * Invariants: nobody sees a connection before both sides have shown a certificate of this cluster's authority; its
 * `peer` is the node that the certificate names; new connections use the credentials of that moment, those that exist
 * stay as they are, so that renewing a certificate drops nothing.
 * Review notes: who was removed from the cluster is known from its records, and refused by its hello, not here.
 */
import type { Socket } from 'node:net';
import { connect, TLSSocket } from 'node:tls';
import type { Credentials } from '../trust/credentials.ts';
import { verifyPeer } from '../trust/verify.ts';
import { createTcpTransport, type SecuredSocket, type Side, type TcpTransportComponents } from './tcp.ts';
import { SECRET_BYTES } from './asides.ts';
import type { Mailbox, PeerAddress, PeerTransport } from './types.ts';
import { LimitedLog } from '../base/limited-log.ts';

/** Changes with what is said in the frames, so that two incompatible ones never get to talk. */
const PROTOCOL = 'portolan-gossip/1';
const HANDSHAKE_MS = 5_000;
/** Of what both ends derive from their handshake (RFC 8446, 7.5). */
const ASIDE_LABEL = 'EXPERIMENTAL-portolan-asides/1';

export interface TlsTransportInit {
  /** This node's, as of now. */
  readonly credentials: () => Credentials;
  readonly openMailbox?: (address: PeerAddress) => Mailbox;
}

export function createTlsTransport(
  components: TcpTransportComponents,
  init: TlsTransportInit,
): PeerTransport {
  const refusals = new LimitedLog({ ...components, log: components.log.child('peer') });
  const secured = async (socket: Socket, side: Side): Promise<SecuredSocket> => {
    // Of a socket that was destroyed it is not known any more.
    const host = socket.remoteAddress ?? '';
    const own = init.credentials();
    const ready = await handshake(components, socket, side, own);
    const verdict = verifyPeer(ready.getPeerX509Certificate(), own, components.clock.wallMs());
    if ('peer' in verdict) {
      const secret = ready.exportKeyingMaterial(SECRET_BYTES, ASIDE_LABEL, Buffer.alloc(0));
      return { socket: ready, peer: verdict.peer.node, secret };
    }
    ready.destroy();
    // Whoever listens tells of those it refuses; of one that was dialled only this line tells.
    if (side === 'dialled')
      refusals.warn(`${host} ${verdict.refused}`, 'refused the peer dialled', {
        host,
        reason: verdict.reason,
      });
    throw new Error(verdict.reason);
  };
  const { openMailbox } = init;
  return createTcpTransport(components, { secure: secured, ...(openMailbox && { openMailbox }) });
}

function handshake(
  { clock }: TcpTransportComponents,
  socket: Socket,
  side: Side,
  own: Credentials,
): Promise<TLSSocket> {
  const secured = secure(socket, side, own);
  return new Promise((resolve, reject) => {
    const fail = (error: Error): void => {
      timer.cancel();
      secured.destroy();
      reject(error);
    };
    const timer = clock.after(HANDSHAKE_MS, () => fail(new Error(`no handshake in ${HANDSHAKE_MS} ms`)));
    const onClose = (): void => fail(new Error('it ended during the handshake'));
    const onError = (error: Error & { reason?: string }): void =>
      fail(new Error(`it does not speak our TLS (${error.reason ?? error.message})`));
    socket.once('close', onClose);
    secured.once('error', onError);
    // The event's name on a socket that no `tls.Server` accepted.
    secured.once(side === 'accepted' ? 'secure' : 'secureConnect', () => {
      timer.cancel();
      socket.off('close', onClose);
      secured.off('error', onError);
      if (secured.alpnProtocol === PROTOCOL) resolve(secured);
      else fail(new Error('it speaks another protocol'));
    });
  });
}

function secure(socket: Socket, side: Side, own: Credentials): TLSSocket {
  const options = {
    secureContext: own.context,
    ALPNProtocols: [PROTOCOL],
    // Decided after the handshake, in words.
    rejectUnauthorized: false,
  };
  return side === 'dialled'
    ? connect({ ...options, socket })
    : new TLSSocket(socket, { ...options, isServer: true, requestCert: true });
}
