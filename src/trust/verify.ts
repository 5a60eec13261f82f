/**
 * Who is at the other end of a TLS connection, or why it is refused: in words an operator can act on.
 *
 * TLS itself proves that the other end holds the key of the certificate it shows. Everything else is decided here: our
 * authority signs nodes' certificates itself, so a chain has one link, and time is the injected clock's.
 */
import type { X509Certificate } from 'node:crypto';
import { isSignedBy, nodeNameOf, parseCertificate, validityOf, type NodeName } from './certificate.ts';
import type { Credentials } from './credentials.ts';

export type Refusal =
  'no-certificate' | 'not-ours' | 'no-node' | 'other-cluster' | 'expired' | 'not-yet-valid';

export type Verdict =
  | { readonly peer: NodeName }
  | {
      readonly refused: Refusal;
      readonly reason: string;
      /** Whom the certificate names, where only its time is wrong. */
      readonly was?: NodeName;
    };

/** Judges what `getPeerX509Certificate()` gave after a handshake. */
export function verifyPeer(
  certificate: X509Certificate | undefined,
  own: Pick<Credentials, 'authority' | 'name'>,
  wallMs: number,
): Verdict {
  if (certificate === undefined) return { refused: 'no-certificate', reason: 'it shows no certificate' };
  if (!isSignedBy(certificate, parseCertificate(own.authority)))
    return { refused: 'not-ours', reason: "its certificate is not of this cluster's authority" };
  const peer = nodeNameOf(certificate);
  if (peer === undefined) return { refused: 'no-node', reason: 'its certificate names no node' };
  if (peer.cluster !== own.name.cluster)
    return {
      refused: 'other-cluster',
      reason: `it is of cluster "${peer.cluster}", this node is of "${own.name.cluster}"`,
    };
  return judgeTime(certificate, peer, wallMs);
}

function judgeTime(certificate: X509Certificate, peer: NodeName, wallMs: number): Verdict {
  const { notBefore, notAfter } = validityOf(certificate);
  const now = clockText(wallMs);
  if (wallMs > notAfter) {
    const reason = `its certificate expired at ${text(notAfter)}, ${now}`;
    return { refused: 'expired', reason, was: peer };
  }
  if (wallMs >= notBefore) return { peer };
  const reason = `its certificate begins at ${text(notBefore)}, ${now}: one of the two clocks is wrong`;
  return { refused: 'not-yet-valid', reason, was: peer };
}

/** To the minute: whoever is refused tries again in seconds, and what is said twice a minute is told once. */
function clockText(wallMs: number): string {
  return `this host's clock says ${text(wallMs).slice(0, 'yyyy-mm-ddThh:mm'.length)}Z`;
}

function text(wallMs: number): string {
  return new Date(wallMs).toISOString();
}

/** What OpenSSL's verdict on a server's certificate means here; `undefined` for what is no such verdict. */
export function describeTlsError(error: unknown, wallMs: number): string | undefined {
  const now = clockText(wallMs);
  switch ((error as { code?: unknown }).code) {
    case 'CERT_NOT_YET_VALID':
      return `its certificate is not valid yet, ${now}: one of the two clocks is wrong`;
    case 'CERT_HAS_EXPIRED':
      return `its certificate has expired, ${now}`;
    case 'UNABLE_TO_GET_ISSUER_CERT':
    case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY':
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
    case 'SELF_SIGNED_CERT_IN_CHAIN':
    case 'DEPTH_ZERO_SELF_SIGNED_CERT':
    case 'CERT_SIGNATURE_FAILURE':
      return "its certificate is not of this cluster's authority";
    default:
      return undefined;
  }
}
