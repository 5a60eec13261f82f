/** Authorities and nodes for tests. */
import { createPrivateKey, createPublicKey } from 'node:crypto';
import { realRandom } from '../base/random.ts';
import { newClusterId, newNodeId, type ClusterId, type NodeId } from '../model/names.ts';
import { issueAuthority, issueNode, type Issuer, type NodeRole, type Validity } from './certificate.ts';
import { openCredentials, type Credentials } from './credentials.ts';
import { newPrivateKey } from './keys.ts';

const DAY_MS = 86_400_000;
const now = Date.now();
export const aroundNow: Validity = { notBefore: now - DAY_MS, notAfter: now + DAY_MS };

export function testAuthority(cluster: ClusterId = newClusterId(realRandom)): Issuer {
  const key = createPrivateKey(newPrivateKey());
  return { cluster, key, certificate: issueAuthority(realRandom, { cluster, key, validity: aroundNow }) };
}

export function testCredentials(
  issuer: Issuer,
  init: { readonly node?: NodeId; readonly role?: NodeRole; readonly validity?: Validity } = {},
): Credentials {
  const { node = newNodeId(realRandom), role = 'agent', validity = aroundNow } = init;
  const key = newPrivateKey();
  const name = { cluster: issuer.cluster, role, node };
  const publicKey = createPublicKey(createPrivateKey(key));
  const certificate = issueNode(realRandom, issuer, { name, publicKey, validity });
  return openCredentials({ key, certificate, authority: issuer.certificate });
}
