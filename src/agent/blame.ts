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
    // A stray that does not go away harms nobody.
    case 'link':
      return overlaysOn(inventory, change);
    case 'address':
      return overlaysOn(inventory, change).filter((name) => !isIpv6(change) || hasIpv6(inventory, name));
    case 'port':
      return inventory.ports.get(change.link ?? '')?.overlays ?? [];
    case 'sysctl':
      return inventory.state.sysctls.find(({ key }) => change.id === `sysctl ${key}`)?.overlays ?? [];
    case 'rule':
    case 'nft':
      return undefined;
  }
}

function overlaysOn(inventory: Inventory, { link }: Change): readonly string[] {
  return inventory.links.get(link ?? '')?.overlays ?? [];
}

/** The VTEP's IPv6 address concerns only the overlays that carry IPv6. */
function isIpv6({ what }: Change): boolean {
  return /^[0-9a-f]*:/.test(what);
}

function hasIpv6({ state }: Inventory, overlay: string): boolean {
  return state.overlays.some(
    ({ name, spaces }) => name === overlay && spaces.some(({ family }) => family === 6),
  );
}
