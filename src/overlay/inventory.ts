/**
 * A desired state laid out for comparison: maps by key, made once per desired state and not once per round.
 *
 * A key is what the kernel identifies an object by (a route: table, destination, metric); the words are the whole
 * object, so that equal words mean nothing to do.
 */
import type { Address, FdbEntry, Neighbour, Route, Rule } from '../kernel/types.ts';
import type { DesiredLink, DesiredPort, DesiredState } from './desired.ts';
import { drain, SLICE } from './slice.ts';
import { addressWords, fdbWords, neighbourWords, routeWords, ruleWords } from './words.ts';

/** Objects of one kind, laid out when they are first compared: an empty kernel needs no look-ups. */
export class Items<T> {
  readonly values: readonly T[];
  readonly #kind: Kind<T>;
  readonly #byKey = new Map<string, T>();
  readonly #byWords = new Map<string, T>();
  #indexed = 0;
  #settled: readonly T[] | undefined;

  constructor(values: readonly T[], kind: Kind<T>) {
    this.values = values;
    this.#kind = kind;
  }

  /** Lays them out, in slices; afterwards `get` and `same` cost one look-up. */
  *index(): Generator<undefined, void> {
    while (this.#indexed < this.values.length) {
      const value = this.values[this.#indexed++];
      if (value === undefined) continue;
      this.#byKey.set(this.#kind.key(value), value);
      this.#byWords.set(this.#kind.words(value), value);
      if (this.#indexed % SLICE === 0) yield;
    }
  }

  get(key: string): T | undefined {
    drain(this.index());
    return this.#byKey.get(key);
  }

  /** Remembers a list of observed objects in which there was nothing to make and nothing to remove. */
  settle(observed: readonly T[]): void {
    this.#settled = observed;
  }

  /** True of the very list that was as it should be: whoever reads the kernel gives it again while nothing changes. */
  isSettled(observed: readonly T[]): boolean {
    return observed === this.#settled;
  }

  /** The object of just these words: what is as it should be is found by one text and one look-up. */
  same(words: string): T | undefined {
    return this.#byWords.get(words);
  }
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
  /** Settings of others that ours depend on. */
  readonly deciding: ReadonlySet<string>;
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
    addresses: new Items(state.addresses, addressKind),
    neighbours: new Items(state.neighbours, neighbourKind),
    fdb: new Items(state.fdb, fdbKind),
    routes: new Items(state.routes, routeKind),
    rules: new Items(state.rules, ruleKind),
    sysctls: new Map(state.sysctls.map(({ key, value }) => [key, value])),
    deciding: new Set(state.sysctls.flatMap(({ instead }) => instead?.where ?? [])),
  };
}
