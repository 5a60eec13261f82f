/**
 * Signatures of records: a node signs what it writes, masters sign `cluster/...`, and everybody verifies (P-256).
 *
 * A node signs with a key of its own that outlives its certificates, so that renewing those changes no record. Its record
 * `node/<id>/signer` names that key, and vouches for itself: the cluster's authority certified the node, and the
 * certificate's key signed the record key. Masters, who hold the authority's key, sign with that one.
 * Invariants: the signature covers cluster, key, version and value; a node's records are verified by that node's key
 * alone; what was verified once is not verified again.
 * Review notes: a certificate's time is not looked at: a record stays true when its writer has been off for long, and who
 * must not be believed any more is removed from the cluster. A certificate is DER and begins with 0x30, what is signed
 * here is text: neither can pass for the other.
 */
import {
  createPrivateKey,
  createPublicKey,
  sign,
  verify,
  X509Certificate,
  type KeyObject,
} from 'node:crypto';
import type { ClusterId, NodeId } from '../model/names.ts';
import { keys, recordNode, signerRecord, type GossipRecord, type SignerRecord } from '../model/record.ts';
import type { Authenticator, Authenticity } from './authenticity.ts';
import { isSignedBy, nodeNameOf, parseCertificate, validityOf } from './certificate.ts';
import { checkedKey } from './keys.ts';

/** More than any cluster has nodes. */
const MAX_KEYS_KEPT = 16_384;
const genuine: Authenticity = { is: 'genuine' };

export interface RecordSignaturesInit {
  readonly cluster: ClusterId;
  /** Certificate of the cluster's authority, PEM, as of now. */
  readonly authority: () => string;
  /** What this node signs with; absent on masters, who write no records of their own. */
  readonly own?: {
    readonly node: NodeId;
    /** PEM */
    readonly key: string;
    /** Its certificate and that one's key, as of now. */
    readonly credentials: () => { readonly key: string; readonly certificate: string };
  };
  /** Masters only: private key of the authority. */
  readonly authorityKey?: KeyObject;
  /** While agents of a version that does not sign are about: what is unsigned is believed of writers without a signer. */
  readonly acceptsUnsigned?: boolean;
}

export class RecordSignatures implements Authenticator {
  readonly #init: RecordSignaturesInit;
  readonly #ownKey: KeyObject | undefined;
  /** By the text of the key. */
  readonly #keys = new Map<string, KeyObject>();
  #authority: { readonly pem: string; readonly certificate: X509Certificate } | undefined;

  constructor(init: RecordSignaturesInit) {
    this.#init = init;
    this.#ownKey = init.own === undefined ? undefined : createPrivateKey(init.own.key);
  }

  /** What this node's signer record has to be; `undefined` when `held` does, or there is none. It shows the newest certificate. */
  introduction(held: GossipRecord | undefined): SignerRecord | undefined {
    const { own, cluster } = this.#init;
    if (own === undefined) return undefined;
    const key = createPublicKey(own.key).export({ type: 'spki', format: 'der' }).toString('base64');
    const { key: certified, certificate: pem } = own.credentials();
    const certificate = new X509Certificate(pem).raw.toString('base64');
    if (held !== undefined) {
      const read = this.#readSigner(held, own.node);
      if (!('reason' in read) && read.key === key && read.certificate === certificate) return undefined;
    }
    const proof = signed(purpose(cluster, own.node, key), createPrivateKey(certified));
    return { certificate, key, proof };
  }

  sign({ key }: GossipRecord, text: string): string | undefined {
    const by = recordNode(key) === undefined ? this.#init.authorityKey : this.#ownKey;
    return by === undefined ? undefined : signed(content(this.#init.cluster, text), by);
  }

  judge(record: GossipRecord, text: string, known: (key: string) => GossipRecord | undefined): Authenticity {
    const node = recordNode(record.key);
    if (node === undefined) return this.#judge(record, text, () => this.#authorityCertificate().publicKey);
    if (record.key === keys.signer(node)) {
      const read = this.#readSigner(record, node);
      if ('reason' in read) return { is: 'forged', reason: read.reason };
      return this.#judge(record, text, () => this.#key(read.key));
    }
    const signer = signerRecord.safeParse(known(keys.signer(node))?.value);
    if (signer.success) return this.#judge(record, text, () => this.#key(signer.data.key));
    if (record.signature === undefined && this.#init.acceptsUnsigned === true) return genuine;
    return { is: 'unknown', needs: keys.signer(node) };
  }

  #judge({ key, signature }: GossipRecord, text: string, by: () => KeyObject): Authenticity {
    if (signature === undefined)
      return this.#init.acceptsUnsigned === true && recordNode(key) === undefined
        ? genuine
        : { is: 'forged', reason: 'it is not signed' };
    return isSigned(content(this.#init.cluster, text), by(), signature)
      ? genuine
      : { is: 'forged', reason: "its signature is not its writer's" };
  }

  /** A signer record that vouches for itself, or why it does not. */
  #readSigner({ value }: GossipRecord, node: NodeId): SignerRecord | { readonly reason: string } {
    const { cluster } = this.#init;
    const read = signerRecord.safeParse(value);
    if (!read.success) return { reason: 'it names no key' };
    try {
      const certificate = new X509Certificate(Buffer.from(read.data.certificate, 'base64'));
      if (!isSignedBy(certificate, this.#authorityCertificate()))
        return { reason: "its certificate is not of this cluster's authority" };
      const name = nodeNameOf(certificate);
      if (name?.node !== node || name.cluster !== cluster)
        return { reason: `its certificate is of ${name === undefined ? 'no node' : `node "${name.node}"`}` };
      this.#key(read.data.key);
      return isSigned(purpose(cluster, node, read.data.key), certificate.publicKey, read.data.proof)
        ? read.data
        : { reason: "its key is not vouched for by its node's certificate" };
    } catch {
      // Whatever OpenSSL says of bytes that a peer made up.
      return { reason: 'its certificate or its key cannot be read' };
    }
  }

  #authorityCertificate(): X509Certificate {
    const pem = this.#init.authority();
    if (this.#authority?.pem !== pem) this.#authority = { pem, certificate: parseCertificate(pem) };
    return this.#authority.certificate;
  }

  #key(text: string): KeyObject {
    const kept = this.#keys.get(text);
    if (kept !== undefined) return kept;
    const [oldest] = this.#keys.keys();
    if (oldest !== undefined && this.#keys.size >= MAX_KEYS_KEPT) this.#keys.delete(oldest);
    const key = recordKey(text);
    this.#keys.set(text, key);
    return key;
  }
}

/** When the certificate that a signer shows ends; wall time in ms, `undefined` where that cannot be read. */
export function shownUntil({ value }: GossipRecord): number | undefined {
  const read = signerRecord.safeParse(value);
  if (!read.success) return undefined;
  try {
    return validityOf(new X509Certificate(Buffer.from(read.data.certificate, 'base64'))).notAfter;
  } catch {
    return undefined;
  }
}

function content(cluster: ClusterId, text: string): string {
  return `portolan-record/1 ${cluster} ${text}`;
}

function purpose(cluster: ClusterId, node: NodeId, key: string): string {
  return `portolan-signer/1 ${cluster} ${node} ${key}`;
}

function signed(text: string, key: KeyObject): string {
  return sign('sha256', Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url');
}

function isSigned(text: string, key: KeyObject, signature: string): boolean {
  const bytes = Buffer.from(signature, 'base64url');
  return verify('sha256', Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' }, bytes);
}

/** Throws for what is no such key. */
function recordKey(text: string): KeyObject {
  return checkedKey(createPublicKey({ key: Buffer.from(text, 'base64'), type: 'spki', format: 'der' }));
}
