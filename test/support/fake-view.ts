/** The records of all nodes as a master sees them, made from an orchestrator's instances, and changed by tests. */
import type { InstanceView } from '../../src/model/deployment.ts';
import type { NodeId } from '../../src/model/names.ts';
import { resourcesRecord, taskRecord, type ResourcesRecord, type TaskRecord } from '../../src/model/task.ts';
import type { ViewedTask } from '../../src/model/task-view.ts';
import type { KnownNode, TaskChanges } from '../../src/node/record-view.ts';

export class FakeView {
  readonly #tasks = new Map<string, ViewedTask>();
  readonly #nodes = new Map<NodeId, KnownNode>();
  readonly #resources = new Map<NodeId, ResourcesRecord>();
  readonly #listeners = new Set<(changes: TaskChanges) => void>();

  constructor(instances: readonly InstanceView[]) {
    for (const { node, host, agentIp, taskId, record } of instances) {
      const ports = { gossip_port: 62_501, api_port: 5051 };
      this.#nodes.set(node, {
        id: node,
        name: host,
        address: agentIp,
        role: 'agent',
        overlays: {},
        ...ports,
      });
      this.#resources.set(
        node,
        resourcesRecord.parse({
          cpus: 4,
          mem_mib: 1024,
          disk_mib: 1024,
          gpus: 0,
          ports: [],
          attributes: {},
          runtimes: [],
        }),
      );
      const task = taskRecord.parse(record);
      this.#tasks.set(`${node}/${taskId}`, {
        id: `${node}/${taskId}`,
        node,
        host,
        agentIp,
        reachable: true,
        task,
      });
    }
  }

  nodes(): readonly KnownNode[] {
    return [...this.#nodes.values()];
  }

  tasks(): readonly ViewedTask[] {
    return [...this.#tasks.values()];
  }

  task(id: string): ViewedTask | undefined {
    return this.#tasks.get(id);
  }

  resources(): ReadonlyMap<NodeId, ResourcesRecord> {
    return this.#resources;
  }

  subscribeTasks(listener: (changes: TaskChanges) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Changes the record of a task; `undefined` = it is gone. */
  change(id: string, change: Partial<TaskRecord> | undefined): void {
    const known = this.#tasks.get(id);
    if (known === undefined) throw new Error(`no task ${id}`);
    if (change === undefined) this.#tasks.delete(id);
    else this.#tasks.set(id, { ...known, task: { ...known.task, ...change } });
    for (const listener of this.#listeners) listener({ tasks: new Set([id]), resources: new Set() });
  }
}
