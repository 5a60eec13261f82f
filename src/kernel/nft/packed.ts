/**
 * Elements as the kernel lays them out, for sets that hold a hundred thousand of them.
 *
 * Purpose: a key or datum is text with one character per byte, fit as a map key and compared without decoding; elements
 * go out and come in at about a third of a microsecond each, where parsed ones take five.
 * Invariants: plain sets and maps only, never intervals; keys and data are as `pack` makes them. A dump with a key twice
 * is no answer, for the reason given in element-reader.ts.
 */
import { PortolanError } from '../../base/errors.ts';
import { MessageWriter, NLA_F_NESTED, NLM_F_ACK } from '../netlink/message.ts';
import { BATCH_LIMIT_BYTES, type Batch } from './batch.ts';
import { decodeElements, encodeElements } from './elements.ts';
import {
  beginElements,
  endElements,
  NFGENMSG_BYTES,
  NFTA_DATA_VALUE,
  NFTA_LIST_ELEM,
  NFTA_SET_ELEM_DATA,
  NFTA_SET_ELEM_KEY,
  NFTA_SET_ELEM_LIST_ELEMENTS,
  writeBatchBegin,
  writeBatchEnd,
} from './messages.ts';
import type { NftElement, NftPackedChange, NftPackedSink, NftSet, NftTableRef } from './types.ts';

/** Where a message is closed: below the 65,535 bytes of one attribute by more than the largest element. */
const LIST_LIMIT_BYTES = 60_000;
/** About what a batch takes without elements, and one of them: room to begin with. */
const BATCH_BYTES = 512;
const ELEMENT_BYTES = 48;
const NFTA_SET_ELEM_EXPR = 7;
const NFTA_EXPR_DATA = 2;
const NFTA_COUNTER_PACKETS = 2;
const TYPE_MASK = 0x3fff;

/** An element's key and data; no data in sets that are no maps. */
export function pack(set: NftSet, element: NftElement): readonly [key: string, data: string] {
  const [wire] = encodeElements(set, [element]);
  return [text(wire?.key), text(wire?.data)];
}

export function unpack(set: NftSet, key: string, data: string): NftElement {
  const wire = { key: bytes(key), ...(set.data === undefined ? {} : { data: bytes(data) }) };
  return decodeElements(set, [wire])[0] ?? { key: [] };
}

const text = (packed: Uint8Array | undefined): string => Buffer.from(packed ?? []).toString('latin1');
const bytes = (packed: string): Uint8Array => Uint8Array.from(Buffer.from(packed, 'latin1'));

/** All removals, then all additions, as one datagram: one transaction. */
export function encodePacked(
  ref: NftTableRef,
  changes: readonly NftPackedChange[],
  nextSequence: () => number,
): Batch {
  const elements = changes.reduce((sum, { remove, add }) => sum + remove.length + add.length, 0);
  const writer = new MessageWriter(BATCH_BYTES + elements * ELEMENT_BYTES);
  const messages = new Map<number, string>();
  let last: number | undefined;
  const write = (
    verb: 'add' | 'remove',
    set: string,
    elements: readonly (readonly [string, string])[],
  ): void => {
    for (let at = 0; at < elements.length;) {
      last = nextSequence();
      messages.set(last, `${verb === 'add' ? 'add' : 'delete'} element ${ref.family} ${ref.name} ${set}`);
      at = writeMessage(writer, verb, ref, set, elements, at, last);
    }
    refuseAbove(writer, set);
  };
  writeBatchBegin(writer, nextSequence());
  for (const { set, remove } of changes)
    write(
      'remove',
      set,
      remove.map((key) => [key, '']),
    );
  for (const { set, add } of changes) write('add', set, add);
  if (last !== undefined) writer.addFlags(NLM_F_ACK);
  writeBatchEnd(writer, nextSequence());
  return { writer, messages, last };
}

/** One message with as many elements from `start` on as fit; answers the index after the last. */
function writeMessage(
  writer: MessageWriter,
  verb: 'add' | 'remove',
  ref: NftTableRef,
  set: string,
  elements: readonly (readonly [string, string])[],
  start: number,
  sequence: number,
): number {
  const list = beginElements(writer, verb, ref, set, sequence);
  const limit = writer.length + LIST_LIMIT_BYTES;
  let at = start;
  for (let next = elements[at]; next !== undefined && writer.length < limit; next = elements[++at]) {
    const element = writer.beginNest(NFTA_LIST_ELEM | NLA_F_NESTED);
    writeValue(writer, NFTA_SET_ELEM_KEY, next[0]);
    if (next[1] !== '') writeValue(writer, NFTA_SET_ELEM_DATA, next[1]);
    writer.endNest(element);
  }
  endElements(writer, list);
  return at;
}

function writeValue(writer: MessageWriter, type: number, value: string): void {
  const nest = writer.beginNest(type | NLA_F_NESTED);
  writer.attributePacked(NFTA_DATA_VALUE, value);
  writer.endNest(nest);
}

function refuseAbove(writer: MessageWriter, set: string): void {
  if (writer.length > BATCH_LIMIT_BYTES)
    throw new PortolanError('exhausted', `Changing nftables set "${set}": the batch exceeds 48 MiB`, {
      remedy: 'change fewer than 500,000 elements at a time',
    });
}

/** Where a dump's elements go: a sink of somebody who needs no counters, or `PackedElements`. */
interface DumpSink extends NftPackedSink {
  count?(key: string, packets: number): void;
}

/** Reads the messages of one dump. */
export class PackedReader {
  readonly #sink: DumpSink;
  #isWhole = true;

  constructor(sink: DumpSink) {
    this.#sink = sink;
  }

  /** Forgets what was read: the dump begins anew. */
  restart(): void {
    this.#isWhole = true;
    this.#sink.restart();
  }

  /** True when no key came twice. */
  isWhole(): boolean {
    return this.#isWhole;
  }

  /** The payload of one message. */
  read(buffer: Buffer, start: number, end: number): void {
    forEachElement(buffer, start, end, (first, last) => {
      // The catch-all `*` has no key and is never ours: an element too many.
      const key = textOf(buffer, valueOf(buffer, first, last, NFTA_SET_ELEM_KEY));
      const data = textOf(buffer, valueOf(buffer, first, last, NFTA_SET_ELEM_DATA));
      if (!this.#sink.take(key, data)) this.#isWhole = false;
      if (this.#sink.count === undefined) return;
      const packets = packetsOf(buffer, first, last);
      if (packets !== undefined) this.#sink.count(key, packets);
    });
  }
}

/** Elements of one dump, by key. */
export class PackedElements implements DumpSink {
  readonly elements = new Map<string, string>();
  /** Packets counted by an element's counter, by key; of sets that count. */
  readonly packets = new Map<string, number>();

  restart(): void {
    this.elements.clear();
    this.packets.clear();
  }

  take(key: string, data: string): boolean {
    const isNew = !this.elements.has(key);
    this.elements.set(key, data);
    return isNew;
  }

  count(key: string, packets: number): void {
    this.packets.set(key, packets);
  }
}

function forEachElement(
  buffer: Buffer,
  start: number,
  end: number,
  visit: (start: number, end: number) => void,
): void {
  const list = find(buffer, start + NFGENMSG_BYTES, end, NFTA_SET_ELEM_LIST_ELEMENTS);
  if (list < 0) return;
  const limit = list + size(buffer, list);
  for (let at = list + 4; at + 4 <= limit; at += (size(buffer, at) + 3) & ~3) {
    const length = size(buffer, at);
    if (length < 4 || at + length > limit) return;
    visit(at + 4, at + length);
  }
}

function packetsOf(buffer: Buffer, start: number, end: number): number | undefined {
  const expression = find(buffer, start, end, NFTA_SET_ELEM_EXPR);
  if (expression < 0) return undefined;
  const data = find(buffer, expression + 4, expression + size(buffer, expression), NFTA_EXPR_DATA);
  if (data < 0) return undefined;
  const packets = find(buffer, data + 4, data + size(buffer, data), NFTA_COUNTER_PACKETS);
  return packets < 0 ? undefined : Number(buffer.readBigUInt64BE(packets + 4));
}

/** Where the key's or datum's value attribute begins, -1 when there is none. */
function valueOf(buffer: Buffer, start: number, end: number, type: number): number {
  const outer = find(buffer, start, end, type);
  return outer < 0 ? -1 : find(buffer, outer + 4, outer + size(buffer, outer), NFTA_DATA_VALUE);
}

const endOf = (buffer: Buffer, attribute: number): number =>
  attribute < 0 ? 0 : attribute + size(buffer, attribute);

function textOf(buffer: Buffer, attribute: number): string {
  return attribute < 0 ? '' : buffer.toString('latin1', attribute + 4, endOf(buffer, attribute));
}

/** Where the first attribute of the type begins; -1 when there is none within the bounds. */
function find(buffer: Buffer, start: number, end: number, type: number): number {
  for (let at = start; at + 4 <= end; at += (size(buffer, at) + 3) & ~3) {
    const length = size(buffer, at);
    if (length < 4 || at + length > end) return -1;
    if ((u16(buffer, at + 2) & TYPE_MASK) === type) return at;
  }
  return -1;
}

const size = (buffer: Buffer, at: number): number => u16(buffer, at);
const u16 = (buffer: Buffer, at: number): number => (buffer[at] ?? 0) | ((buffer[at + 1] ?? 0) << 8);
