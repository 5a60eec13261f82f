/**
 * A list of operations on its way into the kernel.
 *
 * Addresses, routes, rules, neighbours and forwarding entries are packed, many to a send. What fits into one short send
 * goes at once; of more, the kernel works on one send in another thread while the next is being written. Links are made,
 * moved and renamed one by one, in their place, so that what follows can name them.
 * Invariants: order is kept; no send is above SEND_BYTES by more than one message; names are looked up once per send
 * and again after every change of a link, never remembered longer.
 */
import { describeOperation } from '../describe.ts';
import { kernelErrorOf } from '../errno.ts';
import { isTolerated } from '../tolerance.ts';
import type { KernelError, KernelOperation, OperationFailure } from '../types.ts';
import type { LinkDeletions } from './deletions.ts';
import type { Echoes } from './echoes.ts';
import { isPacked, linkOf, type LinkSet, type PackedOperation } from './encode-operation.ts';
import type { LinkOperation, Links } from './links.ts';
import { Parcel } from './parcel.ts';
import { nextTurn, type NetlinkSocket } from './socket.ts';

/** The kernel takes about 1 ms for it; 30 ms if they were routes that share a hash bucket. */
const SYNCHRONOUS_BYTES = 8 * 1024;
/** Most lists are a handful of operations; what needs more grows. */
const FEW_BYTES = 1024;
/** Large enough to be worth another thread (0.1 ms), small enough to be written within a millisecond. */
const SEND_BYTES = 32 * 1024;
/** The event loop runs at least this often. */
const HOLD_MS = 4;
/** Longer than any message of an operation. */
const MESSAGE_BYTES = 512;

type LinkDelete = Extract<KernelOperation, { do: 'link-delete' }>;

export interface OperationComponents {
  readonly socket: NetlinkSocket;
  /** For what is sent off the main thread; opened when first needed. */
  readonly bulk: () => NetlinkSocket;
  readonly links: Links;
  /** Opened when first needed. */
  readonly deletions: () => LinkDeletions;
  readonly echoes: Echoes;
}

export class OperationRun {
  readonly #components: OperationComponents;
  readonly #indexes = new Map<string, number | undefined>();
  readonly #failures: OperationFailure[] = [];
  /** Those that have come one after the other until now. */
  readonly #deletions: { readonly index: number; readonly operation: LinkDelete }[] = [];
  #parcel: Parcel;
  #spare: Parcel | undefined;
  #underWay: Promise<void> | undefined;
  #since = performance.now();

  constructor(components: OperationComponents) {
    this.#components = components;
    this.#parcel = new Parcel(components, { capacityBytes: FEW_BYTES });
  }

  /** Performs all; a short list without deletions is done before this returns its promise. */
  async perform(operations: Iterable<KernelOperation>): Promise<readonly OperationFailure[]> {
    let index = 0;
    for (const operation of operations) {
      if (operation.do !== 'link-delete' && this.#deletions.length > 0) await this.#deleteLinks();
      switch (operation.do) {
        case 'link-delete':
          if (!this.#finishedNow()) await this.#finish();
          this.#deletions.push({ index, operation });
          break;
        case 'link-add':
        case 'link-set':
        case 'link-move':
          if (this.#isPacked(operation)) {
            this.#pack(index, operation);
            break;
          }
          if (!this.#finishedNow()) await this.#finish();
          this.#record(index, operation, this.#changeLink(operation));
          this.#indexes.clear();
          break;
        default:
          this.#pack(index, operation);
      }
      index++;
      if (this.#parcel.length >= SEND_BYTES) await this.#ship();
      if (performance.now() - this.#since > HOLD_MS) await this.#breathe();
    }
    if (this.#deletions.length > 0) await this.#deleteLinks();
    if (!this.#finishedNow()) await this.#finish();
    return this.#failures.toSorted((a, b) => a.index - b.index);
  }

  /** With a monitor, the echoes of a change of a link are set apart around it (echoes.ts). */
  #isPacked(operation: LinkOperation): operation is LinkSet {
    return operation.do === 'link-set' && !this.#components.echoes.active && isPacked(operation);
  }

  async #breathe(): Promise<void> {
    if (!this.#finishedNow()) await this.#ship();
    await nextTurn();
    // Links may have been renamed or made anew meanwhile.
    this.#indexes.clear();
    this.#since = performance.now();
  }

  /** True when all is done, if need be by one short send on this thread. */
  #finishedNow(): boolean {
    if (this.#underWay !== undefined || this.#parcel.length > SYNCHRONOUS_BYTES) return false;
    this.#parcel.sendNow(this.#components.socket, this.#refused);
    return true;
  }

  async #finish(): Promise<void> {
    await this.#ship();
    await this.#underWay;
    this.#underWay = undefined;
  }

  /** Hands the parcel over to another thread when that has delivered the one before. */
  async #ship(): Promise<void> {
    if (this.#underWay !== undefined) {
      await this.#underWay;
      this.#since = performance.now();
    }
    const parcel = this.#parcel;
    this.#parcel = this.#spare ?? new Parcel(this.#components, { capacityBytes: SEND_BYTES + MESSAGE_BYTES });
    this.#spare = parcel;
    this.#underWay = parcel.send(this.#components.bulk(), this.#refused);
    // A failure is met by whoever waits for it next, which may be a while.
    this.#underWay.catch(() => undefined);
    this.#indexes.clear();
  }

  /** Consecutive deletions wait together. */
  async #deleteLinks(): Promise<void> {
    const { deletions, echoes } = this.#components;
    const run = this.#deletions.splice(0);
    for (const { operation } of run) echoes.doom(operation.name);
    await Promise.all(
      run.map(async ({ index, operation }) => {
        const error = await deletions().delete(operation.name);
        if (error !== undefined) echoes.spare(operation.name);
        this.#record(index, operation, error);
      }),
    );
    this.#indexes.clear();
    this.#since = performance.now();
  }

  #changeLink(operation: LinkOperation): KernelError | undefined {
    const { echoes, links } = this.#components;
    return echoes.aroundLinkChange(operation, () => links.perform(operation));
  }

  #pack(index: number, operation: PackedOperation): void {
    const link = linkOf(operation);
    const linkIndex = link === undefined ? 0 : this.#indexOf(link);
    if (linkIndex !== undefined) this.#parcel.pack(index, operation, linkIndex);
    else this.#record(index, operation, kernelErrorOf(describeOperation(operation), 'ENODEV'));
  }

  #indexOf(name: string): number | undefined {
    if (this.#indexes.has(name)) return this.#indexes.get(name);
    const index = this.#components.links.indexOf(name);
    this.#indexes.set(name, index);
    return index;
  }

  readonly #refused = (index: number, operation: KernelOperation, error: KernelError): void =>
    this.#record(index, operation, error);

  #record(index: number, operation: KernelOperation, error: KernelError | undefined): void {
    if (error !== undefined && !isTolerated(operation, error.code))
      this.#failures.push({ index, operation, error });
  }
}
