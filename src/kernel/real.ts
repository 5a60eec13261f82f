/**
 * The kernel of this machine, in the network namespace that the daemon runs in.
 *
 * Purpose: puts the adapter together; everything above knows `Kernel` of types.ts alone.
 * Invariants: whatever namespace the main thread visits, this handle stays with the one it was opened in; nothing here
 * starts a process except nftables' own `nft`.
 * Review notes: what is new here needs its case in contract.ts, which the fake passes too.
 */
import { realClock } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import { namespaceInode, openCurrentNamespace, openNamespaceHandle, type NamespaceHandle } from './netns.ts';
import { RealNamespace } from './namespace.ts';
import { deleteConnections } from './netlink/conntrack.ts';
import { MONITOR_QUEUE_BYTES, NetlinkMonitor, NFT_GROUPS, ROUTE_GROUPS } from './netlink/monitor.ts';
import { NETLINK_NETFILTER, NETLINK_ROUTE, NetlinkSocket } from './netlink/socket.ts';
import { createNft, type RealNft } from './nft/nft.ts';
import { portPerhapsInUse } from './port-probe.ts';
import type { ConnectionFilter, Kernel, KernelEvent, Monitor, NetworkNamespace } from './types.ts';

/** Opens the namespace of the calling thread. */
export async function openKernel(components: { readonly log: Log }): Promise<Kernel> {
  return new RealKernel({ log: components.log, handle: openCurrentNamespace() });
}

class RealKernel extends RealNamespace implements Kernel {
  readonly nft: RealNft;
  readonly #log: Log;
  readonly #handle: NamespaceHandle;
  readonly #monitors = new Set<Monitor>();
  #conntrack: NetlinkSocket | undefined;

  constructor(components: { readonly log: Log; readonly handle: NamespaceHandle }) {
    super(components);
    this.#log = components.log;
    this.#handle = components.handle;
    this.nft = createNft({ ownPorts: this.ownPorts });
  }

  async openNamespace(path: string): Promise<NetworkNamespace> {
    // Opened for a moment, with every container: a buffer of 64 KiB each would keep the garbage collector busy.
    return new RealNamespace(
      { handle: openNamespaceHandle(path), receive: this.receive },
      { oneByOne: true },
    );
  }

  async namespaceInode(path: string): Promise<number | undefined> {
    return namespaceInode(path);
  }

  async monitor(onEvent: (event: KernelEvent) => void): Promise<Monitor> {
    const open = (protocol: number, groups: readonly number[]): NetlinkSocket =>
      this.#handle.within(() => new NetlinkSocket({}, { protocol, groups, queueBytes: MONITOR_QUEUE_BYTES }));
    const monitor = new NetlinkMonitor(
      {
        clock: realClock,
        log: this.#log,
        routeSocket: open(NETLINK_ROUTE, ROUTE_GROUPS),
        nftSocket: open(NETLINK_NETFILTER, NFT_GROUPS),
        ownPorts: this.ownPorts,
        echoes: this.echoes,
        nameOf: (index) => this.nameOf(index),
      },
      { onEvent },
    );
    this.#monitors.add(monitor);
    return monitor;
  }

  portPerhapsInUse(protocol: 'tcp' | 'udp', port: number): boolean {
    return this.#handle.within(() => portPerhapsInUse(protocol, port));
  }

  async deleteConnections(...filters: readonly ConnectionFilter[]): Promise<number> {
    if (filters.length === 0) return 0;
    this.#conntrack ??= this.#handle.within(() => new NetlinkSocket({}, { protocol: NETLINK_NETFILTER }));
    return deleteConnections(this.#conntrack, filters);
  }

  override close(): void {
    for (const monitor of this.#monitors) monitor.close();
    this.#monitors.clear();
    this.#conntrack?.close();
    this.nft.close();
    super.close();
  }
}
