/**
 * A kernel small enough to see through: performs plans on an `Observed`, with the consequences the real one has.
 *
 * It knows what deleting a link takes along, that changing a MAC flushes neighbours, and that a FDB replacement takes
 * the old destination away. Steps that the real kernel would refuse fail an assertion here.
 */
import { assert, unreachable } from '../base/assert.ts';
import { parseMac } from '../base/mac.ts';
import type { NftElement, NftElementChange } from '../kernel/nft/types.ts';
import { elementKey } from '../kernel/nft/types.ts';
import type { KernelOperation, Link, LinkDetails, LinkSettings } from '../kernel/types.ts';
import { addressKind, fdbKind, neighbourKind, routeKind, ruleKind } from './inventory.ts';
import type { Kind } from './inventory.ts';
import type { Observed, ObservedTable, Step } from './step.ts';

export const emptyKernel: Observed = {
  links: new Map(),
  knownStrays: new Set(),
  addresses: [],
  routes: [],
  rules: [],
  neighbours: [],
  fdb: [],
  sysctls: new Map(),
  table: { exists: false, intact: false, elements: new Map() },
};

export function performOnModel(kernel: Observed, steps: readonly Step[]): Observed {
  return steps.reduce(performStep, kernel);
}

function performStep(kernel: Observed, step: Step): Observed {
  switch (step.do) {
    case 'kernel':
      return operate(kernel, step.operation);
    case 'sysctl':
      return { ...kernel, sysctls: new Map([...kernel.sysctls, [step.key, step.value]]) };
    case 'nft-replace':
      return {
        ...kernel,
        table: {
          exists: true,
          intact: true,
          elements: new Map(step.table.sets.map((set) => [set.name, set.elements])),
        },
      };
    case 'nft-change':
      return { ...kernel, table: step.changes.reduce(changeElements, kernel.table) };
    case 'nft-remove':
      return { ...kernel, table: emptyKernel.table };
  }
}

function changeElements(table: ObservedTable, { set, remove, add }: NftElementChange): ObservedTable {
  const elements = new Map((table.elements.get(set.name) ?? []).map((each) => [elementKey(each), each]));
  for (const each of remove) assert(elements.delete(elementKey(each)), 'only present elements are removed');
  for (const each of add) elements.set(elementKey(each), each);
  const all: readonly NftElement[] = [...elements.values()];
  return { ...table, elements: new Map([...table.elements, [set.name, all]]) };
}

export function operate(kernel: Observed, operation: KernelOperation): Observed {
  switch (operation.do) {
    case 'link-add':
      return addLink(kernel, operation);
    case 'link-set':
      return setLink(kernel, operation.name, operation.settings);
    case 'link-delete':
      return deleteLink(kernel, operation.name);
    case 'address-replace':
      return { ...kernel, addresses: put(kernel, kernel.addresses, operation.address, addressKind) };
    case 'address-delete':
      return { ...kernel, addresses: drop(kernel.addresses, operation.address, addressKind) };
    case 'route-replace':
      return { ...kernel, routes: put(kernel, kernel.routes, operation.route, routeKind) };
    case 'route-delete':
      return { ...kernel, routes: drop(kernel.routes, operation.route, routeKind) };
    case 'rule-add':
      return { ...kernel, rules: put(kernel, kernel.rules, operation.rule, ruleKind) };
    case 'rule-delete':
      return { ...kernel, rules: drop(kernel.rules, operation.rule, ruleKind) };
    case 'neighbour-replace':
      return { ...kernel, neighbours: put(kernel, kernel.neighbours, operation.neighbour, neighbourKind) };
    case 'neighbour-delete':
      return { ...kernel, neighbours: drop(kernel.neighbours, operation.neighbour, neighbourKind) };
    case 'fdb-replace':
      return replaceFdb(kernel, operation.entry);
    case 'fdb-delete':
      return { ...kernel, fdb: drop(kernel.fdb, operation.entry, fdbKind) };
    case 'link-move':
      throw new Error('the overlay moves no links');
    default:
      return unreachable(operation);
  }
}

function put<T>(kernel: Observed, list: readonly T[], value: T, kind: Kind<T>): readonly T[] {
  const link = kind.link(value);
  assert(link === undefined || kernel.links.get(link)?.up === true, `device ${link ?? ''} is there and up`);
  return [...drop(list, value, kind), value];
}

function drop<T>(list: readonly T[], value: T, kind: Kind<T>): readonly T[] {
  const key = kind.key(value);
  return list.filter((each) => kind.key(each) !== key);
}

/** Replaces the first destination of the MAC, as vxlan_fdb_replace does. */
function replaceFdb(kernel: Observed, entry: Observed['fdb'][number]): Observed {
  const first = kernel.fdb.find(({ link, mac }) => link === entry.link && mac === entry.mac);
  const rest = kernel.fdb.filter((each) => each !== first);
  return { ...kernel, fdb: put(kernel, rest, entry, fdbKind) };
}

function addLink(
  kernel: Observed,
  { name, link, settings }: Extract<KernelOperation, { do: 'link-add' }>,
): Observed {
  assert(!kernel.links.has(name), `there is no device ${name} yet`);
  const details: LinkDetails = link.kind === 'veth' ? { kind: 'veth' } : link;
  for (const { details: other } of kernel.links.values())
    assert(link.kind !== 'vxlan' || other.kind !== 'vxlan' || other.vni !== link.vni, 'a VNI has one device');
  const fresh: Link = {
    name,
    index: kernel.links.size + 1,
    up: false,
    mtu: 1500,
    mac: parseMac('02:00:00:00:00:01'),
    alias: undefined,
    altNames: [],
    master: undefined,
    group: 0,
    details,
  };
  const added = { ...kernel, links: new Map([...kernel.links, [name, fresh]]) };
  return setLink(added, name, settings);
}

export function setLink(kernel: Observed, name: string, settings: LinkSettings): Observed {
  const link = kernel.links.get(name);
  assert(link !== undefined, `device ${name} is there`);
  const { master, hairpin: _, rename: _rename, addAltName: _altName, ...plain } = settings;
  const changed: Link = {
    ...link,
    ...plain,
    master: master === null ? undefined : (master ?? link.master),
  };
  const links = new Map([...kernel.links, [name, changed]]);
  const flushed = settings.mac !== undefined || settings.up === false;
  const on = (each: { readonly link: string | undefined }): boolean => each.link !== name;
  return {
    ...kernel,
    links,
    neighbours: flushed ? kernel.neighbours.filter(on) : kernel.neighbours,
    routes: settings.up === false ? kernel.routes.filter(on) : kernel.routes,
  };
}

/** What is on the device stays on it. */
export function renameLink(kernel: Observed, from: string, to: string): Observed {
  const moved = <T extends { readonly link: string | undefined }>(list: readonly T[]): readonly T[] =>
    list.map((each) => (each.link === from ? { ...each, link: to } : each));
  const links = [...kernel.links.values()].map((link) => ({
    ...link,
    name: link.name === from ? to : link.name,
    master: link.master === from ? to : link.master,
  }));
  return {
    ...kernel,
    links: new Map(links.map((link) => [link.name, link])),
    addresses: moved(kernel.addresses),
    routes: moved(kernel.routes),
    // Those of other devices than the tunnel are not looked at.
    neighbours: kernel.neighbours.filter(({ link }) => link !== from),
    fdb: kernel.fdb.filter(({ link }) => link !== from),
    sysctls: new Map([...kernel.sysctls].filter(([key]) => !key.includes(`/${from}/`))),
  };
}

export function deleteLink(kernel: Observed, name: string): Observed {
  const on = (each: { readonly link: string | undefined }): boolean => each.link !== name;
  const links = [...kernel.links]
    .filter(([key]) => key !== name)
    .map(([key, link]) => [key, link.master === name ? { ...link, master: undefined } : link] as const);
  return {
    ...kernel,
    links: new Map(links),
    addresses: kernel.addresses.filter(on),
    routes: kernel.routes.filter(on),
    neighbours: kernel.neighbours.filter(on),
    fdb: kernel.fdb.filter(on),
    sysctls: new Map([...kernel.sysctls].filter(([key]) => !key.includes(`/${name}/`))),
  };
}
