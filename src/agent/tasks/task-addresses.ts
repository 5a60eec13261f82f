/**
 * How many addresses of each overlay the tasks of this host may have: the free ones and those that tasks have already.
 *
 * Masters subtract what they have given, so that a number that is a moment old does not make them give an address twice:
 * it changes with containers that are not theirs, not with each task.
 */
import type { Endpoint } from '../../model/endpoint.ts';
import type { ResourcesRecord } from '../../model/task.ts';

export interface AddressRoom {
  readonly network: string;
  /** Of the half of native containers: free now. */
  readonly mesosFree: number;
  /** Of Docker's half: what it holds at all. */
  readonly dockerCapacity: number;
}

/** `tasks`: containers of tasks that have not ended. */
export function taskAddresses(
  rooms: readonly AddressRoom[],
  endpoints: readonly Pick<Endpoint, 'container' | 'network' | 'source'>[],
  tasks: ReadonlySet<string>,
): ResourcesRecord['task_addresses'] {
  const count = (network: string, source: Endpoint['source'], ofTasks: boolean): number =>
    endpoints.filter(
      (each) => each.network === network && each.source === source && tasks.has(each.container) === ofTasks,
    ).length;
  return Object.fromEntries(
    rooms.map(({ network, mesosFree, dockerCapacity }) => [
      network,
      {
        mesos: mesosFree + count(network, 'cni', true),
        docker: Math.max(0, dockerCapacity - count(network, 'docker', false)),
      },
    ]),
  );
}
