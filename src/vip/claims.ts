/**
 * Which VIPs one task asks for, and where each leads: reference "VIPs and DNS", section 2, "Backend choice".
 *
 * Purpose: a pure function of one task, so that a task that changes costs work for itself alone.
 * Invariants: a label that cannot be read, or a VIP that cannot be had, is an issue of that label; the task's others hold.
 */
import { parseIp, type IpAddress } from '../base/ip.ts';
import { NAME_BYTES_MAX, VIP_DOMAIN } from '../model/dns.ts';
import { fragment } from '../model/dns-name.ts';
import type { NodeId } from '../model/names.ts';
import type { TaskPort, TaskRecord } from '../model/task.ts';
import type { ViewedTask } from '../model/task-view.ts';
import { formatVipLabel, vipLabels, type LabelIssue, type VipLabel } from './labels.ts';

export type Protocol = 'tcp' | 'udp';

/** What a VIP is known by in the whole cluster. */
export interface VipIdentity {
  readonly protocol: Protocol;
  readonly port: number;
  /** `myservice.marathon`; absent where the label gives the address. */
  readonly name?: string;
  readonly address?: IpAddress;
}

export interface VipBackend {
  readonly address: IpAddress;
  readonly port: number;
  /** 0: established connections go on, no new ones. */
  readonly weight: 0 | 1;
  readonly reachable: boolean;
  readonly node: NodeId;
  /** The node's name. */
  readonly host: string;
  readonly agentIp: string;
  /** Id of the task. */
  readonly task: string;
  /** The task's name. */
  readonly name: string;
  /** Of this host, reached by the container's own address. */
  readonly local: boolean;
}

export interface VipClaim {
  readonly vip: VipIdentity;
  readonly affinity: VipLabel['affinity'];
  readonly backend: VipBackend;
}

export interface VipIssue extends LabelIssue {
  /** Id of the task. */
  readonly task: string;
  /** The task's name. */
  readonly name: string;
  readonly host: string;
}

export interface TaskClaims {
  readonly claims: readonly VipClaim[];
  readonly issues: readonly VipIssue[];
}

/** Equal texts: the same VIP. `tcp/myservice.marathon:6666` */
export function vipId({ protocol, name, address, port }: VipIdentity): string {
  const host = name ?? (address?.family === 6 ? `[${String(address)}]` : String(address));
  return `${protocol}/${host}:${port}`;
}

/** `self`: the node that will have the result in its kernel; absent where nobody will. */
export function taskClaims(view: ViewedTask, self: NodeId | undefined): TaskClaims {
  const { task } = view;
  const claims: VipClaim[] = [];
  const issues: VipIssue[] = [];
  if (!mayHaveVips(task)) return { claims, issues };
  for (const ports of samePorts(task.ports)) {
    const read = ports.map(({ labels }) => vipLabels(labels));
    const vips = read.flatMap((each) => each.vips);
    for (const issue of read.flatMap((each) => each.issues)) issues.push({ ...issue, ...ofTask(view) });
    if (vips.length === 0) continue;
    const backends = backendsOf(view, mergePorts(ports), view.node === self);
    for (const vip of vips) addClaims(view, ports, vip, backends, claims, issues);
  }
  return { claims, issues };
}

const ofTask = ({ task, host }: ViewedTask): Pick<VipIssue, 'task' | 'name' | 'host'> => ({
  task: task.id,
  name: task.name,
  host,
});

const mayHaveVips = ({ state }: TaskRecord): boolean => state === 'TASK_RUNNING' || state === 'TASK_KILLING';

/**
 * The claims of a task of which nothing has changed but its standing: `claims` itself where its weight and reachability
 * have not either. `undefined` = something else may have. This is what most changes are: they need not read labels again.
 */
export function sameClaims(before: ViewedTask, now: ViewedTask, claims: TaskClaims): TaskClaims | undefined {
  const [was, is] = [before.task, now.task];
  const isSame =
    was.ports === is.ports &&
    was.networks === is.networks &&
    was.id === is.id &&
    was.name === is.name &&
    was.framework === is.framework &&
    before.node === now.node &&
    before.host === now.host &&
    before.agentIp === now.agentIp &&
    mayHaveVips(was) &&
    mayHaveVips(is);
  if (!isSame) return undefined;
  const { reachable } = now;
  const weight = weightOf(is);
  if (weight === weightOf(was) && reachable === before.reachable) return claims;
  const restated = ({ vip, affinity, backend }: VipClaim): VipClaim => ({
    vip,
    affinity,
    backend: { ...backend, weight, reachable },
  });
  return { claims: claims.claims.map(restated), issues: claims.issues };
}

function addClaims(
  view: ViewedTask,
  ports: readonly TaskPort[],
  vip: VipLabel,
  backends: readonly VipBackend[],
  claims: VipClaim[],
  issues: VipIssue[],
): void {
  const protocol = ports[0]?.protocol ?? 'tcp';
  const refuse = (problem: string): void => {
    const value = formatVipLabel(vip);
    issues.push({ label: vip.label, value, problem, ...ofTask(view) });
  };
  if (vip.kind === 'ip') {
    const own = backends.filter(({ address }) => address.family === vip.address.family);
    if (own.length === 0) refuse(`the task has no IPv${vip.address.family} address for it`);
    const identity: VipIdentity = { protocol, port: vip.port, address: vip.address };
    for (const backend of own) claims.push({ vip: identity, affinity: vip.affinity, backend });
    return;
  }
  const framework = fragment(view.task.framework);
  if (framework === '') {
    refuse(`the framework's name "${view.task.framework}" leaves nothing for a DNS name`);
    return;
  }
  const name = `${vip.host}.${framework}`;
  if (name.length + 1 + VIP_DOMAIN.length > NAME_BYTES_MAX) {
    refuse(
      `is longer than a DNS name may be: "${framework}.${VIP_DOMAIN}" and this are more than 253 characters`,
    );
    return;
  }
  if (backends.length === 0)
    refuse(
      'the task has no address and port that it could lead to: publish a port, or put it on a network of the cluster',
    );
  const identity: VipIdentity = { protocol, port: vip.port, name };
  for (const backend of backends) claims.push({ vip: identity, affinity: vip.affinity, backend });
}

/** Ports that are the same: of one protocol, and of one container port or one host port. */
function samePorts(ports: readonly TaskPort[]): TaskPort[][] {
  const groups: TaskPort[][] = [];
  for (const port of ports) {
    const group = groups.find((others) => others.some((other) => isSamePort(port, other)));
    if (group === undefined) groups.push([port]);
    else group.push(port);
  }
  return groups;
}

function isSamePort(a: TaskPort, b: TaskPort): boolean {
  const equal = (x: number | undefined, y: number | undefined): boolean => x !== undefined && x === y;
  if (a.protocol !== b.protocol) return false;
  return equal(a.container_port, b.container_port) || equal(a.host_port, b.host_port);
}

interface MergedPort {
  readonly containerPort: number | undefined;
  readonly hostPort: number | undefined;
  /** Absent = all of the task's. */
  readonly networks: ReadonlySet<string> | undefined;
}

function mergePorts(ports: readonly TaskPort[]): MergedPort {
  const networks = ports.flatMap((port) => port.networks ?? []);
  return {
    containerPort: ports.find((port) => port.container_port !== undefined)?.container_port,
    hostPort: ports.find((port) => port.host_port !== undefined)?.host_port,
    networks: networks.length === 0 ? undefined : new Set(networks),
  };
}

/**
 * By its host port where it has one, else by each of its own addresses. On the host that runs it, by its own address
 * in either case: a connection is translated once, so that the host port's own translation would never be met.
 */
function backendsOf(view: ViewedTask, port: MergedPort, isLocal: boolean): VipBackend[] {
  const own = port.containerPort === undefined ? [] : ownAddresses(view.task, port.networks);
  const toBackend = (address: IpAddress, at: number, local: boolean): VipBackend => ({
    address,
    port: at,
    weight: weightOf(view.task),
    reachable: view.reachable,
    node: view.node,
    host: view.host,
    agentIp: view.agentIp,
    task: view.task.id,
    name: view.task.name,
    local,
  });
  const agent = parseIp(view.agentIp);
  if (port.hostPort !== undefined && !(isLocal && own.length > 0))
    return agent === undefined ? [] : [toBackend(agent, port.hostPort, false)];
  return own.map((address) => toBackend(address, port.containerPort ?? 0, isLocal));
}

/** Addresses that are not the agent's. */
function ownAddresses(task: TaskRecord, networks: ReadonlySet<string> | undefined): IpAddress[] {
  const own = task.networks.filter(({ mode }) => mode !== 'host');
  const meant = own.filter(
    ({ name }) => networks === undefined || (name !== undefined && networks.has(name)),
  );
  return meant.flatMap(({ addresses }) => addresses.flatMap((text) => parseIp(text) ?? []));
}

/** A task that has a check and no result so far counts as unhealthy. */
function weightOf(task: TaskRecord): 0 | 1 {
  if (task.state !== 'TASK_RUNNING' || task.draining) return 0;
  const isHealthy = task.healthy ?? !task.checked;
  return isHealthy ? 1 : 0;
}
