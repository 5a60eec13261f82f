/**
 * Operations packed for one send, and what the kernel answers to them.
 *
 * Only the last message asks for an acknowledgement, since a refusal is answered anyway (af_netlink.c, netlink_rcv_skb)
 * and carries its message's sequence number: here the number of the message in its parcel.
 */
import { describeOperation } from '../describe.ts';
import { kernelError, kernelErrorOf } from '../errno.ts';
import type { KernelError } from '../types.ts';
import { EchoKeys, type Echoes } from './echoes.ts';
import { encodeOperation, type PackedOperation } from './encode-operation.ts';
import { MessageWriter, NLM_F_ACK } from './message.ts';
import type { Acknowledgement, NetlinkSocket } from './socket.ts';

/** What became of an operation that the kernel refused. */
export type Refused = (index: number, operation: PackedOperation, error: KernelError) => void;

export class Parcel {
  readonly #echoes: Echoes;
  #keys: EchoKeys | undefined;
  readonly #writer: MessageWriter;
  /** By number of the message: the operation, its place in the list it came in, and what its echo is expected by. */
  readonly #operations: PackedOperation[] = [];
  readonly #indexes: number[] = [];
  readonly #expected: (string | undefined)[] = [];

  readonly #keyOf = (buffer: Buffer, start: number, end: number): string | undefined =>
    (this.#keys ??= new EchoKeys()).of(buffer, start, end);

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
    this.#expected.push(this.#expect(operation));
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
    this.#conclude(await socket.exchangeAsync(this.#what, this.#writer), refused);
  }

  get #what(): string {
    return `send ${this.#operations.length} operations to the kernel`;
  }

  #expect(operation: PackedOperation): string | undefined {
    const change = echoWithoutPort(operation);
    if (change === undefined || !this.#echoes.active) return undefined;
    const key = this.#writer.last(this.#keyOf);
    if (key !== undefined) this.#echoes.expect(change, key);
    return key;
  }

  #conclude(answers: readonly Acknowledgement[], refused: Refused): void {
    if (answers.length === 0) throw kernelErrorOf(`${this.#what} (no acknowledgement)`, 'EIO');
    for (const { sequence, errno, detail } of answers) {
      const [operation, index] = [this.#operations[sequence - 1], this.#indexes[sequence - 1]];
      if (errno === 0 || operation === undefined || index === undefined) continue;
      const echo = this.#expected[sequence - 1];
      const change = echoWithoutPort(operation);
      if (echo !== undefined && change !== undefined) this.#echoes.unexpect(change, echo);
      refused(index, operation, kernelError(describeOperation(operation), errno, detail));
    }
    for (const list of [this.#operations, this.#indexes, this.#expected]) list.length = 0;
    this.#writer.reset();
  }
}

/** The operations whose echo does not say whose it is (echoes.ts). */
function echoWithoutPort(operation: PackedOperation): 'new' | 'delete' | undefined {
  if (operation.do === 'fdb-replace') return 'new';
  return operation.do === 'fdb-delete' || operation.do === 'neighbour-delete' ? 'delete' : undefined;
}
