/**
 * A desired state laid out for comparison: maps by key, made once per desired state and not once per round.
 *
 * A key is what the kernel identifies an object by (a route: table, destination, metric); the words are the whole
 * object, so that equal words mean nothing to do.
 */
import type { Address, FdbEntry, Neighbour, Route, Rule } from '../kernel/types.ts';
import type { DesiredLink, DesiredPort, DesiredState } from './desired.ts';
import { addressWords, fdbWords, neighbourWords, routeWords, ruleWords } from './words.ts';

export interface Item<T> {
  readonly key: string;
  readonly words: string;
  readonly value: T;
}

export interface Items<T> {
  readonly byKey: ReadonlyMap<string, Item<T>>;
  /** What is just as it should be is found by one look-up and one text. */
  readonly byWords: ReadonlyMap<string, Item<T>>;
}

export interface Inventory {
  readonly state: DesiredState;
  readonly links: ReadonlyMap<string, DesiredLink>;
  readonly ports: ReadonlyMap<string, DesiredPort>;
  readonly addresses: Items<Address>;
  readonly neighbours: Items<Neighbour>;
  readonly fdb: Items<FdbEntry>;
  readonly routes: Items<Route>;
  readonly rules: Items<Rule>;
  readonly sysctls: ReadonlyMap<string, string>;
}

export interface Kind<T> {
  key(value: T): string;
  words(value: T): string;
  /** The device it lives on, and dies with. */
  link(value: T): string | undefined;
}

export const addressKind: Kind<Address> = {
  key: (value) => `${value.link} ${value.address.toString()}`,
  words: addressWords,
  link: (value) => value.link,
};

export const neighbourKind: Kind<Neighbour> = {
  key: (value) => `${value.link} ${value.address.toString()}`,
  words: neighbourWords,
  link: (value) => value.link,
};

/** The destination belongs to the key: the kernel keeps several for one MAC when somebody appends them. */
export const fdbKind: Kind<FdbEntry> = {
  key: (value) => `${value.link} ${value.mac} ${value.destination.toString()}`,
  words: fdbWords,
  link: (value) => value.link,
};

export const routeKind: Kind<Route> = {
  key: (value) => `${value.table} ${value.destination.toString()} ${value.metric}`,
  words: routeWords,
  link: (value) => value.link,
};

export const ruleKind: Kind<Rule> = {
  key: (value) => `${value.family} ${ruleWords(value)}`,
  words: ruleWords,
  link: () => undefined,
};

export function takeInventory(state: DesiredState): Inventory {
  return {
    state,
    links: new Map(state.links.map((link) => [link.name, link])),
    ports: new Map(state.ports.map((port) => [port.name, port])),
    addresses: items(state.addresses, addressKind),
    neighbours: items(state.neighbours, neighbourKind),
    fdb: items(state.fdb, fdbKind),
    routes: items(state.routes, routeKind),
    rules: items(state.rules, ruleKind),
    sysctls: new Map(state.sysctls.map(({ key, value }) => [key, value])),
  };
}

function items<T>(values: readonly T[], kind: Kind<T>): Items<T> {
  const byKey = new Map<string, Item<T>>();
  const byWords = new Map<string, Item<T>>();
  for (const value of values) {
    const item = { key: kind.key(value), words: kind.words(value), value };
    byKey.set(item.key, item);
    byWords.set(item.words, item);
  }
  return { byKey, byWords };
}
