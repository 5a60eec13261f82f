/** What a Mesos master tells of a cluster, in our words: gathered by the shell, rendered by the rest of this folder. */
import type { NodeId } from '../../model/names.ts';
import type { ResourcesRecord, TaskLaunch, TaskRecord } from '../../model/task.ts';
import type { ViewedTask } from '../../model/task-view.ts';

export interface AgentFacts {
  readonly id: NodeId;
  readonly name: string;
  readonly address: string;
  readonly port: number;
  readonly registeredMs: number;
  readonly reachable: boolean;
  /** Its tasks go elsewhere and none come. */
  readonly drained?: boolean;
  /** Absent while the agent has not told. */
  readonly resources: ResourcesRecord | undefined;
}

/** What a task was before, as far as its statuses tell of it. */
export type EarlierTask = Pick<
  TaskRecord,
  'state' | 'status_at' | 'healthy' | 'networks' | 'container' | 'message' | 'ports'
>;

export interface TaskFacts extends ViewedTask {
  /** The last of each state that it was in before, oldest first; since this master began. */
  readonly earlier?: readonly EarlierTask[];
  /** What the agent was told to run; absent for containers that no app of ours is behind. */
  readonly launch: TaskLaunch | undefined;
}

export interface ClusterFacts {
  /** Of the cluster. */
  readonly id: string;
  readonly master: {
    readonly address: string;
    readonly port: number;
    readonly startedMs: number;
  };
  readonly agents: readonly AgentFacts[];
  readonly tasks: readonly TaskFacts[];
  /** Tasks that have ended, oldest first. */
  readonly completed: readonly TaskFacts[];
}

/** The framework that runs apps, and that a container belongs to which says nothing else. */
export const MARATHON = 'marathon';

export function frameworkId(facts: Pick<ClusterFacts, 'id'>, name: string): string {
  return name === MARATHON ? `${facts.id}-0000` : `${facts.id}-${name}`;
}

/** Every framework that there are or were tasks of; Marathon always. */
export function frameworkNames({ tasks, completed }: ClusterFacts): readonly string[] {
  const names = new Set([...tasks, ...completed].map(({ task }) => task.framework));
  names.delete(MARATHON);
  return [MARATHON, ...[...names].sort()];
}

/** As Mesos tells it of an agent that its operator empties; `undefined` = of this one nobody wants that. */
export function drainInfo(agent: AgentFacts, tasks: readonly TaskFacts[]): object | undefined {
  if (agent.drained !== true) return undefined;
  const isEmpty = !tasks.some(({ node }) => node === agent.id);
  return { state: isEmpty ? 'DRAINED' : 'DRAINING', config: { mark_gone: false } };
}

export const seconds = (ms: number): number => ms / 1000;
