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
import type { Address, FdbEntry } from '../kernel/types.ts';
import { PROTOCOL_PORTOLAN } from '../kernel/types.ts';
import type { DesiredState, DesiredSysctl } from './desired.ts';
import { addressKind, fdbKind, neighbourKind, routeKind, ruleKind, takeInventory } from './inventory.ts';
import type { Inventory, Items } from './inventory.ts';
import { ConcatenatedSteps, mingled, ObjectSteps } from './object-steps.ts';
import type { StepKind } from './object-steps.ts';
import { planLinks } from './plan-links.ts';
import type { LinkPlan } from './plan-links.ts';
import { planTable } from './plan-table.ts';
import { drain, SLICE } from './slice.ts';
import type { Change, Observed, Plan, Step, StepRun } from './step.ts';

/** A plan with all its steps at hand. */
export type ListedPlan = Omit<Plan, 'steps'> & { readonly steps: readonly Step[] };

export function plan(desired: DesiredState, observed: Observed): ListedPlan {
  const planned = drain(planSliced(takeInventory(desired), observed));
  return { ...planned, steps: [...planned.steps] };
}

/** As `plan`, in slices, for callers that keep the inventory between rounds. */
export function* planSliced(inventory: Inventory, observed: Observed): Generator<undefined, Plan> {
  const links = planLinks(inventory, observed);
  const addresses = yield* planAddresses(inventory, observed, links);
  const remotes = yield* planRemotes(inventory, observed, links);
  const rules = yield* diff(ruleDiffer, inventory.rules, observed.rules);
  const groups: readonly StepRun[] = [
    planSysctls(inventory, observed, links, false),
    links.steps,
    planSysctls(inventory, observed, links, true),
    ...addresses.runs,
    ...remotes.makings,
    rules.corrections,
    rules.additions,
    planTable(inventory, observed.table),
    links.ports,
    rules.removals,
    ...remotes.removals,
    links.removals,
  ];
  return {
    steps: new ConcatenatedSteps(groups),
    faults: links.faults,
    lookAgain: links.lookAgain || addresses.lookAgain || isAnyWaiting(inventory, observed),
    strays: links.strays,
  };
}

/** What remote nodes are in the kernel: made before whatever needs them, removed after it. */
export interface RemotesPlan {
  readonly makings: readonly StepRun[];
  readonly removals: readonly StepRun[];
}

/** `links`: what is done about the devices that they are on. */
export function* planRemotes(
  inventory: Pick<Inventory, 'links' | 'neighbours' | 'fdb' | 'routes'>,
  observed: Pick<Observed, 'neighbours' | 'fdb' | 'routes'>,
  links: LinkFates,
): Generator<undefined, RemotesPlan> {
  const neighbours = yield* diff(
    neighbourDiffer(inventory, links),
    inventory.neighbours,
    observed.neighbours,
  );
  const fdb = yield* planFdb(inventory, observed, links);
  const routes = yield* diff(routeDiffer(links), inventory.routes, observed.routes);
  const remotes = [neighbours, fdb, routes];
  return {
    makings: [
      ...mingled(remotes.map(({ corrections }) => corrections)),
      ...mingled(remotes.map(({ additions }) => additions)),
    ],
    removals: [routes.removals, fdb.removals, neighbours.removals],
  };
}

/** Which devices are not there, lose what is on them, or go. */
export type LinkFates = Pick<LinkPlan, 'blocked' | 'emptied' | 'flushed' | 'removed'>;
type OurLinks = Pick<Inventory, 'links'>;

interface Differ<T> extends StepKind<T> {
  /** True when no device is made, removed, flushed or blocked: then an object's turn depends on itself alone. */
  readonly calm: boolean;
  /** Devices on which nothing can be made. */
  readonly blocked: ReadonlySet<string>;
  /** True when the object will be gone by the time its turn comes. */
  vanishes(value: T): boolean;
  /** True when an object that nobody wants is ours to remove. */
  ours(value: T): boolean;
}

/** What is to be done about the objects of one kind. */
class Difference<T> {
  /** Objects that nobody wants. */
  readonly surplus: readonly T[];
  /** Wanted objects that are missing or otherwise. */
  readonly wanting: readonly (readonly T[])[];
  readonly corrections: ObjectSteps<T>;
  readonly additions: ObjectSteps<T>;
  readonly #kind: StepKind<T>;

  constructor(kind: StepKind<T>, { corrected, was, surplus }: Found<T>, missing: readonly T[]) {
    this.#kind = kind;
    this.surplus = surplus;
    this.wanting = [corrected, missing];
    this.corrections = new ObjectSteps(kind, { action: 'correct', values: corrected, was });
    this.additions = new ObjectSteps(kind, { action: 'make', values: missing });
  }

  get removals(): ObjectSteps<T> {
    return this.removalsOf(this.surplus);
  }

  removalsOf(values: readonly T[]): ObjectSteps<T> {
    return new ObjectSteps(this.#kind, { action: 'remove', values });
  }
}

function* diff<T>(
  differ: Differ<T>,
  desired: Items<T>,
  observed: readonly T[],
): Generator<undefined, Difference<T>> {
  const found: Found<T> = { corrected: [], was: [], surplus: [], seen: new Set() };
  if (differ.calm && desired.isSettled(observed)) return new Difference(differ, found, []);
  if (observed.length > 0) yield* desired.index();
  for (let at = 0; at < observed.length; at += SLICE) {
    compareSlice(differ, desired, observed.slice(at, at + SLICE), found);
    yield;
  }
  const missing = yield* missingOf(differ, desired.values, found.seen);
  if (differ.calm && found.corrected.length + found.surplus.length + missing.length === 0)
    desired.settle(observed);
  return new Difference(differ, found, missing);
}

interface Found<T> {
  /** Wanted objects that are otherwise, and in the same order what they are. */
  readonly corrected: T[];
  readonly was: string[];
  readonly surplus: T[];
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
      if (differ.ours(value)) found.surplus.push(value);
      continue;
    }
    found.seen.add(wanted);
    if (same !== undefined || !isPossible(differ, value)) continue;
    found.corrected.push(wanted);
    found.was.push(words);
  }
}

/** Those that can be made and were not seen. */
function* missingOf<T>(
  differ: Differ<T>,
  values: readonly T[],
  seen: ReadonlySet<T>,
): Generator<undefined, readonly T[]> {
  if (seen.size === values.length) return [];
  if (seen.size === 0 && differ.blocked.size === 0) return values;
  const missing: T[] = [];
  for (let at = 0; at < values.length; at += SLICE) {
    for (const value of values.slice(at, at + SLICE))
      if (!seen.has(value) && isPossible(differ, value)) missing.push(value);
    yield;
  }
  return missing;
}

function isPossible<T>({ kind, blocked }: Differ<T>, value: T): boolean {
  return blocked.size === 0 || !blocked.has(kind.link(value) ?? '');
}

function neighbourDiffer(inventory: OurLinks, links: LinkFates): Differ<Observed['neighbours'][number]> {
  return {
    object: 'neighbour',
    kind: neighbourKind,
    calm: isCalm(links),
    make: (neighbour) => ({ do: 'neighbour-replace', neighbour }),
    remove: (neighbour) => ({ do: 'neighbour-delete', neighbour }),
    blocked: links.blocked,
    vanishes: ({ link }) => links.emptied.has(link) || links.flushed.has(link),
    // The kernel itself keeps others there for a while: failed look-ups, multicast.
    ours: ({ link, permanent }) => permanent && isOurs(inventory, links, link),
  };
}

function routeDiffer(links: LinkFates): Differ<Observed['routes'][number]> {
  return {
    object: 'route',
    kind: routeKind,
    calm: isCalm(links),
    make: (route) => ({ do: 'route-replace', route }),
    remove: (route) => ({ do: 'route-delete', route }),
    blocked: links.blocked,
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
  blocked: new Set(),
  vanishes: () => false,
  ours: ({ protocol }) => protocol === PROTOCOL_PORTOLAN,
};

function isCalm({ blocked, emptied, flushed, removed }: LinkFates): boolean {
  return blocked.size + emptied.size + flushed.size + removed.size === 0;
}

/** Ours and staying: what is on a device that goes away goes with it. */
function isOurs(inventory: OurLinks, links: LinkFates, link: string): boolean {
  return inventory.links.has(link) && !links.blocked.has(link);
}

function* planFdb(
  inventory: OurLinks & Pick<Inventory, 'fdb'>,
  observed: Pick<Observed, 'fdb'>,
  links: LinkFates,
): Generator<undefined, Pick<Difference<FdbEntry>, 'corrections' | 'additions' | 'removals'>> {
  const differ: Differ<FdbEntry> = {
    object: 'fdb',
    kind: fdbKind,
    calm: isCalm(links),
    make: (entry) => ({ do: 'fdb-replace', entry }),
    remove: (entry) => ({ do: 'fdb-delete', entry }),
    blocked: links.blocked,
    vanishes: ({ link }) => links.emptied.has(link),
    ours: ({ link }) => isOurs(inventory, links, link),
  };
  const difference = yield* diff(differ, inventory.fdb, observed.fdb);
  const { corrections, additions } = difference;
  return { corrections, additions, removals: difference.removalsOf(notReplaced(difference, observed.fdb)) };
}

/** A MAC has one destination: giving it the right one takes the wrong one away, so there is nothing to delete. */
function notReplaced(
  { surplus, wanting }: Difference<FdbEntry>,
  observed: readonly FdbEntry[],
): readonly FdbEntry[] {
  if (surplus.length === 0) return surplus;
  const place = ({ link, mac }: FdbEntry): string => `${link} ${mac}`;
  const renewed = new Set(wanting.flatMap((entries) => entries.map(place)));
  const count = new Map<string, number>();
  for (const entry of observed) count.set(place(entry), (count.get(place(entry)) ?? 0) + 1);
  return surplus.filter((entry) => !renewed.has(place(entry)) || count.get(place(entry)) !== 1);
}

function* planAddresses(
  inventory: Inventory,
  observed: Observed,
  links: LinkPlan,
): Generator<undefined, { readonly runs: readonly StepRun[]; readonly lookAgain: boolean }> {
  const differ: Differ<Address> = {
    object: 'address',
    kind: addressKind,
    calm: isCalm(links),
    make: (address) => ({ do: 'address-replace', address }),
    remove: (address) => ({ do: 'address-delete', address }),
    blocked: links.blocked,
    vanishes: ({ link }) => links.emptied.has(link),
    ours: (address) => isOurs(inventory, links, address.link) && !isLinkLocal(address),
  };
  const difference = yield* diff(differ, inventory.addresses, observed.addresses);
  // One address with another length is in the way of the right one in IPv6; all others go after it, because a device
  // that loses its last IPv4 address loses its routes and neighbours too.
  const wanted = new Set(
    inventory.state.addresses.map(({ link, address }) => `${link} ${address.address.toString()}`),
  );
  const { surplus, corrections, additions } = difference;
  const isInTheWay = ({ link, address }: Address): boolean =>
    wanted.has(`${link} ${address.address.toString()}`);
  return {
    runs: [
      difference.removalsOf(surplus.filter((address) => isInTheWay(address))),
      corrections,
      additions,
      difference.removalsOf(surplus.filter((address) => !isInTheWay(address))),
    ],
    // Deleting a primary address takes its secondaries, perhaps ours, with it.
    lookAgain: surplus.length > 0,
  };
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
    const { key, link } = sysctl;
    const value = wantedValue(sysctl, observed);
    if ((link !== undefined) !== ofDevices || (link !== undefined && links.blocked.has(link))) return [];
    const found = link !== undefined && links.emptied.has(link) ? undefined : observed.sysctls.get(key);
    if (settled(sysctl, value, found) || isWaiting(sysctl, observed)) return [];
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

/** A check of the kernel's is taken back when the table that makes it instead has been seen in place, not when it was asked for. */
function isWaiting({ guarded }: DesiredSysctl, { table }: Observed): boolean {
  return guarded === true && !table.intact;
}

function isAnyWaiting({ state: { sysctls } }: Inventory, observed: Observed): boolean {
  return sysctls.some(
    (sysctl) => isWaiting(sysctl, observed) && observed.sysctls.get(sysctl.key) !== sysctl.value,
  );
}

function wantedValue({ value, instead }: DesiredSysctl, { sysctls }: Observed): string {
  return instead !== undefined && sysctls.get(instead.where) === instead.is ? instead.value : value;
}

function settled({ onlyIf }: DesiredSysctl, value: string, found: string | undefined): boolean {
  return onlyIf === undefined ? found === value : found !== onlyIf;
}
