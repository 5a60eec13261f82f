/**
 * The tasks of all nodes, kept up to date record by record.
 *
 * Purpose: readers with thousands of tasks learn which ones a record has changed and do work for those alone.
 * Invariants: a task is listed while its node is known; a node that is not reachable hides nothing here, it only says
 * so on its tasks; what a task record claims is not listed as a plain container as well.
 */
import type { Endpoint } from '../model/endpoint.ts';
import type { NodeId } from '../model/names.ts';
import type { NodeRecord } from '../model/record.ts';
import { plainTask, type ViewedTask } from '../model/task-view.ts';
import type { TaskRecord } from '../model/task.ts';
import { withParts } from './task-parts.ts';

/** What one node runs. */
interface NodeTasks {
  /** By the key of their record. */
  readonly tasks: Map<string, TaskRecord>;
  /** By container, then by the key of their record. */
  readonly containers: Map<string, Map<string, Endpoint>>;
  /** How many tasks claim a container. */
  readonly claims: Map<string, number>;
}

export interface TaskTableInit {
  node(id: NodeId): NodeRecord | undefined;
  isReachable(node: NodeId): boolean;
}

export class TaskTable {
  readonly #init: TaskTableInit;
  readonly #nodes = new Map<NodeId, NodeTasks>();
  readonly #views = new Map<string, ViewedTask>();
  /** Ids of tasks whose view may be another than the one that is kept. */
  readonly #stale = new Set<string>();
  /** Node and key of a task by its id: where a stale one is looked up. */
  readonly #sources = new Map<
    string,
    { readonly node: NodeId; readonly key?: string; readonly container?: string }
  >();

  constructor(init: TaskTableInit) {
    this.#init = init;
  }

  /** `undefined`: withdrawn. */
  putTask(node: NodeId, key: string, task: TaskRecord | undefined): void {
    const { tasks } = this.#of(node);
    const before = tasks.get(key);
    if (task === undefined) tasks.delete(key);
    else tasks.set(key, before === undefined ? task : withParts(task, before));
    this.#claim(node, before?.container, -1);
    this.#claim(node, task?.container, 1);
    for (const each of [before, task]) if (each !== undefined) this.#touch(node, each.id, { key });
  }

  putEndpoint(node: NodeId, key: string, container: string, endpoint: Endpoint | undefined): void {
    const { containers } = this.#of(node);
    const endpoints = containers.get(container) ?? new Map<string, Endpoint>();
    if (endpoint === undefined) endpoints.delete(key);
    else endpoints.set(key, endpoint);
    if (endpoints.size === 0) containers.delete(container);
    else containers.set(container, endpoints);
    this.#touch(node, container, { container });
  }

  /** Its address or its reachability has changed. */
  touchNode(node: NodeId): void {
    const held = this.#nodes.get(node);
    if (held === undefined) return;
    for (const [key, task] of held.tasks) this.#touch(node, task.id, { key });
    for (const container of held.containers.keys()) this.#touch(node, container, { container });
  }

  dropNode(node: NodeId): void {
    this.touchNode(node);
    this.#nodes.delete(node);
  }

  /** Ids of the tasks that have come, gone or changed since the last call. */
  takeChanges(): ReadonlySet<string> {
    const changed = new Set<string>();
    for (const id of this.#stale) if (this.#refresh(id)) changed.add(id);
    this.#stale.clear();
    return changed;
  }

  get(id: string): ViewedTask | undefined {
    return this.#views.get(id);
  }

  all(): Iterable<ViewedTask> {
    return this.#views.values();
  }

  /** Returns whether it is another than before. */
  #refresh(id: string): boolean {
    const before = this.#views.get(id);
    const view = this.#view(id);
    if (view === undefined) {
      this.#sources.delete(id);
      return this.#views.delete(id);
    }
    const isSame =
      before?.task === view.task &&
      before.reachable === view.reachable &&
      before.agentIp === view.agentIp &&
      before.host === view.host;
    if (!isSame) this.#views.set(id, view);
    return !isSame;
  }

  #view(id: string): ViewedTask | undefined {
    const source = this.#sources.get(id);
    if (source === undefined) return undefined;
    const { node } = source;
    const record = this.#init.node(node);
    const task = this.#task(source);
    if (record === undefined || task === undefined) return undefined;
    const { address, name } = record;
    return { id, node, host: name, agentIp: address, reachable: this.#init.isReachable(node), task };
  }

  #task(source: {
    readonly node: NodeId;
    readonly key?: string;
    readonly container?: string;
  }): TaskRecord | undefined {
    const held = this.#nodes.get(source.node);
    if (source.key !== undefined) return held?.tasks.get(source.key);
    const container = source.container ?? '';
    if ((held?.claims.get(container) ?? 0) > 0) return undefined;
    const [first, ...rest] = held?.containers.get(container)?.values() ?? [];
    return first === undefined ? undefined : plainTask([first, ...rest]);
  }

  #claim(node: NodeId, container: string | undefined, by: 1 | -1): void {
    if (container === undefined) return;
    const { claims, containers } = this.#of(node);
    const count = (claims.get(container) ?? 0) + by;
    if (count === 0) claims.delete(container);
    else claims.set(container, count);
    if (containers.has(container)) this.#touch(node, container, { container });
  }

  #touch(
    node: NodeId,
    task: string,
    source: { readonly key: string } | { readonly container: string },
  ): void {
    // A plain container's id is kept apart from those of tasks, which are anybody's choice.
    const id = 'key' in source ? `${node}/${task}` : `${node}/container/${task}`;
    this.#sources.set(id, { node, ...source });
    this.#stale.add(id);
  }

  #of(node: NodeId): NodeTasks {
    const held = this.#nodes.get(node) ?? { tasks: new Map(), containers: new Map(), claims: new Map() };
    this.#nodes.set(node, held);
    return held;
  }
}
