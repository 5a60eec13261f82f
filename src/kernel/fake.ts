/**
 * A kernel in memory, with other namespaces, nftables, connections and events: for tests of everything above.
 *
 * Invariants: it refuses what the kernel refuses (namespace-fake.ts) and passes the same contract suites; failures are
 * asked for by name (`failNext`), never by chance.
 */
import type { IpAddress } from '../base/ip.ts';
import { PortolanError } from '../base/errors.ts';
import { FakeNamespace, type FailureKind, type FakeMachine } from './namespace-fake.ts';
import { FakeNft, type NftFailureKind } from './nft-fake.ts';
import type { ConnectionFilter, ErrnoCode, Kernel, KernelEvent, Monitor, NetworkNamespace } from './types.ts';

/** A tracked connection, as far as `deleteConnections` looks at it. */
export interface FakeConnection {
  readonly protocol: number;
  readonly destination: IpAddress;
  readonly port: number;
  /** Where it really goes, after translation; absent = to `destination`. */
  readonly translated?: { readonly address: IpAddress; readonly port: number };
}

const HOME = '/proc/self/ns/net';
const nftKinds: ReadonlySet<string> = new Set<NftFailureKind>([
  'nft-replace',
  'nft-remove',
  'nft-change',
  'nft-run',
  'nft-read',
]);

const FIRST_INODE = 4_026_532_000;

export class FakeKernel extends FakeNamespace implements Kernel {
  readonly nft: FakeNft;
  /** Connections that are tracked; put in what a test needs. */
  connections: FakeConnection[] = [];
  /** `tcp/80` */
  readonly portsInUse = new Set<string>();
  readonly #machine: FakeMachine;
  #nextInode = FIRST_INODE;

  constructor() {
    const machine: FakeMachine = { namespaces: new Map(), homes: new Map(), nextIndex: 2 };
    super({ machine, inode: FIRST_INODE });
    this.#machine = machine;
    this.#machine.namespaces.set(HOME, this);
    this.nft = new FakeNft({
      onForeignChange: (text) => this.announce({ object: 'nft', change: 'new', link: undefined, text }),
    });
  }

  override failNext(kind: FailureKind | NftFailureKind, code: Exclude<ErrnoCode, 'other'>, times = 1): void {
    if (isNftKind(kind)) this.nft.failNext(kind, code, times);
    else super.failNext(kind, code, times);
  }

  /** Makes a namespace at `path`. */
  addNamespace(path: string): FakeNamespace {
    const namespace = new FakeNamespace({ machine: this.#machine, inode: ++this.#nextInode });
    this.#machine.namespaces.set(path, namespace);
    return namespace;
  }

  /** Its links go, and their veth peers with them. */
  removeNamespace(path: string): void {
    this.#machine.namespaces.get(path)?.destroy();
    this.#machine.namespaces.delete(path);
  }

  /** The monitors' queue ran over. */
  overrun(): void {
    const text = 'notifications were lost (ENOBUFS)';
    this.announce({ object: 'overrun', change: 'new', link: undefined, text });
  }

  async openNamespace(path: string): Promise<NetworkNamespace> {
    const namespace = this.#machine.namespaces.get(path);
    if (namespace !== undefined) return new OpenedNamespace(namespace);
    throw new PortolanError('not-found', `Open network namespace "${path}": it cannot be opened`, {
      field: 'namespace',
    });
  }

  async namespaceInode(path: string): Promise<number | undefined> {
    return this.#machine.namespaces.get(path)?.inode;
  }

  async monitor(onEvent: (event: KernelEvent) => void): Promise<Monitor> {
    this.listeners.add(onEvent);
    const read = (): boolean => {
      this.tell();
      return true;
    };
    return { read, close: () => this.listeners.delete(onEvent) };
  }

  portPerhapsInUse(protocol: 'tcp' | 'udp', port: number): boolean {
    return this.portsInUse.has(`${protocol}/${port}`);
  }

  async deleteConnections(...filters: readonly ConnectionFilter[]): Promise<number> {
    const before = this.connections.length;
    this.connections = this.connections.filter((each) => !filters.some((filter) => isMeant(filter, each)));
    return before - this.connections.length;
  }
}

function isMeant(filter: ConnectionFilter, connection: FakeConnection): boolean {
  const { protocol, destination, port, translated } = connection;
  const fits = (address: IpAddress, at: number): boolean =>
    address.equals(filter.address ?? address) &&
    (filter.within === undefined || filter.within.contains(address)) &&
    at === (filter.port ?? at);
  if (protocol !== (filter.protocol ?? protocol)) return false;
  if (filter.untranslated === true && translated !== undefined) return false;
  const isTranslated = translated !== undefined && fits(translated.address, translated.port);
  if (filter.addressed === undefined) return isTranslated || fits(destination, port);
  return isTranslated && destination.equals(filter.addressed.address) && port === filter.addressed.port;
}

function isNftKind(kind: string): kind is NftFailureKind {
  return nftKinds.has(kind);
}

/** A handle on a namespace: closing it leaves the namespace as it is. */
class OpenedNamespace implements NetworkNamespace {
  readonly inode: number;
  readonly links: NetworkNamespace['links'];
  readonly link: NetworkNamespace['link'];
  readonly addresses: NetworkNamespace['addresses'];
  readonly routes: NetworkNamespace['routes'];
  readonly defaultRoutes: NetworkNamespace['defaultRoutes'];
  readonly rules: NetworkNamespace['rules'];
  readonly neighbours: NetworkNamespace['neighbours'];
  readonly fdb: NetworkNamespace['fdb'];
  readonly apply: NetworkNamespace['apply'];
  readonly readSysctl: NetworkNamespace['readSysctl'];
  readonly writeSysctl: NetworkNamespace['writeSysctl'];

  constructor(namespace: FakeNamespace) {
    this.inode = namespace.inode;
    this.links = () => namespace.links();
    this.link = (name) => namespace.link(name);
    this.addresses = (filter) => namespace.addresses(filter);
    this.routes = (filter) => namespace.routes(filter);
    this.defaultRoutes = () => namespace.defaultRoutes();
    this.rules = () => namespace.rules();
    this.neighbours = (filter) => namespace.neighbours(filter);
    this.fdb = (filter) => namespace.fdb(filter);
    this.apply = (operations) => namespace.apply(operations);
    this.readSysctl = (key) => namespace.readSysctl(key);
    this.writeSysctl = (key, value) => namespace.writeSysctl(key, value);
  }

  close(): void {
    // Nothing is held.
  }
}
