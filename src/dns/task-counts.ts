/** How many records a task has by zone, without making them. */
import { label } from '../model/dns-name.ts';
import type { ViewedTask } from '../model/task-view.ts';
import { LABEL_BYTES_MAX } from './constants.ts';
import { isPublished, servicePort, taskRecords, type TaskTitle } from './task-names.ts';
import { DCOS, MESOS } from './zones.ts';

export interface TaskCounts {
  readonly [DCOS]: number;
  readonly [MESOS]: number;
}

/** With a framework that is no longer all names of a task fit, if each of their labels does. */
const FRAMEWORK_MAX = 100;

export function countRecords(viewed: ViewedTask, title: TaskTitle): TaskCounts {
  const { task } = viewed;
  if (!doAllFit(viewed, title)) return countOneByOne(viewed);
  // Each agent has one address; a task without one of its own is where its agent is.
  const addresses = task.networks.flatMap((network) => network.addresses);
  const own = Math.max(1, addresses.length > 1 ? new Set(addresses).size : addresses.length);
  const names = title.raw === undefined ? 1 : 2;
  let services = 0;
  for (const port of task.ports) {
    const isNamed = label(port.name ?? '') !== '';
    const inMesos = servicePort(task, port) === undefined ? 0 : isNamed ? 2 : 1;
    services += names * (inMesos + (port.host_port === undefined ? 0 : 1));
  }
  return {
    [DCOS]: 1 + own + (isPublished(task) ? 1 : own),
    // And the canonical one.
    [MESOS]: (names + 1) * (own + 1) + services,
  };
}

/** Names of services have a `_` before each label. */
function doAllFit({ task }: ViewedTask, { name, framework, raw = '' }: TaskTitle): boolean {
  if (framework.length > FRAMEWORK_MAX || raw.length >= LABEL_BYTES_MAX) return false;
  const portNames = task.ports.map((port) => port.name?.length ?? 0);
  return task.ports.length === 0 || Math.max(name.length, ...portNames) < LABEL_BYTES_MAX;
}

function countOneByOne(viewed: ViewedTask): TaskCounts {
  const names = taskRecords(viewed).map((record) => record.name);
  const count = (zone: string): number => names.filter((name) => name.endsWith(`.${zone}`)).length;
  return { [DCOS]: count(DCOS), [MESOS]: count(MESOS) };
}
