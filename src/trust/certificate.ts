/**
 * Certificates of a cluster: one authority, which signs one certificate per node (RFC 5280, version 3, P-256).
 *
 * Invariants: who a certificate is for stands in its subject alternative name, `portolan://<cluster>/<role>/<node id>`,
 * and nowhere else; a node's certificate can sign nothing; it never outlives its authority.
 * Review notes: fixed shapes written as DER, signed and read back by OpenSSL. docs/adr says why no library does it.
 */
import { createHash, createPublicKey, sign, X509Certificate, type KeyObject } from 'node:crypto';
import { PortolanError } from '../base/errors.ts';
import type { Random } from '../base/random.ts';
import { isNodeId, type ClusterId, type NodeId } from '../model/names.ts';
import { der } from './der.ts';

export type NodeRole = 'agent' | 'master';

/** Whom a certificate is for. */
export interface NodeName {
  readonly cluster: ClusterId;
  readonly role: NodeRole;
  readonly node: NodeId;
}

export interface Validity {
  /** Wall time, ms. */
  readonly notBefore: number;
  /** Wall time, ms. */
  readonly notAfter: number;
}

export interface Issuer {
  readonly cluster: ClusterId;
  readonly key: KeyObject;
  /** PEM */
  readonly certificate: string;
}

const SERIAL_BYTES = 16;
const oids = {
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  commonName: '2.5.4.3',
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  authorityKeyIdentifier: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
} as const;
/** Tag of a URI among general names (RFC 5280, 4.2.1.6). */
const URI_NAME = 6;

/** The authority's own certificate, PEM. */
export function issueAuthority(
  random: Random,
  init: { readonly cluster: ClusterId; readonly key: KeyObject; readonly validity: Validity },
): string {
  const { cluster, key, validity } = init;
  const publicKey = createPublicKey(key);
  const name = authorityName(cluster);
  const extensions = [
    extension(oids.basicConstraints, der.sequence(der.true(), der.integer(Buffer.from([0]))), 'critical'),
    // keyCertSign
    extension(oids.keyUsage, der.bitString(Buffer.from([0b0000_0100]), 2), 'critical'),
    extension(oids.subjectKeyIdentifier, der.octetString(keyIdentifier(publicKey))),
  ];
  return signed(random, { issuer: name, subject: name, publicKey, validity, extensions, signWith: key });
}

/** A node's certificate for `publicKey`, PEM. */
export function issueNode(
  random: Random,
  issuer: Issuer,
  init: { readonly name: NodeName; readonly publicKey: KeyObject; readonly validity: Validity },
): string {
  const { name, publicKey, validity } = init;
  const extensions = [
    extension(oids.basicConstraints, der.sequence(), 'critical'),
    // digitalSignature
    extension(oids.keyUsage, der.bitString(Buffer.from([0b1000_0000]), 7), 'critical'),
    extension(oids.extendedKeyUsage, der.sequence(der.oid(oids.serverAuth), der.oid(oids.clientAuth))),
    extension(
      oids.subjectAltName,
      der.sequence(der.implicit(URI_NAME, Buffer.from(nodeUri(name)))),
      'critical',
    ),
    extension(oids.subjectKeyIdentifier, der.octetString(keyIdentifier(publicKey))),
    extension(
      oids.authorityKeyIdentifier,
      der.sequence(der.implicit(0, keyIdentifier(createPublicKey(issuer.key)))),
    ),
  ];
  const authorityEnd = Date.parse(new X509Certificate(issuer.certificate).validTo);
  return signed(random, {
    issuer: authorityName(issuer.cluster),
    // Empty: the alternative name says it all, and is critical for that (RFC 5280, 4.1.2.6).
    subject: der.sequence(),
    publicKey,
    validity: { ...validity, notAfter: Math.min(validity.notAfter, authorityEnd) },
    extensions,
    signWith: issuer.key,
  });
}

interface ToBeSigned {
  readonly issuer: Buffer;
  readonly subject: Buffer;
  readonly publicKey: KeyObject;
  readonly validity: Validity;
  readonly extensions: readonly Buffer[];
  readonly signWith: KeyObject;
}

function signed(random: Random, init: ToBeSigned): string {
  const algorithm = der.sequence(der.oid(oids.ecdsaWithSha256));
  const version3 = der.explicit(0, der.integer(Buffer.from([2])));
  const serial = Buffer.from(random.bytes(SERIAL_BYTES));
  // Positive, and of the same length always.
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40;
  const body = der.sequence(
    version3,
    der.integer(serial),
    algorithm,
    init.issuer,
    der.sequence(der.time(init.validity.notBefore), der.time(init.validity.notAfter)),
    init.subject,
    spki(init.publicKey),
    der.explicit(3, der.sequence(...init.extensions)),
  );
  const signature = sign('sha256', body, init.signWith);
  return toPem('CERTIFICATE', der.sequence(body, algorithm, der.bitString(signature)));
}

function extension(oid: string, value: Uint8Array, critical?: 'critical'): Buffer {
  return der.sequence(der.oid(oid), ...(critical === undefined ? [] : [der.true()]), der.octetString(value));
}

function authorityName(cluster: ClusterId): Buffer {
  const attribute = der.sequence(der.oid(oids.commonName), der.utf8(`Portolan cluster ${cluster}`));
  return der.sequence(der.set(attribute));
}

function spki(publicKey: KeyObject): Buffer {
  return publicKey.export({ type: 'spki', format: 'der' });
}

/** RFC 7093, section 2, method 1 on the whole key: any value unique to the key will do. */
function keyIdentifier(publicKey: KeyObject): Buffer {
  return createHash('sha256').update(spki(publicKey)).digest().subarray(0, 20);
}

function toPem(label: string, bytes: Buffer): string {
  const lines = bytes.toString('base64').match(/.{1,64}/g) ?? [];
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ''].join('\n');
}

export function nodeUri({ cluster, role, node }: NodeName): string {
  return `portolan://${cluster}/${role}/${node}`;
}

/** Whom a certificate is for; `undefined` for one that is no node's. Who signed it is another question. */
export function nodeNameOf(certificate: X509Certificate): NodeName | undefined {
  const match = /^URI:portolan:\/\/(c[a-z2-7]{25})\/(agent|master)\/([^/,]+)$/.exec(
    certificate.subjectAltName ?? '',
  );
  const [, cluster, role, node = ''] = match ?? [];
  if (!isNodeId(node)) return undefined;
  return { cluster: cluster as ClusterId, role: role as NodeRole, node };
}

export function validityOf(certificate: X509Certificate): Validity {
  return { notBefore: Date.parse(certificate.validFrom), notAfter: Date.parse(certificate.validTo) };
}

/** SHA-256 of the certificate, 32 bytes. */
export function fingerprintOf(certificate: X509Certificate): Buffer {
  return createHash('sha256').update(certificate.raw).digest();
}

/** Whether `authority` signed `certificate`; its validity is not looked at. */
export function isSignedBy(certificate: X509Certificate, authority: X509Certificate): boolean {
  return certificate.checkIssued(authority) && certificate.verify(authority.publicKey);
}

export function parseCertificate(pem: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (error) {
    throw new PortolanError('invalid', 'Cannot read a certificate: it is not one in PEM form', {
      field: 'certificate',
      cause: error,
    });
  }
}
