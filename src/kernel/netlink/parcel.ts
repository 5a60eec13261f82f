/**
 * Operations packed for one call, and what the kernel answers to them.
 *
 * A long parcel goes as several datagrams, since the kernel handles each in one go and lets others run in between: a
 * worker of its own too, which has to grow the forwarding table that the parcel fills.
 * Only the last message asks for an acknowledgement, since a refusal is answered anyway (af_netlink.c, netlink_rcv_skb)
 * and carries its message's sequence number: here the number of the message in its parcel.
 */
import { describeOperation } from '../describe.ts';
import { kernelError, kernelErrorOf } from '../errno.ts';
import type { KernelError } from '../types.ts';
import { echoKey, type Echoes } from './echoes.ts';
import { encodeOperation, type PackedOperation } from './encode-operation.ts';
import { forEachMessage, MessageWriter, NLM_F_ACK } from './message.ts';
import type { Acknowledgement, NetlinkSocket } from './socket.ts';

/** The kernel takes about 0.6 ms for it, in which it lets nobody else run on the same processor. */
const DATAGRAM_BYTES = 8 * 1024;

/** What became of an operation that the kernel refused. */
export type Refused = (index: number, operation: PackedOperation, error: KernelError) => void;

export class Parcel {
  readonly #echoes: Echoes;
  readonly #writer: MessageWriter;
  /** By number of the message: the operation, and its place in the list it came in. */
  readonly #operations: PackedOperation[] = [];
  readonly #indexes: number[] = [];
  /** Where in the writer each full datagram ends. */
  readonly #ends: number[] = [];
  #cut = 0;

  constructor(components: { readonly echoes: Echoes }, init: { readonly capacityBytes: number }) {
    this.#echoes = components.echoes;
    this.#writer = new MessageWriter(init.capacityBytes);
  }

  get length(): number {
    return this.#writer.length;
  }

  /** `index` is the operation's place in the list it came in; `linkIndex` that of its link, 0 = none. */
  pack(index: number, operation: PackedOperation, linkIndex: number): void {
    const number = this.#operations.push(operation);
    this.#indexes.push(index);
    encodeOperation(this.#writer, number, operation, linkIndex);
    this.#expectEcho(operation);
    if (this.length - this.#cut < DATAGRAM_BYTES) return;
    this.#cut = this.length;
    this.#ends.push(this.length);
  }

  /** Sends on the calling thread. */
  sendNow(socket: NetlinkSocket, refused: Refused): void {
    if (this.#operations.length === 0) return;
    this.#writer.addFlags(NLM_F_ACK);
    this.#conclude(socket.exchange(this.#what, this.#writer), refused);
  }

  /** Sends on another thread; the parcel must not be touched meanwhile. */
  async send(socket: NetlinkSocket, refused: Refused): Promise<void> {
    if (this.#operations.length === 0) return;
    this.#writer.addFlags(NLM_F_ACK);
    if (this.#ends.at(-1) !== this.length) this.#ends.push(this.length);
    this.#conclude(await socket.exchangeEachAsync(this.#what, this.#writer, this.#ends), refused);
  }

  get #what(): string {
    return `send ${this.#operations.length} operations to the kernel`;
  }

  #expectEcho(operation: PackedOperation): void {
    const change = echoWithoutPort(operation);
    if (change === undefined || !this.#echoes.active) return;
    const key = this.#writer.last(echoKey);
    if (key !== undefined) this.#echoes.expect(change, key);
  }

  /** The kernel refused the message of this number: nothing was announced. */
  #unexpectEcho(operation: PackedOperation, number: number): void {
    const change = echoWithoutPort(operation);
    if (change === undefined || !this.#echoes.active) return;
    forEachMessage(this.#writer.bytes, this.#writer.length, ({ sequence, start, end }) => {
      const key = sequence === number ? echoKey(this.#writer.bytes, start, end) : undefined;
      if (key !== undefined) this.#echoes.unexpect(change, key);
      return sequence !== number;
    });
  }

  #conclude(answers: readonly Acknowledgement[], refused: Refused): void {
    if (answers.length === 0) throw kernelErrorOf(`${this.#what} (no acknowledgement)`, 'EIO');
    for (const { sequence, errno, detail } of answers) {
      const [operation, index] = [this.#operations[sequence - 1], this.#indexes[sequence - 1]];
      if (errno === 0 || operation === undefined || index === undefined) continue;
      this.#unexpectEcho(operation, sequence);
      refused(index, operation, kernelError(describeOperation(operation), errno, detail));
    }
    for (const list of [this.#operations, this.#indexes, this.#ends]) list.length = 0;
    this.#cut = 0;
    this.#writer.reset();
  }
}

/** The operations whose echo does not say whose it is (echoes.ts). */
function echoWithoutPort(operation: PackedOperation): 'new' | 'delete' | undefined {
  if (operation.do === 'fdb-replace') return 'new';
  return operation.do === 'fdb-delete' || operation.do === 'neighbour-delete' ? 'delete' : undefined;
}
