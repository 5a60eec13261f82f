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
import { readU16 } from './message.ts';
import { AF_BRIDGE } from './rtnetlink/constants.ts';

/** Past this the oldest expectations are given up: their echoes count as foreign, which costs one extra look. */
const MAX_EXPECTED = 65_536;

type LinkAdd = Extract<KernelOperation, { do: 'link-add' }>;

/** A monitor, as far as echoes need it. */
export interface EchoListener {
  /** Sets apart what has been announced until now, as the echo of a change of `links`. */
  setApart(links: ReadonlySet<string>): void;
}

export class Echoes {
  /** How many are expected, by the object's key. */
  readonly #expected = { new: new Map<number, number>(), delete: new Map<number, number>() };
  readonly #doomed = new Set<string>();
  readonly #making = new Set<string>();
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

  /** Links that are being made, and are nobody else's: what is told of them is the echo of that. */
  get making(): ReadonlySet<string> {
    return this.#making;
  }

  /** Runs `make`, which takes a while: of the links that it touches, only the new ones are ours alone. */
  async aroundLinkMaking<T>(operation: LinkAdd, make: () => Promise<T>): Promise<T> {
    if (!this.active) return make();
    const links = linksMade(operation);
    for (const listener of this.#listeners) listener.setApart(new Set(this.#making));
    for (const link of links) this.#doomed.delete(link);
    for (const link of links) this.#making.add(link);
    try {
      return await make();
    } finally {
      for (const listener of this.#listeners) listener.setApart(new Set(this.#making));
      for (const link of links) this.#making.delete(link);
    }
  }

  /** Runs `change`, which does `operation` at once. */
  aroundLinkChange<T>(operation: KernelOperation, change: () => T): T {
    if (!this.active) return change();
    for (const listener of this.#listeners) listener.setApart(new Set(this.#making));
    const links = new Set([...this.#making, ...linksTouched(operation)]);
    for (const link of links) this.#doomed.delete(link);
    const result = change();
    for (const listener of this.#listeners) listener.setApart(links);
    return result;
  }

  /** `object` by `echoKey`. */
  expect(change: 'new' | 'delete', object: number): void {
    const expected = this.#expected[change];
    expected.set(object, (expected.get(object) ?? 0) + 1);
    if (expected.size <= MAX_EXPECTED) return;
    const oldest = expected.keys().next();
    if (oldest.done !== true) expected.delete(oldest.value);
  }

  /** True, once per expectation, when this change is ours. */
  recognise(change: 'new' | 'delete', object: number): boolean {
    const expected = this.#expected[change];
    const count = expected.get(object);
    if (count === undefined) return false;
    if (count === 1) expected.delete(object);
    else expected.set(object, count - 1);
    return true;
  }

  /** The kernel refused the change. */
  unexpect(change: 'new' | 'delete', object: number): void {
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
/** Two different odd numbers, as of any multiplicative hash. */
const FACTORS = { low: 0xcc9e2d51, high: 0x9e3779b1 } as const;

/**
 * What a neighbour or forwarding entry is known by, read off its message: the same in our request as in the kernel's
 * notification, without making values of either. `start` and `end` delimit struct ndmsg and its attributes.
 *
 * A hash of 53 bits over family, interface index, IP and MAC address, since there are tens of thousands of them: that an
 * entry of somebody else's is taken for one of 65,536 expected ones has a chance of one in 10^11.
 */
export function echoKey(buffer: Buffer, start: number, end: number): number | undefined {
  if (end - start < NDMSG_BYTES) return undefined;
  let destination = 0;
  let hardware = 0;
  for (let at = start + NDMSG_BYTES; at + 4 <= end;) {
    const size = readU16(buffer, at);
    if (size < 4 || at + size > end) break;
    const type = readU16(buffer, at + 2);
    if (type === NDA_DST) destination = at;
    else if (type === NDA_LLADDR) hardware = at;
    at += (size + 3) & ~3;
  }
  // One MAC address may be behind several IP addresses: a neighbour is known by the latter alone.
  if (buffer[start] !== AF_BRIDGE) hardware = 0;
  const low = laneOf(buffer, start, destination, hardware, FACTORS.low);
  const high = laneOf(buffer, start, destination, hardware, FACTORS.high);
  return (high >>> 11) * 2 ** 32 + (low >>> 0);
}

/** Family, interface index and both attributes in one hash of 32 bits. */
function laneOf(
  buffer: Buffer,
  start: number,
  destination: number,
  hardware: number,
  factor: number,
): number {
  const place = mixed(buffer, start + 4, buffer[start] ?? 0, factor);
  return hashed(buffer, hardware, hashed(buffer, destination, place, factor), factor);
}

/** The attribute at `at`, 0 = there is none, worked into a hash. */
function hashed(buffer: Buffer, at: number, hash: number, factor: number): number {
  const end = at === 0 ? 0 : at + readU16(buffer, at);
  let result = hash;
  for (let word = at; word < end; word += 4) result = mixed(buffer, word, result, factor);
  return result;
}

/** The four bytes at `at`, worked into a hash. */
function mixed(buffer: Buffer, at: number, hash: number, factor: number): number {
  const word = readU16(buffer, at) | (readU16(buffer, at + 2) << 16);
  const crossed = Math.imul(hash ^ word, factor);
  return crossed ^ (crossed >>> 15);
}

/** Every link that an operation on one announces something about. */
function linksTouched(operation: KernelOperation): ReadonlySet<string> {
  const links = new Set<string>();
  if (operation.do === 'link-add' || operation.do === 'link-set') {
    const { master, rename } = operation.settings;
    for (const link of [operation.name, master, rename]) if (typeof link === 'string') links.add(link);
  }
  if (operation.do === 'link-move') links.add(operation.name);
  if (operation.do === 'link-add') for (const link of linksMade(operation)) links.add(link);
  return links;
}

/** The other end of a veth may be in another namespace, where nobody here hears of it. */
function linksMade({ name, link }: LinkAdd): readonly string[] {
  return link.kind === 'veth' && link.peer.namespacePath === undefined ? [name, link.peer.name] : [name];
}
