/** Key pairs (P-256), and the proof that one holds the private half. */
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  sign,
  verify,
  type KeyObject,
} from 'node:crypto';
import { PortolanError } from '../base/errors.ts';

/** A new private key, PEM (PKCS #8). */
export function newPrivateKey(): string {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
}

/** The public half of a private key, PEM. */
export function publicKeyOf(privateKey: string): string {
  return createPublicKey(createPrivateKey(privateKey)).export({ type: 'spki', format: 'pem' }).toString();
}

/** Reads a public key, refusing every kind but P-256. */
export function parsePublicKey(pem: string): KeyObject {
  return checkedKey(readPublicKey(pem));
}

/** Refuses every kind but P-256. */
export function checkedKey(key: KeyObject | undefined): KeyObject {
  if (key?.asymmetricKeyType === 'ec' && key.asymmetricKeyDetails?.namedCurve === 'prime256v1') return key;
  throw new PortolanError('invalid', 'Cannot use this public key: it is not one of P-256 in PEM form', {
    field: 'public_key',
  });
}

function readPublicKey(pem: string): KeyObject | undefined {
  try {
    // Given a private key, createPublicKey would take its public half: nobody should ever send one.
    return pem.includes('PRIVATE') ? undefined : createPublicKey(pem);
  } catch {
    return undefined;
  }
}

/** Shows that the holder of `privateKey` itself asks for `purpose`: base64url. */
export function proveKey(privateKey: string, purpose: string): string {
  return sign('sha256', Buffer.from(purpose), createPrivateKey(privateKey)).toString('base64url');
}

export function isProven(publicKey: KeyObject, purpose: string, proof: string): boolean {
  return verify('sha256', Buffer.from(purpose), publicKey, Buffer.from(proof, 'base64url'));
}
