/** Facts of a small cluster, for what masters tell as Mesos masters do. */
import type { AgentFacts, ClusterFacts, TaskFacts } from '../../src/master/mesos/facts.ts';
import type { NodeId } from '../../src/model/names.ts';
import { resourcesRecord, taskRecord, type TaskRecord } from '../../src/model/task.ts';
import { running } from './marathon-bed.ts';

const node = (n: number): NodeId => `n${n}` as NodeId;

export function agent(n: number, more: Partial<AgentFacts> = {}): AgentFacts {
  return {
    id: node(n),
    name: `agent${n}`,
    address: `10.0.0.${n}`,
    port: 5051,
    registeredMs: 1_465_312_651_846,
    reachable: true,
    resources: resourcesRecord.parse({
      cpus: 4,
      mem_mib: 14_018,
      disk_mib: 35_577,
      gpus: 0,
      ports: [
        [1025, 2180],
        [8182, 32_000],
      ],
      attributes: { rack: 'r1' },
      region: 'eu',
      zone: 'a',
      runtimes: ['mesos'],
    }),
    ...more,
  };
}

/** The n-th task of `/web`, on agent n. */
export function task(n: number, change: Partial<TaskRecord> = {}, more: Partial<TaskFacts> = {}): TaskFacts {
  const { record: base, launch, agentIp } = running('/web', n);
  const own = taskRecord.parse({ ...base, healthy: true, ...change });
  return {
    id: `${node(n)}/${own.id}`,
    node: node(n),
    host: `agent${n}`,
    agentIp,
    reachable: true,
    task: own,
    launch,
    ...more,
  };
}

export function facts(more: Partial<ClusterFacts> = {}): ClusterFacts {
  return {
    id: 'c1',
    master: { address: '10.0.0.1', port: 5050, startedMs: 1_465_278_954_690 },
    agents: [agent(1), agent(2)],
    tasks: [task(1)],
    completed: [],
    ...more,
  };
}

/** What consumers read, by path. */
export const at = (value: unknown, ...path: (string | number)[]): unknown =>
  path.reduce<unknown>((each, key) => (each as Record<string | number, unknown> | undefined)?.[key], value);
