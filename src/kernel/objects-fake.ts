/**
 * What hangs on the links of one namespace in memory: addresses, routes, neighbours, forwarding entries; and rules.
 *
 * Answers are the kernel's refusals; `undefined` is its consent.
 */
import { Prefix, type InterfaceAddress, type IpAddress } from '../base/ip.ts';
import { describeAddress, describeFdb, describeNeighbour, describeRoute, describeRule } from './describe.ts';
import type { FakeLink } from './link-fake.ts';
import {
  TABLE_MAIN,
  type Address,
  type ErrnoCode,
  type FdbEntry,
  type KernelEvent,
  type Neighbour,
  type Route,
  type Rule,
} from './types.ts';

export type Refusal = Exclude<ErrnoCode, 'other'> | undefined;

/** Announces a change; `own` false for what the kernel does by itself. */
export type Tell = (
  object: KernelEvent['object'],
  change: KernelEvent['change'],
  link: string | undefined,
  line: string,
  own?: boolean,
) => void;

type Placed<T> = T & { readonly on: FakeLink | undefined };

const IPV6_DEFAULT_METRIC = 1024;
const PROTOCOL_KERNEL = 2;
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

export class FakeObjects {
  readonly #addresses = new Map<string, Placed<{ address: InterfaceAddress }>>();
  readonly #routes = new Map<string, Placed<{ route: Route }>>();
  readonly #rules = new Map<string, Rule>();
  readonly #neighbours = new Map<string, Placed<{ neighbour: Neighbour }>>();
  readonly #fdb = new Map<string, Placed<{ entry: FdbEntry }>>();
  readonly #links: () => Iterable<FakeLink>;
  readonly #byName: (name: string) => FakeLink | undefined;
  readonly #tell: Tell;

  constructor(components: {
    readonly links: () => Iterable<FakeLink>;
    readonly byName: (name: string) => FakeLink | undefined;
    readonly tell: Tell;
  }) {
    this.#links = components.links;
    this.#byName = components.byName;
    this.#tell = components.tell;
    for (const rule of KERNEL_RULES) this.#rules.set(ruleKey(rule), rule);
  }

  addresses(link: string | undefined): Address[] {
    return [...this.#addresses.values()]
      .filter(({ on }) => link === undefined || on?.name === link)
      .map(({ on, address }) => ({ link: on?.name ?? '', address }));
  }

  /** The kernel's own among them. */
  routes(): Route[] {
    return [...this.#connected(), ...[...this.#routes.values()].map(placedRoute)];
  }

  rules(): Rule[] {
    return [...this.#rules.values()].toSorted((a, b) => a.family - b.family || a.priority - b.priority);
  }

  neighbours(link: string | undefined): Neighbour[] {
    return [...this.#neighbours.values()]
      .filter(({ on }) => link === undefined || on?.name === link)
      .map(({ on, neighbour }) => ({ ...neighbour, link: on?.name ?? '' }));
  }

  fdb(link: string): FdbEntry[] {
    return [...this.#fdb.values()]
      .filter(({ on }) => on?.name === link)
      .map(({ on, entry }) => ({ ...entry, link: on?.name ?? '' }));
  }

  /** Forgets everything that hangs on the link. */
  strip(link: FakeLink): void {
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
  takeDown(link: FakeLink): void {
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

  putAddress(on: FakeLink, { address }: Address): Refusal {
    this.#addresses.set(`${on.index} ${String(address)}`, { on, address });
    this.#tell('address', 'new', on.name, describeAddress({ link: on.name, address }));
    return undefined;
  }

  dropAddress(on: FakeLink, { address }: Address): Refusal {
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

  putRoute(asked: Route): Refusal {
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

  dropRoute(asked: Route): Refusal {
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
    return [...this.#links()].find((link) => link.up && this.#reaches(link, gateway));
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

  addRule(rule: Rule): Refusal {
    if (this.#rules.has(ruleKey(rule))) return 'EEXIST';
    this.#rules.set(ruleKey(rule), rule);
    this.#tell('rule', 'new', undefined, describeRule(rule));
    return undefined;
  }

  dropRule(rule: Rule): Refusal {
    if (!this.#rules.delete(ruleKey(rule))) return 'ENOENT';
    this.#tell('rule', 'delete', undefined, describeRule(rule));
    return undefined;
  }

  putNeighbour(on: FakeLink, neighbour: Neighbour): Refusal {
    if (!on.up) return 'ENETDOWN';
    this.#neighbours.set(`${on.index} ${String(neighbour.address)}`, { on, neighbour });
    this.#tell('neighbour', 'new', on.name, describeNeighbour(neighbour));
    return undefined;
  }

  dropNeighbour(on: FakeLink, neighbour: Neighbour): Refusal {
    if (!this.#neighbours.delete(`${on.index} ${String(neighbour.address)}`)) return 'ENOENT';
    this.#tell('neighbour', 'delete', on.name, describeNeighbour(neighbour));
    return undefined;
  }

  putFdb(on: FakeLink, entry: FdbEntry): Refusal {
    if (on.details.kind !== 'vxlan') return 'EOPNOTSUPP';
    if (on.details.local !== undefined && on.details.local.family !== entry.destination.family)
      return 'EAFNOSUPPORT';
    this.#fdb.set(`${on.index} ${entry.mac}`, { on, entry });
    this.#tell('fdb', 'new', on.name, describeFdb(entry));
    return undefined;
  }

  dropFdb(on: FakeLink, entry: FdbEntry): Refusal {
    const key = `${on.index} ${entry.mac}`;
    if (this.#fdb.get(key)?.entry.destination.equals(entry.destination) !== true) return 'ENOENT';
    this.#fdb.delete(key);
    this.#tell('fdb', 'delete', on.name, describeFdb(entry));
    return undefined;
  }
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
