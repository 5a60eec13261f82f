/**
 * Kernel objects in iproute2's words: for logs, and as the text that is equal exactly when two objects are.
 */
import type { Address, FdbEntry, Neighbour, Route, Rule } from '../kernel/types.ts';
import { TABLE_MAIN } from '../kernel/types.ts';

export function routeWords(route: Route): string {
  const via = route.gateway === undefined ? '' : ` via ${route.gateway.toString()}`;
  const dev = route.link === undefined ? '' : ` dev ${route.link}`;
  const table = route.table === TABLE_MAIN ? '' : ` table ${route.table}`;
  return `${route.destination.toString()}${via}${dev}${table} proto ${route.protocol} metric ${route.metric}${route.onlink ? ' onlink' : ''}`;
}

export function neighbourWords(neighbour: Neighbour): string {
  return `${neighbour.address.toString()} dev ${neighbour.link} lladdr ${neighbour.mac ?? 'none'}${neighbour.permanent ? ' PERMANENT' : ''}`;
}

export function fdbWords(entry: FdbEntry): string {
  return `${entry.mac} dev ${entry.link} dst ${entry.destination.toString()} self${entry.permanent ? ' permanent' : ''}`;
}

export function addressWords(address: Address): string {
  return `${address.address.toString()} dev ${address.link}`;
}

export function ruleWords(rule: Rule): string {
  const from = rule.from === undefined ? 'all' : rule.from.toString();
  const to = rule.to === undefined ? '' : ` to ${rule.to.toString()}`;
  return `${rule.priority}: from ${from}${to} lookup ${rule.table} proto ${rule.protocol}`;
}
