/**
 * A network namespace in memory that minds what the kernel minds.
 *
 * Purpose: plans can be tested against something that refuses a route over a missing or downed link, forgets the
 * addresses, routes, neighbours and forwarding entries of a deleted one, releases the ports of a deleted bridge and
 * takes veth peers down together.
 * Invariants: it passes contract.ts, as the real kernel does; values are copied in and out; nothing is asynchronous
 * but the promises.
 * Review notes: what the contract suite does not state is not promised here either.
 */
import { InterfaceAddress, IpAddress, Prefix } from '../base/ip.ts';
import { parseMac, type Mac } from '../base/mac.ts';
import {
  describeAddress,
  describeFdb,
  describeLink,
  describeNeighbour,
  describeOperation,
  describeRoute,
  describeRule,
} from './describe.ts';
import { kernelErrorOf } from './errno.ts';
import { sysctlKey } from './sysctl.ts';
import { isTolerated } from './tolerance.ts';
import {
  KernelError,
  TABLE_MAIN,
  type Address,
  type ErrnoCode,
  type FdbEntry,
  type KernelEvent,
  type KernelOperation,
  type Link,
  type LinkDetails,
  type LinkSettings,
  type Neighbour,
  type NetworkNamespace,
  type OperationFailure,
  type Route,
  type Rule,
} from './types.ts';

/** What can be made to fail: an operation, a reading, or a sysctl. */
export type FailureKind = KernelOperation['do'] | 'read' | 'sysctl';
type Code = Exclude<ErrnoCode, 'other'>;
type Refusal = Code | undefined;

/** What the namespaces of one machine share: paths, and the numbering of links. */
export interface FakeMachine {
  readonly namespaces: Map<string, FakeNamespace>;
  nextIndex: number;
}

interface FakeLink {
  index: number;
  name: string;
  up: boolean;
  mtu: number;
  mac: Mac | undefined;
  alias: string | undefined;
  altNames: string[];
  master: FakeLink | undefined;
  group: number;
  details: LinkDetails;
  hairpin: boolean;
  home: FakeNamespace;
  peer: FakeLink | undefined;
}

type Placed<T> = T & { readonly on: FakeLink | undefined };

const IPV6_DEFAULT_METRIC = 1024;
const PROTOCOL_KERNEL = 2;
const MAX_NAME = 15;

/** Those of every new namespace: local, main and, for IPv4, default. */
const KERNEL_RULES: readonly Rule[] = (
  [
    [4, 0, 255],
    [4, 32_766, 254],
    [4, 32_767, 253],
    [6, 0, 255],
    [6, 32_766, 254],
  ] as const
).map(([family, priority, table]) => ({
  family,
  priority,
  from: undefined,
  to: undefined,
  table,
  protocol: PROTOCOL_KERNEL,
}));

export class FakeNamespace implements NetworkNamespace {
  /** Net sysctls by slashed key; put in what a test needs. */
  readonly sysctls = new Map<string, string>([
    ['net/ipv4/ip_forward', '0'],
    ['net/ipv6/conf/all/forwarding', '0'],
    ['net/ipv4/conf/all/rp_filter', '0'],
    ['net/ipv4/conf/default/rp_filter', '0'],
  ]);
  /** Every operation that was asked for, in order: for tests that look at what was done rather than what is. */
  readonly performed: KernelOperation[] = [];
  readonly listeners = new Set<(event: KernelEvent) => void>();
  readonly #machine: FakeMachine;
  readonly #links = new Map<number, FakeLink>();
  readonly #addresses = new Map<string, Placed<{ address: InterfaceAddress }>>();
  readonly #routes = new Map<string, Placed<{ route: Route }>>();
  readonly #rules = new Map<string, Rule>();
  readonly #neighbours = new Map<string, Placed<{ neighbour: Neighbour }>>();
  readonly #fdb = new Map<string, Placed<{ entry: FdbEntry }>>();
  readonly #failures = new Map<FailureKind, Code[]>();
  #own = true;

  constructor(components: { readonly machine: FakeMachine }) {
    this.#machine = components.machine;
    for (const rule of KERNEL_RULES) this.#putRule(rule);
    this.#insert('lo', { kind: 'other', name: '' }, { mtu: 65_536, mac: parseMac('00:00:00:00:00:00') });
  }

  /** The next `times` operations (or readings) of this kind are refused with `code`. */
  failNext(kind: FailureKind, code: Code, times = 1): void {
    const queue = this.#failures.get(kind) ?? [];
    queue.push(...Array.from({ length: times }, () => code));
    this.#failures.set(kind, queue);
  }

  /** The same as `apply`, done by somebody else: monitors see events that are not our own. */
  interfere(operations: readonly KernelOperation[]): readonly OperationFailure[] {
    this.#own = false;
    try {
      return this.#performAll(operations);
    } finally {
      this.#own = true;
    }
  }

  /** All links vanish, veth peers elsewhere too: what happens when a namespace goes. */
  destroy(): void {
    for (const link of [...this.#links.values()]) this.#remove(link);
  }

  /** Whether the bridge port sends packets back where they came from; no dump of ours tells. */
  isHairpin(name: string): boolean {
    return this.#byName(name)?.hairpin ?? false;
  }

  async links(): Promise<readonly Link[]> {
    this.#read('ip link show');
    return [...this.#links.values()].map(toLink);
  }

  async link(name: string): Promise<Link | undefined> {
    this.#read(`ip link show ${name}`);
    const link = this.#byName(name);
    return link === undefined ? undefined : toLink(link);
  }

  async addresses(filter: { readonly link?: string } = {}): Promise<readonly Address[]> {
    this.#read('ip address show');
    return [...this.#addresses.values()]
      .filter(({ on }) => filter.link === undefined || on?.name === filter.link)
      .map(({ on, address }) => ({ link: on?.name ?? '', address }));
  }

  async routes(
    filter: { readonly table?: number; readonly protocol?: number } = {},
  ): Promise<readonly Route[]> {
    this.#read('ip route show');
    const all = [...this.#connected(), ...[...this.#routes.values()].map(placedRoute)];
    return all.filter(
      ({ table, protocol }) =>
        table === (filter.table ?? table) && protocol === (filter.protocol ?? protocol),
    );
  }

  async rules(): Promise<readonly Rule[]> {
    this.#read('ip rule show');
    return [...this.#rules.values()].toSorted((a, b) => a.family - b.family || a.priority - b.priority);
  }

  async neighbours(filter: { readonly link?: string } = {}): Promise<readonly Neighbour[]> {
    this.#read('ip neigh show');
    return [...this.#neighbours.values()]
      .filter(({ on }) => filter.link === undefined || on?.name === filter.link)
      .map(({ on, neighbour }) => ({ ...neighbour, link: on?.name ?? '' }));
  }

  async fdb(filter: { readonly link: string }): Promise<readonly FdbEntry[]> {
    this.#read('bridge fdb show');
    return [...this.#fdb.values()]
      .filter(({ on }) => on?.name === filter.link)
      .map(({ on, entry }) => ({ ...entry, link: on?.name ?? '' }));
  }

  async apply(operations: readonly KernelOperation[]): Promise<readonly OperationFailure[]> {
    return this.#performAll(operations);
  }

  async readSysctl(key: string): Promise<string | undefined> {
    this.#fail('sysctl', `sysctl ${key}`);
    return this.sysctls.get(sysctlKey(key));
  }

  async writeSysctl(key: string, value: string): Promise<void> {
    this.#fail('sysctl', `sysctl -w ${key}=${value}`);
    if (!this.sysctls.has(sysctlKey(key))) throw kernelErrorOf(`sysctl -w ${key}=${value}`, 'ENOENT');
    this.sysctls.set(sysctlKey(key), value);
  }

  close(): void {
    this.listeners.clear();
  }

  #read(what: string): void {
    this.#fail('read', what);
  }

  #fail(kind: FailureKind, what: string): void {
    const code = this.#failures.get(kind)?.shift();
    if (code !== undefined) throw kernelErrorOf(what, code);
  }

  #performAll(operations: readonly KernelOperation[]): readonly OperationFailure[] {
    const failures: OperationFailure[] = [];
    for (const [index, operation] of operations.entries()) {
      if (this.#own) this.performed.push(operation);
      const error = this.#tryOne(operation);
      if (error !== undefined && !isTolerated(operation, error.code))
        failures.push({ index, operation, error });
    }
    return failures;
  }

  #tryOne(operation: KernelOperation): KernelError | undefined {
    const code = this.#failures.get(operation.do)?.shift() ?? this.#perform(operation);
    return code === undefined ? undefined : kernelErrorOf(describeOperation(operation), code);
  }

  #perform(operation: KernelOperation): Refusal {
    switch (operation.do) {
      case 'link-add':
        return this.#addLink(operation);
      case 'link-set':
        return this.#withLink(operation.name, (link) => this.#setLink(link, operation.settings));
      case 'link-move':
        return this.#withLink(operation.name, (link) => this.#moveLink(link, operation.namespacePath));
      case 'link-delete':
        return this.#withLink(operation.name, (link) => this.#deleteLink(link));
      case 'address-replace':
        return this.#withLink(operation.address.link, (link) => this.#putAddress(link, operation.address));
      case 'address-delete':
        return this.#withLink(operation.address.link, (link) => this.#dropAddress(link, operation.address));
      case 'route-replace':
        return this.#putRoute(operation.route);
      case 'route-delete':
        return this.#dropRoute(operation.route);
      case 'rule-add':
        return this.#addRule(operation.rule);
      case 'rule-delete':
        return this.#dropRule(operation.rule);
      case 'neighbour-replace':
        return this.#withLink(operation.neighbour.link, (on) => this.#putNeighbour(on, operation.neighbour));
      case 'neighbour-delete':
        return this.#withLink(operation.neighbour.link, (on) => this.#dropNeighbour(on, operation.neighbour));
      case 'fdb-replace':
        return this.#withLink(operation.entry.link, (on) => this.#putFdb(on, operation.entry));
      case 'fdb-delete':
        return this.#withLink(operation.entry.link, (on) => this.#dropFdb(on, operation.entry));
    }
  }

  #withLink(name: string, action: (link: FakeLink) => Refusal): Refusal {
    const link = this.#byName(name);
    return link === undefined ? 'ENODEV' : action(link);
  }

  #byName(name: string): FakeLink | undefined {
    for (const link of this.#links.values())
      if (link.name === name || link.altNames.includes(name)) return link;
    return undefined;
  }

  #addLink(operation: Extract<KernelOperation, { do: 'link-add' }>): Refusal {
    const { name, link, settings } = operation;
    const refusal = this.#refuseName(name) ?? this.#refuseMaster(settings);
    if (refusal !== undefined) return refusal;
    if (link.kind !== 'veth') {
      const details: LinkDetails = link.kind === 'bridge' ? { kind: 'bridge' } : { ...link };
      if (link.kind === 'vxlan' && this.#sharesTunnel(link.vni, link.port)) return 'EEXIST';
      return this.#setLink(this.#insert(name, details, {}), settings);
    }
    const { peer } = link;
    const home = peer.namespacePath === undefined ? this : this.#machine.namespaces.get(peer.namespacePath);
    if (home === undefined) return 'ENOENT';
    if (home === this && peer.name === name) return 'EEXIST';
    const peerRefusal = home.#refuseName(peer.name);
    if (peerRefusal !== undefined) return peerRefusal;
    const near = this.#insert(name, { kind: 'veth' }, {});
    const far = home.#insert(
      peer.name,
      { kind: 'veth' },
      {
        ...(peer.mtu === undefined ? {} : { mtu: peer.mtu }),
        ...(peer.mac === undefined ? {} : { mac: peer.mac }),
      },
    );
    near.peer = far;
    far.peer = near;
    return this.#setLink(near, settings);
  }

  #refuseName(name: string): Refusal {
    if (name.length > MAX_NAME) return 'ERANGE';
    if (name === '' || name === '.' || name === '..' || /[/:\s]/.test(name)) return 'EINVAL';
    return this.#byName(name) === undefined ? undefined : 'EEXIST';
  }

  #refuseMaster(settings: LinkSettings): Refusal {
    if (typeof settings.master !== 'string') return undefined;
    const master = this.#byName(settings.master);
    if (master === undefined) return 'ENODEV';
    return master.details.kind === 'bridge' ? undefined : 'EOPNOTSUPP';
  }

  #sharesTunnel(vni: number, port: number): boolean {
    return [...this.#links.values()].some(
      ({ details }) => details.kind === 'vxlan' && details.vni === vni && details.port === port,
    );
  }

  #insert(
    name: string,
    details: LinkDetails,
    init: { readonly mtu?: number; readonly mac?: Mac | undefined },
  ): FakeLink {
    const index = this.#machine.nextIndex++;
    const link: FakeLink = {
      index: name === 'lo' ? 1 : index,
      name,
      up: false,
      mtu: init.mtu ?? 1500,
      mac: init.mac ?? inventedMac(index),
      alias: undefined,
      altNames: [],
      master: undefined,
      group: 0,
      details,
      hairpin: false,
      home: this,
      peer: undefined,
    };
    this.#links.set(link.index, link);
    this.#tellLink('new', link);
    return link;
  }

  #setLink(link: FakeLink, settings: LinkSettings): Refusal {
    const refusal = this.#refuseSettings(link, settings);
    if (refusal !== undefined) return refusal;
    link.mtu = settings.mtu ?? link.mtu;
    link.mac = settings.mac ?? link.mac;
    link.alias = settings.alias === undefined ? link.alias : settings.alias || undefined;
    link.group = settings.group ?? link.group;
    link.name = settings.rename ?? link.name;
    if (settings.master !== undefined)
      link.master = settings.master === null ? undefined : this.#byName(settings.master);
    if (settings.addAltName !== undefined && !link.altNames.includes(settings.addAltName))
      link.altNames.push(settings.addAltName);
    link.hairpin = settings.hairpin ?? link.hairpin;
    if (settings.up === true) link.up = true;
    if (settings.up === false && link.up) this.#takeDown(link);
    this.#tellLink('new', link);
    return undefined;
  }

  #refuseSettings(link: FakeLink, settings: LinkSettings): Refusal {
    const { rename, addAltName, mtu } = settings;
    if (mtu !== undefined && (mtu < 68 || mtu > 65_535)) return 'EINVAL';
    if (rename !== undefined && rename !== link.name) {
      const refusal = this.#refuseName(rename);
      if (refusal !== undefined) return refusal;
    }
    if (
      addAltName !== undefined &&
      !link.altNames.includes(addAltName) &&
      this.#byName(addAltName) !== undefined
    )
      return 'EEXIST';
    const master = this.#refuseMaster(settings);
    if (master !== undefined) return master;
    const port = settings.master === undefined ? link.master !== undefined : settings.master !== null;
    return settings.hairpin !== undefined && !port ? 'EOPNOTSUPP' : undefined;
  }

  #moveLink(link: FakeLink, path: string): Refusal {
    const target = this.#machine.namespaces.get(path);
    if (target === undefined) return 'ENOENT';
    if (target === this) return undefined;
    if (target.#byName(link.name) !== undefined) return 'EEXIST';
    this.#strip(link);
    this.#links.delete(link.index);
    this.#tellLink('delete', link);
    if (target.#links.has(link.index)) link.index = this.#machine.nextIndex++;
    Object.assign(link, { up: false, master: undefined, hairpin: false, home: target });
    target.#links.set(link.index, link);
    target.#tellLink('new', link);
    return undefined;
  }

  #deleteLink(link: FakeLink): Refusal {
    if (link.details.kind === 'other') return 'EOPNOTSUPP';
    this.#remove(link);
    return undefined;
  }

  #remove(link: FakeLink): void {
    this.#strip(link);
    this.#links.delete(link.index);
    for (const port of this.#links.values())
      if (port.master === link) {
        port.master = undefined;
        port.hairpin = false;
      }
    this.#tellLink('delete', link);
    const { peer } = link;
    link.peer = undefined;
    if (peer !== undefined && peer.home.#links.has(peer.index)) peer.home.#remove(peer);
  }

  /** Forgets everything that hangs on the link. */
  #strip(link: FakeLink): void {
    link.up = false;
    this.#sweepRoutes(link);
    for (const [key, { on, address }] of this.#addresses)
      if (on === link) {
        this.#addresses.delete(key);
        this.#tell('address', 'delete', link.name, describeAddress({ link: link.name, address }), false);
      }
    this.#sweepNeighbours(link);
    for (const [key, { on, entry }] of this.#fdb)
      if (on === link) {
        this.#fdb.delete(key);
        this.#tell('fdb', 'delete', link.name, describeFdb(entry), false);
      }
  }

  /** `ip link set down`: routes, neighbours and IPv6 addresses go; IPv4 addresses and permanent entries stay. */
  #takeDown(link: FakeLink): void {
    link.up = false;
    this.#sweepRoutes(link);
    this.#sweepNeighbours(link);
    for (const [key, { on, address }] of this.#addresses)
      if (on === link && address.address.family === 6) this.#addresses.delete(key);
  }

  /** IPv6 announces routes that go with their link, IPv4 does not (fib_frontend.c, fib_disable_ip). */
  #sweepRoutes(link: FakeLink): void {
    for (const [key, { on }] of this.#routes) if (on === link) this.#routes.delete(key);
  }

  #sweepNeighbours(link: FakeLink): void {
    for (const [key, { on, neighbour }] of this.#neighbours)
      if (on === link) {
        this.#neighbours.delete(key);
        this.#tell('neighbour', 'delete', link.name, describeNeighbour(neighbour), false);
      }
  }

  #putAddress(on: FakeLink, { address }: Address): Refusal {
    this.#addresses.set(`${on.index} ${String(address)}`, { on, address });
    this.#tell('address', 'new', on.name, describeAddress({ link: on.name, address }));
    return undefined;
  }

  #dropAddress(on: FakeLink, { address }: Address): Refusal {
    if (!this.#addresses.delete(`${on.index} ${String(address)}`)) return 'EADDRNOTAVAIL';
    this.#tell('address', 'delete', on.name, describeAddress({ link: on.name, address }));
    return undefined;
  }

  /** The kernel's own routes to the prefixes of its addresses. */
  #connected(): Route[] {
    return [...this.#addresses.values()].flatMap(({ on, address }) => {
      const width = address.address.family === 4 ? 32 : 128;
      if (on?.up !== true || on.name === 'lo' || (width === 32 && address.length === width)) return [];
      return [
        {
          destination: new Prefix(address.address, address.length),
          table: TABLE_MAIN,
          protocol: PROTOCOL_KERNEL,
          metric: width === 32 ? 0 : 256,
          gateway: undefined,
          link: on.name,
          onlink: false,
        },
      ];
    });
  }

  #putRoute(asked: Route): Refusal {
    const route = withMetric(asked);
    const on = route.link === undefined ? this.#linkTowards(route.gateway) : this.#byName(route.link);
    if (on === undefined)
      return route.link === undefined && route.gateway !== undefined ? 'ENETUNREACH' : 'ENODEV';
    if (!on.up) return 'ENETDOWN';
    if (route.gateway !== undefined) {
      if (this.#isLocal(route.gateway)) return 'EINVAL';
      if (!route.onlink && !this.#reaches(on, route.gateway))
        return route.destination.family === 4 ? 'ENETUNREACH' : 'EHOSTUNREACH';
    }
    this.#routes.set(routeKey(route), { on, route });
    this.#tell('route', 'new', on.name, describeRoute({ ...route, link: on.name }));
    return undefined;
  }

  #dropRoute(asked: Route): Refusal {
    const route = withMetric(asked);
    const on = route.link === undefined ? undefined : this.#byName(route.link);
    if (route.link !== undefined && on === undefined) return 'ENODEV';
    const held = this.#routes.get(routeKey(route));
    const same =
      held !== undefined &&
      (on === undefined || held.on === on) &&
      held.route.protocol === route.protocol &&
      (route.gateway === undefined || held.route.gateway?.equals(route.gateway) === true);
    if (!same) return 'ESRCH';
    this.#routes.delete(routeKey(route));
    this.#tell('route', 'delete', held.on?.name, describeRoute(placedRoute(held)));
    return undefined;
  }

  #isLocal(address: IpAddress): boolean {
    return [...this.#addresses.values()].some((held) => held.address.address.equals(address));
  }

  #linkTowards(gateway: IpAddress | undefined): FakeLink | undefined {
    if (gateway === undefined) return undefined;
    return [...this.#links.values()].find((link) => link.up && this.#reaches(link, gateway));
  }

  /** True when the kernel finds the gateway directly on the link. */
  #reaches(link: FakeLink, gateway: IpAddress): boolean {
    const onLink = [...this.#routes.values()]
      .filter(({ on, route }) => on === link && route.gateway === undefined)
      .map(({ route }) => route.destination);
    const connected = this.#connected()
      .filter((route) => route.link === link.name)
      .map(({ destination }) => destination);
    return [...onLink, ...connected].some((destination) => destination.contains(gateway));
  }

  #putRule(rule: Rule): void {
    this.#rules.set(ruleKey(rule), rule);
  }

  #addRule(rule: Rule): Refusal {
    if (this.#rules.has(ruleKey(rule))) return 'EEXIST';
    this.#putRule(rule);
    this.#tell('rule', 'new', undefined, describeRule(rule));
    return undefined;
  }

  #dropRule(rule: Rule): Refusal {
    if (!this.#rules.delete(ruleKey(rule))) return 'ENOENT';
    this.#tell('rule', 'delete', undefined, describeRule(rule));
    return undefined;
  }

  #putNeighbour(on: FakeLink, neighbour: Neighbour): Refusal {
    if (!on.up) return 'ENETDOWN';
    this.#neighbours.set(`${on.index} ${String(neighbour.address)}`, { on, neighbour });
    this.#tell('neighbour', 'new', on.name, describeNeighbour(neighbour));
    return undefined;
  }

  #dropNeighbour(on: FakeLink, neighbour: Neighbour): Refusal {
    if (!this.#neighbours.delete(`${on.index} ${String(neighbour.address)}`)) return 'ENOENT';
    this.#tell('neighbour', 'delete', on.name, describeNeighbour(neighbour));
    return undefined;
  }

  #putFdb(on: FakeLink, entry: FdbEntry): Refusal {
    if (on.details.kind !== 'vxlan') return 'EOPNOTSUPP';
    if (on.details.local !== undefined && on.details.local.family !== entry.destination.family)
      return 'EAFNOSUPPORT';
    this.#fdb.set(`${on.index} ${entry.mac}`, { on, entry });
    this.#tell('fdb', 'new', on.name, describeFdb(entry));
    return undefined;
  }

  #dropFdb(on: FakeLink, entry: FdbEntry): Refusal {
    const key = `${on.index} ${entry.mac}`;
    if (this.#fdb.get(key)?.entry.destination.equals(entry.destination) !== true) return 'ENOENT';
    this.#fdb.delete(key);
    this.#tell('fdb', 'delete', on.name, describeFdb(entry));
    return undefined;
  }

  #tellLink(change: KernelEvent['change'], link: FakeLink): void {
    this.#tell('link', change, link.name, describeLink(toLink(link)));
  }

  /** Like the kernel's: later, and not from within the operation. */
  #tell(
    object: KernelEvent['object'],
    change: KernelEvent['change'],
    link: string | undefined,
    line: string,
    own = this.#own,
  ): void {
    if (this.listeners.size === 0) return;
    const text = change === 'delete' ? `Deleted ${line}` : line;
    queueMicrotask(() => {
      for (const listener of this.listeners) listener({ object, change, link, own, text });
    });
  }
}

function toLink(link: FakeLink): Link {
  const { name, index, up, mtu, mac, alias, group, details } = link;
  const altNames = [...link.altNames];
  return { name, index, up, mtu, mac, alias, altNames, master: link.master?.name, group, details };
}

function placedRoute({ on, route }: Placed<{ route: Route }>): Route {
  return { ...route, link: on?.name };
}

/** The kernel gives an IPv6 route without a metric 1024 (IP6_RT_PRIO_USER). */
function withMetric(route: Route): Route {
  return route.destination.family === 6 && route.metric === 0
    ? { ...route, metric: IPV6_DEFAULT_METRIC }
    : route;
}

function routeKey(route: Route): string {
  return `${route.table} ${String(route.destination)} ${route.metric}`;
}

function ruleKey(rule: Rule): string {
  return `${rule.family} ${rule.priority} ${String(rule.from)} ${String(rule.to)} ${rule.table} ${rule.protocol}`;
}

function inventedMac(index: number): Mac {
  const tail = [index >> 16, index >> 8, index].map((part) => (part & 0xff).toString(16).padStart(2, '0'));
  return `02:00:00:${tail.join(':')}` as Mac;
}
