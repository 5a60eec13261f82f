/** Reads what the tracer looks at: this host's networking, and the inside of the containers that a packet concerns. */
import { readFileSync } from 'node:fs';
import { parseInterfaceAddress } from '../../base/ip.ts';
import { openCurrentNamespace, openNamespaceHandle, type NamespaceHandle } from '../../kernel/netns.ts';
import type { Kernel } from '../../kernel/types.ts';
import type { HostState, Inside, Listener, LocalContainer } from '../../trace/state.ts';
import type { KnownEndpoint } from '../../node/record-view.ts';
import { parseListeners } from '../attachments-listeners.ts';
import { readFilters, readFiltersInside } from './observe-filters.ts';
import { addressesOf, type AttachmentRecord } from '../attachments-record.ts';

export interface ObserveInit {
  readonly host: string;
  readonly attachments: readonly AttachmentRecord[];
  /** Those of this host's Docker containers, and the bridge that each is on. */
  readonly docker: readonly { readonly endpoint: KnownEndpoint; readonly bridge: string }[];
  readonly vip: HostState['vip'];
  /** Containers with one of these addresses are looked into. */
  readonly concerned: ReadonlySet<string>;
}

export async function observeHost(kernel: Kernel, init: ObserveInit): Promise<HostState> {
  const links = await kernel.links();
  const tunnels = links.filter(({ details }) => details.kind === 'vxlan').map(({ name }) => name);
  const [addresses, routes, rules, neighbours, fdb, containers, four, six, bridged4, bridged6, filters] =
    await Promise.all([
      kernel.addresses(),
      kernel.routes(),
      kernel.rules(),
      Promise.all(tunnels.map((link) => kernel.neighbours({ link }))),
      Promise.all(tunnels.map((link) => kernel.fdb({ link }))),
      Promise.all(init.attachments.map((each) => attachedContainer(kernel, each, init.concerned))),
      kernel.readSysctl('net/ipv4/ip_forward'),
      kernel.readSysctl('net/ipv6/conf/all/forwarding'),
      kernel.readSysctl('net/bridge/bridge-nf-call-iptables'),
      kernel.readSysctl('net/bridge/bridge-nf-call-ip6tables'),
      readFilters(kernel.nft),
    ]);
  return {
    host: init.host,
    links,
    addresses,
    routes,
    rules,
    neighbours: neighbours.flat(),
    fdb: fdb.flat(),
    forwarding: { 4: four === '1', 6: six === '1' },
    containers: [...containers, ...init.docker.map(dockerContainer)],
    listeners: listenersIn(openCurrentNamespace()),
    filters,
    bridgeFilters: { 4: bridged4 === '1', 6: bridged6 === '1' },
    vip: init.vip,
  };
}

async function attachedContainer(
  kernel: Kernel,
  record: AttachmentRecord,
  concerned: ReadonlySet<string>,
): Promise<LocalContainer> {
  const addresses = addressesOf(record);
  const isConcerned = addresses.some(({ address }) => concerned.has(String(address)));
  const inside = isConcerned ? await lookInside(kernel, record.netns) : undefined;
  return {
    name: record.name ?? record.container,
    addresses,
    hostLink: record.hostLink,
    bridge: record.bridge,
    ports: record.ports,
    ...(inside === undefined ? {} : { inside }),
  };
}

function dockerContainer({ endpoint, bridge }: ObserveInit['docker'][number]): LocalContainer {
  return {
    name: endpoint.name ?? endpoint.container,
    addresses: endpoint.addresses.flatMap((text) => parseInterfaceAddress(text) ?? []),
    bridge,
    ports: endpoint.ports,
  };
}

/** `undefined` when the namespace has gone meanwhile. */
async function lookInside(kernel: Kernel, path: string): Promise<Inside | undefined> {
  let handle: NamespaceHandle;
  try {
    handle = openNamespaceHandle(path);
  } catch {
    return undefined;
  }
  const namespace = await kernel.openNamespace(path);
  try {
    const [links, addresses, routes, rules, filters] = await Promise.all([
      namespace.links(),
      namespace.addresses(),
      namespace.routes(),
      namespace.rules(),
      readFiltersInside(path, handle),
    ]);
    return { links, addresses, routes, rules, filters, listeners: listenersIn(handle) };
  } finally {
    namespace.close();
    handle.close();
  }
}

/** /proc/thread-self/net is that of the namespace the thread is in when it opens the file (proc(5)). */
function listenersIn(handle: NamespaceHandle): readonly Listener[] {
  return (['tcp', 'udp'] as const).flatMap((protocol) =>
    ['', '6'].flatMap((family) => {
      const text = handle.within(() => readTable(`/proc/thread-self/net/${protocol}${family}`));
      return parseListeners(text, protocol).map(({ address, port }) => ({ protocol, address, port }));
    }),
  );
}

/** A kernel without IPv6 has no tcp6. */
function readTable(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}
