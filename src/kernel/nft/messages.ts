/**
 * nfnetlink messages of nf_tables: element changes in one batch, element dumps, the generation.
 *
 * Numbers are of include/uapi/linux/netfilter/{nfnetlink,nf_tables}.h. A batch is one datagram from
 * NFNL_MSG_BATCH_BEGIN to NFNL_MSG_BATCH_END, which the kernel commits or refuses as a whole; an attribute holds at
 * most 64 KiB, so many elements are split over many messages within it.
 */
import {
  Attributes,
  forEachAttribute,
  NLA_F_NESTED,
  NLM_F_CREATE,
  NLM_F_DUMP,
  NLM_F_REQUEST,
  type MessageWriter,
} from '../netlink/message.ts';
import type { WireElement } from './elements.ts';
import type { NftFamily, NftSet, NftTableRef } from './types.ts';

const SUBSYSTEM_NFTABLES = 10;
const NFT_MSG_NEWSETELEM = 12;
const NFT_MSG_GETSETELEM = 13;
const NFT_MSG_DELSETELEM = 14;
const NFT_MSG_GETGEN = 16;
const NFNL_MSG_BATCH_BEGIN = 0x10;
const NFNL_MSG_BATCH_END = 0x11;

const NFTA_SET_ELEM_LIST_TABLE = 1;
const NFTA_SET_ELEM_LIST_SET = 2;
export const NFTA_SET_ELEM_LIST_ELEMENTS = 3;
export const NFTA_LIST_ELEM = 1;
export const NFTA_SET_ELEM_KEY = 1;
export const NFTA_SET_ELEM_DATA = 2;
const NFTA_SET_ELEM_FLAGS = 3;
const NFTA_SET_ELEM_KEY_END = 10;
export const NFTA_DATA_VALUE = 1;
const NFTA_GEN_ID = 1;
const NFT_SET_ELEM_INTERVAL_END = 1;

/** struct nfgenmsg after the netlink header. */
export const NFGENMSG_BYTES = 4;
/** Where a message is closed: below the 65,535 bytes of one attribute by more than the largest element. */
const LIST_LIMIT_BYTES = 60_000;

const FAMILIES: Readonly<Record<NftFamily, number>> = { inet: 1, ip: 2, bridge: 7, ip6: 10 };

export function writeBatchBegin(writer: MessageWriter, sequence: number): void {
  begin(writer, NFNL_MSG_BATCH_BEGIN, 0, sequence, 0, SUBSYSTEM_NFTABLES);
  writer.end();
}

export function writeBatchEnd(writer: MessageWriter, sequence: number): void {
  begin(writer, NFNL_MSG_BATCH_END, 0, sequence, 0, SUBSYSTEM_NFTABLES);
  writer.end();
}

export function writeGenerationRequest(writer: MessageWriter, sequence: number): void {
  begin(writer, (SUBSYSTEM_NFTABLES << 8) | NFT_MSG_GETGEN, 0, sequence, 0, 0);
  writer.end();
}

export function writeElementsDump(
  writer: MessageWriter,
  ref: NftTableRef,
  set: string,
  sequence: number,
): void {
  beginMessage(writer, NFT_MSG_GETSETELEM, NLM_F_DUMP, sequence, ref.family);
  setNames(writer, ref, set);
  writer.end();
}

/**
 * Writes one message with as many elements from `start` on as fit, and answers the index after the last. Adding what
 * is there with the same data is no failure, as NLM_F_EXCL is not given.
 */
export function writeElements(
  writer: MessageWriter,
  verb: 'add' | 'remove',
  ref: NftTableRef,
  set: NftSet,
  elements: readonly WireElement[],
  start: number,
  sequence: number,
): number {
  const list = beginElements(writer, verb, ref, set.name, sequence);
  const limit = writer.length + LIST_LIMIT_BYTES;
  let at = start;
  for (let next = elements[at]; next !== undefined && writer.length < limit; next = elements[++at])
    writeElement(writer, next);
  endElements(writer, list);
  return at;
}

/** Opens a message to which elements are written; give what it answers to `endElements`. */
export function beginElements(
  writer: MessageWriter,
  verb: 'add' | 'remove',
  ref: NftTableRef,
  set: string,
  sequence: number,
): number {
  const [type, flags] = verb === 'add' ? [NFT_MSG_NEWSETELEM, NLM_F_CREATE] : [NFT_MSG_DELSETELEM, 0];
  beginMessage(writer, type, flags, sequence, ref.family);
  setNames(writer, ref, set);
  return writer.beginNest(NFTA_SET_ELEM_LIST_ELEMENTS | NLA_F_NESTED);
}

export function endElements(writer: MessageWriter, list: number): void {
  writer.endNest(list);
  writer.end();
}

/** Elements of one message of a dump, whose payload lies between `start` and `end`. Copies what it keeps. */
export function readElements(buffer: Buffer, start: number, end: number): WireElement[] {
  const elements: WireElement[] = [];
  const attributes = { element: new Attributes(), value: new Attributes() };
  forEachAttribute(buffer, start + NFGENMSG_BYTES, end, (type, from, to) => {
    if (type !== NFTA_SET_ELEM_LIST_ELEMENTS) return;
    forEachAttribute(buffer, from, to, (_type, first, last) => {
      attributes.element.parse(buffer, first, last);
      const element = readElement(attributes);
      if (element !== undefined) elements.push(element);
    });
  });
  return elements;
}

/** NFTA_GEN_ID of NFT_MSG_NEWGEN; `undefined` when the message is none. */
export function readGeneration(buffer: Buffer, start: number, end: number): number | undefined {
  return new Attributes().parse(buffer, start + NFGENMSG_BYTES, end).u32be(NFTA_GEN_ID);
}

/** Begins a message of nf_tables, `type` being NFT_MSG_*. */
export function beginMessage(
  writer: MessageWriter,
  type: number,
  flags: number,
  sequence: number,
  family: NftFamily,
): void {
  begin(writer, (SUBSYSTEM_NFTABLES << 8) | type, flags, sequence, FAMILIES[family], 0);
}

function begin(
  writer: MessageWriter,
  type: number,
  flags: number,
  sequence: number,
  family: number,
  resource: number,
): void {
  writer.begin(type, NLM_F_REQUEST | flags, sequence);
  writer.raw8(family);
  writer.raw8(0);
  writer.raw16be(resource);
}

function setNames(writer: MessageWriter, ref: NftTableRef, set: string): void {
  writer.attributeString(NFTA_SET_ELEM_LIST_TABLE, ref.name);
  writer.attributeString(NFTA_SET_ELEM_LIST_SET, set);
}

function writeElement(writer: MessageWriter, { key, keyEnd, data, intervalEnd }: WireElement): void {
  const nest = writer.beginNest(NFTA_LIST_ELEM | NLA_F_NESTED);
  if (intervalEnd === true) writer.attributeU32be(NFTA_SET_ELEM_FLAGS, NFT_SET_ELEM_INTERVAL_END);
  writeValue(writer, NFTA_SET_ELEM_KEY, key);
  if (keyEnd !== undefined) writeValue(writer, NFTA_SET_ELEM_KEY_END, keyEnd);
  if (data !== undefined) writeValue(writer, NFTA_SET_ELEM_DATA, data);
  writer.endNest(nest);
}

function writeValue(writer: MessageWriter, type: number, value: Uint8Array): void {
  const nest = writer.beginNest(type | NLA_F_NESTED);
  writer.attributeBytes(NFTA_DATA_VALUE, value);
  writer.endNest(nest);
}

/** `undefined` for an element without key: the catch-all `*`, which is never ours. */
function readElement(attributes: {
  readonly element: Attributes;
  readonly value: Attributes;
}): WireElement | undefined {
  const read = (type: number): Uint8Array | undefined =>
    attributes.element.nested(type, attributes.value) ? copyOf(attributes.value) : undefined;
  const key = read(NFTA_SET_ELEM_KEY);
  if (key === undefined) return undefined;
  const keyEnd = read(NFTA_SET_ELEM_KEY_END);
  const data = read(NFTA_SET_ELEM_DATA);
  const flags = attributes.element.u32be(NFTA_SET_ELEM_FLAGS) ?? 0;
  return {
    key,
    ...(keyEnd === undefined ? {} : { keyEnd }),
    ...(data === undefined ? {} : { data }),
    ...((flags & NFT_SET_ELEM_INTERVAL_END) === 0 ? {} : { intervalEnd: true }),
  };
}

function copyOf(attributes: Attributes): Uint8Array | undefined {
  const bytes = attributes.bytes(NFTA_DATA_VALUE);
  return bytes === undefined ? undefined : Uint8Array.from(bytes);
}
