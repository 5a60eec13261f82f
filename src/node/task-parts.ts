/** Parts of a task's record that two versions of it have in common. */
import { isSameList } from '../base/lists.ts';
import type { TaskPort, TaskRecord } from '../model/task.ts';

/**
 * With the ports and networks of `before`, the same objects, where they say the same: they are most of a record and seldom
 * change, and readers see at a glance that they have not.
 */
export function withParts(task: TaskRecord, before: TaskRecord): TaskRecord {
  const ports = isSameList(task.ports, before.ports, isSamePort) ? before.ports : task.ports;
  const networks = isSameList(task.networks, before.networks, isSameNetwork)
    ? before.networks
    : task.networks;
  return { ...task, ports, networks };
}

const isSamePort = (a: TaskPort, b: TaskPort): boolean =>
  a.name === b.name &&
  a.protocol === b.protocol &&
  a.container_port === b.container_port &&
  a.host_port === b.host_port &&
  isSameList(a.networks, b.networks, isSameText) &&
  isSameRecord(a.labels, b.labels);

type Network = TaskRecord['networks'][number];
const isSameNetwork = (a: Network, b: Network): boolean =>
  a.mode === b.mode && a.name === b.name && isSameList(a.addresses, b.addresses, isSameText);

const isSameText = (a: string, b: string): boolean => a === b;

function isSameRecord(a: Readonly<Record<string, string>>, b: Readonly<Record<string, string>>): boolean {
  let size = 0;
  for (const key in a) {
    if (a[key] !== b[key]) return false;
    size++;
  }
  for (const _ in b) size--;
  return size === 0;
}
