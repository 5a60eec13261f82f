/**
 * Tasks as Mesos masters tell of them (the reference "Mesos state", sections 2 to 4).
 *
 * Invariants: `container_status.network_infos` always holds an address: the container's own, or the agent's where it has
 * none. Label shapes differ on purpose: lists in statuses, `{"labels": […]}` in what Mesos prints from its messages.
 */
import {
  isTerminal,
  type HealthCheck,
  type TaskLaunch,
  type TaskNetwork,
  type TaskPort,
  type TaskRecord,
  type TaskState,
  toldState,
} from '../../model/task.ts';
import { frameworkId, seconds, type ClusterFacts, type TaskFacts } from './facts.ts';
import { usedBy } from './resources.ts';

interface Label {
  readonly key: string;
  readonly value: string;
}

export function labelList(labels: Readonly<Record<string, string>>): Label[] {
  return Object.entries(labels).map(([key, value]) => ({ key, value }));
}

/** A task on an agent that nobody reaches is not known to run. */
export function stateOf({ reachable, task }: TaskFacts): TaskState {
  return reachable || isTerminal(task.state) ? toldState(task) : 'TASK_UNREACHABLE';
}

export function renderTask(facts: TaskFacts, cluster: ClusterFacts): object {
  const { task, node, launch } = facts;
  const labels = labelList(launch?.labels ?? {});
  return {
    id: task.id,
    name: task.name,
    framework_id: frameworkId(cluster, task.framework),
    executor_id: '',
    slave_id: node,
    state: stateOf(facts),
    resources: usedBy(facts),
    role: '*',
    statuses: statusesOf(facts, renderStatus),
    ...(launch?.user === undefined ? {} : { user: launch.user }),
    ...(labels.length === 0 ? {} : { labels }),
    discovery: discovery(task),
    container: container(facts),
    ...healthCheck(launch?.health_checks ?? []),
  };
}

/** Oldest first. */
export function statusesOf(facts: TaskFacts, render: (facts: TaskFacts) => object): object[] {
  const { earlier = [], ...now } = facts;
  const before = earlier.map((each) =>
    render({ ...now, reachable: true, task: { ...now.task, draining: false, ...each } }),
  );
  return [...before, render(facts)];
}

const CHECK_TYPES = {
  ...{ HTTP: 'HTTP', HTTPS: 'HTTP', MESOS_HTTP: 'HTTP', MESOS_HTTPS: 'HTTP' },
  ...{ TCP: 'TCP', MESOS_TCP: 'TCP', COMMAND: 'COMMAND' },
} as const;

/** Mesos knows of one; of ours it is the first. */
export function healthCheck([check]: readonly HealthCheck[]): object {
  if (check === undefined) return {};
  const { port, path, command } = check;
  const type = CHECK_TYPES[check.protocol];
  const scheme = check.protocol.endsWith('HTTPS') ? 'https' : 'http';
  const protocol = check.ip_protocol;
  const how = {
    HTTP: { http: { protocol, scheme, port, ...(path === undefined ? {} : { path }) } },
    TCP: { tcp: { protocol, port } },
    COMMAND: { command: { value: command ?? '' } },
  }[type];
  return {
    health_check: {
      type,
      delay_seconds: check.delay_s,
      interval_seconds: check.interval_s,
      timeout_seconds: check.timeout_s,
      consecutive_failures: check.max_failures,
      grace_period_seconds: check.grace_s,
      ...how,
    },
  };
}

export function renderStatus(facts: TaskFacts): object {
  const { task } = facts;
  return {
    state: stateOf(facts),
    timestamp: seconds(Date.parse(task.status_at)),
    container_status: {
      container_id: { value: task.container ?? task.id },
      network_infos: networkInfos(facts),
    },
    ...(task.healthy === undefined ? {} : { healthy: task.healthy }),
  };
}

function networkInfos({ task, agentIp, launch }: TaskFacts): object[] {
  const own = task.networks.filter((network) => network.mode !== 'host' && network.addresses.length > 0);
  if (own.length === 0) return [{ ip_addresses: [ipAddress(agentIp)] }];
  const portMappings = mappingsOf(task.ports);
  return own.map((network) => {
    const labels = labelList(requested(network, launch?.networks)?.labels ?? {});
    return {
      ...(network.name === undefined ? {} : { name: network.name }),
      ip_addresses: network.addresses.map((address) => ipAddress(address)),
      ...(labels.length === 0 ? {} : { labels }),
      ...(portMappings.length === 0 ? {} : { port_mappings: portMappings }),
    };
  });
}

function requested(
  network: TaskRecord['networks'][number],
  networks: readonly TaskNetwork[] = [],
): TaskNetwork | undefined {
  return networks.find(({ mode, name }) => mode === network.mode && name === network.name);
}

function ipAddress(address: string): object {
  return { protocol: address.includes(':') ? 'IPv6' : 'IPv4', ip_address: address };
}

function mappingsOf(ports: readonly TaskPort[]): object[] {
  return ports.flatMap(({ host_port, container_port, protocol }) =>
    host_port === undefined || container_port === undefined ? [] : [{ host_port, container_port, protocol }],
  );
}

function discovery(task: TaskRecord): object {
  const ports = task.ports.flatMap((port) => discoveryPorts(port, task));
  return { visibility: 'FRAMEWORK', name: task.name, ...(ports.length === 0 ? {} : { ports: { ports } }) };
}

/** A port on the host counts there; one of the container alone once for each network that it is on. */
function discoveryPorts(port: TaskPort, task: TaskRecord): object[] {
  const named = { ...(port.name === undefined ? {} : { name: port.name }), protocol: port.protocol };
  const own = task.networks.filter((network) => network.mode !== 'host');
  if (port.host_port !== undefined) {
    const scope = own.length === 0 ? {} : { 'network-scope': 'host' };
    return [{ number: port.host_port, ...named, ...protoLabels({ ...scope, ...port.labels }) }];
  }
  const { container_port: number } = port;
  if (number === undefined) return [];
  const names = own.flatMap((network) => network.name ?? []);
  const wanted = port.networks ?? [];
  return names
    .filter((name) => wanted.length === 0 || wanted.includes(name))
    .map((name) => ({
      number,
      ...named,
      ...protoLabels({ 'network-scope': 'container', 'network-name': name, ...port.labels }),
    }));
}

function protoLabels(labels: Readonly<Record<string, string>>): object {
  const list = labelList(labels);
  return list.length === 0 ? {} : { labels: { labels: list } };
}

/** Those that the app gives its network, in the shape of a request. */
function wishedLabels(network: TaskRecord['networks'][number], launch: TaskLaunch | undefined): object {
  return protoLabels(requested(network, launch?.networks)?.labels ?? {});
}

function container({ task, launch }: TaskFacts): object {
  const networks = task.networks.filter((network) => network.mode !== 'host');
  const mappings = mappingsOf(task.ports);
  const portMappings = mappings.length === 0 ? {} : { port_mappings: mappings };
  const image = launch?.image?.name ?? '';
  if (task.runtime === 'docker') {
    const mode = networks[0]?.mode;
    const network = mode === undefined ? 'HOST' : mode === 'bridge' ? 'BRIDGE' : 'USER';
    const infos =
      network === 'USER'
        ? { network_infos: networks.map((each) => ({ name: each.name, ...wishedLabels(each, launch) })) }
        : {};
    const privileged = launch?.privileged ?? false;
    return { type: 'DOCKER', docker: { image, network, privileged, ...portMappings }, ...infos };
  }
  const infos = networks.map((network) => ({
    name: network.name ?? (network.mode === 'bridge' ? 'mesos-bridge' : ''),
    ip_addresses: [{ protocol: 'IPv4' }],
    ...wishedLabels(network, launch),
    ...portMappings,
  }));
  return {
    type: 'MESOS',
    ...(image === '' ? {} : { mesos: { image: { type: 'DOCKER', docker: { name: image } } } }),
    ...(infos.length === 0 ? {} : { network_infos: infos }),
  };
}
