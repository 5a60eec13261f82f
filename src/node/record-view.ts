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
import type { RecordExchange } from './record-exchange.ts';
import type { NodeOverlayRecord } from '../overlay/desired.ts';
import { resourcesRecord, taskRecord, type ResourcesRecord } from '../model/task.ts';
import type { ViewedTask } from '../model/task-view.ts';
import { TaskTable } from './task-table.ts';

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

/** What a batch of records, or of changes of reachability, has changed. */
export interface TaskChanges {
  /** Ids of tasks that have come, gone or changed, their node's reachability included. */
  readonly tasks: ReadonlySet<string>;
  /** Nodes that offer something else than before. */
  readonly resources: ReadonlySet<NodeId>;
}

type Kind = 'node' | 'overlay' | 'endpoint' | 'task' | 'resources';

export class RecordView {
  readonly #log: Log;
  readonly #nodes = new Map<NodeId, NodeRecord>();
  readonly #overlays = new Map<string, NodeOverlayRecord>();
  readonly #endpoints = new Map<string, { readonly node: NodeId; readonly endpoint: Endpoint }>();
  readonly #removed = new Set<NodeId>();
  readonly #tasks: TaskTable;
  readonly #resources = new Map<NodeId, ResourcesRecord>();
  readonly #changedResources = new Set<NodeId>();
  #placesVersion = 0;
  readonly #taskListeners = new Set<(changes: TaskChanges) => void>();
  #masters: readonly string[] = [];
  /** As last asked for; `undefined` since nodes or overlays have changed. */
  #listed: readonly KnownNode[] | undefined;
  readonly #unsubscribe: () => void;

  /** `onChange` is called after changes that matter to the kernel: overlays and removals. */
  constructor(
    components: {
      readonly exchange: Pick<RecordExchange, 'records' | 'subscribe' | 'subscribeMembers' | 'isReachable'>;
      readonly log: Log;
    },
    init: { readonly onChange: () => void },
  ) {
    this.#log = components.log;
    const { exchange } = components;
    this.#tasks = new TaskTable({
      node: (id) => (this.#removed.has(id) ? undefined : this.#nodes.get(id)),
      isReachable: (node) => exchange.isReachable(node),
    });
    for (const record of exchange.records('')) this.#take(record);
    this.#tasks.takeChanges();
    const unsubscribe = exchange.subscribe('', (changes) => {
      const matter = changes.map((record) => this.#take(record));
      if (matter.includes(true)) init.onChange();
      this.#tellOfTasks();
    });
    const unsubscribeMembers = exchange.subscribeMembers((changes) => {
      for (const { node } of changes) this.#tasks.touchNode(node);
      this.#tellOfTasks();
    });
    this.#unsubscribe = () => {
      unsubscribe();
      unsubscribeMembers();
    };
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

  /** Rises when an overlay may have another space, or a node another name or address. */
  get placesVersion(): number {
    return this.#placesVersion;
  }

  /** Nodes that were not removed. */
  nodeCount(): number {
    return this.#nodes.size;
  }

  /** Nodes that were not removed, by name. */
  nodes(): readonly KnownNode[] {
    return (this.#listed ??= this.#list());
  }

  #list(): readonly KnownNode[] {
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

  /** Tasks and plain containers of nodes that were not removed, in no order. */
  tasks(): readonly ViewedTask[] {
    return Array.from(this.#tasks.all());
  }

  task(id: string): ViewedTask | undefined {
    return this.#tasks.get(id);
  }

  /** What the agents offer that were not removed. */
  resources(): ReadonlyMap<NodeId, ResourcesRecord> {
    return this.#resources;
  }

  /** Calls back after each change of tasks or resources; not for what is there already. Returns the way to stop. */
  subscribeTasks(listener: (changes: TaskChanges) => void): () => void {
    this.#taskListeners.add(listener);
    return () => this.#taskListeners.delete(listener);
  }

  #tellOfTasks(): void {
    const changes = { tasks: this.#tasks.takeChanges(), resources: new Set(this.#changedResources) };
    this.#changedResources.clear();
    if (changes.tasks.size === 0 && changes.resources.size === 0) return;
    for (const listener of this.#taskListeners) listener(changes);
  }

  /** Returns whether the kernel's desired state may depend on it. */
  #take(record: GossipRecord): boolean {
    if (record.key === 'cluster/masters')
      this.#masters = this.#parse(mastersRecord, record)?.masters ?? this.#masters;
    if (record.key.startsWith('cluster/removed/')) return this.#takeRemoved(record);
    const node = recordNode(record.key);
    const kind = record.key.split('/')[2] as Kind | undefined;
    if (node === undefined) return false;
    if (kind === 'node' || kind === 'overlay') this.#listed = undefined;
    if (kind === 'node') {
      const before = this.#nodes.get(node);
      store(this.#nodes, node, this.#parse(nodeRecord, record));
      const now = this.#nodes.get(node);
      if (before?.name !== now?.name || before?.address !== now?.address) this.#placesVersion++;
      this.#tasks.touchNode(node);
    }
    if (kind === 'endpoint') {
      const parsed = this.#parse(endpoint, record);
      const container = parsed?.container ?? this.#endpoints.get(record.key)?.endpoint.container;
      store(this.#endpoints, record.key, parsed === undefined ? undefined : { node, endpoint: parsed });
      if (container !== undefined) this.#tasks.putEndpoint(node, record.key, container, parsed);
    }
    if (kind === 'task') this.#tasks.putTask(node, record.key, this.#parse(taskRecord, record));
    if (kind === 'resources' && !this.#removed.has(node)) {
      store(this.#resources, node, this.#parse(resourcesRecord, record));
      this.#changedResources.add(node);
    }
    if (kind !== 'overlay') return false;
    const parsed = this.#parse<OverlayRecord>(overlayRecord, record);
    const before = this.#overlays.get(record.key)?.record;
    store(this.#overlays, record.key, parsed === undefined ? undefined : { node, record: parsed });
    if (spaceText(before) !== spaceText(parsed)) this.#placesVersion++;
    return true;
  }

  #takeRemoved(record: GossipRecord): boolean {
    const removed = this.#parse(removedRecord, record);
    if (removed === undefined) return false;
    const node = removed.node as NodeId;
    this.#listed = undefined;
    this.#removed.add(node);
    this.#placesVersion++;
    this.#nodes.delete(node);
    for (const [key, each] of this.#overlays) if (each.node === node) this.#overlays.delete(key);
    for (const [key, each] of this.#endpoints) if (each.node === node) this.#endpoints.delete(key);
    this.#tasks.dropNode(node);
    if (this.#resources.delete(node)) this.#changedResources.add(node);
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

const spaceText = (record: OverlayRecord | undefined): string =>
  record === undefined ? '' : `${record.overlay} ${record.space ?? ''} ${record.space6 ?? ''}`;

function store<K, V>(map: Map<K, V>, key: K, value: V | undefined): void {
  if (value === undefined) map.delete(key);
  else map.set(key, value);
}
