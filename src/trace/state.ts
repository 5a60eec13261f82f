/** What the tracer looks at: one host's networking as its kernel has it, and the containers on it. */
import type { InterfaceAddress, IpAddress } from '../base/ip.ts';
import type { Address, FdbEntry, Link, Neighbour, Route, Rule } from '../kernel/types.ts';
import type { PortMapping } from '../model/endpoint.ts';
import type { Filters } from './filter/rules.ts';

/** A network namespace: a container's. */
export interface Inside {
  readonly links: readonly Link[];
  readonly addresses: readonly Address[];
  readonly routes: readonly Route[];
  /** Absent = the kernel's own. */
  readonly rules?: readonly Rule[];
  /** Absent = not looked at. */
  readonly filters?: Filters;
  /** What processes in it listen on. */
  readonly listeners: readonly Listener[];
}

export interface Listener {
  readonly protocol: 'tcp' | 'udp';
  /** Zero = every address. */
  readonly address: IpAddress;
  readonly port: number;
}

export interface LocalContainer {
  /** What people call it. */
  readonly name: string;
  readonly addresses: readonly InterfaceAddress[];
  /** The host's end of its veth pair; absent where a runtime keeps that to itself, as Docker does. */
  readonly hostLink?: string;
  readonly bridge: string;
  readonly ports: readonly PortMapping[];
  /** Absent = it cannot be looked into from here. */
  readonly inside?: Inside;
}

/** Where a VIP's packet may go. */
export interface TracedBackend {
  readonly address: IpAddress;
  readonly port: number;
  readonly weight: number;
}

export interface HostState {
  readonly host: string;
  readonly links: readonly Link[];
  readonly addresses: readonly Address[];
  readonly routes: readonly Route[];
  readonly rules: readonly Rule[];
  /** Of the tunnels' devices. */
  readonly neighbours: readonly Neighbour[];
  readonly fdb: readonly FdbEntry[];
  readonly forwarding: Readonly<Record<4 | 6, boolean>>;
  readonly containers: readonly LocalContainer[];
  /** Of the host's own namespace. */
  readonly listeners: readonly Listener[];
  /** Rules of other people's tables. */
  readonly filters: Filters;
  /** Whether what crosses a bridge meets them too (br_netfilter). */
  readonly bridgeFilters: Readonly<Record<4 | 6, boolean>>;
  /** The backends that the kernel has for a VIP's port; `undefined` = the address is no VIP's. */
  vip(address: IpAddress, protocol: 'tcp' | 'udp', port: number): readonly TracedBackend[] | undefined;
}
