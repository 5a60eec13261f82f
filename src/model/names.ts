/** Identities. Branded text, so that a node id cannot be given where a container id is wanted. */
import type { Random } from '../base/random.ts';

/** A node's persistent identity: 26 characters of lower-case base32; it outlives every address the node ever has. */
export type NodeId = string & { readonly __brand: 'NodeId' };
/** One cluster; two clusters never merge. */
export type ClusterId = string & { readonly __brand: 'ClusterId' };

const alphabet = 'abcdefghijklmnopqrstuvwxyz234567';

function randomName(random: Random): string {
  return Array.from(random.bytes(26), (byte) => alphabet[byte & 31]).join('');
}

export function newNodeId(random: Random): NodeId {
  return `n${randomName(random).slice(1)}` as NodeId;
}

export function newClusterId(random: Random): ClusterId {
  return `c${randomName(random).slice(1)}` as ClusterId;
}

export function isNodeId(text: string): text is NodeId {
  return /^n[a-z2-7]{25}$/.test(text);
}
