/**
 * A list of operations on its way into the kernel.
 *
 * Addresses, routes, rules, neighbours and forwarding entries are packed, many to a parcel. What fits into one short send
 * goes at once. Of more, the kernel works on one parcel in another thread while the next is being written, which goes when
 * the kernel has done with the one before: the longer that takes, the more goes with the next, so that the two threads
 * wait for each other as seldom as can be. Links are made, moved and renamed one by one, in their place, so that what
 * follows can name them.
 * Invariants: order is kept; no parcel is above PARCEL_BYTES by more than one message; names are looked up once per
 * parcel and again after every change of a link, never remembered longer.
 */
import { describeOperation } from '../describe.ts';
import { kernelErrorOf } from '../errno.ts';
import { isTolerated } from '../tolerance.ts';
import type { KernelError, KernelOperation, OperationFailure } from '../types.ts';
import type { LinkDeletions } from './deletions.ts';
import type { Echoes } from './echoes.ts';
import { isPacked, linkOf, type LinkSet, type PackedOperation } from './encode-operation.ts';
import type { LinkAdd, LinkOperation, Links } from './links.ts';
import { Parcel } from './parcel.ts';
import { nextTurn, type NetlinkSocket } from './socket.ts';

/** The kernel takes about 1 ms for it; 30 ms if they were routes that share a hash bucket. */
const SYNCHRONOUS_BYTES = 8 * 1024;
/** Most lists are a handful of operations; what needs more grows. */
const FEW_BYTES = 1024;
/** Worth another thread, which costs 0.1 ms: the kernel, if it has nothing to do, takes 1 ms for it. */
const WORTHWHILE_BYTES = 16 * 1024;
/** The kernel's answers to it fit into the socket, even if it refuses every message. */
const PARCEL_BYTES = 512 * 1024;
/** The event loop runs at least this often; also to hear that the kernel has done with a parcel. */
const HOLD_MS = 1;
/** Packing one operation takes about as long as looking at the clock. */
const PACKED_PER_LOOK = 8;

type LinkDelete = Extract<KernelOperation, { do: 'link-delete' }>;

export interface OperationComponents {
  readonly socket: NetlinkSocket;
  /** For what is sent off the main thread; opened when first needed. */
  readonly bulk: () => NetlinkSocket;
  /** For a link that is made off the main thread. */
  readonly making: () => NetlinkSocket;
  /** All that takes the kernel a while is done off the main thread, however little it is. */
  readonly elsewhere: boolean;
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
  /** Operations since the last look at the clock. */
  #unlooked = 0;

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
          if (this.#isMadeElsewhere(operation)) await this.#makeLink(index, operation);
          else this.#record(index, operation, this.#changeLink(operation));
          this.#indexes.clear();
          this.#unlooked = PACKED_PER_LOOK;
          break;
        default:
          this.#pack(index, operation);
      }
      index++;
      if (this.#parcel.length >= WORTHWHILE_BYTES && this.#underWay === undefined) this.#ship();
      if (this.#parcel.length >= PARCEL_BYTES) await this.#delivered();
      if (this.#isDue()) await this.#breathe();
    }
    if (this.#deletions.length > 0) await this.#deleteLinks();
    if (!this.#finishedNow()) await this.#finish();
    return this.#failures.toSorted((a, b) => a.index - b.index);
  }

  /** With a monitor, the echoes of a change of a link are set apart around it (echoes.ts). */
  #isPacked(operation: LinkOperation): operation is LinkSet {
    return operation.do === 'link-set' && !this.#components.echoes.active && isPacked(operation);
  }

  /** True when the event loop has waited long enough. */
  #isDue(): boolean {
    if (++this.#unlooked < PACKED_PER_LOOK) return false;
    this.#unlooked = 0;
    return performance.now() - this.#since > HOLD_MS;
  }

  async #breathe(): Promise<void> {
    await nextTurn();
    // Links may have been renamed or made anew meanwhile.
    this.#indexes.clear();
    this.#since = performance.now();
  }

  /** True when all is done, if need be by one short send on this thread. */
  #finishedNow(): boolean {
    const longest = this.#components.elsewhere ? 0 : SYNCHRONOUS_BYTES;
    if (this.#underWay !== undefined || this.#parcel.length > longest) return false;
    this.#parcel.sendNow(this.#components.socket, this.#refused);
    return true;
  }

  async #finish(): Promise<void> {
    while (this.#underWay !== undefined) await this.#delivered();
    this.#ship();
    await this.#delivered();
  }

  /** Waits until the kernel has the parcel under way, by when the next one may be. */
  async #delivered(): Promise<void> {
    await this.#underWay;
    this.#since = performance.now();
  }

  /** Hands the parcel over to another thread, and what has been packed meanwhile after it. */
  #ship(): void {
    const parcel = this.#parcel;
    this.#parcel = this.#spare ?? new Parcel(this.#components, { capacityBytes: WORTHWHILE_BYTES * 2 });
    this.#spare = parcel;
    this.#indexes.clear();
    this.#underWay = parcel.send(this.#components.bulk(), this.#refused).then(() => {
      this.#underWay = undefined;
      if (this.#parcel.length >= WORTHWHILE_BYTES) this.#ship();
    });
    // A failure is met by whoever waits for it next, which may be a while.
    this.#underWay.catch(() => undefined);
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

  #isMadeElsewhere(operation: LinkOperation): operation is LinkAdd {
    return this.#components.elsewhere && operation.do === 'link-add';
  }

  async #makeLink(index: number, operation: LinkAdd): Promise<void> {
    const { echoes, links, making } = this.#components;
    const make = (): Promise<KernelError | undefined> => links.make(operation, making());
    this.#record(index, operation, await echoes.aroundLinkMaking(operation, make));
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
