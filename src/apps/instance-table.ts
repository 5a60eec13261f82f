/**
 * All instances, by app and by node, with what agents tell of them.
 *
 * Invariant: what is changed here is written to the effects of the same step.
 */
import type { NodeId } from '../model/names.ts';
import type { TaskRecord } from '../model/task.ts';
import type { Effects } from './effects.ts';
import type { Instance, StoredInstance } from './instance.ts';
import { appKeys } from './store-keys.ts';

/** How an agent looks to those that count on it. */
export interface AgentHealth {
  readonly isReachable: boolean;
  readonly isLost: boolean;
}

export class InstanceTable {
  readonly #byTask = new Map<string, StoredInstance>();
  readonly #byApp = new Map<string, Set<string>>();
  readonly #byNode = new Map<NodeId, Set<string>>();
  readonly #records = new Map<string, TaskRecord>();
  readonly #agent: (node: NodeId) => AgentHealth;

  constructor(stored: readonly StoredInstance[], agent: (node: NodeId) => AgentHealth) {
    this.#agent = agent;
    for (const each of stored) this.#index(each);
  }

  get size(): number {
    return this.#byTask.size;
  }

  all(): Iterable<StoredInstance> {
    return this.#byTask.values();
  }

  get(taskId: string): Instance | undefined {
    const stored = this.#byTask.get(taskId);
    return stored === undefined ? undefined : this.#view(stored);
  }

  ofApp(app: string): Instance[] {
    return this.#views(this.#byApp.get(app));
  }

  ofNode(node: NodeId): Instance[] {
    return this.#views(this.#byNode.get(node));
  }

  apps(): Iterable<string> {
    return this.#byApp.keys();
  }

  nodes(): Iterable<NodeId> {
    return this.#byNode.keys();
  }

  put(stored: StoredInstance, effects: Effects): void {
    this.#index(stored);
    effects.writes.set(appKeys.instance(stored.taskId), stored);
    effects.nodes.add(stored.node);
  }

  remove(stored: StoredInstance, effects: Effects): void {
    this.#byTask.delete(stored.taskId);
    this.#records.delete(stored.taskId);
    drop(this.#byApp, stored.app, stored.taskId);
    drop(this.#byNode, stored.node, stored.taskId);
    effects.writes.set(appKeys.instance(stored.taskId), undefined);
    effects.nodes.add(stored.node);
  }

  setRecord(taskId: string, record: TaskRecord | undefined): void {
    if (record === undefined) this.#records.delete(taskId);
    else this.#records.set(taskId, record);
  }

  #index(stored: StoredInstance): void {
    this.#byTask.set(stored.taskId, stored);
    add(this.#byApp, stored.app, stored.taskId);
    add(this.#byNode, stored.node, stored.taskId);
  }

  #views(ids: ReadonlySet<string> | undefined): Instance[] {
    return Array.from(ids ?? [], (id) => this.#byTask.get(id))
      .filter((stored) => stored !== undefined)
      .map((stored) => this.#view(stored));
  }

  #view(stored: StoredInstance): Instance {
    return { stored, record: this.#records.get(stored.taskId), ...this.#agent(stored.node) };
  }
}

function add<K>(map: Map<K, Set<string>>, key: K, id: string): void {
  const set = map.get(key);
  if (set === undefined) map.set(key, new Set([id]));
  else set.add(id);
}

function drop<K>(map: Map<K, Set<string>>, key: K, id: string): void {
  const set = map.get(key);
  set?.delete(id);
  if (set?.size === 0) map.delete(key);
}
