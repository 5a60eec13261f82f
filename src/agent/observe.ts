/**
 * Reads from the kernel what can be ours, and no more: routes of our protocol, neighbours and FDB of our tunnel.
 */
import type { DesiredState } from '../overlay/desired.ts';
import type { Inventory } from '../overlay/inventory.ts';
import type { Observed, ObservedTable } from '../overlay/step.ts';
import { PROTOCOL_PORTOLAN } from '../kernel/types.ts';
import type { Address, Kernel, Link } from '../kernel/types.ts';

export async function observe(
  kernel: Kernel,
  links: readonly Link[],
  inventory: Inventory,
  table: ObservedTable,
  knownStrays: ReadonlySet<number>,
): Promise<Observed> {
  const byName = new Map(links.map((link) => [link.name, link]));
  const tunnels = inventory.state.links.flatMap(({ name, link }) =>
    link.kind === 'vxlan' && byName.get(name)?.details.kind === 'vxlan' ? [name] : [],
  );
  const sysctls = [...inventory.sysctls.keys(), ...inventory.deciding].map(
    async (key) => [key, await kernel.readSysctl(key)] as const,
  );
  return {
    links: byName,
    knownStrays,
    addresses: await addressesOf(
      kernel,
      [...inventory.links.keys()].filter((name) => byName.has(name)),
    ),
    routes: await kernel.routes({ protocol: PROTOCOL_PORTOLAN }),
    rules: await kernel.rules(),
    neighbours: whole(await Promise.all(tunnels.map((link) => kernel.neighbours({ link })))),
    fdb: whole(await Promise.all(tunnels.map((link) => kernel.fdb({ link })))),
    sysctls: new Map(await Promise.all(sysctls)),
    table,
  };
}

/** A single list stays itself: the same list again means that nothing has changed. */
function whole<T>(lists: readonly (readonly T[])[]): readonly T[] {
  const [first, ...rest] = lists;
  return first !== undefined && rest.length === 0 ? first : lists.flat();
}

/** Of our own devices only: each container's veth may have addresses that concern nobody. */
async function addressesOf(kernel: Kernel, links: readonly string[]): Promise<readonly Address[]> {
  return (await Promise.all(links.map((link) => kernel.addresses({ link })))).flat();
}

/** True when what `observe` read for one state is all that it would read for the other. */
export function sameScope(a: DesiredState, b: DesiredState): boolean {
  return a === b || scope(a) === scope(b);
}

function scope({ links, sysctls, table }: DesiredState): string {
  return [
    ...links.map(({ name }) => name),
    ...sysctls.map(({ key }) => key),
    ...(table?.sets ?? []).map(({ name }) => name),
  ].join(' ');
}
