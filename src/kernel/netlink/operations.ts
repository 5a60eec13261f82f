/**
 * A list of operations on its way into the kernel.
 *
 * Addresses, routes, rules, neighbours and forwarding entries are packed, many to a send; only the last of a send
 * asks for an acknowledgement, since a refusal is answered anyway (af_netlink.c, netlink_rcv_skb) and carries its
 * message's sequence number. Links are done one by one, in their place, so that what follows can name them.
 * Invariants: order is kept; no send is above SEND_BYTES by more than one message; names are looked up once per list
 * and again after every change of a link, never remembered longer.
 */
import { unreachable } from '../../base/assert.ts';
import { describeOperation } from '../describe.ts';
import { kernelError, kernelErrorOf } from '../errno.ts';
import { isTolerated } from '../tolerance.ts';
import type { KernelError, KernelOperation, OperationFailure } from '../types.ts';
import type { LinkDeletions } from './deletions.ts';
import { fdbKey, neighbourKey, type Echoes } from './echoes.ts';
import type { LinkOperation, Links } from './links.ts';
import { MessageWriter, NLM_F_ACK } from './message.ts';
import { encodeAddress } from './rtnetlink/address.ts';
import { encodeFdb } from './rtnetlink/fdb.ts';
import { encodeNeighbour } from './rtnetlink/neighbour.ts';
import { encodeRoute } from './rtnetlink/route.ts';
import { encodeRule } from './rtnetlink/rule.ts';
import { nextTurn, type NetlinkSocket } from './socket.ts';

/** Routes that share a hash bucket take the kernel up to 30 ms per 8 KiB; spread ones well under 1 ms. */
const SEND_BYTES = 8 * 1024;
/** The event loop runs at least this often. */
const HOLD_MS = 4;

type LinkDelete = Extract<KernelOperation, { do: 'link-delete' }>;
type PackedOperation = Exclude<KernelOperation, LinkOperation | LinkDelete>;

export interface OperationComponents {
  readonly socket: NetlinkSocket;
  readonly links: Links;
  /** Opened when first needed. */
  readonly deletions: () => LinkDeletions;
  readonly echoes: Echoes;
}

export class OperationRun {
  readonly #components: OperationComponents;
  readonly #writer = new MessageWriter(SEND_BYTES + 512);
  readonly #pending = new Map<number, { readonly index: number; readonly operation: PackedOperation }>();
  readonly #indexes = new Map<string, number | undefined>();
  readonly #failures: OperationFailure[] = [];
  #since = performance.now();

  constructor(components: OperationComponents) {
    this.#components = components;
  }

  /** Performs all; a short list without deletions is done before this returns its promise. */
  async perform(operations: readonly KernelOperation[]): Promise<readonly OperationFailure[]> {
    for (let index = 0; index < operations.length; index++) {
      const operation = operations[index];
      if (operation === undefined) continue;
      switch (operation.do) {
        case 'link-delete':
          this.#flush();
          index = (await this.#deleteRun(operations, index)) - 1;
          break;
        case 'link-add':
        case 'link-set':
        case 'link-move':
          this.#flush();
          this.#record(index, operation, this.#changeLink(operation));
          this.#indexes.clear();
          break;
        default:
          this.#pack(index, operation);
      }
      if (this.#writer.length >= SEND_BYTES) this.#flush();
      if (performance.now() - this.#since > HOLD_MS) await this.#breathe();
    }
    this.#flush();
    return this.#failures.toSorted((a, b) => a.index - b.index);
  }

  async #breathe(): Promise<void> {
    this.#flush();
    await nextTurn();
    // Links may have been renamed or made anew meanwhile.
    this.#indexes.clear();
    this.#since = performance.now();
  }

  /** Consecutive deletions wait together; answers the index of the first operation after them. */
  async #deleteRun(operations: readonly KernelOperation[], start: number): Promise<number> {
    const deletions = this.#components.deletions();
    const waits: Promise<void>[] = [];
    let end = start;
    for (; end < operations.length; end++) {
      const operation = operations[end];
      if (operation?.do !== 'link-delete') break;
      const index = end;
      this.#components.echoes.doom(operation.name);
      waits.push(
        deletions.delete(operation.name).then((error) => {
          if (error !== undefined) this.#components.echoes.spare(operation.name);
          this.#record(index, operation, error);
        }),
      );
    }
    await Promise.all(waits);
    this.#indexes.clear();
    this.#since = performance.now();
    return end;
  }

  #changeLink(operation: LinkOperation): KernelError | undefined {
    const { echoes, links } = this.#components;
    return echoes.aroundLinkChange(operation, () => links.perform(operation));
  }

  #pack(index: number, operation: PackedOperation): void {
    const link = linkOf(operation);
    const linkIndex = link === undefined ? 0 : this.#indexOf(link);
    if (linkIndex === undefined) {
      this.#record(index, operation, kernelErrorOf(describeOperation(operation), 'ENODEV'));
      return;
    }
    const sequence = this.#components.socket.nextSequence();
    encodeOperation(this.#writer, sequence, operation, linkIndex);
    this.#pending.set(sequence, { index, operation });
  }

  #indexOf(name: string): number | undefined {
    if (this.#indexes.has(name)) return this.#indexes.get(name);
    const index = this.#components.links.indexOf(name);
    this.#indexes.set(name, index);
    return index;
  }

  #flush(): void {
    if (this.#pending.size === 0) return;
    this.#writer.addFlags(NLM_F_ACK);
    const what = `send ${this.#pending.size} operations to the kernel`;
    const answers = this.#components.socket.exchange(what, this.#writer);
    if (answers.length === 0) throw kernelErrorOf(`${what} (no acknowledgement)`, 'EIO');
    for (const { sequence, errno, detail } of answers) {
      const pending = this.#pending.get(sequence);
      if (errno === 0 || pending === undefined) continue;
      const { index, operation } = pending;
      this.#record(index, operation, kernelError(describeOperation(operation), errno, detail));
      this.#pending.delete(sequence);
    }
    if (this.#components.echoes.active) this.#expectEchoes();
    this.#pending.clear();
    this.#writer.reset();
  }

  #expectEchoes(): void {
    const { echoes } = this.#components;
    for (const { operation } of this.#pending.values()) {
      if (operation.do === 'fdb-replace') echoes.expect('new', fdbKey(operation.entry));
      if (operation.do === 'fdb-delete') echoes.expect('delete', fdbKey(operation.entry));
      if (operation.do === 'neighbour-delete') echoes.expect('delete', neighbourKey(operation.neighbour));
    }
  }

  #record(index: number, operation: KernelOperation, error: KernelError | undefined): void {
    if (error !== undefined && !isTolerated(operation, error.code))
      this.#failures.push({ index, operation, error });
  }
}

function linkOf(operation: PackedOperation): string | undefined {
  switch (operation.do) {
    case 'address-replace':
    case 'address-delete':
      return operation.address.link;
    case 'route-replace':
    case 'route-delete':
      return operation.route.link;
    case 'rule-add':
    case 'rule-delete':
      return undefined;
    case 'neighbour-replace':
    case 'neighbour-delete':
      return operation.neighbour.link;
    case 'fdb-replace':
    case 'fdb-delete':
      return operation.entry.link;
    default:
      return unreachable(operation);
  }
}

function encodeOperation(
  writer: MessageWriter,
  sequence: number,
  operation: PackedOperation,
  linkIndex: number,
): void {
  switch (operation.do) {
    case 'address-replace':
      return encodeAddress(writer, sequence, 'replace', operation.address.address, linkIndex);
    case 'address-delete':
      return encodeAddress(writer, sequence, 'delete', operation.address.address, linkIndex);
    case 'route-replace':
      return encodeRoute(writer, sequence, 'replace', operation.route, linkIndex);
    case 'route-delete':
      return encodeRoute(writer, sequence, 'delete', operation.route, linkIndex);
    case 'rule-add':
      return encodeRule(writer, sequence, 'add', operation.rule);
    case 'rule-delete':
      return encodeRule(writer, sequence, 'delete', operation.rule);
    case 'neighbour-replace':
      return encodeNeighbour(writer, sequence, 'replace', operation.neighbour, linkIndex);
    case 'neighbour-delete':
      return encodeNeighbour(writer, sequence, 'delete', operation.neighbour, linkIndex);
    case 'fdb-replace':
      return encodeFdb(writer, sequence, 'replace', operation.entry, linkIndex);
    case 'fdb-delete':
      return encodeFdb(writer, sequence, 'delete', operation.entry, linkIndex);
    default:
      return unreachable(operation);
  }
}
