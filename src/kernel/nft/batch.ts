/**
 * Element changes as one batch: all removals, then all additions, so that an element may move between sets.
 *
 * The batch is a single datagram whatever its size, as the kernel commits per datagram; encoding many elements lets
 * the event loop run in between.
 */
import { PortolanError } from '../../base/errors.ts';
import { MessageWriter, NLM_F_ACK } from '../netlink/message.ts';
import { nextTurn } from '../netlink/socket.ts';
import { encodeElements } from './elements.ts';
import { writeBatchBegin, writeBatchEnd, writeElements } from './messages.ts';
import type { NftElement, NftElementChange, NftSet, NftTableRef } from './types.ts';

/** What one send may hold (net.core limits do not apply with SO_SNDBUFFORCE): about half a million elements. */
export const BATCH_LIMIT_BYTES = 48 << 20;
/** Elements encoded between two looks at the clock. */
const SLICE = 500;
const HOLD_MS = 4;

export interface Batch {
  readonly writer: MessageWriter;
  /** What each message is about, by its sequence number. */
  readonly messages: ReadonlyMap<number, string>;
  /** The message that is acknowledged when all went well; `undefined` when there is nothing to send. */
  readonly last: number | undefined;
}

export async function encodeBatch(
  ref: NftTableRef,
  changes: readonly NftElementChange[],
  nextSequence: () => number,
): Promise<Batch> {
  const writer = new MessageWriter();
  const messages = new Map<number, string>();
  let last: number | undefined;
  writeBatchBegin(writer, nextSequence());
  for (const verb of ['remove', 'add'] as const)
    for (const change of changes)
      for await (const slice of slices(change[verb])) {
        last = writeSlice(writer, messages, verb, ref, change.set, slice, nextSequence);
        refuseAbove(writer, change.set);
      }
  if (last !== undefined) writer.addFlags(NLM_F_ACK);
  writeBatchEnd(writer, nextSequence());
  return { writer, messages, last };
}

/** Writes the messages of one slice and answers the sequence number of the last. */
function writeSlice(
  writer: MessageWriter,
  messages: Map<number, string>,
  verb: 'add' | 'remove',
  ref: NftTableRef,
  set: NftSet,
  slice: readonly NftElement[],
  nextSequence: () => number,
): number {
  const wire = encodeElements(set, slice, { withData: verb === 'add' });
  let sequence = 0;
  for (let at = 0; at < wire.length;) {
    sequence = nextSequence();
    messages.set(
      sequence,
      `${verb === 'add' ? 'add' : 'delete'} element ${ref.family} ${ref.name} ${set.name}`,
    );
    at = writeElements(writer, verb, ref, set, wire, at, sequence);
  }
  return sequence;
}

function refuseAbove(writer: MessageWriter, set: NftSet): void {
  if (writer.length > BATCH_LIMIT_BYTES)
    throw new PortolanError('exhausted', `Changing nftables set "${set.name}": the batch exceeds 48 MiB`, {
      remedy: 'change fewer than 500,000 elements at a time',
    });
}

/** The elements in small parts; other work runs between them when encoding takes long. */
async function* slices(elements: readonly NftElement[]): AsyncGenerator<readonly NftElement[], void> {
  let since = performance.now();
  for (let at = 0; at < elements.length; at += SLICE) {
    yield elements.length <= SLICE ? elements : elements.slice(at, at + SLICE);
    if (performance.now() - since > HOLD_MS) {
      await nextTurn();
      since = performance.now();
    }
  }
}
