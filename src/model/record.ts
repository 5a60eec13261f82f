/**
 * Gossip records: small, each with one writer (DESIGN decision 6).
 *
 * `node/<id>/...` is written by that agent with (epoch, sequence): the epoch rises with every start, the sequence with
 * every write. `cluster/...` is written by masters with the store's revision as epoch and sequence 0.
 * Newer means the greater pair; wall clocks play no part.
 */
import { z } from 'zod';
import type { NodeId } from './names.ts';
import { interfaceAddressText, ipText, macText, prefixText } from './text.ts';

export const recordVersion = z.strictObject({
  epoch: z.int().nonnegative(),
  sequence: z.int().nonnegative(),
});
export type RecordVersion = z.infer<typeof recordVersion>;

/** Room for other kinds of signatures than there are. */
export const MAX_SIGNATURE_CHARACTERS = 128;

export const gossipRecord = z.strictObject({
  key: z.string().min(1).max(512),
  version: recordVersion,
  /** JSON; `null` is a tombstone: the writer has withdrawn it. */
  value: z.json(),
  /** Of its writer, over all the above: base64url. Absent where nothing is signed. */
  signature: z.string().max(MAX_SIGNATURE_CHARACTERS).optional(),
});
export type GossipRecord = z.infer<typeof gossipRecord>;
export type RecordValue = GossipRecord['value'];

export function compareVersions(a: RecordVersion, b: RecordVersion): number {
  return a.epoch - b.epoch || a.sequence - b.sequence;
}

/** The node that writes the record; `undefined` for cluster records and malformed keys. */
export function recordNode(key: string): NodeId | undefined {
  const match = /^node\/(n[a-z2-7]{25})\//.exec(key);
  return match === null ? undefined : (match[1] as NodeId);
}

/**
 * What a node reports of itself: all of them do so after the same change, and nothing in any kernel waits for it.
 * `applied`, `unreachable`, `resources`: whoever waits for these waits for the last of many.
 */
export function isReport(key: string): boolean {
  return REPORT.test(key);
}
const REPORT = /^node\/[^/]+\/(?:applied|unreachable|resources)$/;

/** Where a node is and how to speak to it. Key `node/<id>/node`. */
export const nodeRecord = z.strictObject({
  name: z.string(),
  address: ipText,
  gossip_port: z.int(),
  api_port: z.int(),
  role: z.enum(['agent', 'master']),
});
export type NodeRecord = z.infer<typeof nodeRecord>;

/** One node's place in one overlay: all that others need to send to its containers. Key `node/<id>/overlay/<name>`. */
export const overlayRecord = z.strictObject({
  overlay: z.string(),
  /** The whole overlay's space. */
  space: prefixText.optional(),
  space6: prefixText.optional(),
  subnet: prefixText.optional(),
  subnet6: prefixText.optional(),
  vtep_ip: interfaceAddressText,
  vtep_ip6: interfaceAddressText.optional(),
  vtep_mac: macText,
  agent_ip: ipText,
  grant_epoch: z.int(),
});
export type OverlayRecord = z.infer<typeof overlayRecord>;

/** A node that the operator removed: its records are void for ever. Key `cluster/removed/<id>`. */
export const removedRecord = z.strictObject({ node: z.string(), grant_epoch: z.int() });
export type RemovedRecord = z.infer<typeof removedRecord>;

/** The addresses of the masters' API. Key `cluster/masters`. */
export const mastersRecord = z.strictObject({ masters: z.array(z.string()) });
export type MastersRecord = z.infer<typeof mastersRecord>;

/** Of the words in which an agent tells why its kernel refuses something. */
export const MAX_BECAUSE = 256;

/**
 * How much of the masters' records an agent has in its kernel. Key `node/<id>/applied`.
 *
 * Later versions may say more: unknown members are left out, not refused.
 */
export const appliedRecord = z.object({
  /** The newest revision of the store among the `cluster/...` records that it has applied. */
  revision: z.int().nonnegative(),
  /** Hash of all of them: at the same revision, another hash means that somebody lacks one. */
  set: z.string().max(64),
  /** Wall time in ms: for people. */
  at: z.int(),
  /** From hearing of the newest record until it was in the kernel. */
  took_ms: z.int().nonnegative(),
  /** Kernel objects that stand in the way of what is newer than `revision`, which is 0 where it was lost; absent when none do. */
  failing: z.int().positive().optional(),
  /** One of them, and why, in words. */
  because: z.string().max(MAX_BECAUSE).optional(),
});
export type AppliedRecord = z.infer<typeof appliedRecord>;

/** Unreachable nodes that one agent names; of more it tells the number. */
export const MAX_UNREACHABLE_NAMED = 16;

/** Whom an agent cannot reach. Key `node/<id>/unreachable`; withdrawn when it reaches everybody. */
export const unreachableRecord = z.object({
  nodes: z.array(z.string()).max(MAX_UNREACHABLE_NAMED),
  count: z.int().positive(),
});

/**
 * By what a node's records are verified. Key `node/<id>/signer`; it vouches for itself.
 *
 * Later versions may say more: unknown members are left out, not refused.
 */
export const signerRecord = z.object({
  /** The node's certificate as of the proof, DER in base64. */
  certificate: z.string().max(4_096),
  /** The public key of its records: DER (SPKI) in base64. It outlives certificates. */
  key: z.string().max(512),
  /** Signature by the certificate's key, base64url: whoever holds it names `key`. */
  proof: z.string().max(256),
});
export type SignerRecord = z.infer<typeof signerRecord>;

export const keys = {
  signer: (id: NodeId) => `node/${id}/signer`,
  node: (id: NodeId) => `node/${id}/node`,
  applied: (id: NodeId) => `node/${id}/applied`,
  unreachable: (id: NodeId) => `node/${id}/unreachable`,
  overlay: (id: NodeId, overlay: string) => `node/${id}/overlay/${overlay}`,
  endpoint: (id: NodeId, container: string, ifname: string) => `node/${id}/endpoint/${container}/${ifname}`,
  removed: (id: NodeId) => `cluster/removed/${id}`,
  masters: 'cluster/masters',
  network: 'cluster/network',
} as const;
