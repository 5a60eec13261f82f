/**
 * From one desired state to the next, for a kernel that is known to hold the first: what a change of another node's
 * records costs, whatever else there is.
 *
 * Invariants: performed on a kernel as `before` says, it leaves one as `after` says, just as a look and a plan would;
 * the order is that of plan.ts.
 * Review notes: states are compared by their objects, which are the very same where nothing has changed
 * (compile-memory.ts); those that differ are compared by words, as always.
 */
import { fdbKind, Items, neighbourKind, routeKind } from './inventory.ts';
import type { Inventory, Kind } from './inventory.ts';
import { ConcatenatedSteps } from './object-steps.ts';
import { planRemotes } from './plan.ts';
import type { LinkFates } from './plan.ts';
import { SLICE } from './slice.ts';
import type { Steps } from './step.ts';

/** `undefined` when the states differ in more than what remote nodes are in the kernel. In slices. */
export function* planChange(before: Inventory, after: Inventory): Generator<undefined, Steps | undefined> {
  if (before === after) return new ConcatenatedSteps([]);
  if (!isSameHost(before, after)) return undefined;
  const neighbours = yield* change(before.neighbours, after.neighbours, neighbourKind);
  const fdb = yield* change(before.fdb, after.fdb, fdbKind);
  const routes = yield* change(before.routes, after.routes, routeKind);
  const inventory = { links: after.links, neighbours: neighbours.come, fdb: fdb.come, routes: routes.come };
  const observed = { neighbours: neighbours.gone, fdb: fdb.gone, routes: routes.gone };
  const { makings, removals } = yield* planRemotes(inventory, observed, nothingHappens);
  return new ConcatenatedSteps([...makings, ...removals]);
}

function isSameHost({ state: a }: Inventory, { state: b }: Inventory): boolean {
  return (
    a.links === b.links &&
    a.ports === b.ports &&
    a.addresses === b.addresses &&
    a.rules === b.rules &&
    a.sysctls === b.sysctls &&
    a.table === b.table
  );
}

/** Keys are unique in a state: what has gone shares none with what has stayed. */
function* change<T>(
  before: Items<T>,
  after: Items<T>,
  kind: Kind<T>,
): Generator<undefined, { readonly gone: readonly T[]; readonly come: Items<T> }> {
  const gone = yield* without(before.values, new Set(after.values));
  const come = yield* without(after.values, new Set(before.values));
  return { gone, come: new Items(come, kind) };
}

function* without<T>(values: readonly T[], others: ReadonlySet<T>): Generator<undefined, readonly T[]> {
  const rest: T[] = [];
  let count = 0;
  for (const value of values) {
    if (++count % SLICE === 0) yield;
    if (!others.has(value)) rest.push(value);
  }
  return rest;
}

const none: ReadonlySet<string> = new Set();
const nothingHappens: LinkFates = { blocked: none, emptied: none, flushed: none, removed: none };
