/**
 * The names of a task (reference "VIPs and DNS", sections 4 and 5).
 *
 * Purpose: one running task in, the records it has in the zones of DC/OS and of Mesos-DNS out: all, or those of one name.
 * Invariants: only running tasks have names, and those that are not about to be ended; a task that cannot be reached,
 * or is not healthy (yet), keeps all of them, less preferred.
 * Review notes: what is asked for is made anew whenever one of a name's tasks has changed, so a name that is not wanted
 * costs one comparison, and no hash.
 */
import { parseIp, type IpAddress } from '../base/ip.ts';
import { fragment, label } from '../model/dns-name.ts';
import type { TaskPort, TaskRecord } from '../model/task.ts';
import type { ViewedTask } from '../model/task-view.ts';
import { canonicalLabel } from './canonical.ts';
import { LABEL_BYTES_MAX } from './constants.ts';
import { nameKey } from './name.ts';
import { addressData, type DnsRecord, type RecordData } from './record.ts';
import { reverseName } from './reverse.ts';
import { DCOS, defaultTtls, MESOS, type TimesToLive } from './zones.ts';

/** What a task is called: its own names are `<name>.<framework>` in each zone. */
export interface TaskTitle {
  readonly name: string;
  readonly framework: string;
  /** Mesos-DNS publishes a discovery name as it is, too: `myapp.sub.outer`. Absent where that is the same. */
  readonly raw?: string;
}

/** `undefined` for a task that has no names. */
export function taskTitle({ task }: ViewedTask): TaskTitle | undefined {
  if (task.state !== 'TASK_RUNNING' || task.draining) return undefined;
  const framework = fragment(task.framework);
  const name = label(task.name);
  if (name === '' || framework === '') return undefined;
  const raw = rawName(task.name);
  return { name, framework, ...(raw === undefined || raw === name ? {} : { raw }) };
}

/** All records of a task; of one name alone where that is `wanted`. */
export function taskRecords(
  viewed: ViewedTask,
  ttls: TimesToLive = defaultTtls,
  wanted?: string,
): readonly DnsRecord[] {
  const title = taskTitle(viewed);
  if (title === undefined) return [];
  const preferred = viewed.reachable && isHealthy(viewed.task);
  const records: DnsRecord[] = [];
  const tell: Tell = (name, ttl, make) => {
    // What people write may come to more than the 255 bytes of a name.
    if (wanted === undefined ? nameKey(name) === undefined : name !== wanted) return;
    for (const data of make()) records.push({ name, ttl, data, preferred });
  };
  const parts = partsOf(viewed, title, ttls);
  tellDcosNames(parts, tell);
  if (wanted?.endsWith('.arpa') !== false) tellReverseNames(parts, tell);
  tellMesosNames(parts, wanted, tell);
  if (wanted?.startsWith('_') !== false) tellServices(parts, tell);
  return records;
}

type Tell = (name: string, ttl: number, make: () => readonly RecordData[]) => void;

/** As VIPs have it: one that has a check is not until it passes, since it runs before it listens. */
const isHealthy = (task: TaskRecord): boolean => task.healthy ?? !task.checked;

export const isPublished = (task: TaskRecord): boolean =>
  task.ports.some((port) => port.host_port !== undefined);

interface Parts extends TaskTitle {
  readonly task: TaskRecord;
  readonly agent: readonly IpAddress[];
  readonly own: readonly IpAddress[];
  readonly ttls: TimesToLive;
  /** The label that no other task has. */
  canonical(): string;
}

function partsOf(viewed: ViewedTask, title: TaskTitle, ttls: TimesToLive): Parts {
  const { task } = viewed;
  let canonical: string | undefined;
  return {
    ...title,
    ...addressesOf(viewed),
    task,
    ttls,
    canonical: () => (canonical ??= canonicalLabel({ label: title.name, id: task.id, agent: viewed.node })),
  };
}

/** A task that has no address of its own is where its agent is. */
function addressesOf(viewed: ViewedTask): Pick<Parts, 'agent' | 'own'> {
  const host = parseIp(viewed.agentIp);
  const agent = host === undefined ? [] : [host];
  const own = parsed(viewed.task.networks.flatMap((network) => network.addresses));
  return { agent, own: own.length > 0 ? own : agent };
}

const parsed = (texts: readonly string[]): readonly IpAddress[] =>
  Array.from(new Set(texts)).flatMap((text) => parseIp(text) ?? []);

const a = (addresses: readonly IpAddress[]) => (): readonly RecordData[] => addresses.map(addressData);

function tellDcosNames({ task, name, framework, agent, own, ttls }: Parts, tell: Tell): void {
  const within = (zone: string): string => `${name}.${framework}.${zone}.${DCOS}`;
  tell(within('agentip'), ttls.own, a(agent));
  tell(within('containerip'), ttls.own, a(own));
  tell(within('autoip'), ttls.own, a(isPublished(task) ? agent : own));
}

function tellReverseNames({ task, name, framework, ttls }: Parts, tell: Tell): void {
  const target = `${name}.${framework}.containerip.${DCOS}`;
  for (const address of parsed(containerAddresses(task)))
    tell(reverseName(address), ttls.own, () => [{ type: 'PTR', target }]);
}

/** Addresses on overlays: nobody else in the cluster has them. Those of a host's own bridge are on every host. */
export function containerAddresses(task: TaskRecord): readonly string[] {
  return task.networks.flatMap(({ mode, addresses }) => (mode === 'container' ? addresses : []));
}

function tellMesosNames(parts: Parts, wanted: string | undefined, tell: Tell): void {
  const { framework, agent, own, ttls } = parts;
  const names = discoveryNames(parts);
  const isOther = wanted === undefined || names.every((each) => !wanted.startsWith(`${each}.`));
  for (const each of new Set(isOther ? [...names, parts.canonical()] : names)) {
    tell(`${each}.${framework}.${MESOS}`, ttls.mesos, a(own));
    tell(`${each}.${framework}.slave.${MESOS}`, ttls.mesos, a(agent));
  }
}

const discoveryNames = ({ name, raw }: TaskTitle): readonly string[] =>
  raw === undefined ? [name] : [name, raw];

const RAW_NAME = new RegExp(`^[a-z0-9_-]{1,${LABEL_BYTES_MAX}}(\\.[a-z0-9_-]{1,${LABEL_BYTES_MAX}})*$`);

function rawName(name: string): string | undefined {
  const lower = name.toLowerCase();
  return RAW_NAME.test(lower) ? lower : undefined;
}

function tellServices(parts: Parts, tell: Tell): void {
  const { task, framework, ttls } = parts;
  for (const port of task.ports) {
    const portName = label(port.name ?? '');
    const data = (): readonly RecordData[] => service(port, parts);
    for (const each of discoveryNames(parts)) {
      const base = `_${each}._${port.protocol}.${framework}`;
      tell(`${base}.${MESOS}`, ttls.mesos, data);
      if (portName !== '') tell(`_${portName}.${base}.${MESOS}`, ttls.mesos, data);
      tell(`${base}.slave.${MESOS}`, ttls.mesos, () => onAgent(port.host_port, parts));
    }
  }
}

function service(port: TaskPort, parts: Parts): readonly RecordData[] {
  const found = servicePort(parts.task, port);
  if (found === undefined || found.on === 'agent') return onAgent(found?.port, parts);
  return [{ type: 'SRV', target: `${parts.canonical()}.${parts.framework}.${MESOS}`, port: found.port }];
}

function onAgent(port: number | undefined, parts: Parts): readonly RecordData[] {
  const target = `${parts.canonical()}.${parts.framework}.slave.${MESOS}`;
  return port === undefined ? [] : [{ type: 'SRV', target, port }];
}

/**
 * Where the port answers: on the task's own address where everybody reaches that, else on the agent's. (Mesos-DNS named
 * the task's address with the agent's port for bridged containers, which nobody could use.)
 */
export function servicePort(
  task: TaskRecord,
  { container_port: containerPort, host_port: hostPort }: TaskPort,
): { readonly on: 'task' | 'agent'; readonly port: number } | undefined {
  const isOn = (mode: string): boolean => task.networks.some((network) => network.mode === mode);
  if (isOn('container') && containerPort !== undefined) return { on: 'task', port: containerPort };
  const port = hostPort ?? containerPort;
  if (isOn('host') && port !== undefined) return { on: 'task', port };
  return hostPort === undefined ? undefined : { on: 'agent', port: hostPort };
}
