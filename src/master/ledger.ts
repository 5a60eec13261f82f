/**
 * Who holds what, in memory: the decisions of registration and removal, each with the store operations that make it
 * durable. Synchronous; knows no store, no clock.
 *
 * Invariants: identity is the node id, an address is only data: two nodes with one address hold two grants, and the
 * earlier one is marked `superseded_by` the later. A removed id never comes back. The fencing epoch rises with every
 * grant that is new or changed, over the whole cluster.
 * Review notes: a decision is in memory before it is durable. Whoever commits its operations must load a new ledger
 * from the store when the commit fails.
 */
import { compareIp, ip, parseIp } from '../base/ip.ts';
import { BlockPool, type Misfit, type Shortage } from '../ipam/blocks.ts';
import type { NodeId } from '../model/names.ts';
import type { NetworkSpace } from '../model/network-space.ts';
import type { RegisterAgent } from '../model/registration.ts';
import type { StoreOperation } from '../store/types.ts';
import { configurationChanged, noVtepLeft } from './refusals.ts';
import { encodeNode, storeKeys, type NodeEntry, type Removal } from './stored.ts';

export interface LedgerContent {
  readonly epoch: number;
  readonly nodes: readonly NodeEntry[];
  readonly removed: readonly Removal[];
}

export interface Registration {
  readonly entry: NodeEntry;
  readonly operations: readonly StoreOperation[];
  readonly shortages: readonly Shortage[];
}

export class Ledger {
  readonly pool: BlockPool;
  readonly #nodes = new Map<NodeId, NodeEntry>();
  readonly #removed: Map<NodeId, Removal>;
  /** Nodes by last address: nearly always one each. */
  readonly #byAddress = new Map<string, Set<NodeId>>();
  #epoch: number;

  /** Throws when a stored grant does not fit `network`: then nothing may be given, lest it be given twice. */
  constructor(network: NetworkSpace, content: LedgerContent) {
    this.pool = new BlockPool(network);
    this.#epoch = content.epoch;
    this.#removed = new Map(content.removed.map((removal) => [removal.node, removal]));
    const misfits: { entry: NodeEntry; misfit: Misfit }[] = [];
    for (const entry of content.nodes) {
      for (const misfit of this.pool.reserve(entry.grant)) misfits.push({ entry, misfit });
      this.#put(entry);
    }
    if (misfits.length > 0) throw configurationChanged(misfits);
  }

  get epoch(): number {
    return this.#epoch;
  }

  content(): LedgerContent {
    return { epoch: this.#epoch, nodes: [...this.#nodes.values()], removed: [...this.#removed.values()] };
  }

  get size(): number {
    return this.#nodes.size;
  }

  node(id: NodeId): NodeEntry | undefined {
    return this.#nodes.get(id);
  }

  removal(id: NodeId): Removal | undefined {
    return this.#removed.get(id);
  }

  /** By address, then by age. */
  nodes(): readonly NodeEntry[] {
    const parsed = [...this.#nodes.values()].map((entry) => ({ entry, address: ip(entry.address) }));
    parsed.sort((a, b) => compareIp(a.address, b.address) || a.entry.grant_epoch - b.entry.grant_epoch);
    return parsed.map(({ entry }) => entry);
  }

  withAddress(address: string): readonly NodeEntry[] {
    return [...(this.#byAddress.get(address) ?? [])].flatMap((id) => this.#nodes.get(id) ?? []);
  }

  /** Gives a node its grant, new or the same. Throws 'exhausted' when there is no VTEP address for it. */
  register(message: RegisterAgent): Registration {
    const before = this.#nodes.get(message.node);
    const allocation = this.pool.allocate(message.network_config, before?.grant);
    if (!allocation.ok) throw noVtepLeft(this.pool.network, allocation.shortages);
    if (allocation.changed) this.#epoch += 1;
    const entry: NodeEntry = {
      node: message.node,
      name: message.name,
      address: canonical(message.address),
      gossip_port: message.gossip_port,
      api_port: message.api_port,
      network_config: message.network_config,
      grant_epoch: allocation.changed ? this.#epoch : (before?.grant_epoch ?? this.#epoch),
      superseded_by: undefined,
      grant: allocation.grant,
    };
    const others = this.withAddress(entry.address).filter(
      (other) => other.node !== entry.node && other.superseded_by !== entry.node,
    );
    const superseded = others.map((other) => ({ ...other, superseded_by: entry.node }));
    const changed = before === undefined || encodeNode(before) !== encodeNode(entry) ? [entry] : [];
    return { entry, operations: this.#store([...changed, ...superseded]), shortages: allocation.shortages };
  }

  /** Takes a node's grant back and bars its id; `undefined` when there is no such node. */
  remove(
    id: NodeId,
  ): { readonly removal: Removal; readonly operations: readonly StoreOperation[] } | undefined {
    const entry = this.#nodes.get(id);
    if (entry === undefined) return undefined;
    const { node, name, address, grant_epoch } = entry;
    const removal: Removal = { node, name, address, grant_epoch };
    this.pool.release(entry.grant);
    this.#forget(entry);
    this.#removed.set(node, removal);
    const freed = this.withAddress(address)
      .filter((other) => other.superseded_by === node)
      .map((other) => ({ ...other, superseded_by: undefined }));
    return {
      removal,
      operations: [
        { do: 'delete', key: storeKeys.node(node) },
        { do: 'put', key: storeKeys.removedNode(node), value: JSON.stringify(removal) },
        ...this.#store(freed),
      ],
    };
  }

  #store(entries: readonly NodeEntry[]): readonly StoreOperation[] {
    for (const entry of entries) this.#put(entry);
    return entries.map((entry) => ({ do: 'put', key: storeKeys.node(entry.node), value: encodeNode(entry) }));
  }

  #put(entry: NodeEntry): void {
    const before = this.#nodes.get(entry.node);
    if (before !== undefined && before.address !== entry.address) this.#forget(before);
    this.#nodes.set(entry.node, entry);
    const holders = this.#byAddress.get(entry.address) ?? new Set();
    this.#byAddress.set(entry.address, holders.add(entry.node));
  }

  #forget(entry: NodeEntry): void {
    this.#nodes.delete(entry.node);
    const holders = this.#byAddress.get(entry.address);
    holders?.delete(entry.node);
    if (holders?.size === 0) this.#byAddress.delete(entry.address);
  }
}

/** One spelling per address, so that it can be compared as text. */
export function canonical(address: string): string {
  return String(parseIp(address) ?? address);
}
