/** An instance as the APIs tell of it. */
import { conditionOf, isHealthy, stateOf, type Instance } from '../../apps/instance.ts';
import { addressesOf, hostPortsOf } from '../../apps/status.ts';
import type { InstanceView } from '../../model/deployment.ts';

export function instanceView(instance: Instance): InstanceView {
  const { stored, record } = instance;
  const { instanceId, taskId, app, version, node, host, agentIp, region, zone, goal } = stored;
  return {
    ...{ instanceId, taskId, app, version, node, host, agentIp, goal },
    ...(region === undefined ? {} : { region }),
    ...(zone === undefined ? {} : { zone }),
    state: stateOf(instance),
    condition: conditionOf(instance),
    healthy: isHealthy(instance),
    stagedAt: record?.staged_at ?? stored.createdAt,
    ...(record?.started_at === undefined ? {} : { startedAt: record.started_at }),
    statusAt: record?.status_at ?? stored.createdAt,
    ports: hostPortsOf(instance),
    servicePorts: stored.servicePorts,
    ipAddresses: addressesOf(record),
    launch: stored.launch,
    ...(record === undefined ? {} : { record }),
    localVolumes: stored.volumes,
  };
}
