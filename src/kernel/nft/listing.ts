/**
 * A table as the kernel lists it, reduced to what tells a table that was changed from one that was not.
 *
 * Counted: flags of the table, chains with hook, priority and policy, rules in their order with the elements of their
 * anonymous sets, set declarations. Not counted: handles, uses, counters, elements of named sets and the order of
 * declarations, which all change without anybody editing the ruleset. Only attributes known to be of the first kind are
 * read, as new kernels add others: 6.13 began to tell how many elements a set has.
 */
import { createHash } from 'node:crypto';
import {
  Attributes,
  forEachAttribute,
  NLM_F_DUMP,
  readString,
  type MessageWriter,
} from '../netlink/message.ts';
import { beginMessage, NFGENMSG_BYTES, NFTA_SET_ELEM_LIST_ELEMENTS } from './messages.ts';
import type { NftTableRef } from './types.ts';

export const listedKinds = ['table', 'chain', 'set', 'rule'] as const;
export type ListedKind = (typeof listedKinds)[number];

/** NFT_MSG_GET*, and of each kind NFTA_*: what is kept. In all kinds 1 is the name of the table. */
const KINDS: Readonly<Record<ListedKind, { readonly get: number; readonly kept: readonly number[] }>> = {
  // NAME, FLAGS, USERDATA
  table: { get: 1, kept: [1, 2, 6] },
  // NAME, HOOK, POLICY, TYPE, FLAGS, USERDATA
  chain: { get: 4, kept: [3, 4, 5, 7, 10, 12] },
  // NAME, FLAGS, KEY_TYPE, KEY_LEN, DATA_TYPE, DATA_LEN, POLICY, DESC, TIMEOUT, GC_INTERVAL, USERDATA, OBJ_TYPE, EXPR*
  set: { get: 10, kept: [2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 15, 17, 18] },
  // CHAIN, EXPRESSIONS, COMPAT, USERDATA
  rule: { get: 7, kept: [2, 4, 5, 7] },
};
const NFTA_TABLE = 1;
const NFTA_SET_NAME = 2;
const NFTA_SET_FLAGS = 3;
const NFT_SET_ANONYMOUS = 1;
const NFTA_RULE_EXPRESSIONS = 4;
const NFTA_EXPR_NAME = 1;
/** Expressions whose data is a state rather than a statement. */
const STATEFUL: readonly string[] = ['counter', 'quota', 'last'];

export interface Listed {
  readonly kind: ListedKind;
  readonly bytes: Buffer;
  /** The name of a set that belongs to a rule, whose elements are part of that. */
  readonly anonymousSet: string | undefined;
}

export function writeListing(
  writer: MessageWriter,
  kind: ListedKind,
  ref: NftTableRef,
  sequence: number,
): void {
  beginMessage(writer, KINDS[kind].get, NLM_F_DUMP, sequence, ref.family);
  if (kind !== 'table') writer.attributeString(NFTA_TABLE, ref.name);
  writer.end();
}

/** One object of a listing; `undefined` when it is of another table, as old kernels filter by family alone. */
export function readListed(
  kind: ListedKind,
  ref: NftTableRef,
  buffer: Buffer,
  start: number,
  end: number,
): Listed | undefined {
  const attributes = new Attributes().parse(buffer, start + NFGENMSG_BYTES, end);
  if (attributes.string(NFTA_TABLE) !== ref.name) return undefined;
  const anonymous = kind === 'set' && ((attributes.u32be(NFTA_SET_FLAGS) ?? 0) & NFT_SET_ANONYMOUS) !== 0;
  const parts: Buffer[] = [];
  forEachAttribute(buffer, start + NFGENMSG_BYTES, end, (type, from, to) => {
    if (!KINDS[kind].kept.includes(type)) return;
    if (kind === 'rule' && type === NFTA_RULE_EXPRESSIONS) parts.push(...expressions(buffer, from, to));
    else parts.push(buffer.subarray(from - 4, to));
  });
  return {
    kind,
    bytes: Buffer.concat(parts),
    anonymousSet: anonymous ? attributes.string(NFTA_SET_NAME) : undefined,
  };
}

/** The expressions of a rule, each whole, or by its name alone where its data is a state. */
function expressions(buffer: Buffer, start: number, end: number): Buffer[] {
  const parts: Buffer[] = [];
  forEachAttribute(buffer, start, end, (_type, from, to) => {
    forEachAttribute(buffer, from, to, (type, at, limit) => {
      if (type !== NFTA_EXPR_NAME) return;
      const name = readString(buffer, at, limit);
      parts.push(STATEFUL.includes(name) ? buffer.subarray(at - 4, limit) : buffer.subarray(from - 4, to));
    });
  });
  return parts;
}

/** The elements of an anonymous set as they stand in one message of a dump: keys, data and verdicts alike. */
export function readRawElements(buffer: Buffer, start: number, end: number): string[] {
  const elements: string[] = [];
  forEachAttribute(buffer, start + NFGENMSG_BYTES, end, (type, from, to) => {
    if (type !== NFTA_SET_ELEM_LIST_ELEMENTS) return;
    forEachAttribute(buffer, from, to, (_type, first, last) => {
      elements.push(buffer.toString('hex', first, last));
    });
  });
  return elements;
}

/** Equal text = the same chains, rules and declarations. `anonymous`: elements by the name of their set. */
export function fingerprintOf(
  listed: readonly Listed[],
  anonymous: ReadonlyMap<string, readonly string[]>,
): string {
  const digest = createHash('sha256');
  const textOf = ({ kind, bytes }: Listed): string => `${kind} ${bytes.toString('hex')}\n`;
  const rules = listed.filter(({ kind }) => kind === 'rule').map(textOf);
  const declarations = listed.filter(({ kind }) => kind !== 'rule').map(textOf);
  for (const text of [...declarations.toSorted(), ...rules]) digest.update(text);
  for (const [name, elements] of [...anonymous].toSorted(([a], [b]) => (a < b ? -1 : 1)))
    digest.update(`${name} ${elements.toSorted().join(' ')}\n`);
  return digest.digest('base64url');
}
