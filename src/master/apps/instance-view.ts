/** Instances as the APIs tell of them. */
import { conditionOf, isHealthy, stateOf, type Instance, type StoredInstance } from '../../apps/instance.ts';
import { addressesOf, hostPortsOf } from '../../apps/status.ts';
import type { InstanceView } from '../../model/deployment.ts';

/** Of an instance that has not changed it gives the same object again: what was made of that (its JSON) is good still. */
export class InstanceViews {
  readonly #known = new WeakMap<
    StoredInstance,
    { readonly instance: Instance; readonly view: InstanceView }
  >();

  of(instance: Instance): InstanceView {
    const known = this.#known.get(instance.stored);
    if (known !== undefined && isSame(known.instance, instance)) return known.view;
    const view = instanceView(instance);
    this.#known.set(instance.stored, { instance, view });
    return view;
  }
}

function isSame(a: Instance, b: Instance): boolean {
  return a.record === b.record && a.isReachable === b.isReachable && a.isLost === b.isLost;
}

function instanceView(instance: Instance): InstanceView {
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
