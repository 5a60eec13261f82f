/** The parts that run masters' tasks on this host, wired. */
import { join } from 'node:path';
import { z } from 'zod';
import type { Clock } from '../../base/clock.ts';
import type { AgentConfig } from '../../model/config.ts';
import type { PortMapping } from '../../model/endpoint.ts';
import { LOCAL_BRIDGE } from '../../model/overlay.ts';
import type { ResourcesRecord, TaskLaunch } from '../../model/task.ts';
import { tcpSocketIn } from '../../kernel/netns-socket.ts';
import type { Containerizer } from '../../runtime/containerizer.ts';
import { DockerContainerizer } from '../../runtime/docker-containerizer.ts';
import { FetchCache } from '../../runtime/fetch-cache.ts';
import { ImageStore } from '../../runtime/images.ts';
import type { Containers } from '../container-types.ts';
import type { OnClose, Parts, SessionComponents } from '../session.ts';
import { Assignments } from './assignments.ts';
import { EndedTasks } from './ended-tasks.ts';
import { GpuShares } from './gpu-shares.ts';
import { NativeContainerizer } from './native-containerizer.ts';
import { PersistentVolumes } from './persistent-volumes.ts';
import { Resources } from './resources.ts';
import { taskAddresses } from './task-addresses.ts';
import { TaskHost } from './task-host.ts';
import { TaskPublisher } from './task-publisher.ts';
import { TaskStore } from './task-store.ts';
import { Tasks } from './tasks.ts';

export async function openTasks(
  components: SessionComponents,
  init: { readonly config: AgentConfig; readonly parts: Parts; readonly containers: Containers },
  onClose: OnClose,
): Promise<Tasks> {
  const { clock, journal, trust } = components;
  const { config, parts, containers } = init;
  const log = components.log.child('tasks');
  const publisher = new TaskPublisher({ exchange: parts.exchange, clock, log }, { node: parts.node });
  onClose(() => publisher.close());
  const store = new TaskStore({ journal, log });
  const volumes = new PersistentVolumes({ root: join(config.state_dir, 'volumes') });
  const containerizers = await openContainerizers({ clock, containers, volumes }, config, onClose);
  const root = join(config.state_dir, 'tasks');
  const { keep_seconds, disk_headroom, max } = config.ended_tasks;
  const ended = new EndedTasks(
    { clock, log },
    { root, keepMs: keep_seconds * 1000, diskHeadroom: disk_headroom, max },
  );
  const fetchCache = new FetchCache({
    root: join(config.state_dir, 'fetch'),
    maxBytes: config.cache.fetch_mib * 1024 * 1024,
  });
  await fetchCache.open();
  const host = new TaskHost(
    { log, containerizers, ended, fetchCache },
    {
      root,
      refuseTakenPorts: (launch, container) =>
        parts.attachments.refuseTakenPorts(hostPorts(launch), container),
    },
  );
  const tasks = new Tasks(
    { clock, log, store, publisher, host, ended, volumes, socketIn: tcpSocketIn },
    { agentIp: () => parts.underlay.current().address.toString() },
  );
  await tasks.open();
  onClose(() => tasks.close());
  if (!config.tasks) return tasks;
  const resources = new Resources(
    { clock, log, publisher, containerizers },
    { config, taskAddresses: () => addressesForTasks(parts, tasks) },
  );
  parts.announcer.beforeOverlays(() => resources.refresh());
  parts.announcer.afterEndpoints(() => resources.addressesChanged());
  await resources.start();
  onClose(() => resources.close());
  const assignments = new Assignments(
    { clock, log, request: trust.request },
    {
      node: parts.node,
      masters: () => parts.masters(),
      revision: () => tasks.revision,
      onList: (revision, launches, wipe) => tasks.assign(revision, launches, wipe),
    },
  );
  assignments.start();
  onClose(() => assignments.stop());
  return tasks;
}

async function openContainerizers(
  {
    clock,
    containers,
    volumes,
  }: { readonly clock: Clock; readonly containers: Containers; readonly volumes: PersistentVolumes },
  config: AgentConfig,
  onClose: OnClose,
): Promise<readonly Containerizer[]> {
  const images = new ImageStore(
    { clock },
    { root: join(config.state_dir, 'images'), maxUnusedKib: config.cache.images_mib * 1024 },
  );
  await images.open();
  const native = new NativeContainerizer({ containers, images, volumes, gpus: new GpuShares() });
  if (!config.docker.enabled) return [native];
  const docker = new DockerContainerizer(
    { clock },
    { socket: config.docker.socket, volume: (wish, user) => volumes.path(wish, user) },
  );
  onClose(() => docker.close());
  return [native, docker];
}

/** In host mode the port is the task's own, and the container's is the same. */
function hostPorts(launch: TaskLaunch): readonly PortMapping[] {
  return launch.ports.flatMap(({ host_port: hostPort, container_port, protocol }) =>
    hostPort === undefined ? [] : [{ hostPort, containerPort: container_port ?? hostPort, protocol }],
  );
}

function addressesForTasks(parts: Parts, tasks: Tasks): ResourcesRecord['task_addresses'] {
  const docker = new Map(parts.states.dockerWishes().map((wish) => [wish.name, wish.subnets]));
  const names = parts.states.cniNetworks().filter((name) => name !== LOCAL_BRIDGE);
  const rooms = [...new Set([...names, ...docker.keys()])].map((network) => {
    const sizes = (docker.get(network) ?? []).map(({ length, family }) => hostsIn(length, family));
    const dockerCapacity = sizes.length === 0 ? 0 : Math.min(...sizes);
    return { network, mesosFree: parts.attachments.freeAddresses(network), dockerCapacity };
  });
  const published = [...parts.exchange.records(`node/${parts.node}/endpoint/`)].flatMap(
    ({ value }) => dockerEndpoint.safeParse(value).data ?? [],
  );
  return taskAddresses(rooms, [...parts.attachments.list(), ...published], tasks.liveContainers());
}

const dockerEndpoint = z.object({ container: z.string(), source: z.literal('docker'), network: z.string() });

/** Without those of the network, the broadcast and the gateway; an IPv6 network has room for any number. */
function hostsIn(length: number, family: 4 | 6): number {
  const bits = (family === 4 ? 32 : 128) - length;
  return Math.min(2 ** bits - 3, Number.MAX_SAFE_INTEGER);
}
