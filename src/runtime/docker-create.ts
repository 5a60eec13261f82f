/** What Docker is asked for to run a task: pure. */
import { PortolanError } from '../base/errors.ts';
import type { TaskLaunch } from '../model/task.ts';
import { SANDBOX } from './containerizer.ts';
import { applyParameters, type DockerCreateParts } from './docker-parameters.ts';
import { cpuQuota, cpuShares, memoryLimitBytes } from './oci.ts';

/** Its value is the task's id; Mesos' own is `MESOS_TASK_ID`. */
export const TASK_LABEL = 'portolan.task';
/** Of a task's log; the one before it is kept as well. */
const LOG_MAX_SIZE = '16m';

export interface DockerCreateInit {
  readonly launch: TaskLaunch;
  /** `host`, or the name of a network. */
  readonly network: string;
  readonly binds: readonly {
    readonly source: string;
    readonly destination: string;
    readonly read_only: boolean;
  }[];
}

export function createContainerBody(init: DockerCreateInit): Readonly<Record<string, unknown>> {
  const { launch, network, binds } = init;
  refuseManyNetworks(launch);
  const { quota, period } = cpuQuota(launch.resources.cpus);
  const env = { MESOS_SANDBOX: SANDBOX, ...launch.env };
  const parts: DockerCreateParts = {
    config: {
      Image: launch.image?.name,
      ...command(launch),
      Env: Object.entries(env).map(([key, value]) => `${key}=${value}`),
      Labels: { ...launch.labels, MESOS_TASK_ID: launch.id, [TASK_LABEL]: launch.id },
      Tty: launch.tty,
      ...(launch.user === undefined ? {} : { User: launch.user }),
      ...(network === 'host' ? {} : { ExposedPorts: exposed(launch) }),
    },
    host: {
      NetworkMode: network,
      Privileged: launch.privileged,
      CpuShares: cpuShares(launch.resources.cpus),
      CpuQuota: quota,
      CpuPeriod: period,
      Memory: memoryLimitBytes(launch.resources.mem_mib),
      // As mounts: a source that does not exist is refused, where a bind would be made as an empty directory.
      Mounts: binds.map(({ source, destination, read_only }) => ({
        Type: 'bind',
        Source: source,
        Target: destination,
        ReadOnly: read_only,
      })),
      LogConfig: { Type: 'json-file', Config: { 'max-size': LOG_MAX_SIZE, 'max-file': '2' } },
      ...(network === 'host' ? {} : { PortBindings: bindings(launch) }),
    },
  };
  applyParameters(parts, launch.parameters);
  return { ...parts.config, HostConfig: parts.host };
}

/** A shell line takes the place of the image's entry point, as Mesos has it (src/docker/docker.cpp); words are its arguments. */
function command({ shell, argv }: TaskLaunch): object {
  if (shell !== undefined) return { Entrypoint: ['/bin/sh'], Cmd: ['-c', shell] };
  return argv === undefined ? {} : { Cmd: argv };
}

function exposed({ ports }: TaskLaunch): object {
  return Object.fromEntries(
    ports.flatMap(({ container_port, protocol }) =>
      container_port === undefined ? [] : [[`${container_port}/${protocol}`, {}]],
    ),
  );
}

function bindings({ ports }: TaskLaunch): object {
  const found = new Map<string, { HostPort: string }[]>();
  for (const { container_port, host_port, protocol } of ports) {
    if (container_port === undefined || host_port === undefined) continue;
    const key = `${container_port}/${protocol}`;
    found.set(key, [...(found.get(key) ?? []), { HostPort: String(host_port) }]);
  }
  return Object.fromEntries(found);
}

function refuseManyNetworks({ networks }: TaskLaunch): void {
  if (networks.length > 1)
    throw new PortolanError(
      'invalid',
      'Cannot put a container of Docker on more than one network at its start',
      {
        field: 'networks',
        remedy: 'give one network, or use the container type MESOS',
      },
    );
}
