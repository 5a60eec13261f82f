/**
 * What the orchestrator tells of its work: deployments, instances, what waits and why, and events.
 *
 * Purpose: the shapes between orchestrator and the APIs that speak of it; the reference "Marathon", sections 3 to 5.
 * Times that people read are RFC 3339 texts.
 */
import type { App, AppHealthCheck, Group } from './app.ts';
import type { NodeId } from './names.ts';
import type { TaskLaunch, TaskRecord, TaskState } from './task.ts';

export type DeploymentActionKind =
  'StartApplication' | 'StopApplication' | 'ScaleApplication' | 'RestartApplication';

export interface DeploymentAction {
  readonly action: DeploymentActionKind;
  /** Absolute id. */
  readonly app: string;
}

export interface DeploymentStep {
  readonly actions: readonly DeploymentAction[];
}

/** What the last readiness checks of one task answered. */
export interface ReadinessResult {
  readonly taskId: string;
  readonly name: string;
  readonly ready: boolean;
}

export interface CurrentAction extends DeploymentAction {
  readonly readinessCheckResults: readonly ReadinessResult[];
}

export interface Deployment {
  readonly id: string;
  /** Of the tree that it makes, an RFC 3339 time. */
  readonly version: string;
  readonly affectedApps: readonly string[];
  readonly affectedPods: readonly string[];
  readonly steps: readonly DeploymentStep[];
  readonly currentActions: readonly CurrentAction[];
  /** From 1; 0 = not begun. */
  readonly currentStep: number;
  readonly totalSteps: number;
  /** The tree before and the tree wanted: for events, not for listings. */
  readonly original: Group;
  readonly target: Group;
}

export type InstanceCondition =
  | 'Scheduled'
  | 'Provisioned'
  | 'Staging'
  | 'Starting'
  | 'Running'
  | 'Killing'
  | 'Finished'
  | 'Failed'
  | 'Killed'
  | 'Error'
  | 'Dropped'
  | 'Gone'
  | 'Unreachable'
  | 'UnreachableInactive'
  | 'Unknown';

export type InstanceGoal = 'Running' | 'Stopped' | 'Decommissioned';

/** One instance that has been given to an agent. What its agent has not told yet is absent. */
export interface InstanceView {
  /** `outer_web.instance-<uuid>`. */
  readonly instanceId: string;
  /** `<instance id>._app.<n>`. */
  readonly taskId: string;
  readonly app: string;
  /** Of the definition that it was launched from. */
  readonly version: string;
  readonly node: NodeId;
  /** The node's name. */
  readonly host: string;
  /** The node's address: what Marathon calls the host, as DC/OS names its agents by address. */
  readonly agentIp: string;
  readonly region?: string;
  readonly zone?: string;
  readonly state: TaskState;
  readonly condition: InstanceCondition;
  readonly goal: InstanceGoal;
  /** All its checks pass, or it runs and has none. */
  readonly healthy: boolean;
  readonly stagedAt: string;
  readonly startedAt?: string;
  /** Of its last change. */
  readonly statusAt: string;
  /** Host ports, in the order of the definition's ports. */
  readonly ports: readonly number[];
  readonly servicePorts: readonly number[];
  readonly ipAddresses: readonly { readonly ipAddress: string; readonly protocol: 'IPv4' | 'IPv6' }[];
  /** What its agent was told. */
  readonly launch: TaskLaunch;
  /** What its agent tells: networks, health results, messages. */
  readonly record?: TaskRecord;
  /** `containerPath` and `persistenceId` of each persistent volume. */
  readonly localVolumes: readonly { readonly containerPath: string; readonly persistenceId: string }[];
}

/** Why an agent is not taken. The first ten are Marathon's words, the others are of what Marathon knows nothing. */
export type RejectReason =
  | 'UnfulfilledRole'
  | 'UnfulfilledConstraint'
  | 'NoCorrespondingReservationFound'
  | 'AgentMaintenance'
  | 'InsufficientCpus'
  | 'InsufficientMemory'
  | 'InsufficientDisk'
  | 'InsufficientGpus'
  | 'InsufficientPorts'
  | 'DeclinedScarceResources'
  | 'InsufficientAddresses'
  | 'AgentUnreachable'
  | 'RuntimeUnavailable'
  | 'NetworkUnavailable';

export interface RejectCount {
  readonly reason: RejectReason;
  readonly declined: number;
  readonly processed: number;
}

/** An app that waits for agents, or for the time until it may be tried again. */
export interface QueueItem {
  readonly app: App;
  /** Instances that are still to be placed. */
  readonly count: number;
  readonly since: string;
  readonly delay: { readonly timeLeftSeconds: number; readonly overdue: boolean };
  readonly processedOffersSummary: {
    readonly processedOffersCount: number;
    readonly unusedOffersCount: number;
    readonly lastUnusedOfferAt?: string;
    readonly lastUsedOfferAt?: string;
    readonly rejectSummaryLastOffers: readonly RejectCount[];
    readonly rejectSummaryLaunchAttempt: readonly RejectCount[];
  };
  /** One sentence for each agent that was not taken, at the last attempt: "agent2 has no free address in dcos". */
  readonly reasons: readonly {
    readonly node: NodeId;
    readonly host: string;
    readonly reason: RejectReason;
    readonly message: string;
  }[];
}

export interface IpAddressView {
  readonly ipAddress: string;
  readonly protocol: 'IPv4' | 'IPv6';
}

/** Everything but the time, which all events have. */
export type AppEventBody =
  | {
      readonly eventType: 'api_post_event';
      readonly clientIp: string;
      readonly uri: string;
      readonly appDefinition: unknown;
    }
  | {
      readonly eventType: 'unknown_instance_terminated_event';
      readonly instanceId: string;
      readonly runSpecId: string;
      readonly condition: InstanceCondition;
    }
  | {
      readonly eventType: 'status_update_event';
      readonly slaveId: string;
      readonly taskId: string;
      readonly taskStatus: TaskState;
      readonly message: string;
      readonly appId: string;
      readonly host: string;
      readonly ipAddresses: readonly IpAddressView[];
      readonly ports: readonly number[];
      readonly version: string;
    }
  | {
      readonly eventType: 'instance_changed_event';
      readonly instanceId: string;
      readonly condition: InstanceCondition;
      readonly runSpecId: string;
      readonly agentId: string;
      readonly host: string;
      readonly runSpecVersion: string;
    }
  | {
      readonly eventType: 'instance_health_changed_event';
      readonly instanceId: string;
      readonly runSpecId: string;
      readonly healthy: boolean;
      readonly runSpecVersion: string;
    }
  | {
      readonly eventType: 'unknown_instance_terminated_event';
      readonly instanceId: string;
      readonly runSpecId: string;
      readonly condition: InstanceCondition;
    }
  | {
      readonly eventType: 'health_status_changed_event';
      readonly appId: string;
      readonly instanceId: string;
      readonly taskId: string;
      readonly version: string;
      readonly alive: boolean;
    }
  | {
      readonly eventType: 'add_health_check_event';
      readonly appId: string;
      readonly version: string;
      readonly healthCheck: AppHealthCheck;
    }
  | { readonly eventType: 'remove_health_check_event'; readonly appId: string }
  | {
      readonly eventType: 'failed_health_check_event';
      readonly appId: string;
      readonly instanceId: string;
      readonly taskId: string;
      readonly healthCheck: AppHealthCheck;
    }
  | {
      readonly eventType: 'unhealthy_instance_kill_event';
      readonly appId: string;
      readonly taskId: string;
      readonly instanceId: string;
      readonly version: string;
      readonly reason: string;
      readonly host: string;
      readonly slaveId: string;
    }
  | { readonly eventType: 'app_terminated_event'; readonly appId: string }
  | { readonly eventType: 'group_change_success'; readonly groupId: string; readonly version: string }
  | {
      readonly eventType: 'group_change_failed';
      readonly groupId: string;
      readonly version: string;
      readonly reason: string;
    }
  | {
      readonly eventType: 'deployment_info' | 'deployment_step_success' | 'deployment_step_failure';
      readonly plan: Deployment;
      readonly currentStep: DeploymentStep;
    }
  | { readonly eventType: 'deployment_success'; readonly id: string; readonly plan: Deployment }
  | {
      readonly eventType: 'deployment_failed';
      readonly id: string;
      readonly plan: Deployment;
      readonly reason: string;
    }
  | {
      readonly eventType: 'pod_created_event' | 'pod_updated_event' | 'pod_deleted_event';
      readonly clientIp: string;
      readonly uri: string;
    }
  | {
      readonly eventType: 'framework_message_event';
      readonly executorId: string;
      readonly slaveId: string;
      readonly message: string;
    }
  | {
      readonly eventType: 'scheduler_registered_event' | 'scheduler_reregistered_event';
      readonly frameworkId: string;
      readonly master: string;
    }
  | { readonly eventType: 'scheduler_disconnected_event' }
  | {
      readonly eventType: 'event_stream_attached' | 'event_stream_detached';
      readonly remoteAddress: string;
    }
  | {
      readonly eventType: 'subscribe_event' | 'unsubscribe_event';
      readonly clientIp: string;
      readonly callbackUrl: string;
    };

/** What happened, as the reference "Marathon", section 5, lists it. */
export type AppEvent = AppEventBody & { readonly timestamp: string };
