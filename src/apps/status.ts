/** What a change of a task's record means to those who listen, and whether its health asks for its end. */
import type { App } from '../model/app.ts';
import type { IpAddressView } from '../model/deployment.ts';
import { UNHEALTHY_REASON, type TaskRecord } from '../model/task.ts';
import type { Effects } from './effects.ts';
import { conditionOf, isActive, isHealthy, stateOf, type Instance } from './instance.ts';

/** In the order of the task's networks. */
export function addressesOf(record: TaskRecord | undefined): readonly IpAddressView[] {
  const texts = record?.networks.flatMap(({ addresses }) => addresses) ?? [];
  return Array.from(new Set(texts), (ipAddress) => ({
    ipAddress,
    protocol: ipAddress.includes(':') ? 'IPv6' : 'IPv4',
  }));
}

/** In the order of the declared ports; a port on both protocols counts once. */
export function hostPortsOf({ stored }: Instance): readonly number[] {
  return Array.from(new Set(stored.launch.ports.flatMap((port) => port.host_port ?? [])));
}

/** Tells of what differs; `app` is the definition as it is now, where there is one. */
export function tellChanges(before: Instance, after: Instance, app: App | undefined, effects: Effects): void {
  const { taskId, instanceId, app: id, version, node, agentIp } = after.stored;
  const state = stateOf(after);
  if (state !== stateOf(before))
    effects.emit({
      ...{ eventType: 'status_update_event', slaveId: node, taskId, taskStatus: state },
      ...{ message: after.record?.message ?? '', appId: id, host: agentIp, version },
      ...{ ipAddresses: addressesOf(after.record), ports: hostPortsOf(after) },
    });
  const condition = conditionOf(after);
  if (condition !== conditionOf(before))
    effects.emit({
      ...{ eventType: 'instance_changed_event', instanceId, condition, runSpecId: id },
      ...{ agentId: node, host: agentIp, runSpecVersion: version },
    });
  tellHealth(before, after, app, effects);
}

function tellHealth(before: Instance, after: Instance, app: App | undefined, effects: Effects): void {
  if (after.stored.launch.health_checks.length === 0) return;
  const { taskId, instanceId, app: id, version } = after.stored;
  const alive = isHealthy(after);
  if (after.record?.healthy !== undefined && after.record.healthy !== before.record?.healthy) {
    effects.emit({
      ...{ eventType: 'instance_health_changed_event', instanceId, runSpecId: id },
      ...{ healthy: alive, runSpecVersion: version },
    });
    effects.emit({
      ...{ eventType: 'health_status_changed_event', appId: id, instanceId, taskId, version, alive },
    });
  }
  for (const result of after.record?.health ?? []) {
    const earlier = before.record?.health.find(({ index }) => index === result.index);
    const check = app?.healthChecks[result.index];
    if (check !== undefined && result.consecutive_failures > (earlier?.consecutive_failures ?? 0))
      effects.emit({
        ...{ eventType: 'failed_health_check_event', appId: id, instanceId, taskId, healthCheck: check },
      });
  }
}

/** Tells, once, that an instance has to go because of its health checks; returns whether it has. */
export function tellUnhealthy(instance: Instance, effects: Effects): boolean {
  const reason = isActive(instance) ? healthKillReason(instance) : undefined;
  if (reason === undefined) return false;
  const { taskId, instanceId, app, version, agentIp, node } = instance.stored;
  effects.emit({
    ...{ eventType: 'unhealthy_instance_kill_event', appId: app, taskId, instanceId, version },
    ...{ reason, host: agentIp, slaveId: node },
  });
  return true;
}

/**
 * Why its health checks want it replaced; `undefined` = they do not.
 *
 * The agent counts failures, and counts none of the grace period; 0 as the limit means never. It ends the task by itself
 * at the limit, and of that and the last failure only the latter news may come through.
 */
function healthKillReason({ stored, record, isReachable }: Instance): string | undefined {
  if (record === undefined || !isReachable) return undefined;
  if (record.state !== 'TASK_RUNNING' && record.reason !== UNHEALTHY_REASON) return undefined;
  for (const result of record.health) {
    const limit = stored.launch.health_checks[result.index]?.max_failures ?? 0;
    if (limit === 0 || result.alive || result.consecutive_failures < limit) continue;
    return result.last_failure_cause ?? `${result.consecutive_failures} health checks in a row failed`;
  }
  return record.reason === UNHEALTHY_REASON ? record.message : undefined;
}
