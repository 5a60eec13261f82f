/**
 * Devices: which to make, correct, adopt, recreate, leave alone or remove.
 *
 * A device with our mark is ours to recreate. One without it that is of the right kind and fits is adopted (a bridge
 * left by an earlier installation). Any other stands in the way: that is a fault for people, never a deletion.
 */
import { GROUP_DOOMED } from '../kernel/types.ts';
import type { Link, LinkSettings } from '../kernel/types.ts';
import type { DesiredLink, DesiredPort, Fault } from './desired.ts';
import type { Inventory } from './inventory.ts';
import { isAttachmentAlias, isBridgeAlias, isOurAlias, VTEP_ALIAS } from './marks.ts';
import type { Change, Observed, Step } from './step.ts';

export interface LinkPlan {
  readonly steps: readonly Step[];
  readonly ports: readonly Step[];
  /** Strays but for tunnels, to be removed when nothing refers to them any more. */
  readonly removals: readonly Step[];
  readonly faults: readonly Fault[];
  /** Devices that are not there and will not be: what belongs on them waits. */
  readonly blocked: ReadonlySet<string>;
  /** Devices that lose everything on them in this plan. */
  readonly emptied: ReadonlySet<string>;
  /** Devices whose neighbours the kernel flushes in this plan. */
  readonly flushed: ReadonlySet<string>;
  /** Devices that are removed for good. */
  readonly removed: ReadonlySet<string>;
  readonly lookAgain: boolean;
  readonly strays: ReadonlySet<number>;
}

export function planLinks(inventory: Inventory, observed: Observed): LinkPlan {
  const draft: Draft = {
    steps: [],
    faults: [],
    blocked: new Set(),
    emptied: new Set(),
    flushed: new Set(),
    lookAgain: false,
  };
  const { veths, bridges, tunnels, kept } = strays(inventory, observed.links);
  // A tunnel that was renamed holds the VNI that the one to be made needs.
  const tunnelRemovals = tunnels.map((link) => deleteLink(link, 'remove'));
  draft.steps.push(...tunnelRemovals);
  for (const desired of inventory.links.values()) planLink(draft, desired, observed.links.get(desired.name));
  draft.lookAgain ||= kept.some(({ ports }) => ports.every((port) => inventory.ports.has(port)));
  const removals = [...veths.filter(({ index }) => observed.knownStrays.has(index)), ...bridges].map((link) =>
    deleteLink(link, 'remove'),
  );
  return {
    ...draft,
    ports: [...inventory.ports.values()].flatMap((port) =>
      planPort(draft, port, observed.links.get(port.name)),
    ),
    removals,
    removed: new Set([...tunnelRemovals, ...removals].map(({ change }) => change.link ?? '')),
    strays: new Set(veths.map(({ index }) => index)),
  };
}

interface Draft {
  readonly steps: Step[];
  readonly faults: Fault[];
  readonly blocked: Set<string>;
  readonly emptied: Set<string>;
  readonly flushed: Set<string>;
  lookAgain: boolean;
}

function planLink(draft: Draft, desired: DesiredLink, found: Link | undefined): void {
  if (found === undefined) {
    draft.emptied.add(desired.name);
    draft.steps.push(...addLink(desired, undefined));
    return;
  }
  const difference = misfit(desired, found);
  if (difference === undefined) correctLink(draft, desired, found);
  else if (isOurAlias(found.alias)) {
    draft.emptied.add(desired.name);
    draft.lookAgain = true;
    draft.steps.push(deleteLink(found, 'correct'), ...addLink(desired, difference));
  } else {
    draft.blocked.add(desired.name);
    const reason = `device ${desired.name} exists and is ${difference}, not ours and not what is wanted (${describeDesired(desired)}): remove or rename it`;
    const concerned = desired.overlays.length === 0 ? [undefined] : desired.overlays;
    draft.faults.push(...concerned.map((overlay) => ({ overlay, reason })));
  }
}

/** What the device is that no change in place would mend; `undefined` when it fits. */
function misfit({ link }: DesiredLink, { details }: Link): string | undefined {
  if (details.kind !== link.kind)
    return `a ${details.kind === 'other' ? details.name || 'physical' : details.kind} device`;
  if (link.kind !== 'vxlan' || details.kind !== 'vxlan') return undefined;
  const same =
    details.vni === link.vni &&
    details.port === link.port &&
    details.learning === link.learning &&
    details.local !== undefined &&
    details.local.equals(link.local);
  if (same) return undefined;
  const local = details.local === undefined ? '' : ` local ${details.local.toString()}`;
  return `a vxlan device with id ${details.vni}${local} dstport ${details.port}${details.learning ? '' : ' nolearning'}`;
}

function describeDesired({ link }: DesiredLink): string {
  return link.kind === 'bridge'
    ? 'a bridge'
    : `vxlan id ${link.vni} local ${link.local.toString()} dstport ${link.port} nolearning`;
}

function correctLink(draft: Draft, desired: DesiredLink, found: Link): void {
  const settings: LinkSettings = {
    ...(found.alias === desired.alias ? {} : { alias: desired.alias }),
    ...(found.mtu === desired.mtu ? {} : { mtu: desired.mtu }),
    ...(found.mac === desired.mac ? {} : { mac: desired.mac }),
    ...(found.master === undefined ? {} : { master: null }),
    ...(found.up ? {} : { up: true }),
  };
  if (Object.keys(settings).length === 0) return;
  if (settings.mac !== undefined) draft.flushed.add(desired.name);
  if (settings.mac !== undefined || settings.up !== undefined || settings.mtu !== undefined)
    draft.lookAgain = true;
  draft.steps.push(setLink('link', desired.name, settings, found));
}

/** Its veth is the attachment's to make; here it is only held in its bridge. */
function planPort(draft: Draft, port: DesiredPort, found: Link | undefined): readonly Step[] {
  if (found === undefined || found.details.kind !== 'veth' || found.group === GROUP_DOOMED) return [];
  if (port.bridge === undefined || draft.blocked.has(port.bridge)) return [];
  const enslaved = found.master === port.bridge && !draft.emptied.has(port.bridge);
  const settings: LinkSettings = {
    ...(found.alias === port.alias ? {} : { alias: port.alias }),
    ...(enslaved ? {} : { master: port.bridge, hairpin: true }),
    ...(found.up ? {} : { up: true }),
  };
  return Object.keys(settings).length === 0 ? [] : [setLink('port', port.name, settings, found)];
}

/**
 * A bridge follows the MTU of its ports until somebody has set another one than it had (net/bridge, br_change_mtu);
 * what it is born with does not count. So it is born with one byte more.
 */
function addLink(desired: DesiredLink, was: string | undefined): readonly Step[] {
  const { name, link, mtu, mac, alias } = desired;
  const change: Change = {
    object: 'link',
    id: `link ${name}`,
    action: was === undefined ? 'make' : 'correct',
    what: `${name} ${describeDesired(desired)} mtu ${mtu} address ${mac}`,
    was,
    link: name,
  };
  const add = (first: number): Step => ({
    do: 'kernel',
    operation: { do: 'link-add', name, link, settings: { mtu: first, mac, alias, up: true } },
    change,
  });
  if (link.kind !== 'bridge') return [add(mtu)];
  return [add(mtu + 1), { do: 'kernel', operation: { do: 'link-set', name, settings: { mtu } }, change }];
}

function setLink(object: 'link' | 'port', name: string, settings: LinkSettings, found: Link): Step {
  const { hairpin: _, ...wanted } = settings;
  const { alias, mtu, mac, master, up } = found;
  const words = (values: Readonly<Record<string, string | number | boolean | null | undefined>>): string =>
    Object.keys(wanted)
      .map((key) => `${key} ${String(values[key] ?? 'none')}`)
      .join(' ');
  return {
    do: 'kernel',
    operation: { do: 'link-set', name, settings },
    change: {
      object,
      id: `link ${name}`,
      action: 'correct',
      what: `${name} ${words({ ...wanted })}`,
      was: words({ alias, mtu, mac, master, up }),
      link: name,
    },
  };
}

function deleteLink(found: Link, action: Change['action']): Step {
  return {
    do: 'kernel',
    operation: { do: 'link-delete', name: found.name },
    change: {
      object: 'link',
      id: `link ${found.name}`,
      action,
      what: `${found.name} alias ${found.alias ?? ''}`,
      was: undefined,
      link: found.name,
    },
  };
}

interface Strays {
  readonly veths: readonly Link[];
  readonly bridges: readonly Link[];
  readonly tunnels: readonly Link[];
  /** Bridges that stay for now, and what holds them. */
  readonly kept: readonly { readonly ports: readonly string[] }[];
}

/** Marked devices that nobody wants, ports before bridges; a bridge with somebody else's port on it stays. */
function strays(inventory: Inventory, found: ReadonlyMap<string, Link>): Strays {
  const veths: Link[] = [];
  const bridges: Link[] = [];
  const tunnels: Link[] = [];
  for (const link of found.values()) {
    if (link.group === GROUP_DOOMED || inventory.links.has(link.name)) continue;
    if (link.details.kind === 'veth') {
      if (isAttachmentAlias(link.alias) && !inventory.ports.has(link.name)) veths.push(link);
    } else if (link.details.kind === 'vxlan' && link.alias === VTEP_ALIAS) tunnels.push(link);
    else if (link.details.kind === 'bridge' && isBridgeAlias(link.alias)) bridges.push(link);
  }
  if (bridges.length === 0) return { veths, bridges, tunnels, kept: [] };
  const doomed = new Set(veths.map(({ name }) => name));
  const portsOf = (bridge: Link): readonly string[] =>
    [...found.values()]
      .filter(({ name, master }) => master === bridge.name && !doomed.has(name))
      .map(({ name }) => name);
  const held = bridges.map((bridge) => ({ bridge, ports: portsOf(bridge) }));
  return {
    veths,
    bridges: held.filter(({ ports }) => ports.length === 0).map(({ bridge }) => bridge),
    tunnels,
    kept: held.filter(({ ports }) => ports.length > 0),
  };
}
