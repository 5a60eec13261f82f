/**
 * One network namespace of the real kernel, through netlink sockets that were opened inside it.
 *
 * Invariants: sockets are opened when first needed: one for requests that are answered in the same turn (all that a
 * container takes), one for dumps that let others run meanwhile (a socket has one dump at a time), and those for what is
 * sent off the main thread: one for many operations, two for links to be made, those of the deletions of links.
 * Review notes: names are asked of the kernel anew for every dump and every list of operations; nothing here can be
 * stale.
 */
import { assert } from '../base/assert.ts';
import { Echoes } from './netlink/echoes.ts';
import { LinkDeletions } from './netlink/deletions.ts';
import { RememberedDump, RememberedDumps } from './netlink/dump-memory.ts';
import { Links } from './netlink/links.ts';
import { MessageWriter, type Message } from './netlink/message.ts';
import { OperationRun } from './netlink/operations.ts';
import { AddressDecoder, encodeAddressDump } from './netlink/rtnetlink/address.ts';
import type { NameOf } from './netlink/rtnetlink/constants.ts';
import { encodeFdbDump, FdbDecoder } from './netlink/rtnetlink/fdb.ts';
import { encodeLinkDump, LinkDecoder, type DecodedLink } from './netlink/rtnetlink/link.ts';
import { encodeNeighbourDump, NeighbourDecoder } from './netlink/rtnetlink/neighbour.ts';
import { encodeRouteDump, isDefault, RouteDecoder, type RouteFilter } from './netlink/rtnetlink/route.ts';
import { encodeRuleDump, RuleDecoder } from './netlink/rtnetlink/rule.ts';
import { OwnPorts } from './netlink/own-ports.ts';
import { NETLINK_ROUTE, NetlinkSocket, receiveBuffer, type ReceiveBuffer } from './netlink/socket.ts';
import type { NamespaceHandle } from './netns.ts';
import { offloadDevice, readOffload, writeOffload } from './offload.ts';
import { SysctlReader } from './sysctl-reader.ts';
import { writeSysctlHere } from './sysctl.ts';
import {
  isErrno,
  TABLE_MAIN,
  type Address,
  type ApplyOptions,
  type FdbEntry,
  type KernelOperation,
  type Link,
  type Neighbour,
  type NetworkNamespace,
  type OperationFailure,
  type Route,
  type Rule,
} from './types.ts';

const FAMILIES = [4, 6] as const;

export class RealNamespace implements NetworkNamespace {
  readonly ownPorts = new OwnPorts();
  readonly echoes = new Echoes();
  readonly receive: ReceiveBuffer;
  readonly inode: number;
  readonly #handle: NamespaceHandle;
  readonly #oneByOne: boolean;
  readonly #links = new Links({ socket: () => this.#now });
  readonly #sysctls: SysctlReader;
  readonly #routes = new RememberedDumps<Route>();
  readonly #neighbours = new RememberedDumps<Neighbour>();
  readonly #fdb = new RememberedDumps<FdbEntry>();
  #requests: NetlinkSocket | undefined;
  #dumps: NetlinkSocket | undefined;
  #bulk: NetlinkSocket | undefined;
  #lanes: readonly NetlinkSocket[] = [];
  #deletions: LinkDeletions | undefined;
  #closed = false;

  /**
   * Takes the handle over: `close` closes it. `oneByOne`: no call begins before the one before has ended, so that one
   * socket does for all that a container takes.
   */
  constructor(
    components: { readonly handle: NamespaceHandle; readonly receive?: ReceiveBuffer },
    { oneByOne = false }: { readonly oneByOne?: boolean } = {},
  ) {
    this.#oneByOne = oneByOne;
    this.#handle = components.handle;
    this.receive = components.receive ?? receiveBuffer();
    this.inode = components.handle.inode;
    this.#sysctls = new SysctlReader(components);
  }

  async links(): Promise<readonly Link[]> {
    const decoder = new LinkDecoder();
    const links = await this.#dump(
      'ip link show',
      (writer, sequence) => encodeLinkDump(writer, sequence),
      (buffer, message) => decoder.decode(buffer, message),
    );
    const names = new Map(links.map((link) => [link.index, link.name] as const));
    return links.map((link) => withMaster(link, names.get(link.masterIndex)));
  }

  async link(name: string): Promise<Link | undefined> {
    const link = this.#links.get(name);
    if (link === undefined) return undefined;
    return withMaster(link, link.masterIndex === 0 ? undefined : this.#links.nameOf(link.masterIndex));
  }

  async addresses(filter: { readonly link?: string } = {}): Promise<readonly Address[]> {
    const index = this.#filterIndex(filter.link);
    if (index === undefined) return [];
    const decoder = new AddressDecoder();
    const nameOf = this.#names();
    return this.#dumpFamilies(
      'ip address show',
      (writer, sequence, family) => encodeAddressDump(writer, sequence, family, index),
      (buffer, message) => decoder.decode(buffer, message, nameOf),
    );
  }

  async routes(filter: RouteFilter = {}): Promise<readonly Route[]> {
    const question = this.#routes.get(JSON.stringify(filter), () => {
      const decoder = new RouteDecoder();
      return new RememberedDump({
        dumps: FAMILIES.length,
        aging: false,
        decode: (buffer, message, nameOf) => {
          const route = decoder.decode(buffer, message, nameOf);
          // IPv6 passes a table's neighbours in the dump on some kernels; the filter holds in any case.
          return route !== undefined && passes(filter, route) ? route : undefined;
        },
      });
    });
    return this.#again(question, 'ip route show', (writer, sequence, family) =>
      encodeRouteDump(writer, sequence, family, filter),
    );
  }

  async defaultRoutes(): Promise<readonly Route[]> {
    const decoder = new RouteDecoder();
    const nameOf = this.#names();
    const routes = this.#now.dumpNow(
      'ip route show default',
      (writer, sequence) => encodeRouteDump(writer, sequence, 'both', { table: TABLE_MAIN }),
      (buffer, message) => (isDefault(buffer, message) ? decoder.decode(buffer, message, nameOf) : undefined),
      new MessageWriter(64),
    );
    return routes.filter((route) => passes({ table: TABLE_MAIN }, route));
  }

  async rules(): Promise<readonly Rule[]> {
    const decoder = new RuleDecoder();
    return this.#dumpFamilies(
      'ip rule show',
      (writer, sequence, family) => encodeRuleDump(writer, sequence, family),
      (buffer, message) => decoder.decode(buffer, message),
    );
  }

  async neighbours(filter: { readonly link?: string } = {}): Promise<readonly Neighbour[]> {
    const index = this.#filterIndex(filter.link);
    if (index === undefined) return [];
    const question = this.#neighbours.get(filter.link ?? '', () => {
      const decoder = new NeighbourDecoder();
      return new RememberedDump({
        dumps: FAMILIES.length,
        aging: true,
        decode: (buffer, message, nameOf) => decoder.decode(buffer, message, nameOf),
      });
    });
    return this.#again(question, 'ip neigh show', (writer, sequence, family) =>
      encodeNeighbourDump(writer, sequence, family, index),
    );
  }

  async fdb(filter: { readonly link: string }): Promise<readonly FdbEntry[]> {
    const index = this.#filterIndex(filter.link);
    if (index === undefined) return [];
    const question = this.#fdb.get(filter.link, () => {
      const decoder = new FdbDecoder();
      return new RememberedDump({
        dumps: 1,
        aging: true,
        decode: (buffer, message, nameOf) => {
          const entry = decoder.decode(buffer, message, nameOf);
          return entry?.link === filter.link ? entry : undefined;
        },
      });
    });
    return this.#again(question, `bridge fdb show dev ${filter.link}`, (writer, sequence) =>
      encodeFdbDump(writer, sequence, index),
    );
  }

  async apply(
    operations: Iterable<KernelOperation>,
    { elsewhere = false }: ApplyOptions = {},
  ): Promise<readonly OperationFailure[]> {
    const run = new OperationRun({
      socket: this.#now,
      bulk: () => (this.#oneByOne ? this.#now : (this.#bulk ??= this.#openSocket())),
      making: () => this.#lane(),
      elsewhere,
      links: this.#links,
      deletions: () => this.#linkDeletions(),
      echoes: this.echoes,
    });
    return this.echoes.whileProgramming(() => run.perform(operations));
  }

  async readSysctl(key: string): Promise<string | undefined> {
    const device = offloadDevice(key);
    return device === undefined ? this.#sysctls.read(key) : readOffload(this.#now, device);
  }

  async writeSysctl(key: string, value: string): Promise<void> {
    const device = offloadDevice(key);
    if (device === undefined) this.#handle.within(() => writeSysctlHere(key, value));
    else writeOffload(this.#now, device, value);
  }

  /** Name by index now, for whoever decodes notifications. */
  nameOf(index: number): string | undefined {
    return this.#links.nameOf(index);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#requests?.close();
    this.#dumps?.close();
    this.#bulk?.close();
    for (const lane of this.#lanes) lane.close();
    this.#deletions?.close();
    this.#sysctls.close();
    this.#handle.close();
  }

  /** Two, so that the kernel has the next link at hand when it has made one. */
  #lane(): NetlinkSocket {
    const [first = this.#openSocket(), second = this.#openSocket()] = this.#lanes;
    this.#lanes = [second, first];
    return first;
  }

  /** For what is answered in the same turn. */
  get #now(): NetlinkSocket {
    return (this.#requests ??= this.#openSocket());
  }

  #openSocket(): NetlinkSocket {
    assert(!this.#closed, 'a namespace that is still open');
    return this.#handle.within(
      () =>
        new NetlinkSocket({ ownPorts: this.ownPorts, receive: this.receive }, { protocol: NETLINK_ROUTE }),
    );
  }

  #linkDeletions(): LinkDeletions {
    return (this.#deletions ??= new LinkDeletions({
      openSocket: () => this.#openSocket(),
      links: this.#links,
    }));
  }

  #dump<T>(
    what: string,
    encode: (writer: MessageWriter, sequence: number) => void,
    decode: (buffer: Buffer, message: Message) => T | undefined,
  ): Promise<T[]> {
    this.#dumps ??= this.#openSocket();
    return this.#dumps.dump(what, encode, decode, new MessageWriter(256));
  }

  /** Both families, one after the other. */
  async #dumpFamilies<T>(
    what: string,
    encode: (writer: MessageWriter, sequence: number, family: 4 | 6) => void,
    decode: (buffer: Buffer, message: Message) => T | undefined,
  ): Promise<readonly T[]> {
    const all: (readonly T[])[] = [];
    for (const family of FAMILIES)
      all.push(
        await orNone(this.#dump(what, (writer, sequence) => encode(writer, sequence, family), decode)),
      );
    return all.flat();
  }

  /** Asks what was asked before; a question of one dump has no family. */
  #again<T>(
    question: RememberedDump<T>,
    what: string,
    encode: (writer: MessageWriter, sequence: number, family: 4 | 6) => void,
  ): Promise<readonly T[]> {
    return question.read(async (memory, at) => {
      const nameOf = this.#names();
      const begin = (writer: MessageWriter, sequence: number): void => {
        memory.begin(nameOf);
        encode(writer, sequence, FAMILIES[at] ?? 4);
      };
      const dump = this.#dump(what, begin, (buffer, message) => memory.add(buffer, message));
      return orNone(dump.then(() => memory.end()));
    });
  }

  /** 0 = no filter, `undefined` = there is no such link. */
  #filterIndex(name: string | undefined): number | undefined {
    return name === undefined ? 0 : this.#links.indexOf(name);
  }

  /** Looks each index up once per dump. */
  #names(): NameOf {
    const names = new Map<number, string | undefined>();
    return (index) => {
      if (names.has(index)) return names.get(index);
      const name = this.#links.nameOf(index);
      names.set(index, name);
      return name;
    };
  }
}

const nothing: readonly never[] = [];

/** A family that the kernel does not have, or an unknown table, is empty. */
async function orNone<T>(dump: Promise<readonly T[]>): Promise<readonly T[]> {
  try {
    return await dump;
  } catch (error) {
    const none = isErrno(error, 'ENOENT') || isErrno(error, 'EAFNOSUPPORT') || isErrno(error, 'EOPNOTSUPP');
    if (!none) throw error;
    return nothing;
  }
}

function passes({ table, protocol }: RouteFilter, route: Route): boolean {
  return route.table === (table ?? route.table) && route.protocol === (protocol ?? route.protocol);
}

function withMaster(link: DecodedLink, master: string | undefined): Link {
  const { masterIndex: _, ...rest } = link;
  return { ...rest, master };
}
