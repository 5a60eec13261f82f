/**
 * Which kernel events are worth a round: those that may mean a change of something of ours.
 *
 * A busy host makes many that are not: ARP on its own devices, bridges learning, other programs' veths. When in doubt
 * the answer is yes; what is missed here the sweep finds.
 */
import type { KernelEvent } from '../kernel/types.ts';
import type { Inventory } from '../overlay/inventory.ts';
import { isBridgeAlias, VTEP_ALIAS } from '../overlay/marks.ts';

/** The kernel's own routes of addresses that come and go: never in the place of one of ours. */
const kernelRoute = /^(Deleted )?(local|broadcast|multicast|anycast|fe80:|ff00:)/;

export function concerns(event: KernelEvent, inventory: Inventory | undefined): boolean {
  // Before the first round there is nothing to repair; it will look at everything.
  if (inventory === undefined) return false;
  const { link } = event;
  switch (event.object) {
    case 'overrun':
    case 'nft':
    case 'rule':
      return true;
    case 'route':
      return !kernelRoute.test(event.text);
    case 'link':
      // One that bears the mark of a device of ours under another name was renamed, or is a leftover.
      if (event.alias === VTEP_ALIAS || isBridgeAlias(event.alias)) return true;
      return link === undefined || inventory.links.has(link) || inventory.ports.has(link);
    case 'address':
    case 'neighbour':
      return link === undefined || inventory.links.has(link);
    case 'fdb':
      return link === undefined || inventory.links.get(link)?.link.kind === 'vxlan';
    case 'sysctl':
      return Object.entries(event.sysctls ?? {}).some(
        ([key, value]) => inventory.deciding.has(key) || (inventory.sysctls.get(key) ?? value) !== value,
      );
  }
}
