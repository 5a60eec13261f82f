/**
 * The kernel's networking state as values, and the verbs that change it.
 *
 * Purpose: everything above this folder speaks of links, routes and neighbours by name and never sees netlink.
 * Invariants: observed objects and operations name links by their name in the handle's namespace; an operation is
 * idempotent where the kernel allows (`*-replace` twice is once, `*-delete` of nothing is no failure).
 * Review notes: a new object kind needs its row in docs/OWNERSHIP.md, its place in the fake and in the contract suite.
 */
import type { InterfaceAddress, IpAddress, Prefix } from '../base/ip.ts';
import type { Mac } from '../base/mac.ts';
import type { Nft } from './nft/types.ts';

/** `rtm_protocol`, `nda_protocol`, `fra_protocol` of everything that is ours (free in iproute2's rt_protos). */
export const PROTOCOL_PORTOLAN = 225;
/** Where the routes from containers to remote host addresses live, as in DC/OS. */
export const TABLE_HOSTS = 42;
export const TABLE_MAIN = 254;
/** `ifalias` of a device starts with this when it is ours. */
export const ALIAS_PREFIX = 'portolan';
/** IFLA_GROUP under which doomed links are gathered, so that many die in one wait. */
export const GROUP_DOOMED = 0x706f;

export type LinkDetails =
  | { readonly kind: 'bridge' }
  | {
      readonly kind: 'vxlan';
      readonly vni: number;
      readonly local: IpAddress | undefined;
      readonly port: number;
      readonly learning: boolean;
    }
  | { readonly kind: 'veth' }
  /** Any kind that Portolan never makes; `name` is IFLA_INFO_KIND, empty for physical devices and loopback. */
  | { readonly kind: 'other'; readonly name: string };

export interface Link {
  readonly name: string;
  readonly index: number;
  readonly up: boolean;
  readonly mtu: number;
  readonly mac: Mac | undefined;
  readonly alias: string | undefined;
  readonly altNames: readonly string[];
  /** Name of the bridge it is enslaved to. */
  readonly master: string | undefined;
  readonly group: number;
  readonly details: LinkDetails;
}

export interface Address {
  readonly link: string;
  readonly address: InterfaceAddress;
}

export interface Route {
  readonly destination: Prefix;
  readonly table: number;
  /** rtm_protocol; 2 is the kernel's own, 3 boot, 4 static. */
  readonly protocol: number;
  /** Routes that differ only in gateway share one hash bucket in the kernel; a metric of its own spreads them. */
  readonly metric: number;
  readonly gateway: IpAddress | undefined;
  readonly link: string | undefined;
  /** The gateway counts as on-link although no address says so (RTNH_F_ONLINK). */
  readonly onlink: boolean;
}

export interface Rule {
  readonly family: 4 | 6;
  readonly priority: number;
  readonly from: Prefix | undefined;
  readonly to: Prefix | undefined;
  readonly table: number;
  readonly protocol: number;
}

export interface Neighbour {
  readonly link: string;
  readonly address: IpAddress;
  readonly mac: Mac | undefined;
  readonly permanent: boolean;
}

/** One VXLAN forwarding entry: inner destination MAC -> outer destination address. */
export interface FdbEntry {
  readonly link: string;
  readonly mac: Mac;
  readonly destination: IpAddress;
  readonly permanent: boolean;
}

/** What can be asked of a link at creation or later; absent = leave as it is. */
export interface LinkSettings {
  readonly up?: boolean;
  readonly mtu?: number;
  readonly mac?: Mac;
  readonly alias?: string;
  /** `null` takes it out of its bridge. */
  readonly master?: string | null;
  readonly group?: number;
  readonly rename?: string;
  readonly addAltName?: string;
  /** False = the kernel makes it no IPv6 address of its own, hence no duplicate detection and no multicast reports. */
  readonly ipv6LinkLocal?: boolean;
  /** Bridge port: send packets back out of the port they came from. */
  readonly hairpin?: boolean;
}

export interface VethPeer {
  readonly name: string;
  readonly mtu?: number;
  readonly mac?: Mac;
  /** Path of the network namespace to create it in; absent = this one. */
  readonly namespacePath?: string;
}

export type NewLink =
  | { readonly kind: 'bridge' }
  | {
      readonly kind: 'vxlan';
      readonly vni: number;
      readonly local: IpAddress;
      readonly port: number;
      readonly learning: boolean;
    }
  | { readonly kind: 'veth'; readonly peer: VethPeer };

export type KernelOperation =
  | {
      readonly do: 'link-add';
      readonly name: string;
      readonly link: NewLink;
      readonly settings: LinkSettings;
    }
  | { readonly do: 'link-set'; readonly name: string; readonly settings: LinkSettings }
  | { readonly do: 'link-move'; readonly name: string; readonly namespacePath: string }
  | { readonly do: 'link-delete'; readonly name: string }
  | { readonly do: 'address-replace'; readonly address: Address }
  | { readonly do: 'address-delete'; readonly address: Address }
  | { readonly do: 'route-replace'; readonly route: Route }
  | { readonly do: 'route-delete'; readonly route: Route }
  | { readonly do: 'rule-add'; readonly rule: Rule }
  | { readonly do: 'rule-delete'; readonly rule: Rule }
  | { readonly do: 'neighbour-replace'; readonly neighbour: Neighbour }
  | { readonly do: 'neighbour-delete'; readonly neighbour: Neighbour }
  | { readonly do: 'fdb-replace'; readonly entry: FdbEntry }
  | { readonly do: 'fdb-delete'; readonly entry: FdbEntry };

/** errno by name, from include/uapi/asm-generic/errno*.h; `other` keeps the number in `errno`. */
export type ErrnoCode =
  | 'EPERM'
  | 'ENOENT'
  | 'ESRCH'
  | 'EINTR'
  | 'EIO'
  | 'ENXIO'
  | 'EAGAIN'
  | 'ENOMEM'
  | 'EACCES'
  | 'EBUSY'
  | 'EEXIST'
  | 'ENODEV'
  | 'EINVAL'
  | 'ENFILE'
  | 'EMFILE'
  | 'ENOSPC'
  | 'EROFS'
  | 'ERANGE'
  | 'ENOBUFS'
  | 'EOPNOTSUPP'
  | 'EADDRINUSE'
  | 'EADDRNOTAVAIL'
  | 'ENETDOWN'
  | 'ENETUNREACH'
  | 'EHOSTUNREACH'
  | 'EAFNOSUPPORT'
  | 'other';

export class KernelError extends Error {
  override readonly name = 'KernelError';
  /** Positive errno. */
  readonly errno: number;
  readonly code: ErrnoCode;

  constructor(message: string, errno: number, code: ErrnoCode) {
    super(message);
    this.errno = errno;
    this.code = code;
  }
}

export function isErrno(error: unknown, code: ErrnoCode): boolean {
  return error instanceof KernelError && error.code === code;
}

export interface OperationFailure {
  /** Index into the operations given to `apply`. */
  readonly index: number;
  readonly operation: KernelOperation;
  readonly error: KernelError;
}

export interface KernelEvent {
  readonly object: 'link' | 'address' | 'route' | 'rule' | 'neighbour' | 'fdb' | 'sysctl' | 'nft' | 'overrun';
  readonly change: 'new' | 'delete';
  /** The link it concerns, where the kernel says and it still resolves. */
  readonly link: string | undefined;
  /** Of a link: its `ifalias`, where it has one. */
  readonly alias?: string;
  /** Of sysctls: what they are now, by slashed key. */
  readonly sysctls?: Readonly<Record<string, string>>;
  /** The object as one line in iproute2's words, for logs. */
  readonly text: string;
}

export interface Monitor {
  /** Tells now what has happened until now; false when there is more of it than one turn has time for. */
  read(): boolean;
  close(): void;
}

export interface ApplyOptions {
  /** Others wait for this thread: another one waits for the kernel, which takes these a moment longer. */
  readonly elsewhere?: boolean;
}

/**
 * One network namespace. A list of routes, neighbours or forwarding entries may be the very one of the last time when
 * nothing has changed since.
 */
export interface NetworkNamespace {
  /** Its identity, as `namespaceInode` says it. */
  readonly inode: number;
  links(): Promise<readonly Link[]>;
  link(name: string): Promise<Link | undefined>;
  addresses(filter?: { readonly link?: string }): Promise<readonly Address[]>;
  routes(filter?: { readonly table?: number; readonly protocol?: number }): Promise<readonly Route[]>;
  /** Those of the main table that lead everywhere, of both families: for a container's namespace, with few routes. */
  defaultRoutes(): Promise<readonly Route[]>;
  rules(): Promise<readonly Rule[]>;
  /** Permanent and learned ones; `link` narrows in the kernel. */
  neighbours(filter?: { readonly link?: string }): Promise<readonly Neighbour[]>;
  fdb(filter: { readonly link: string }): Promise<readonly FdbEntry[]>;
  /**
   * Performs the operations in order, many messages per send, each acknowledged, and takes each when its turn comes.
   * Goes on after a failure and reports all of them; never holds the event loop longer than about 10 ms. `link-delete`
   * goes off the main thread and is done when the link is gone: what is made next may have its name.
   */
  apply(operations: Iterable<KernelOperation>, how?: ApplyOptions): Promise<readonly OperationFailure[]>;
  /**
   * Net sysctls of this namespace by dotted or slashed key: `net/ipv4/ip_forward`. `undefined` when there is none.
   * `net/ethtool/<device>/gro` is the device's generic receive offload, 0 or 1.
   */
  readSysctl(key: string): Promise<string | undefined>;
  writeSysctl(key: string, value: string): Promise<void>;
  close(): void;
}

export interface Kernel extends NetworkNamespace {
  readonly nft: Nft;
  /** Opens another namespace by path (`/run/netns/x`, `/proc/123/ns/net`), in this process, without a helper. */
  openNamespace(path: string): Promise<NetworkNamespace>;
  /** Inode of the namespace at `path` (its identity), `undefined` when there is none or it is no namespace. */
  namespaceInode(path: string): Promise<number | undefined>;
  /**
   * False when nobody of this namespace can be using the port, found without reading any table. True says "perhaps": a
   * socket listens there, or only a connection goes out from it.
   */
  portPerhapsInUse(protocol: 'tcp' | 'udp', port: number): boolean;
  /**
   * Calls back on every change of links, addresses, routes, rules, neighbours, FDB and nftables that somebody else
   * makes, or the kernel by itself; what is changed through this very handle is not told. Of sysctls only `forwarding`
   * and IPv4's `rp_filter` are told, whoever changes them.
   */
  monitor(onEvent: (event: KernelEvent) => void): Promise<Monitor>;
  /** Deletes the conntrack entries of the connections that one of the filters means. Answers how many went. */
  deleteConnections(...filters: readonly ConnectionFilter[]): Promise<number>;
}

/**
 * Connections by where they go: as addressed, the original destination, or as translated, the source of the replies.
 * What is absent may be anything.
 */
export interface ConnectionFilter {
  readonly address?: IpAddress;
  /** Any address in it. */
  readonly within?: Prefix;
  readonly protocol?: number;
  readonly port?: number;
  /** Only those of which neither end is translated. */
  readonly untranslated?: true;
  /** Only those addressed to this, and translated to the address and port above. */
  readonly addressed?: { readonly address: IpAddress; readonly port: number };
}
