import { expect, it } from 'vitest';
import { taskAddresses } from './task-addresses.ts';

const rooms = [
  { network: 'dcos', mesosFree: 3, dockerCapacity: 5 },
  { network: 'other', mesosFree: 0, dockerCapacity: 0 },
];
const cni = (container: string, network = 'dcos') => ({ container, network, source: 'cni' as const });
const docker = (container: string) => ({ container, network: 'dcos', source: 'docker' as const });

it('counts what tasks have as theirs, and what others have as gone', () => {
  expect(taskAddresses(rooms, [], new Set())).toEqual({
    dcos: { mesos: 3, docker: 5 },
    other: { mesos: 0, docker: 0 },
  });
  const endpoints = [cni('t1'), cni('t1', 'other'), cni('by-hand'), docker('t2'), docker('web')];
  expect(taskAddresses(rooms, endpoints, new Set(['t1', 't2']))).toEqual({
    dcos: { mesos: 4, docker: 4 },
    other: { mesos: 1, docker: 0 },
  });
});

it('is the same before and after a task has got its address', () => {
  const before = taskAddresses(rooms, [cni('t1')], new Set(['t1', 't2']));
  const [dcos, other] = rooms;
  const after = taskAddresses(
    [{ ...dcos!, mesosFree: 2 }, other!],
    [cni('t1'), cni('t2')],
    new Set(['t1', 't2']),
  );
  expect(after).toEqual(before);
});
