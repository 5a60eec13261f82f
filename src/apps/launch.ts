/**
 * From an app and the place one instance of it was given to what its agent is told.
 *
 * Purpose: everything that is only known once a place is: ports, the environment, where checks go. The reference
 * "Marathon", sections 2.5 to 2.7.
 */
import type { App, AppHealthCheck } from '../model/app.ts';
import type { HealthCheck, ReadinessCheck, TaskLaunch, TaskNetwork, TaskVolume } from '../model/task.ts';
import { taskPrefix, segmentsOf } from './ids.ts';
import { environmentOf } from './launch-environment.ts';
import { resolvePorts, taskPortsOf, type ResolvedPort } from './launch-ports.ts';
import type { Random } from '../base/random.ts';

const DEFAULT_KILL_GRACE_S = 3;
const FRAMEWORK = 'marathon';

export interface LaunchInit {
  readonly instanceId: string;
  readonly taskId: string;
  /** The agent's address. */
  readonly agentIp: string;
  /** In the order of the declared ports. */
  readonly hostPorts: readonly (number | undefined)[];
  /** Of the persistent volumes, in their order. */
  readonly persistenceIds: readonly string[];
  /** Of the app's top-level group. */
  readonly enforceRole: boolean;
}

export function instanceIdOf(app: string, uuid: string): string {
  return `${taskPrefix(app)}.instance-${uuid}`;
}

/** `attempt` counts from 1: an instance with persistent volumes keeps its id from task to task. */
export function taskIdOf(instanceId: string, attempt: number): string {
  return `${instanceId}._app.${attempt}`;
}

/** `undefined`: a task of something else than an app. */
export function instanceIdOfTask(task: string): string | undefined {
  return /^(.+\.instance-[0-9a-f-]{36})\._app\.[0-9]+$/.exec(task)?.[1];
}

/** `/outer/sub/myapp` is `myapp.sub.outer`. */
export function discoveryName(app: string): string {
  return segmentsOf(app).reverse().join('.');
}

export function uuidOf(random: Random): string {
  const bytes = Uint8Array.from(random.bytes(16));
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  const hex = Buffer.from(bytes).toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

export function launchOf(app: App, init: LaunchInit, random: Random): TaskLaunch {
  const { container, user, cmd, args } = app;
  const ports = resolvePorts(app, init.hostPorts, random);
  const image = container?.docker;
  return {
    ...{ id: init.taskId, app: app.id, version: app.version, instance: init.instanceId },
    ...{ framework: FRAMEWORK, name: discoveryName(app.id) },
    runtime: container?.type === 'DOCKER' ? 'docker' : 'mesos',
    ...(cmd === undefined ? {} : { shell: cmd }),
    ...(args === undefined ? {} : { argv: [...args] }),
    ...(user === undefined ? {} : { user }),
    env: environmentOf(app, init, ports),
    labels: app.labels,
    ...(image === undefined ? {} : { image: { name: image.image, force_pull: image.forcePullImage } }),
    privileged: image?.privileged ?? false,
    parameters: [...(image?.parameters ?? [])],
    networks: networksOf(app),
    ports: taskPortsOf(ports),
    volumes: volumesOf(app, init.persistenceIds),
    fetch: app.fetch.map(({ uri, extract, executable, cache, destPath }) => ({
      ...{ uri, extract, executable, cache },
      ...(destPath === undefined ? {} : { dest_path: destPath }),
    })),
    resources: { cpus: app.cpus, mem_mib: app.mem, disk_mib: app.disk, gpus: app.gpus },
    tty: app.tty ?? false,
    health_checks: app.healthChecks.flatMap((check) => healthCheckOf(check, ports)),
    readiness_checks: readinessOf(app, ports),
    kill_grace_s: app.taskKillGracePeriodSeconds ?? DEFAULT_KILL_GRACE_S,
    goal: 'running',
  };
}

function networksOf(app: App): TaskNetwork[] {
  return app.networks.map(({ mode, name, labels }) => ({
    mode: mode === 'container/bridge' ? 'bridge' : mode,
    ...(mode !== 'container' || name === undefined ? {} : { name }),
    labels: labels ?? {},
  }));
}

function volumesOf(app: App, persistenceIds: readonly string[]): TaskVolume[] {
  let persistent = 0;
  return (app.container?.volumes ?? []).map((volume): TaskVolume => {
    const { containerPath: container_path } = volume;
    const read_only = volume.mode === 'RO';
    // In the order of the schema: what was read from the store again is the same list, to the byte.
    if ('hostPath' in volume) return { kind: 'host', container_path, host_path: volume.hostPath, read_only };
    const id = persistenceIds[persistent++] ?? '';
    return { kind: 'persistent', id, container_path, size_mib: volume.persistent.size, read_only };
  });
}

export function persistentPathsOf(app: App): readonly string[] {
  return (app.container?.volumes ?? []).flatMap((volume) =>
    'persistent' in volume ? [volume.containerPath] : [],
  );
}

/** Where a check goes: the port in the task's own namespace where it has one. */
const ownPort = (port: ResolvedPort | undefined): number | undefined => port?.containerPort ?? port?.hostPort;

/** A check of a port that does not exist would never pass: definitions with one are refused before. */
function healthCheckOf(check: AppHealthCheck, ports: readonly ResolvedPort[]): HealthCheck[] {
  const isCommand = check.protocol === 'COMMAND';
  const port = check.port ?? ownPort(ports[check.portIndex ?? 0]);
  if (!isCommand && port === undefined) return [];
  const killsAtOnce = check.protocol.startsWith('MESOS_') && check.maxConsecutiveFailures === 0;
  return [
    {
      protocol: check.protocol,
      ...(check.path === undefined ? {} : { path: check.path }),
      ...(isCommand || port === undefined ? {} : { port }),
      ...(check.command === undefined ? {} : { command: check.command.value }),
      grace_s: check.gracePeriodSeconds,
      interval_s: check.intervalSeconds,
      timeout_s: check.timeoutSeconds,
      delay_s: check.delaySeconds,
      max_failures: killsAtOnce ? 1 : check.maxConsecutiveFailures,
      ignore_1xx: check.ignoreHttp1xx ?? false,
      ip_protocol: check.ipProtocol,
    },
  ];
}

function readinessOf(app: App, ports: readonly ResolvedPort[]): ReadinessCheck[] {
  return app.readinessChecks.flatMap((check) => {
    const port = ownPort(ports.find(({ name }) => name === check.portName));
    if (port === undefined) return [];
    return [
      {
        ...{ name: check.name, protocol: check.protocol, path: check.path, port },
        interval_s: check.intervalSeconds,
        timeout_s: check.timeoutSeconds,
        ready_codes: [...check.httpStatusCodesForReady],
        preserve_last: check.preserveLastResponse,
      },
    ];
  });
}
