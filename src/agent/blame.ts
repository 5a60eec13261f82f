/**
 * Which overlays suffer from what went wrong in a round.
 *
 * What concerns one remote node (its neighbour, FDB entry, routes) is reported and retried but fails no overlay here:
 * the node's own containers and all others reach each other.
 */
import type { Fault } from '../overlay/desired.ts';
import type { Inventory } from '../overlay/inventory.ts';
import type { Change } from '../overlay/step.ts';
import type { Failure } from './perform.ts';

export interface OverlayHealth {
  readonly ok: boolean;
  /** The reasons, joined by `;` as DC/OS did. */
  readonly error: string | undefined;
}

export function blame(
  inventory: Inventory,
  failures: readonly Failure[],
  faults: readonly Fault[],
): ReadonlyMap<string, OverlayHealth> {
  const reasons = new Map<string, Set<string>>();
  for (const { name } of inventory.state.overlays) reasons.set(name, new Set());
  for (const { overlay, reason } of faults)
    for (const name of overlay === undefined ? reasons.keys() : [overlay]) reasons.get(name)?.add(reason);
  for (const { change, reason } of failures)
    for (const name of sufferers(inventory, change) ?? reasons.keys())
      reasons.get(name)?.add(`${change.what}: ${reason}`);
  return new Map(
    [...reasons].map(([name, texts]) => {
      const error = texts.size === 0 ? undefined : [...texts].join('; ');
      return [name, { ok: error === undefined, error }];
    }),
  );
}

/** `undefined` = all overlays. */
function sufferers(inventory: Inventory, change: Change): readonly string[] | undefined {
  switch (change.object) {
    case 'neighbour':
    case 'fdb':
    case 'route':
      return [];
    case 'link':
    case 'address': {
      const link = change.link ?? '';
      // A stray that does not go away harms nobody.
      return inventory.links.get(link)?.overlays ?? [];
    }
    case 'port':
      return inventory.ports.get(change.link ?? '')?.overlays ?? [];
    case 'sysctl':
      return inventory.state.sysctls.find(({ key }) => change.id === `sysctl ${key}`)?.overlays ?? [];
    case 'rule':
    case 'nft':
      return undefined;
  }
}
