/**
 * Gathers what a Mesos master would tell of this cluster, and remembers what has ended.
 *
 * Purpose: `/state` and the operator API read facts; records come and go, and a consumer may ask of a task after its end.
 */
import type { Clock } from '../../base/clock.ts';
import type { NodeId } from '../../model/names.ts';
import { isTerminal, toldState } from '../../model/task.ts';
import type { ViewedTask } from '../../model/task-view.ts';
import type { KnownNode, RecordView, TaskChanges } from '../../node/record-view.ts';
import type { Orchestrator } from '../apps/types.ts';
import type { AgentFacts, ClusterFacts, EarlierTask, TaskFacts } from './facts.ts';

/** Mesos masters remember as many for each framework. */
const MAX_COMPLETED = 1000;

export interface ClusterStateComponents {
  readonly view: Pick<RecordView, 'nodes' | 'tasks' | 'task' | 'resources' | 'subscribeTasks'>;
  readonly orchestrator: Pick<Orchestrator, 'instance'>;
  readonly isReachable: (node: NodeId) => boolean;
  readonly isDrained: (node: NodeId) => boolean;
  readonly clock: Clock;
}

export interface ClusterStateInit {
  readonly cluster: string;
  readonly address: string;
  /** Known when the master listens. */
  readonly port: () => number;
}

export class ClusterState {
  readonly #components: ClusterStateComponents;
  readonly #init: ClusterStateInit;
  readonly #startedMs: number;
  readonly #firstSeenMs = new Map<NodeId, number>();
  readonly #live = new Map<string, TaskFacts>();
  /** In order of their ends. */
  readonly #completed = new Map<string, TaskFacts>();
  readonly #unsubscribe: () => void;

  constructor(components: ClusterStateComponents, init: ClusterStateInit) {
    this.#components = components;
    this.#init = init;
    this.#startedMs = components.clock.wallMs();
    for (const task of components.view.tasks()) this.#take(task.id, task);
    this.#unsubscribe = components.view.subscribeTasks(({ tasks }) => {
      for (const id of tasks) this.#take(id, components.view.task(id));
    });
  }

  close(): void {
    this.#unsubscribe();
  }

  facts(): ClusterFacts {
    const { cluster, address, port } = this.#init;
    return {
      id: cluster,
      master: { address, port: port(), startedMs: this.#startedMs },
      agents: this.#agents(),
      tasks: Array.from(this.#live.values(), (task) => this.#withLaunch(task)),
      completed: [...this.#completed.values()],
    };
  }

  /** Calls back after tasks or resources have changed; returns the way to stop. */
  subscribe(listener: (changes: TaskChanges) => void): () => void {
    return this.#components.view.subscribeTasks(listener);
  }

  #agents(): readonly AgentFacts[] {
    const { view, isReachable, isDrained } = this.#components;
    const resources = view.resources();
    return view
      .nodes()
      .filter((node) => node.role === 'agent')
      .map(({ id, name, address, api_port: port }: KnownNode) => ({
        id,
        name,
        address,
        port,
        registeredMs: this.#sinceMs(id),
        reachable: isReachable(id),
        drained: isDrained(id),
        resources: resources.get(id),
      }));
  }

  #sinceMs(node: NodeId): number {
    const known = this.#firstSeenMs.get(node) ?? this.#components.clock.wallMs();
    this.#firstSeenMs.set(node, known);
    return known;
  }

  #take(id: string, task: ViewedTask | undefined): void {
    const before = this.#live.get(id);
    const known = { launch: before?.launch, earlier: earlierOf(before, task) };
    if (task !== undefined && !isTerminal(task.task.state)) {
      this.#live.set(id, this.#withLaunch({ ...task, ...known }));
      this.#completed.delete(id);
      return;
    }
    this.#live.delete(id);
    // A container without an app leaves no word of how it ended.
    if (task === undefined) return;
    this.#completed.set(id, this.#withLaunch({ ...task, ...known }));
    const [oldest] = this.#completed.keys();
    if (this.#completed.size > MAX_COMPLETED && oldest !== undefined) this.#completed.delete(oldest);
  }

  #withLaunch(task: TaskFacts): TaskFacts {
    const launch = this.#components.orchestrator.instance(task.task.id)?.launch;
    return launch === undefined ? task : { ...task, launch };
  }
}

/** As Mesos keeps statuses: one of the same state takes the last one's place. */
function earlierOf(before: TaskFacts | undefined, task: ViewedTask | undefined): readonly EarlierTask[] {
  const earlier = before?.earlier ?? [];
  if (before === undefined) return earlier;
  const state = toldState(before.task);
  if (task !== undefined && toldState(task.task) === state) return earlier;
  const { status_at, healthy, networks, container, message, ports } = before.task;
  const last = { state, status_at, networks, message, ports };
  const more = {
    ...(healthy === undefined ? {} : { healthy }),
    ...(container === undefined ? {} : { container }),
  };
  return [...earlier, { ...last, ...more }];
}
