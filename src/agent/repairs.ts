/**
 * Which steps of a round mend what somebody else did, and how that is told.
 *
 * A step is a repair when its object was already wanted, just so, in the last round and did not fail then; a removal is
 * one when nobody wanted the object then either. Everything else follows from a change of what is desired.
 */
import type { Counter } from '../base/metrics.ts';
import type { Log } from '../base/log.ts';
import type { Inventory } from '../overlay/inventory.ts';
import { SLICE } from '../overlay/slice.ts';
import type { Change, ObjectKind, Steps } from '../overlay/step.ts';
import { addressWords, fdbWords, neighbourWords, routeWords, ruleWords } from '../overlay/words.ts';

/** Lines of detail per object kind and round: a flushed table of 10,000 routes is told by its count. */
const DETAILS_MAX = 5;

/** Of what was performed the changes that are repairs, given the last round's inventory and failures; in slices. */
export function* findRepairs(
  performed: Steps,
  before: Inventory | undefined,
  now: Inventory,
  failed: ReadonlyMap<string, string>,
): Generator<undefined, readonly Change[]> {
  const repairs = new Map<string, Change>();
  if (before === undefined) return [];
  const rewished = rewishedLinks(before, now);
  let at = 0;
  for (const run of performed.runs) {
    // Thousands of nodes join at once where there were none.
    if (run.makes !== undefined && wantedNone(run.makes, before)) continue;
    for (const { change } of run) {
      if (at++ % SLICE === 0) yield;
      if (rewished.has(change.link ?? '')) continue;
      const { id } = change;
      // One object may take several steps: a device is deleted, made and configured.
      if (!repairs.has(id) && !failed.has(id) && isRepair(change, before, now)) repairs.set(id, change);
    }
  }
  return [...repairs.values()];
}

/** Devices that are wanted otherwise than before: what they lost with their old shape nobody else took. */
function rewishedLinks(before: Inventory, now: Inventory): ReadonlySet<string> {
  const text = (links: Inventory['links'], name: string): string => JSON.stringify(links.get(name) ?? '');
  return new Set(
    [...before.links.keys()].filter((name) => text(before.links, name) !== text(now.links, name)),
  );
}

function wantedNone(object: ObjectKind, { neighbours, fdb, routes }: Inventory): boolean {
  if (object === 'neighbour') return neighbours.values.length === 0;
  if (object === 'fdb') return fdb.values.length === 0;
  return object === 'route' && routes.values.length === 0;
}

function isRepair(change: Change, before: Inventory, now: Inventory): boolean {
  const was = expected(change, before);
  if (was === '' && change.action !== 'remove') return false;
  return was === expected(change, now);
}

/** The object as an inventory wants it, as text; empty when it wants none. */
function expected(change: Change, { state, ...inventory }: Inventory): string {
  const key = change.id.slice(change.id.indexOf(' ') + 1);
  switch (change.object) {
    case 'link':
    case 'port':
      return JSON.stringify(inventory.links.get(key) ?? inventory.ports.get(key) ?? '');
    case 'address':
      return wordsOf(inventory.addresses.get(key), addressWords);
    case 'route':
      return wordsOf(inventory.routes.get(key), routeWords);
    case 'rule':
      return wordsOf(inventory.rules.get(key), ruleWords);
    case 'neighbour':
      return wordsOf(inventory.neighbours.get(key), neighbourWords);
    case 'fdb':
      return wordsOf(inventory.fdb.get(key), fdbWords);
    case 'sysctl':
      return inventory.sysctls.get(key) ?? '';
    case 'nft':
      return JSON.stringify(state.table ?? '');
  }
}

function wordsOf<T>(value: T | undefined, words: (value: T) => string): string {
  return value === undefined ? '' : words(value);
}

export interface RepairTelling {
  readonly log: Log;
  readonly counter: Counter;
}

/** One line per object kind, with the events that gave it away. Answers the counts. */
export function tellRepairs(
  { log, counter }: RepairTelling,
  repairs: readonly Change[],
  events: readonly string[],
): Readonly<Partial<Record<ObjectKind, number>>> {
  const byObject = new Map<ObjectKind, Change[]>();
  for (const change of repairs) {
    const list = byObject.get(change.object);
    if (list === undefined) byObject.set(change.object, [change]);
    else list.push(change);
  }
  const counts: Partial<Record<ObjectKind, number>> = {};
  for (const [object, changes] of byObject) {
    counts[object] = changes.length;
    counter.add(changes.length, { object });
    const what = changes.slice(0, DETAILS_MAX).map(describeChange);
    log.warn('repaired what somebody else changed', { object, count: changes.length, what, events });
  }
  return counts;
}

export function describeChange({ action, what, was }: Change): string {
  if (action === 'remove') return `${what}: was not ours to have`;
  return `${what}: was ${was ?? 'missing'}`;
}
