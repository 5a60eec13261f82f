/**
 * Tasks as readers of the records see them: those that task records tell of, and plain containers.
 *
 * Purpose: one shape for VIPs, names and listings. A plain container (CNI, `portolan container run`, `docker run`) has no
 * task record; it is read from its endpoint records and their labels.
 * Invariants: a container that a task record of its own node claims is no plain one; every reader gives a container the
 * same name, framework and ports.
 */
import { parseInterfaceAddress } from '../base/ip.ts';
import type { Endpoint } from './endpoint.ts';
import type { NodeId } from './names.ts';
import type { TaskPort, TaskRecord } from './task.ts';

export interface ViewedTask {
  /** Unique in the cluster: `<node>/<task id>`. */
  readonly id: string;
  readonly node: NodeId;
  /** The node's name. */
  readonly host: string;
  /** The node's address on the underlay. */
  readonly agentIp: string;
  /** As seen from here. Failure hides, it never erases. */
  readonly reachable: boolean;
  readonly task: TaskRecord;
}

/** Labels by which a plain container says what it is. */
export const FRAMEWORK_LABEL = 'portolan.framework';
export const NAME_LABEL = 'portolan.name';
const DEFAULT_FRAMEWORK = 'marathon';
/** Nobody tells when a plain container was started. */
const UNKNOWN_TIME = '1970-01-01T00:00:00.000Z';

/** A plain container as a task, from all endpoint records of it that its node has published: at least one. */
export function plainTask(endpoints: readonly [Endpoint, ...Endpoint[]]): TaskRecord {
  const [first] = endpoints;
  const labels = Object.assign({}, ...endpoints.map((each) => each.labels)) as Record<string, string>;
  const name = labels[NAME_LABEL] ?? first.name ?? first.container;
  return {
    id: first.container,
    app: `/${name}`,
    version: UNKNOWN_TIME,
    framework: labels[FRAMEWORK_LABEL] ?? DEFAULT_FRAMEWORK,
    name,
    runtime: first.source === 'docker' ? 'docker' : 'mesos',
    state: 'TASK_RUNNING',
    draining: false,
    checked: false,
    health: [],
    message: '',
    container: first.container,
    networks: endpoints.map((each) => ({
      mode: each.mode ?? 'container',
      name: each.network,
      addresses: each.addresses.flatMap((text) => parseInterfaceAddress(text)?.address.toString() ?? []),
    })),
    ports: plainPorts(endpoints, labels),
    staged_at: UNKNOWN_TIME,
    status_at: UNKNOWN_TIME,
  };
}

/**
 * A port with a VIP has the container's own address, whatever else is published of it; what is published is listed by
 * its host port alone, so that no reader takes the two for one port.
 */
function plainPorts(endpoints: readonly Endpoint[], labels: Readonly<Record<string, string>>): TaskPort[] {
  const published = publishedPorts(endpoints);
  if (endpoints.every(({ mode }) => mode === 'bridge')) return bridgedPorts(published, labels);
  if (endpoints.every(({ mode }) => mode === 'host')) return hostPorts(labels);
  const ports = new Map<string, TaskPort>();
  for (const key of Object.keys(labels).filter(isVipKey)) {
    const { protocol, port } = vipTarget(key, labels, published);
    const at = `${protocol}/${port ?? key}`;
    const label = { ...ports.get(at)?.labels, ...labelsOf(key, labels) };
    ports.set(at, { protocol, ...(port === undefined ? {} : { container_port: port }), labels: label });
  }
  for (const { protocol, containerPort, hostPort } of published) {
    const isVip = ports.has(`${protocol}/${containerPort}`);
    ports.set(`${protocol}:${hostPort}`, {
      protocol,
      ...(isVip ? {} : { container_port: containerPort }),
      host_port: hostPort,
      labels: {},
    });
  }
  return Array.from(ports.values());
}

/** A port with a VIP is reached by where it is published; nowhere, if it is not. */
function bridgedPorts(
  published: readonly PublishedPort[],
  labels: Readonly<Record<string, string>>,
): TaskPort[] {
  const ports: TaskPort[] = published.map(({ protocol, containerPort, hostPort }) => ({
    protocol,
    container_port: containerPort,
    host_port: hostPort,
    labels: {},
  }));
  for (const key of Object.keys(labels).filter(isVipKey)) {
    const { protocol, port } = vipTarget(key, labels, published);
    const at = ports.findIndex((each) => each.protocol === protocol && each.container_port === port);
    const found = ports[at];
    if (found === undefined) ports.push({ protocol, labels: labelsOf(key, labels) });
    else ports[at] = { ...found, labels: { ...found.labels, ...labelsOf(key, labels) } };
  }
  return ports;
}

/** In its host's network a container listens on the host's own ports. */
function hostPorts(labels: Readonly<Record<string, string>>): TaskPort[] {
  return Object.keys(labels)
    .filter(isVipKey)
    .map((key) => {
      const { protocol, port } = vipTarget(key, labels, []);
      return {
        protocol,
        ...(port === undefined ? {} : { host_port: port }),
        labels: labelsOf(key, labels),
      };
    });
}

interface PublishedPort {
  readonly protocol: 'tcp' | 'udp';
  readonly containerPort: number;
  readonly hostPort: number;
}

/** Each once, though every interface of a container tells of the same; VIPs and names know nothing of SCTP. */
function publishedPorts(endpoints: readonly Endpoint[]): PublishedPort[] {
  const ports = new Map<string, PublishedPort>();
  for (const { protocol, containerPort, hostPort } of endpoints.flatMap((each) => each.ports))
    if (protocol !== 'sctp') ports.set(`${protocol}:${hostPort}`, { protocol, containerPort, hostPort });
  return Array.from(ports.values());
}

/** `VIP_0`, `vip_1`: a label that asks for a VIP. `VIP_0_PORT` and the like only say more of one. */
export function isVipKey(key: string): boolean {
  return /^vip/i.test(key) && !/_(port|affinity)$/i.test(key);
}

/** A VIP's label and those that say more of it. */
function labelsOf(key: string, labels: Readonly<Record<string, string>>): Record<string, string> {
  const own = [key, vipPortKey(key, labels), vipAffinityKey(key, labels)];
  return Object.fromEntries(
    own.flatMap((each) => (labels[each] === undefined ? [] : [[each, labels[each]]])),
  );
}

type Labels = Readonly<Record<string, string>>;
export const vipPortKey = (key: string, labels: Labels): string => keyIn(labels, `${key}_PORT`);
export const vipAffinityKey = (key: string, labels: Labels): string => keyIn(labels, `${key}_AFFINITY`);

/** As it is written there, in any case, like the label that it belongs to. */
function keyIn(labels: Labels, key: string): string {
  if (labels[key] !== undefined) return key;
  return Object.keys(labels).find((each) => each.toUpperCase() === key.toUpperCase()) ?? key;
}

/** What a plain container's `VIP_n` leads to; no port where the labels do not say one that can be read. */
function vipTarget(
  key: string,
  labels: Readonly<Record<string, string>>,
  published: readonly PublishedPort[],
): { readonly protocol: 'tcp' | 'udp'; readonly port?: number } {
  const given = labels[vipPortKey(key, labels)];
  if (given !== undefined) return parseVipPort(given) ?? { protocol: 'tcp' };
  const ports = new Set(published.map(({ containerPort }) => containerPort));
  const [only] = published;
  if (only !== undefined && ports.size === 1) {
    const isTcp = published.some(({ protocol }) => protocol === 'tcp');
    return { protocol: isTcp ? 'tcp' : 'udp', port: only.containerPort };
  }
  const port = parsePort((labels[key] ?? '').split(':').at(-1) ?? '');
  return { protocol: 'tcp', ...(port === undefined ? {} : { port }) };
}

/** `8080`, `8080/tcp`, `53/udp`. */
export function parseVipPort(
  text: string,
): { readonly protocol: 'tcp' | 'udp'; readonly port: number } | undefined {
  const [, digits, protocol = 'tcp'] = /^([0-9]{1,5})(?:\/(tcp|udp))?$/.exec(text) ?? [];
  const port = parsePort(digits ?? '');
  return port === undefined ? undefined : { protocol: protocol === 'udp' ? 'udp' : 'tcp', port };
}

function parsePort(text: string): number | undefined {
  const port = /^[0-9]{1,5}$/.test(text) ? Number(text) : 0;
  return port >= 1 && port <= 65_535 ? port : undefined;
}
