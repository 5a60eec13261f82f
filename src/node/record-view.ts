/**
 * The records of all nodes, typed.
 *
 * Each record is checked against its schema once, when it changes. One that does not fit (a newer version's, or damaged)
 * counts for nothing and is named in the log once; it is still passed on to others untouched.
 */
import type { Log } from '../base/log.ts';
import { endpoint, type Endpoint } from '../model/endpoint.ts';
import type { NodeId } from '../model/names.ts';
import {
  mastersRecord,
  nodeRecord,
  overlayRecord,
  recordNode,
  removedRecord,
  type GossipRecord,
  type NodeRecord,
  type OverlayRecord,
} from '../model/record.ts';
import type { z } from 'zod';
import type { RecordExchange } from './exchange.ts';
import type { NodeOverlayRecord } from '../overlay/desired.ts';

export interface KnownNode extends NodeRecord {
  readonly id: NodeId;
  /** Block by overlay. */
  readonly overlays: Readonly<Record<string, string>>;
}

export interface KnownEndpoint extends Endpoint {
  readonly node: NodeId;
  /** The node's name. */
  readonly host: string;
}

type Kind = 'node' | 'overlay' | 'endpoint';

export class RecordView {
  readonly #log: Log;
  readonly #nodes = new Map<NodeId, NodeRecord>();
  readonly #overlays = new Map<string, NodeOverlayRecord>();
  readonly #endpoints = new Map<string, { readonly node: NodeId; readonly endpoint: Endpoint }>();
  readonly #removed = new Set<NodeId>();
  #masters: readonly string[] = [];
  readonly #unsubscribe: () => void;

  /** `onChange` is called after changes that matter to the kernel: overlays and removals. */
  constructor(
    components: { readonly exchange: RecordExchange; readonly log: Log },
    init: { readonly onChange: () => void },
  ) {
    this.#log = components.log;
    for (const record of components.exchange.records('')) this.#take(record);
    this.#unsubscribe = components.exchange.subscribe('', (changes) => {
      const matter = changes.map((record) => this.#take(record));
      if (matter.includes(true)) init.onChange();
    });
  }

  close(): void {
    this.#unsubscribe();
  }

  overlays(): readonly NodeOverlayRecord[] {
    return [...this.#overlays.values()];
  }

  removed(): ReadonlySet<NodeId> {
    return this.#removed;
  }

  masters(): readonly string[] {
    return this.#masters;
  }

  /** Nodes that were not removed. */
  nodeCount(): number {
    return this.#nodes.size;
  }

  /** Nodes that were not removed, by name. */
  nodes(): readonly KnownNode[] {
    const blocks = new Map<NodeId, Record<string, string>>();
    for (const { node, record } of this.#overlays.values()) {
      const block = record.subnet ?? record.subnet6;
      if (block !== undefined) blocks.set(node, { ...blocks.get(node), [record.overlay]: block });
    }
    return [...this.#nodes]
      .filter(([id]) => !this.#removed.has(id))
      .map(([id, node]) => ({ id, ...node, overlays: blocks.get(id) ?? {} }))
      .sort((a, b) => a.name.localeCompare(b.name) || a.id.localeCompare(b.id));
  }

  /** Endpoints of nodes that were not removed, by host, then by container. */
  endpoints(): readonly KnownEndpoint[] {
    return [...this.#endpoints.values()]
      .filter(({ node }) => !this.#removed.has(node))
      .map(({ node, endpoint: each }) => ({ node, host: this.#nodes.get(node)?.name ?? node, ...each }))
      .sort((a, b) => a.host.localeCompare(b.host) || a.container.localeCompare(b.container));
  }

  /** Returns whether the kernel's desired state may depend on it. */
  #take(record: GossipRecord): boolean {
    if (record.key === 'cluster/masters')
      this.#masters = this.#parse(mastersRecord, record)?.masters ?? this.#masters;
    if (record.key.startsWith('cluster/removed/')) return this.#takeRemoved(record);
    const node = recordNode(record.key);
    const kind = record.key.split('/')[2] as Kind | undefined;
    if (node === undefined) return false;
    if (kind === 'node') store(this.#nodes, node, this.#parse(nodeRecord, record));
    if (kind === 'endpoint') {
      const parsed = this.#parse(endpoint, record);
      store(this.#endpoints, record.key, parsed === undefined ? undefined : { node, endpoint: parsed });
    }
    if (kind !== 'overlay') return false;
    const parsed = this.#parse<OverlayRecord>(overlayRecord, record);
    store(this.#overlays, record.key, parsed === undefined ? undefined : { node, record: parsed });
    return true;
  }

  #takeRemoved(record: GossipRecord): boolean {
    const removed = this.#parse(removedRecord, record);
    if (removed === undefined) return false;
    const node = removed.node as NodeId;
    this.#removed.add(node);
    this.#nodes.delete(node);
    for (const [key, each] of this.#overlays) if (each.node === node) this.#overlays.delete(key);
    for (const [key, each] of this.#endpoints) if (each.node === node) this.#endpoints.delete(key);
    return true;
  }

  /** `undefined` for tombstones and for what does not fit. */
  #parse<T>(schema: z.ZodType<T>, record: GossipRecord): T | undefined {
    if (record.value === null) return undefined;
    const parsed = schema.safeParse(record.value);
    if (parsed.success) return parsed.data;
    this.#log.warn('Ignored a record that does not fit its schema', {
      key: record.key,
      error: parsed.error.issues[0]?.message,
    });
    return undefined;
  }
}

function store<K, V>(map: Map<K, V>, key: K, value: V | undefined): void {
  if (value === undefined) map.delete(key);
  else map.set(key, value);
}
