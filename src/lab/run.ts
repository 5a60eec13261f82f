/** `lab run`: a container on a lab host, native or Docker's. */
import { PortolanError } from '../base/errors.ts';
import { parseInterfaceAddress } from '../base/ip.ts';
import { request } from '../http/client.ts';
import { CONTAINERS_PATH, containerInfo, type ContainerInfo } from '../model/container.ts';
import type { PortMapping } from '../model/endpoint.ts';
import { mustRun } from '../runtime/command.ts';
import { BUSYBOX_IMAGE, ensureBusyboxImage } from './docker-image.ts';
import { dockerSocket } from './docker-hosts.ts';
import { hostPaths } from './paths.ts';
import { findHost } from './plan.ts';
import { requireLabState } from './state.ts';

const RUN_TIMEOUT_MS = 60_000;

export interface LabRunInit {
  readonly lab: string;
  readonly host: string;
  readonly name: string;
  readonly argv: readonly string[];
  readonly runtime: 'native' | 'docker';
  readonly network?: string;
  readonly ports?: readonly PortMapping[];
  readonly labels?: Readonly<Record<string, string>>;
}

export interface LabContainer {
  readonly id: string;
  readonly name: string;
  /** Without prefix length. */
  readonly addresses: readonly string[];
}

export async function labRun(init: LabRunInit): Promise<LabContainer> {
  const state = await requireLabState(init.lab);
  const host = findHost(init.lab, state.hosts, init.host);
  if (init.runtime === 'native') return runNative({ ...init, host: host.name });
  if (!state.docker || host.role !== 'agent')
    throw new PortolanError(
      'unavailable',
      `Cannot run a Docker container on "${host.name}": it has no Docker`,
      {
        remedy: 'run "portolan lab up --docker" and choose an agent',
      },
    );
  return runDocker({ ...init, host: host.name });
}

async function runNative(init: LabRunInit): Promise<LabContainer> {
  const { agentSocket } = hostPaths(init.lab, init.host);
  const { name, argv, network, ports = [], labels = {} } = init;
  const body = { name, argv, ports, labels, ...(network === undefined ? {} : { network }) };
  const info = await callAgent(agentSocket, 'POST', CONTAINERS_PATH, body);
  const { id, addresses } = containerInfo.parse(info);
  return { id, name, addresses: addresses.map(bareAddress) };
}

/** Removes a native container, running or not. */
export async function removeNative(lab: string, host: string, id: string): Promise<void> {
  const { agentSocket } = hostPaths(lab, host);
  await callAgent(agentSocket, 'DELETE', `${CONTAINERS_PATH}/${encodeURIComponent(id)}?force=true`);
}

/** The native containers of a host. */
export async function listNative(lab: string, host: string): Promise<readonly ContainerInfo[]> {
  const body = await callAgent(hostPaths(lab, host).agentSocket, 'GET', CONTAINERS_PATH);
  return (body as { containers: unknown[] }).containers.map((each) => containerInfo.parse(each));
}

async function callAgent(
  socketPath: string,
  method: 'GET' | 'POST' | 'DELETE',
  path: string,
  body?: unknown,
): Promise<unknown> {
  const answer = await request(
    { socketPath },
    { method, path, timeoutMs: RUN_TIMEOUT_MS, ...(body === undefined ? {} : { body }) },
  );
  if (answer.status < 400) return answer.body;
  const error = answer.body as { message?: string; remedy?: string };
  throw new PortolanError(
    'internal',
    error.message ?? `The agent answered ${answer.status}`,
    error.remedy === undefined ? {} : { remedy: error.remedy },
  );
}

function bareAddress(text: string): string {
  return String(parseInterfaceAddress(text)?.address ?? text);
}

function hostPart({ hostIP }: PortMapping): string {
  if (hostIP === undefined) return '';
  return hostIP.includes(':') ? `[${hostIP}]:` : `${hostIP}:`;
}

async function runDocker(init: LabRunInit): Promise<LabContainer> {
  const socket = dockerSocket(hostPaths(init.lab, init.host));
  await ensureBusyboxImage(socket);
  const network = init.network ?? 'dcos';
  const docker = ['docker', '-H', `unix://${socket}`];
  const labels = Object.entries(init.labels ?? {}).flatMap(([key, value]) => ['--label', `${key}=${value}`]);
  const ports = (init.ports ?? []).flatMap((port) => [
    '--publish',
    `${hostPart(port)}${port.hostPort}:${port.containerPort}/${port.protocol}`,
  ]);
  const argv = [
    ...docker,
    'run',
    '--detach',
    '--name',
    init.name,
    '--network',
    network,
    ...labels,
    ...ports,
    BUSYBOX_IMAGE,
    ...init.argv,
  ];
  const id = (await mustRun(argv, { timeoutMs: RUN_TIMEOUT_MS })).trim();
  const format = `{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}`;
  const inspect = [...docker, 'inspect', '--format', format, id];
  const address = (await mustRun(inspect, { timeoutMs: RUN_TIMEOUT_MS })).trim();
  return { id: id.slice(0, 12), name: init.name, addresses: [address] };
}
