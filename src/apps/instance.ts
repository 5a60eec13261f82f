/** One instance as the orchestrator keeps it, and what it counts for. */
import type { InstanceCondition, InstanceGoal } from '../model/deployment.ts';
import type { NodeId } from '../model/names.ts';
import { isTerminal, toldState, type TaskLaunch, type TaskRecord, type TaskState } from '../model/task.ts';

/** What the store keeps. What its agent tells of it is not kept: it is told again. */
export interface StoredInstance {
  readonly taskId: string;
  readonly instanceId: string;
  readonly app: string;
  readonly version: string;
  /** Fingerprint of the definition that it was launched from. */
  readonly config: string;
  readonly node: NodeId;
  readonly host: string;
  readonly agentIp: string;
  readonly region?: string;
  readonly zone?: string;
  readonly launch: TaskLaunch;
  readonly createdAt: string;
  readonly goal: InstanceGoal;
  /** Its agent is lost for so long that another one has taken its place. */
  readonly inactive?: true;
  readonly servicePorts: readonly number[];
  readonly volumes: readonly { readonly containerPath: string; readonly persistenceId: string }[];
}

export interface Instance {
  readonly stored: StoredInstance;
  readonly record: TaskRecord | undefined;
  /** As its agent is now. */
  readonly isReachable: boolean;
  /** Unreachable for so long that nobody counts on it. */
  readonly isLost: boolean;
}

export function stateOf({ record, isLost }: Instance): TaskState {
  if (record === undefined) return isLost ? 'TASK_UNREACHABLE' : 'TASK_STAGING';
  return isLost && !isTerminal(record.state) ? 'TASK_UNREACHABLE' : toldState(record);
}

const CONDITIONS: Readonly<Record<TaskState, InstanceCondition>> = {
  TASK_STAGING: 'Staging',
  TASK_STARTING: 'Starting',
  TASK_RUNNING: 'Running',
  TASK_KILLING: 'Killing',
  TASK_FINISHED: 'Finished',
  TASK_FAILED: 'Failed',
  TASK_KILLED: 'Killed',
  TASK_ERROR: 'Error',
  TASK_LOST: 'Gone',
  TASK_DROPPED: 'Dropped',
  TASK_GONE: 'Gone',
  TASK_GONE_BY_OPERATOR: 'Gone',
  TASK_UNREACHABLE: 'Unreachable',
  TASK_UNKNOWN: 'Unknown',
};

export function conditionOfState(state: TaskState): InstanceCondition {
  return CONDITIONS[state];
}

export function conditionOf(instance: Instance): InstanceCondition {
  const state = stateOf(instance);
  if (state === 'TASK_UNREACHABLE' && instance.stored.inactive) return 'UnreachableInactive';
  if (instance.stored.goal !== 'Running' && !isTerminal(state) && state !== 'TASK_UNREACHABLE')
    return 'Killing';
  return instance.record === undefined && !instance.isLost ? 'Provisioned' : CONDITIONS[state];
}

/** Passes all its checks, or runs and has none. */
export function isHealthy({ stored, record, isReachable }: Instance): boolean {
  if (record?.state !== 'TASK_RUNNING' || !isReachable) return false;
  return stored.launch.health_checks.length === 0 || record.healthy === true;
}

export function isReady(instance: Instance): boolean {
  if (!isHealthy(instance)) return false;
  return instance.stored.launch.readiness_checks.length === 0 || instance.record?.ready === true;
}

/** Meant to run, and nothing else has taken its place. */
export function isActive({ stored }: Instance): boolean {
  return stored.goal === 'Running' && stored.inactive !== true;
}

/** Takes up capacity: runs or may run where somebody can count on it. */
export function isOccupying(instance: Instance): boolean {
  return !instance.isLost || isActive(instance);
}
