/**
 * From desired and observed to the fewest steps in the right order: a pure function.
 *
 * Purpose: the only place that decides what the kernel is told; the reconciler merely performs it.
 * Invariants: `apply(plan(d, o), o) = d` within what is ours; `plan(d, d)` is empty; what is not ours is in no step.
 * Order: what others refer to is made first (settings, devices, addresses, neighbours, FDB, routes, rules, table,
 * ports) and removed last (rules, routes, FDB, neighbours, devices).
 * Review notes: when the kernel drops one object because another changed, say so by `emptied`, `flushed` or
 * `lookAgain` in plan-links.ts, or the next sweep is the first to notice.
 */
import type { Address, FdbEntry, KernelOperation } from '../kernel/types.ts';
import { PROTOCOL_PORTOLAN } from '../kernel/types.ts';
import type { DesiredState, DesiredSysctl } from './desired.ts';
import { addressKind, fdbKind, neighbourKind, routeKind, ruleKind, takeInventory } from './inventory.ts';
import type { Inventory, Items, Kind } from './inventory.ts';
import { planLinks } from './plan-links.ts';
import type { LinkPlan } from './plan-links.ts';
import { planTable } from './plan-table.ts';
import { drain, SLICE } from './slice.ts';
import type { Change, ObjectKind, Observed, Plan, Step } from './step.ts';

export function plan(desired: DesiredState, observed: Observed): Plan {
  return drain(planSliced(takeInventory(desired), observed));
}

/** As `plan`, in slices, for callers that keep the inventory between rounds. */
export function* planSliced(inventory: Inventory, observed: Observed): Generator<undefined, Plan> {
  const links = planLinks(inventory, observed);
  const addresses = yield* planAddresses(inventory, observed, links);
  const neighbours = yield* diff(
    neighbourDiffer(inventory, links),
    inventory.neighbours,
    observed.neighbours,
  );
  const fdb = yield* planFdb(inventory, observed, links);
  const routes = yield* diff(routeDiffer(links), inventory.routes, observed.routes);
  const rules = yield* diff(ruleDiffer, inventory.rules, observed.rules);
  const groups: readonly (readonly Step[])[] = [
    planSysctls(inventory, observed, links, false),
    links.steps,
    planSysctls(inventory, observed, links, true),
    addresses.steps,
    ...mingled([neighbours.make, fdb.make, routes.make]),
    rules.make,
    planTable(inventory, observed.table),
    links.ports,
    rules.remove,
    routes.remove,
    fdb.remove,
    neighbours.remove,
    links.removals,
  ];
  return {
    steps: concatenated(groups),
    faults: links.faults,
    lookAgain: links.lookAgain || addresses.lookAgain,
    strays: links.strays,
  };
}

/**
 * A node's objects near one another. Thousands of one kind in a row outrun the kernel: a VXLAN device's forwarding table
 * is grown by a worker, which gets no turn meanwhile, and an overfull one costs three times the work.
 */
function mingled(groups: readonly (readonly Step[])[]): readonly (readonly Step[])[] {
  const count = Math.ceil(Math.max(...groups.map(({ length }) => length)) / SLICE);
  const part = (group: readonly Step[], at: number): readonly Step[] =>
    group.slice(Math.floor((group.length * at) / count), Math.floor((group.length * (at + 1)) / count));
  return Array.from({ length: count }, (_, at) => groups.map((group) => part(group, at))).flat();
}

/** `flat` looks at every element for being a list itself. */
function concatenated(groups: readonly (readonly Step[])[]): readonly Step[] {
  return ([] as readonly Step[]).concat(...groups);
}

interface Differ<T> {
  readonly object: ObjectKind;
  readonly kind: Kind<T>;
  /** True when no device is made, removed, flushed or blocked: then an object's turn depends on itself alone. */
  readonly calm: boolean;
  make(value: T): KernelOperation;
  remove(value: T): KernelOperation;
  /** False when its device is blocked. */
  possible(value: T): boolean;
  /** True when the object will be gone by the time its turn comes. */
  vanishes(value: T): boolean;
  /** True when an object that nobody wants is ours to remove. */
  ours(value: T): boolean;
}

interface Difference {
  readonly make: readonly Step[];
  readonly remove: readonly Step[];
}

function* diff<T>(
  differ: Differ<T>,
  desired: Items<T>,
  observed: readonly T[],
): Generator<undefined, Difference> {
  if (differ.calm && desired.isSettled(observed)) return NO_DIFFERENCE;
  const found: Found<T> = { make: [], remove: [], seen: new Set() };
  if (observed.length > 0) yield* desired.index();
  for (let at = 0; at < observed.length; at += SLICE) {
    compareSlice(differ, desired, observed.slice(at, at + SLICE), found);
    yield;
  }
  if (found.seen.size < desired.values.length)
    for (let at = 0; at < desired.values.length; at += SLICE) {
      makeSlice(differ, desired.values.slice(at, at + SLICE), found);
      yield;
    }
  if (differ.calm && found.make.length + found.remove.length === 0) desired.settle(observed);
  return found;
}

const NO_DIFFERENCE: Difference = { make: [], remove: [] };

interface Found<T> {
  readonly make: Step[];
  readonly remove: Step[];
  readonly seen: Set<T>;
}

function compareSlice<T>(differ: Differ<T>, desired: Items<T>, slice: readonly T[], found: Found<T>): void {
  const { kind } = differ;
  for (const value of slice) {
    if (differ.vanishes(value)) continue;
    const words = kind.words(value);
    const same = desired.same(words);
    const wanted = same ?? desired.get(kind.key(value));
    if (wanted === undefined) {
      if (differ.ours(value)) found.remove.push(removeStep(differ, value));
      continue;
    }
    found.seen.add(wanted);
    if (same === undefined && differ.possible(value)) found.make.push(makeStep(differ, wanted, words));
  }
}

function makeSlice<T>(differ: Differ<T>, slice: readonly T[], { make, seen }: Found<T>): void {
  for (const value of slice)
    if ((seen.size === 0 || !seen.has(value)) && differ.possible(value))
      make.push(makeStep(differ, value, undefined));
}

function makeStep<T>(differ: Differ<T>, value: T, was: string | undefined): Step {
  return new ObjectStep(differ, value, was === undefined ? 'make' : 'correct', was);
}

function removeStep<T>(differ: Differ<T>, value: T): Step {
  return new ObjectStep(differ, value, 'remove', undefined);
}

/**
 * One object for a step and what it is for, since there may be tens of thousands. Its operation and its words are made
 * when somebody asks: of thousands of changes a log line shows five.
 */
class ObjectStep<T> implements Change {
  readonly action: Change['action'];
  readonly was: string | undefined;
  readonly #differ: Differ<T>;
  readonly #value: T;

  constructor(differ: Differ<T>, value: T, action: Change['action'], was: string | undefined) {
    this.action = action;
    this.was = was;
    this.#differ = differ;
    this.#value = value;
  }

  get do(): 'kernel' {
    return 'kernel';
  }

  get operation(): KernelOperation {
    return this.action === 'remove' ? this.#differ.remove(this.#value) : this.#differ.make(this.#value);
  }

  get change(): Change {
    return this;
  }

  get object(): ObjectKind {
    return this.#differ.object;
  }

  get id(): string {
    return `${this.object} ${this.#differ.kind.key(this.#value)}`;
  }

  get what(): string {
    return this.#differ.kind.words(this.#value);
  }

  get link(): string | undefined {
    return this.#differ.kind.link(this.#value);
  }
}

function neighbourDiffer(inventory: Inventory, links: LinkPlan): Differ<Observed['neighbours'][number]> {
  return {
    object: 'neighbour',
    kind: neighbourKind,
    calm: isCalm(links),
    make: (neighbour) => ({ do: 'neighbour-replace', neighbour }),
    remove: (neighbour) => ({ do: 'neighbour-delete', neighbour }),
    possible: ({ link }) => !links.blocked.has(link),
    vanishes: ({ link }) => links.emptied.has(link) || links.flushed.has(link),
    // The kernel itself keeps others there for a while: failed look-ups, multicast.
    ours: ({ link, permanent }) => permanent && isOurs(inventory, links, link),
  };
}

function routeDiffer(links: LinkPlan): Differ<Observed['routes'][number]> {
  return {
    object: 'route',
    kind: routeKind,
    calm: isCalm(links),
    make: (route) => ({ do: 'route-replace', route }),
    remove: (route) => ({ do: 'route-delete', route }),
    possible: ({ link }) => link === undefined || !links.blocked.has(link),
    vanishes: ({ link }) => link !== undefined && (links.emptied.has(link) || links.removed.has(link)),
    ours: ({ protocol }) => protocol === PROTOCOL_PORTOLAN,
  };
}

const ruleDiffer: Differ<Observed['rules'][number]> = {
  object: 'rule',
  kind: ruleKind,
  calm: true,
  make: (rule) => ({ do: 'rule-add', rule }),
  remove: (rule) => ({ do: 'rule-delete', rule }),
  possible: () => true,
  vanishes: () => false,
  ours: ({ protocol }) => protocol === PROTOCOL_PORTOLAN,
};

function isCalm({ blocked, emptied, flushed, removed }: LinkPlan): boolean {
  return blocked.size + emptied.size + flushed.size + removed.size === 0;
}

/** Ours and staying: what is on a device that goes away goes with it. */
function isOurs(inventory: Inventory, links: LinkPlan, link: string): boolean {
  return inventory.links.has(link) && !links.blocked.has(link);
}

function* planFdb(
  inventory: Inventory,
  observed: Observed,
  links: LinkPlan,
): Generator<undefined, Difference> {
  const differ: Differ<FdbEntry> = {
    object: 'fdb',
    kind: fdbKind,
    calm: isCalm(links),
    make: (entry) => ({ do: 'fdb-replace', entry }),
    remove: (entry) => ({ do: 'fdb-delete', entry }),
    possible: ({ link }) => !links.blocked.has(link),
    vanishes: ({ link }) => links.emptied.has(link),
    ours: ({ link }) => isOurs(inventory, links, link),
  };
  const { make, remove } = yield* diff(differ, inventory.fdb, observed.fdb);
  if (make.length === 0 || remove.length === 0) return { make, remove };
  return { make, remove: remove.filter((step) => !replaced(step, make, observed.fdb)) };
}

/** A MAC has one destination: giving it the right one takes the wrong one away, so there is nothing to delete. */
function replaced(step: Step, make: readonly Step[], observed: readonly FdbEntry[]): boolean {
  if (step.do !== 'kernel' || step.operation.do !== 'fdb-delete') return false;
  const { mac, link } = step.operation.entry;
  const same = (entry: FdbEntry): boolean => entry.mac === mac && entry.link === link;
  const renewed = make.some(
    (other) => other.do === 'kernel' && other.operation.do === 'fdb-replace' && same(other.operation.entry),
  );
  return renewed && observed.filter(same).length === 1;
}

function* planAddresses(
  inventory: Inventory,
  observed: Observed,
  links: LinkPlan,
): Generator<undefined, { readonly steps: readonly Step[]; readonly lookAgain: boolean }> {
  const differ: Differ<Address> = {
    object: 'address',
    kind: addressKind,
    calm: isCalm(links),
    make: (address) => ({ do: 'address-replace', address }),
    remove: (address) => ({ do: 'address-delete', address }),
    possible: ({ link }) => !links.blocked.has(link),
    vanishes: ({ link }) => links.emptied.has(link),
    ours: (address) => isOurs(inventory, links, address.link) && !isLinkLocal(address),
  };
  const { make, remove } = yield* diff(differ, inventory.addresses, observed.addresses);
  // One address with another length is in the way of the right one in IPv6; all others go after it, because a device
  // that loses its last IPv4 address loses its routes and neighbours too.
  const wanted = new Set(
    inventory.state.addresses.map(({ link, address }) => `${link} ${address.address.toString()}`),
  );
  const inTheWay = remove.filter(
    (step) =>
      step.do === 'kernel' &&
      step.operation.do === 'address-delete' &&
      wanted.has(`${step.operation.address.link} ${step.operation.address.address.address.toString()}`),
  );
  const rest = remove.filter((step) => !inTheWay.includes(step));
  // Deleting a primary address takes its secondaries, perhaps ours, with it.
  return { steps: [...inTheWay, ...make, ...rest], lookAgain: remove.length > 0 };
}

/** fe80::/10 comes and goes by the kernel. */
function isLinkLocal({ address: { address } }: Address): boolean {
  return address.family === 6 && address.value >> 118n === 0x3fan;
}

function planSysctls(
  inventory: Inventory,
  observed: Observed,
  links: LinkPlan,
  ofDevices: boolean,
): readonly Step[] {
  return inventory.state.sysctls.flatMap((sysctl): Step[] => {
    const { key, value, link } = sysctl;
    if ((link !== undefined) !== ofDevices || (link !== undefined && links.blocked.has(link))) return [];
    const found = link !== undefined && links.emptied.has(link) ? undefined : observed.sysctls.get(key);
    if (settled(sysctl, found)) return [];
    const change: Change = {
      object: 'sysctl',
      id: `sysctl ${key}`,
      action: 'correct',
      what: `${key} = ${value}`,
      was: found,
      link,
    };
    return [{ do: 'sysctl', key, value, change }];
  });
}

function settled({ value, onlyIf }: DesiredSysctl, found: string | undefined): boolean {
  return onlyIf === undefined ? found === value : found !== onlyIf;
}
