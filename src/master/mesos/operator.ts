/** The operator API's shapes: ids are objects, a slave is an agent, labels are wrapped (the reference, section 7). */
import type { TaskRecord } from '../../model/task.ts';
import {
  drainInfo,
  frameworkId,
  frameworkNames,
  seconds,
  type AgentFacts,
  type ClusterFacts,
  type TaskFacts,
} from './facts.ts';
import { endpoint, MESOS_VERSION, resourcesFull } from './state.ts';
import { healthCheck, labelList, renderTask, stateOf, statusesOf } from './task.ts';

const NANOSECONDS = 1_000_000;

export function getState(facts: ClusterFacts): object {
  return {
    get_tasks: getTasks(facts),
    get_executors: {},
    get_frameworks: getFrameworks(facts),
    get_agents: getAgents(facts),
  };
}

export function getTasks(facts: ClusterFacts): object {
  const isLost = (task: TaskFacts): boolean => stateOf(task) === 'TASK_UNREACHABLE';
  const render = (tasks: readonly TaskFacts[]): object[] => tasks.map((task) => operatorTask(task, facts));
  return nonEmpty({
    tasks: render(facts.tasks.filter((task) => !isLost(task))),
    unreachable_tasks: render(facts.tasks.filter(isLost)),
    completed_tasks: render(facts.completed),
  });
}

export function getFrameworks(facts: ClusterFacts): object {
  return { frameworks: frameworkNames(facts).map((name) => operatorFramework(name, facts)) };
}

export function getAgents(facts: ClusterFacts): object {
  return nonEmpty({ agents: facts.agents.map((agent) => operatorAgent(agent, facts)) });
}

/** Mesos leaves out lists that hold nothing. */
function nonEmpty(lists: Readonly<Record<string, readonly object[]>>): object {
  return Object.fromEntries(Object.entries(lists).filter(([, list]) => list.length > 0));
}

export function operatorFramework(name: string, facts: ClusterFacts): object {
  const { address, port, startedMs } = facts.master;
  return {
    framework_info: {
      id: { value: frameworkId(facts, name) },
      name,
      user: 'root',
      roles: ['*'],
      checkpoint: true,
      failover_timeout: 604_800,
      hostname: address,
      webui_url: `http://${endpoint(address, port)}`,
      capabilities: [{ type: 'TASK_KILLING_STATE' }, { type: 'PARTITION_AWARE' }],
    },
    active: true,
    connected: true,
    recovered: false,
    registered_time: { nanoseconds: startedMs * NANOSECONDS },
  };
}

export function operatorAgent(agent: AgentFacts, { tasks }: ClusterFacts): object {
  const drain_info = drainInfo(agent, tasks);
  const resources = resourcesFull(agent);
  return {
    agent_info: {
      id: { value: agent.id },
      hostname: agent.address,
      port: agent.port,
      resources,
      attributes: labelList({ portolan_node: agent.name, ...agent.resources?.attributes }).map(
        ({ key, value }) => ({ name: key, type: 'TEXT', text: { value } }),
      ),
    },
    pid: `slave(1)@${endpoint(agent.address, agent.port)}`,
    active: agent.reachable,
    deactivated: agent.drained === true,
    ...(drain_info === undefined ? {} : { drain_info }),
    version: MESOS_VERSION,
    registered_time: { nanoseconds: agent.registeredMs * NANOSECONDS },
    total_resources: resources,
  };
}

interface RenderedTask {
  readonly statuses: readonly object[];
  readonly discovery: object;
  readonly container: object;
}

export function operatorTask(facts: TaskFacts, cluster: ClusterFacts): object {
  const { task, node, launch } = facts;
  const { discovery, container } = renderTask(facts, cluster) as RenderedTask;
  const labels = labelList(launch?.labels ?? {});
  return {
    name: task.name,
    task_id: { value: task.id },
    framework_id: { value: frameworkId(cluster, task.framework) },
    agent_id: { value: node },
    state: stateOf(facts),
    resources: taskResources(facts),
    statuses: statusesOf(facts, operatorStatus),
    status_update_state: stateOf(facts),
    ...(labels.length === 0 ? {} : { labels: { labels } }),
    discovery,
    container,
    ...healthCheck(launch?.health_checks ?? []),
  };
}

function taskResources({ launch, task }: TaskFacts): object[] {
  const scalar = (name: string, value: number): object => ({
    name,
    type: 'SCALAR',
    scalar: { value },
    role: '*',
  });
  const { cpus = 0, mem_mib: mem = 0, disk_mib: disk = 0 } = launch?.resources ?? {};
  const range = task.ports.flatMap((port) =>
    port.host_port === undefined ? [] : [{ begin: port.host_port, end: port.host_port }],
  );
  return [
    scalar('cpus', cpus),
    scalar('mem', mem),
    scalar('disk', disk),
    ...(range.length === 0 ? [] : [{ name: 'ports', type: 'RANGES', ranges: { range }, role: '*' }]),
  ];
}

export function operatorStatus(facts: TaskFacts): object {
  const { task, node } = facts;
  const networks = statusNetworks(facts);
  return {
    task_id: { value: task.id },
    state: stateOf(facts),
    ...(task.message === '' ? {} : { message: task.message }),
    agent_id: { value: node },
    timestamp: seconds(Date.parse(task.status_at)),
    ...(task.healthy === undefined ? {} : { healthy: task.healthy }),
    container_status: { container_id: { value: task.container ?? task.id }, network_infos: networks },
  };
}

function statusNetworks({ task, agentIp, launch }: TaskFacts): object[] {
  const address = (text: string): object => ({
    protocol: text.includes(':') ? 'IPv6' : 'IPv4',
    ip_address: text,
  });
  const own = task.networks.filter((network) => network.mode !== 'host' && network.addresses.length > 0);
  if (own.length === 0) return [{ ip_addresses: [address(agentIp)] }];
  return own.map((network: TaskRecord['networks'][number]) => {
    const asked = launch?.networks.find(({ name, mode }) => name === network.name && mode === network.mode);
    const labels = labelList(asked?.labels ?? {});
    return {
      ip_addresses: network.addresses.map((text) => address(text)),
      ...(network.name === undefined ? {} : { name: network.name }),
      ...(labels.length === 0 ? {} : { labels: { labels } }),
    };
  });
}
