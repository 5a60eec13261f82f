/**
 * nftables of the namespace it is created in, by the `nft` program and by raw nfnetlink.
 *
 * Purpose: `Nft` for the real kernel. Tables with their rules go through nft (about 20 ms, in a process); elements,
 * fingerprints and the generation go through two sockets (well under a millisecond), one for dumps, which may take many turns, and one
 * for what must be done in order.
 * Invariants: `replace` and `change` are each one kernel transaction; changes happen in the order they were asked for.
 * Review notes: `replace` carries elements as text, since rules exist only as text and the two ways cannot share a
 * transaction: 17 us per element, off the event loop, up to REPLACE_LIMIT_ELEMENTS. What is replaced often should
 * hold its many elements in sets that are changed instead.
 */
import { sleep } from '../../base/clock.ts';
import { PortolanError } from '../../base/errors.ts';
import { kernelError, kernelErrorOf } from '../errno.ts';
import { MessageWriter } from '../netlink/message.ts';
import type { OwnPorts } from '../netlink/own-ports.ts';
import { NETLINK_NETFILTER, NetlinkSocket } from '../netlink/socket.ts';
import { isErrno } from '../types.ts';
import { BATCH_LIMIT_BYTES, encodeBatch, type Batch } from './batch.ts';
import { ElementReader } from './element-reader.ts';
import { readFingerprint } from './fingerprint.ts';
import { readElements, readGeneration, writeElementsDump, writeGenerationRequest } from './messages.ts';
import { renderRef, renderRemoval, renderTable } from './render.ts';
import { encodePacked, PackedElements, PackedReader } from './packed.ts';
import { createNftRunner, type NftRunner, type NftRunnerInit } from './runner.ts';
import type {
  Nft,
  NftElement,
  NftElementChange,
  NftPackedChange,
  NftPackedElements,
  NftPackedSink,
  NftSet,
  NftTable,
  NftTableRef,
} from './types.ts';

/** Above it nft would need more than ten seconds and a gigabyte. */
export const REPLACE_LIMIT_ELEMENTS = 500_000;
/** Batches up to this size are sent on the main thread: the kernel takes 1 ms for 200 elements with counters, the dearest. */
const SYNCHRONOUS_BYTES = 8 << 10;
/** How often a table is written again because somebody changed nftables while it was read back. */
const MAX_REPLACE_ATTEMPTS = 3;

/** A hash table of 100,000 elements is rebuilt within some 10 ms, by a kernel worker that may have to wait. */
const MAX_DUMP_ATTEMPTS = 20;
const DUMP_PAUSE_MS = 5;

export interface NftComponents {
  /** Receives the port ids of the sockets, so that a monitor knows their changes as its own. */
  readonly ownPorts?: OwnPorts;
}

export interface RealNft extends Nft {
  close(): void;
}

export function createNft(components: NftComponents, init: NftRunnerInit = {}): RealNft {
  return new KernelNft(components, init);
}

class KernelNft implements RealNft {
  readonly #runner: NftRunner;
  readonly #dumps: NetlinkSocket;
  readonly #changes: NetlinkSocket;
  #tail: Promise<unknown> = Promise.resolve();

  constructor(components: NftComponents, init: NftRunnerInit) {
    this.#runner = createNftRunner({ onStart: (processId) => components.ownPorts?.lend(processId), ...init });
    this.#dumps = new NetlinkSocket(components, { protocol: NETLINK_NETFILTER });
    this.#changes = new NetlinkSocket(components, {
      protocol: NETLINK_NETFILTER,
      sendBytes: BATCH_LIMIT_BYTES,
    });
  }

  /** Written again when the generation shows that the table read back may not be the one written. */
  async replace(table: NftTable): Promise<string> {
    const elements = table.sets.reduce((sum, set) => sum + set.elements.length, 0);
    refuseAbove(table, elements);
    for (let attempt = 1; ; attempt++) {
      const before = await this.generation();
      await this.#runner.script(renderTable(table), { elements });
      const written = await this.fingerprint(table);
      const undisturbed = (await this.generation()) === following(before);
      if (written !== undefined && (undisturbed || attempt === MAX_REPLACE_ATTEMPTS)) return written;
      if (attempt === MAX_REPLACE_ATTEMPTS) throw contended(table);
    }
  }

  async remove(table: NftTableRef): Promise<void> {
    await this.#runner.script([renderRemoval(table)]);
  }

  fingerprint(table: NftTableRef): Promise<string | undefined> {
    return readFingerprint(this.#dumps, table);
  }

  /** Taken again while the kernel grows or shrinks the set's hash table, as the dump then skips and repeats. */
  async elements(table: NftTableRef, set: NftSet): Promise<readonly NftElement[] | undefined> {
    const reader = new ElementReader(set);
    const read = await this.#read(table, set.name, {
      restart: () => reader.restart(),
      read: (...part) => reader.read(readElements(...part)),
      finish: () => reader.finish(),
    });
    return read;
  }

  async packed(table: NftTableRef, set: string): Promise<NftPackedElements | undefined> {
    const found = new PackedElements();
    return (await this.readPacked(table, set, found)) ? found : undefined;
  }

  async readPacked(table: NftTableRef, set: string, sink: NftPackedSink): Promise<boolean> {
    const reader = new PackedReader(sink);
    const read = await this.#read(table, set, {
      restart: () => reader.restart(),
      read: (...part) => reader.read(...part),
      finish: () => reader.isWhole() || undefined,
    });
    return read === true;
  }

  /** Encoded at once, also while the kernel has the change before it. */
  async changePacked(table: NftTableRef, changes: readonly NftPackedChange[]): Promise<void> {
    const batch = encodePacked(table, changes, () => this.#changes.nextSequence());
    const { last } = batch;
    if (last !== undefined) await this.#inOrder(() => this.#commit(batch, last));
  }

  change(table: NftTableRef, changes: readonly NftElementChange[]): Promise<void> {
    return this.#inOrder(async () => {
      const batch = await encodeBatch(table, changes, () => this.#changes.nextSequence());
      if (batch.last !== undefined) await this.#commit(batch, batch.last);
    });
  }

  generation(): Promise<number> {
    return this.#inOrder(() => {
      const writer = new MessageWriter(64);
      writeGenerationRequest(writer, this.#changes.nextSequence());
      let generation: number | undefined;
      this.#changes.exchange('read the nftables generation', writer, (buffer, { start, end }) => {
        generation = readGeneration(buffer, start, end);
      });
      if (generation === undefined) throw kernelErrorOf('read the nftables generation', 'EIO');
      return generation;
    });
  }

  async run(script: string): Promise<void> {
    await this.#runner.script([script]);
  }

  list(args: readonly string[]): Promise<unknown> {
    return this.#runner.json(args);
  }

  close(): void {
    this.#dumps.close();
    void this.#inOrder(() => this.#changes.close());
  }

  /**
   * Sends a batch and reads what became of it: the failure of any message, or of the whole, which the kernel reports
   * for the batch's first header, or the acknowledgement of the last message.
   */
  async #commit({ writer, messages }: Batch, last: number): Promise<void> {
    const what = 'change nftables elements';
    const answers =
      writer.length <= SYNCHRONOUS_BYTES
        ? this.#changes.exchange(what, writer)
        : await this.#changes.exchangeAsync(what, writer);
    const failed = answers.find(({ errno }) => errno !== 0);
    if (failed !== undefined)
      throw kernelError(messages.get(failed.sequence) ?? what, failed.errno, failed.detail);
    if (!answers.some(({ sequence }) => sequence === last)) throw kernelErrorOf(what, 'EIO');
  }

  /** Dumps one set until the reader takes it for an answer. `undefined` = there is no such set. */
  async #read<T>(table: NftTableRef, set: string, reader: DumpReader<T>): Promise<T | undefined> {
    const what = `list elements of ${renderRef(table)} ${set}`;
    for (let attempt = 1; attempt <= MAX_DUMP_ATTEMPTS; attempt++) {
      const parts = await absentAsUndefined(
        this.#dumps.dump(
          what,
          (writer, sequence) => {
            reader.restart();
            writeElementsDump(writer, table, set, sequence);
          },
          (buffer, { start, end }) => reader.read(buffer, start, end),
          new MessageWriter(256),
        ),
      );
      if (parts === undefined) return undefined;
      const answer = reader.finish();
      if (answer !== undefined) return answer;
      await sleep(attempt * DUMP_PAUSE_MS);
    }
    throw kernelErrorOf(`${what} (its hash table keeps changing)`, 'EAGAIN');
  }

  #inOrder<T>(task: () => T | Promise<T>): Promise<T> {
    const result = this.#tail.then(task);
    this.#tail = result.catch(() => undefined);
    return result;
  }
}

/** Takes the messages of a dump, which may begin anew; `undefined` at its end: no answer. */
interface DumpReader<T> {
  restart(): void;
  read(buffer: Buffer, start: number, end: number): undefined | void;
  finish(): T | undefined;
}

/** The kernel counts transactions, leaving out zero. */
const following = (generation: number): number => (generation + 1) >>> 0 || 1;

async function absentAsUndefined<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
}

function refuseAbove(table: NftTable, elements: number): void {
  if (elements > REPLACE_LIMIT_ELEMENTS)
    throw new PortolanError('exhausted', `Replacing nftables table "${table.name}": ${elements} elements`, {
      remedy: `keep it to ${REPLACE_LIMIT_ELEMENTS} and add the others by changes`,
    });
}

const contended = (table: NftTable): PortolanError =>
  new PortolanError(
    'unavailable',
    `Replacing nftables table "${table.name}": somebody removed it each of ${MAX_REPLACE_ATTEMPTS} times`,
    { remedy: `find out who runs "nft flush ruleset" or "nft delete table ${renderRef(table)}"` },
  );
