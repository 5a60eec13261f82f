/**
 * The kernel's choice of a route: rules by priority, then the longest prefix, then the lowest metric
 * (net/core/fib_rules.c, net/ipv4/fib_trie.c).
 */
import type { IpAddress } from '../base/ip.ts';
import { TABLE_MAIN, type Address, type Link, type Route, type Rule } from '../kernel/types.ts';

/** RT_TABLE_DEFAULT: looked up after the main table. */
const TABLE_DEFAULT = 253;
/** RT_TABLE_LOCAL: what it says is told by the addresses. */
const TABLE_LOCAL = 255;

export interface RoutingState {
  readonly links: readonly Link[];
  readonly addresses: readonly Address[];
  readonly routes: readonly Route[];
  readonly rules?: readonly Rule[];
}

export type Lookup =
  | { readonly kind: 'local'; readonly link: string }
  | { readonly kind: 'route'; readonly route: Route; readonly rule: Rule | undefined }
  | { readonly kind: 'none' };

export function lookUp(
  state: RoutingState,
  packet: { readonly source: IpAddress | undefined; readonly destination: IpAddress },
): Lookup {
  const own = state.addresses.find(({ address }) => address.address.equals(packet.destination));
  if (own !== undefined) return { kind: 'local', link: own.link };
  for (const rule of ruleOrder(state, packet.destination)) {
    if (rule.from !== undefined && (packet.source === undefined || !rule.from.contains(packet.source)))
      continue;
    if (rule.to?.contains(packet.destination) === false) continue;
    const route = bestRoute(state, rule.table, packet.destination);
    if (route !== undefined)
      return { kind: 'route', route, rule: rule.table === TABLE_MAIN ? undefined : rule };
  }
  return { kind: 'none' };
}

/** A namespace whose rules are not known has the kernel's own ones. */
function ruleOrder(state: RoutingState, destination: IpAddress): readonly Rule[] {
  const { family } = destination;
  const own = (priority: number, table: number): Rule => ({
    family,
    priority,
    from: undefined,
    to: undefined,
    table,
    protocol: 2,
  });
  const rules = state.rules ?? [own(32_766, TABLE_MAIN), own(32_767, TABLE_DEFAULT)];
  return rules
    .filter((rule) => rule.family === family && rule.table !== TABLE_LOCAL)
    .toSorted((a, b) => a.priority - b.priority);
}

/** A route by a link that is down counts for nothing. */
function bestRoute(state: RoutingState, table: number, destination: IpAddress): Route | undefined {
  const up = new Set(state.links.filter((link) => link.up).map(({ name }) => name));
  let best: Route | undefined;
  for (const route of state.routes) {
    if (route.table !== table || !route.destination.contains(destination)) continue;
    if (route.link !== undefined && !up.has(route.link)) continue;
    if (best === undefined || isBetter(route, best)) best = route;
  }
  return best;
}

function isBetter(a: Route, b: Route): boolean {
  const { length } = a.destination;
  return length > b.destination.length || (length === b.destination.length && a.metric < b.metric);
}

/** The address that the host sends from when nobody says: the first of the route's device (fib_select_default). */
export function sourceFor(state: RoutingState, destination: IpAddress): IpAddress | undefined {
  const found = lookUp(state, { source: undefined, destination });
  if (found.kind === 'local') return destination;
  if (found.kind === 'none') return undefined;
  const { link } = found.route;
  return state.addresses.find(
    (each) => each.link === link && each.address.address.family === destination.family,
  )?.address.address;
}
