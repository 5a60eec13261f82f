/**
 * Which notifications are the echo of our own changes, where the kernel does not say so.
 *
 * Addresses, routes and rules carry the writer's port id (own-filter.ts). The VXLAN driver sends port 0 (vxlan_core.c,
 * vxlan_fdb_notify), so does the end of a neighbour (neighbour.c, neigh_cleanup_and_release), and links for most
 * changes (rtnetlink.c, rtnetlink_event). So: neighbours and forwarding entries that we write are expected by what
 * their messages say, from before they are sent, since sending and reading go on at the same time; while we change a
 * link, which takes one synchronous call, the notifications about it are set apart; links that we
 * remove are doomed until their end is told.
 * Invariants: what somebody else does is never taken for ours unless it is the very thing we do at that moment or
 * have done: an expectation that never came true (the entry was there already, so nothing was announced) can only
 * hide an equal, and therefore harmless, write.
 */
import type { KernelOperation } from '../types.ts';
import { Attributes } from './message.ts';
import { AF_BRIDGE } from './rtnetlink/constants.ts';

/** Past this the oldest expectations are given up: their echoes count as foreign, which costs one extra look. */
const MAX_EXPECTED = 65_536;

/** A monitor, as far as echoes need it. */
export interface EchoListener {
  /** Sets apart what has been announced until now, as the echo of a change of `links`, or as nobody's. */
  setApart(links: ReadonlySet<string> | undefined): void;
}

export class Echoes {
  /** How many are expected, by the object's key. */
  readonly #expected = { new: new Map<string, number>(), delete: new Map<string, number>() };
  readonly #doomed = new Set<string>();
  readonly #listeners = new Set<EchoListener>();
  #runs = 0;

  /** Without a monitor nobody asks. */
  get active(): boolean {
    return this.#listeners.size > 0;
  }

  /** False when no echo is waited for. */
  get expecting(): boolean {
    return this.#expected.new.size > 0 || this.#expected.delete.size > 0;
  }

  /** True while many operations are under way: there is better to do than to read their echoes. */
  get programming(): boolean {
    return this.#runs > 0;
  }

  async whileProgramming<T>(run: () => Promise<T>): Promise<T> {
    this.#runs++;
    try {
      return await run();
    } finally {
      this.#runs--;
    }
  }

  add(listener: EchoListener): void {
    this.#listeners.add(listener);
  }

  remove(listener: EchoListener): void {
    this.#listeners.delete(listener);
    if (!this.active) this.forget();
  }

  /** Runs `change`, which does `operation` at once. */
  aroundLinkChange<T>(operation: KernelOperation, change: () => T): T {
    if (!this.active) return change();
    for (const listener of this.#listeners) listener.setApart(undefined);
    const links = linksTouched(operation);
    for (const link of links) this.#doomed.delete(link);
    const result = change();
    for (const listener of this.#listeners) listener.setApart(links);
    return result;
  }

  /** `object` by `EchoKeys`. */
  expect(change: 'new' | 'delete', object: string): void {
    const expected = this.#expected[change];
    expected.set(object, (expected.get(object) ?? 0) + 1);
    if (expected.size <= MAX_EXPECTED) return;
    const oldest = expected.keys().next();
    if (oldest.done !== true) expected.delete(oldest.value);
  }

  /** True, once per expectation, when this change is ours. */
  recognise(change: 'new' | 'delete', object: string): boolean {
    const expected = this.#expected[change];
    const count = expected.get(object);
    if (count === undefined) return false;
    if (count === 1) expected.delete(object);
    else expected.set(object, count - 1);
    return true;
  }

  /** The kernel refused the change. */
  unexpect(change: 'new' | 'delete', object: string): void {
    this.recognise(change, object);
  }

  doom(link: string): void {
    if (this.active && this.#doomed.size < MAX_EXPECTED) this.#doomed.add(link);
  }

  /** The kernel would not remove it. */
  spare(link: string): void {
    this.#doomed.delete(link);
  }

  /** True for what is told of a link that we remove, up to its end. */
  recogniseDoomed(change: 'new' | 'delete', link: string): boolean {
    return change === 'delete' ? this.#doomed.delete(link) : this.#doomed.has(link);
  }

  /** After an overrun nobody knows which echoes were lost. */
  forget(): void {
    this.#expected.new.clear();
    this.#expected.delete.clear();
    this.#doomed.clear();
  }
}

const NDMSG_BYTES = 12;
const NDA_DST = 1;
const NDA_LLADDR = 2;
/** Family, interface index, an address and a MAC. */
const KEY_BYTES = 1 + 4 + 16 + 6;

/**
 * What a neighbour or forwarding entry is known by, read off its message: the same in our request as in the kernel's
 * notification, without making values of either.
 */
export class EchoKeys {
  readonly #attributes = new Attributes();
  readonly #key = Buffer.alloc(KEY_BYTES);
  #length = 0;

  /** `start` and `end` delimit struct ndmsg and its attributes. */
  of(buffer: Buffer, start: number, end: number): string | undefined {
    if (end - start < NDMSG_BYTES) return undefined;
    const attributes = this.#attributes.parse(buffer, start + NDMSG_BYTES, end);
    const family = buffer.readUInt8(start);
    this.#length = 0;
    this.#add(buffer, start, start + 1);
    this.#add(buffer, start + 4, start + 8);
    const destination = attributes.range(NDA_DST);
    if (destination !== undefined) this.#add(buffer, destination.start, destination.end);
    // One MAC address may be behind several IP addresses: a neighbour is known by the latter alone.
    const hardware = family === AF_BRIDGE ? attributes.range(NDA_LLADDR) : undefined;
    if (hardware !== undefined) this.#add(buffer, hardware.start, hardware.end);
    return this.#key.toString('latin1', 0, this.#length);
  }

  #add(buffer: Buffer, start: number, end: number): void {
    for (let at = start; at < end && this.#length < KEY_BYTES; at++)
      this.#key[this.#length++] = buffer[at] ?? 0;
  }
}

/** Every link that an operation on one announces something about. */
function linksTouched(operation: KernelOperation): ReadonlySet<string> {
  const links = new Set<string>();
  if (operation.do === 'link-add' || operation.do === 'link-set') {
    const { master, rename } = operation.settings;
    for (const link of [operation.name, master, rename]) if (typeof link === 'string') links.add(link);
  }
  if (operation.do === 'link-move') links.add(operation.name);
  if (operation.do === 'link-add' && operation.link.kind === 'veth') links.add(operation.link.peer.name);
  return links;
}
