/**
 * The names of a task (reference "VIPs and DNS", sections 4 and 5).
 *
 * Purpose: one running task in, all records it has in the zones of DC/OS and of Mesos-DNS out.
 * Invariants: only running tasks have names, and those that are not about to be ended; a task that cannot be reached,
 * or is not healthy (yet), keeps all of them, less preferred.
 */
import { parseIp, type IpAddress } from '../base/ip.ts';
import { fragment, label } from '../model/dns-name.ts';
import type { TaskPort, TaskRecord } from '../model/task.ts';
import type { ViewedTask } from '../model/task-view.ts';
import { canonicalLabel } from './canonical.ts';
import { nameKey } from './name.ts';
import { addressData, type DnsRecord, type RecordData } from './record.ts';
import { reverseName } from './reverse.ts';
import { DCOS, defaultTtls, MESOS, type TimesToLive } from './zones.ts';

export function taskRecords(viewed: ViewedTask, ttls: TimesToLive = defaultTtls): readonly DnsRecord[] {
  const { task } = viewed;
  if (task.state !== 'TASK_RUNNING' || task.draining) return [];
  const framework = fragment(task.framework);
  const name = label(task.name);
  if (name === '' || framework === '') return [];
  const host = parseIp(viewed.agentIp);
  const agent = host === undefined ? [] : [host];
  const own = ownAddresses(task);
  const parts: Parts = {
    name,
    framework,
    canonical: canonicalLabel({ name: task.name, id: task.id, agent: viewed.node }),
    agent,
    own: own.length > 0 ? own : agent,
    ttls,
  };
  const records = [...dcosRecords(task, parts), ...mesosRecords(task, parts), ...srvRecords(task, parts)];
  // What people write may come to more than the 255 bytes of a name.
  return records
    .filter((record) => nameKey(record.name) !== undefined)
    .map((record) => ({ ...record, preferred: viewed.reachable && isHealthy(task) }));
}

/** As VIPs have it: one that has a check is not until it passes, since it runs before it listens. */
const isHealthy = (task: TaskRecord): boolean => task.healthy ?? !task.checked;

/** The task's own names in `<task>.<framework>`. */
interface Parts {
  readonly name: string;
  readonly framework: string;
  readonly canonical: string;
  readonly agent: readonly IpAddress[];
  readonly own: readonly IpAddress[];
  readonly ttls: TimesToLive;
}

type Told = Omit<DnsRecord, 'preferred'>;

function ownAddresses(task: TaskRecord): IpAddress[] {
  const texts = new Set(task.networks.flatMap((network) => network.addresses));
  return [...texts].flatMap((text) => parseIp(text) ?? []);
}

const a = (name: string, ttl: number, addresses: readonly IpAddress[]): Told[] =>
  addresses.map((address) => ({ name, ttl, data: addressData(address) }));

function dcosRecords(task: TaskRecord, parts: Parts): Told[] {
  const { agent, own, ttls } = parts;
  const within = (zone: string): string => `${parts.name}.${parts.framework}.${zone}.${DCOS}`;
  const isPublished = task.ports.some((port) => port.host_port !== undefined);
  return [
    ...a(within('agentip'), ttls.own, agent),
    ...a(within('containerip'), ttls.own, own),
    ...a(within('autoip'), ttls.own, isPublished ? agent : own),
    ...containerAddresses(task).map((address) => ({
      name: reverseName(address),
      ttl: ttls.own,
      data: { type: 'PTR' as const, target: within('containerip') },
    })),
  ];
}

/** Addresses on overlays: nobody else in the cluster has them. Those of a host's own bridge are on every host. */
function containerAddresses(task: TaskRecord): IpAddress[] {
  const addresses = task.networks
    .filter((network) => network.mode === 'container')
    .flatMap((network) => network.addresses);
  return [...new Set(addresses)].flatMap((text) => parseIp(text) ?? []);
}

function mesosRecords(task: TaskRecord, { name, framework, canonical, agent, own, ttls }: Parts): Told[] {
  const raw = rawName(task.name);
  const names = [...new Set([name, ...(raw === undefined ? [] : [raw]), canonical])];
  return names.flatMap((each) => [
    ...a(`${each}.${framework}.${MESOS}`, ttls.mesos, own),
    ...a(`${each}.${framework}.slave.${MESOS}`, ttls.mesos, agent),
  ]);
}

/** Mesos-DNS publishes a discovery name as it is, too: `myapp.sub.outer`. */
function rawName(name: string): string | undefined {
  const lower = name.toLowerCase();
  return /^[a-z0-9_-]+(\.[a-z0-9_-]+)*$/.test(lower) ? lower : undefined;
}

function srvRecords(task: TaskRecord, parts: Parts): Told[] {
  const { framework, ttls } = parts;
  const raw = rawName(task.name);
  const services = [...new Set([parts.name, ...(raw === undefined ? [] : [raw])])];
  return task.ports.flatMap((port) => {
    const portName = label(port.name ?? '');
    const data = service(task, port, parts);
    return services.flatMap((each) => {
      const base = `_${each}._${port.protocol}.${framework}`;
      return [
        ...srv(`${base}.${MESOS}`, ttls.mesos, data),
        ...(portName === '' ? [] : srv(`_${portName}.${base}.${MESOS}`, ttls.mesos, data)),
        ...srv(`${base}.slave.${MESOS}`, ttls.mesos, onAgent(port, parts)),
      ];
    });
  });
}

const srv = (name: string, ttl: number, data: RecordData | undefined): Told[] =>
  data === undefined ? [] : [{ name, ttl, data }];

/**
 * Where the port answers: on the task's own address where everybody reaches that, else on the agent's. (Mesos-DNS named
 * the task's address with the agent's port for bridged containers, which nobody could use.)
 */
function service(task: TaskRecord, port: TaskPort, parts: Parts): RecordData | undefined {
  const target = `${parts.canonical}.${parts.framework}.${MESOS}`;
  const isOnOverlay = task.networks.some((network) => network.mode === 'container');
  if (isOnOverlay && port.container_port !== undefined)
    return { type: 'SRV', target, port: port.container_port };
  const isOnHost = task.networks.some((network) => network.mode === 'host');
  const number = port.host_port ?? port.container_port;
  if (isOnHost && number !== undefined) return { type: 'SRV', target, port: number };
  return onAgent(port, parts);
}

function onAgent({ host_port: hostPort }: TaskPort, parts: Parts): RecordData | undefined {
  const target = `${parts.canonical}.${parts.framework}.slave.${MESOS}`;
  return hostPort === undefined ? undefined : { type: 'SRV', target, port: hostPort };
}
