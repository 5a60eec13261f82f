/**
 * What a node shows to others: its private key, its certificate, and the authority it trusts.
 *
 * Review notes: other nodes are verified by OpenSSL against the cluster's authority alone, never the system's.
 */
import { createSecureContext, type SecureContext } from 'node:tls';
import { nodeNameOf, parseCertificate, validityOf, type NodeName, type Validity } from './certificate.ts';
import { PortolanError } from '../base/errors.ts';

/** All PEM. */
export interface CredentialTexts {
  readonly key: string;
  readonly certificate: string;
  readonly authority: string;
}

export interface Credentials extends CredentialTexts {
  readonly name: NodeName;
  readonly validity: Validity;
  /** For both sides of a connection. */
  readonly context: SecureContext;
}

/** Sessions are resumed with whom they were begun: no other process has the keys of their tickets. */
const SESSION_CONTEXT = 'portolan';

/** Throws 'corrupt' for what cannot have been stored by us. */
export function openCredentials(texts: CredentialTexts): Credentials {
  const certificate = parseCertificate(texts.certificate);
  const name = nodeNameOf(certificate);
  if (name === undefined)
    throw new PortolanError('corrupt', "Cannot use the node's certificate: it names no node", {
      remedy: 'move the state directory away and join again with "portolan join TOKEN@HOST:PORT"',
    });
  const context = createSecureContext({
    key: texts.key,
    cert: texts.certificate,
    ca: texts.authority,
    minVersion: 'TLSv1.3',
    // Without one, a server that asks for certificates cuts off whoever resumes a session (SSL_CTX_set_session_id_context(3)).
    sessionIdContext: SESSION_CONTEXT,
  });
  return { ...texts, name, validity: validityOf(certificate), context };
}

/** When a certificate should be renewed: after two thirds of its life. Wall time, ms. */
export function renewalTime({ notBefore, notAfter }: Validity): number {
  return notAfter - (notAfter - notBefore) / 3;
}
