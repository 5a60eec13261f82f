/** `/state` and its parts as Mesos masters answer them (the reference "Mesos state", sections 1 to 3). */
import type { ResourcesRecord, TaskState } from '../../model/task.ts';
import {
  drainInfo,
  frameworkId,
  frameworkNames,
  MARATHON,
  seconds,
  type AgentFacts,
  type ClusterFacts,
  type TaskFacts,
} from './facts.ts';
import { NO_RESOURCES, offered, sum, type MesosResources } from './resources.ts';
import { renderTask, stateOf } from './task.ts';

/** The release whose shapes these are; consumers look at it. */
export const MESOS_VERSION = '1.11.0';

export function renderState(facts: ClusterFacts): object {
  return {
    ...masterInfo(facts),
    slaves: renderSlaves(facts),
    recovered_slaves: [],
    frameworks: frameworkNames(facts).map((name) => renderFramework(name, facts)),
    completed_frameworks: [],
    orphan_tasks: [],
    unregistered_frameworks: [],
  };
}

/** `host:port` with brackets around IPv6. */
export function endpoint(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

function masterInfo(facts: ClusterFacts): object {
  const { address, port, startedMs } = facts.master;
  const pid = `master@${endpoint(address, port)}`;
  const startTime = seconds(startedMs);
  const reachable = facts.agents.filter((agent) => agent.reachable);
  const deactivated = reachable.filter(({ drained }) => drained === true).length;
  return {
    version: MESOS_VERSION,
    git_sha: '',
    git_branch: '',
    git_tag: '',
    build_date: '',
    build_time: 0,
    build_user: 'portolan',
    start_time: startTime,
    elected_time: startTime,
    id: facts.id,
    pid,
    hostname: address,
    capabilities: ['AGENT_UPDATE', 'AGENT_DRAINING'],
    activated_slaves: reachable.length - deactivated,
    deactivated_slaves: deactivated,
    unreachable_slaves: facts.agents.length - reachable.length,
    leader: pid,
    leader_info: { id: facts.id, pid, port, hostname: address },
    cluster: facts.id,
    flags: flagsOf(facts),
  };
}

function renderSlaves(facts: ClusterFacts): object[] {
  const tasks = byNode(facts.tasks);
  return facts.agents.map((agent) => renderAgent(agent, tasks.get(agent.id) ?? []));
}

function byNode(tasks: readonly TaskFacts[]): ReadonlyMap<string, readonly TaskFacts[]> {
  const groups = new Map<string, TaskFacts[]>();
  for (const task of tasks) {
    const known = groups.get(task.node);
    if (known === undefined) groups.set(task.node, [task]);
    else known.push(task);
  }
  return groups;
}

/** `tasks` are the agent's. */
function renderAgent(agent: AgentFacts, tasks: readonly TaskFacts[]): object {
  const used = sum(tasks.filter(isAlive));
  const all = offered(agent.resources);
  const drain_info = drainInfo(agent, tasks);
  return {
    id: agent.id,
    hostname: agent.address,
    port: agent.port,
    pid: `slave(1)@${endpoint(agent.address, agent.port)}`,
    attributes: { portolan_node: agent.name, ...agent.resources?.attributes },
    ...domain(agent),
    registered_time: seconds(agent.registeredMs),
    resources: all,
    used_resources: used,
    offered_resources: NO_RESOURCES,
    reserved_resources: {},
    unreserved_resources: all,
    active: agent.reachable,
    deactivated: agent.drained === true,
    ...(drain_info === undefined ? {} : { drain_info }),
    version: MESOS_VERSION,
    capabilities: ['MULTI_ROLE', 'HIERARCHICAL_ROLE', 'RESERVATION_REFINEMENT'],
  };
}

function domain({ resources }: AgentFacts): object {
  const { region, zone } = resources ?? {};
  if (region === undefined || zone === undefined) return {};
  return { domain: { fault_domain: { region: { name: region }, zone: { name: zone } } } };
}

function isAlive(task: TaskFacts): boolean {
  return stateOf(task) !== 'TASK_UNREACHABLE';
}

/** What `/frameworks` and `/state-summary` tell too. */
function frameworkInfo(name: string, facts: ClusterFacts, used: object): object {
  const { address, port, startedMs } = facts.master;
  return {
    id: frameworkId(facts, name),
    name,
    pid: `scheduler-${name}@${endpoint(address, port)}`,
    used_resources: used,
    offered_resources: NO_RESOURCES,
    capabilities: ['TASK_KILLING_STATE', 'PARTITION_AWARE'],
    hostname: address,
    webui_url: name === MARATHON ? `http://${endpoint(address, port)}` : '',
    active: true,
    connected: true,
    recovered: false,
    user: 'root',
    failover_timeout: 604_800,
    checkpoint: true,
    registered_time: seconds(startedMs),
    unregistered_time: 0,
    resources: used,
    role: '*',
  };
}

export function renderFramework(name: string, facts: ClusterFacts): object {
  const isOwn = ({ task }: TaskFacts): boolean => task.framework === name;
  const tasks = facts.tasks.filter(isOwn);
  const alive = tasks.filter(isAlive);
  return {
    ...frameworkInfo(name, facts, sum(alive)),
    tasks: alive.map((task) => renderTask(task, facts)),
    unreachable_tasks: tasks.filter((task) => !isAlive(task)).map((task) => renderTask(task, facts)),
    completed_tasks: facts.completed.filter(isOwn).map((task) => renderTask(task, facts)),
    offers: [],
    executors: [],
    offer_constraints: {},
  };
}

const COUNTED: readonly TaskState[] = [
  'TASK_STAGING',
  'TASK_STARTING',
  'TASK_RUNNING',
  'TASK_KILLING',
  'TASK_FINISHED',
  'TASK_KILLED',
  'TASK_FAILED',
  'TASK_LOST',
  'TASK_ERROR',
  'TASK_UNREACHABLE',
];

function counters(tasks: readonly TaskFacts[]): Record<string, number> {
  const counts = Object.fromEntries(COUNTED.map((state) => [state, 0]));
  for (const task of tasks) {
    const state = stateOf(task);
    if (counts[state] !== undefined) counts[state] += 1;
  }
  return counts;
}

export function renderSummary(facts: ClusterFacts): object {
  const everything = [...facts.tasks, ...facts.completed];
  const live = byNode(facts.tasks);
  const all = byNode(everything);
  return {
    hostname: facts.master.address,
    cluster: facts.id,
    slaves: facts.agents.map((agent) => {
      const own = all.get(agent.id) ?? [];
      const frameworks = new Set(own.map(({ task }) => frameworkId(facts, task.framework)));
      return {
        ...renderAgent(agent, live.get(agent.id) ?? []),
        ...counters(own),
        framework_ids: [...frameworks],
      };
    }),
    frameworks: frameworkNames(facts).map((name) => {
      const own = everything.filter(({ task }) => task.framework === name);
      const used = sum(facts.tasks.filter((task) => task.task.framework === name && isAlive(task)));
      const agents = new Set(own.map(({ node }) => node));
      return { ...frameworkInfo(name, facts, used), ...counters(own), slave_ids: [...agents] };
    }),
  };
}

/** `/slaves`: an agent with its resources once more, one by one. */
export function renderAgents(facts: ClusterFacts, id: string | undefined): object {
  const agents = facts.agents.filter((agent) => id === undefined || agent.id === id);
  const tasks = byNode(facts.tasks);
  const slaves = agents.map((agent) => ({
    ...renderAgent(agent, tasks.get(agent.id) ?? []),
    reserved_resources_full: {},
    unreserved_resources_full: resourcesFull(agent),
    used_resources_full: usedFull(sum((tasks.get(agent.id) ?? []).filter(isAlive))),
    offered_resources_full: [],
  }));
  return { slaves, recovered_slaves: [] };
}

function usedFull({ cpus, mem, disk, gpus, ports = '' }: MesosResources): object[] {
  const ranges = [...ports.matchAll(/([0-9]+)-([0-9]+)/g)].map(([, from, to]): [number, number] => [
    Number(from),
    Number(to),
  ]);
  return cpus + mem + disk + gpus + ranges.length === 0
    ? []
    : fullList({ cpus, mem_mib: mem, disk_mib: disk, gpus, ports: ranges });
}

export function resourcesFull({ resources }: AgentFacts): object[] {
  return resources === undefined ? [] : fullList(resources);
}

function fullList(
  resources: Pick<ResourcesRecord, 'cpus' | 'mem_mib' | 'disk_mib' | 'gpus' | 'ports'>,
): object[] {
  const scalar = (name: string, value: number): object => ({
    name,
    type: 'SCALAR',
    scalar: { value },
    role: '*',
  });
  return [
    scalar('cpus', resources.cpus),
    scalar('mem', resources.mem_mib),
    scalar('disk', resources.disk_mib),
    ...(resources.gpus === 0 ? [] : [scalar('gpus', resources.gpus)]),
    ...(resources.ports.length === 0
      ? []
      : [
          {
            name: 'ports',
            type: 'RANGES',
            ranges: { range: resources.ports.map(([begin, end]) => ({ begin, end })) },
            role: '*',
          },
        ]),
  ];
}

export function renderFrameworks(facts: ClusterFacts, id: string | undefined): object {
  const names = frameworkNames(facts).filter((name) => id === undefined || frameworkId(facts, name) === id);
  return {
    frameworks: names.map((name) => renderFramework(name, facts)),
    completed_frameworks: [],
    unregistered_frameworks: [],
  };
}

/** `/roles`: all frameworks are of the one that there is. */
export function renderRoles(facts: ClusterFacts): object {
  const frameworks = frameworkNames(facts).map((name) => frameworkId(facts, name));
  const resources = sum(facts.tasks.filter(isAlive));
  return { roles: [{ name: '*', weight: 1, frameworks, resources }] };
}

/** `/flags` */
export function renderFlags(facts: ClusterFacts): object {
  return { flags: flagsOf(facts) };
}

const flagsOf = ({ master }: ClusterFacts): object => ({ port: String(master.port), quorum: '1' });

export interface TaskQuery {
  readonly limit: number;
  readonly offset: number;
  readonly order: 'asc' | 'des';
  readonly frameworkId?: string | undefined;
  readonly taskId?: string | undefined;
}

/** By the time of the first status: newest first, unless asked for otherwise. */
export function renderTasks(facts: ClusterFacts, query: TaskQuery): object {
  const fits = ({ task }: TaskFacts): boolean =>
    (query.taskId === undefined || task.id === query.taskId) &&
    (query.frameworkId === undefined || frameworkId(facts, task.framework) === query.frameworkId);
  const sign = query.order === 'asc' ? 1 : -1;
  const sorted = [...facts.tasks, ...facts.completed]
    .filter(fits)
    .map((task) => ({ task, since: Date.parse(task.task.staged_at) }))
    .sort((a, b) => sign * (a.since - b.since) || (a.task.task.id < b.task.task.id ? -1 : 1));
  const page = sorted.slice(query.offset, query.offset + query.limit);
  return { tasks: page.map(({ task }) => renderTask(task, facts)) };
}
