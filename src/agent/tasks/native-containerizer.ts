/** The containerizer `MESOS`: native containers of this agent, made for tasks. */
import { existsSync } from 'node:fs';
import { readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { PortolanError } from '../../base/errors.ts';
import type { ContainerProgram } from '../container-record.ts';
import type { ContainerDraft, Containers, NativeContainer } from '../container-types.ts';
import type { NetworkWish } from '../container-network.ts';
import { parseInterfaceAddress } from '../../base/ip.ts';
import type { PortMapping } from '../../model/endpoint.ts';
import { LOCAL_BRIDGE } from '../../model/overlay.ts';
import type { TaskLaunch, TaskVolume } from '../../model/task.ts';
import { runCommand } from '../../runtime/command.ts';
import {
  SANDBOX,
  type Containerizer,
  type ContainerOrder,
  type ExecResult,
  type LaunchOptions,
  type TaskContainer,
} from '../../runtime/containerizer.ts';
import { giveSandbox } from '../../runtime/fetch.ts';
import type { Image, ImageStore } from '../../runtime/images.ts';
import { signalProcess } from '../../runtime/process.ts';
import { credentialsIn } from '../../runtime/registry-credentials.ts';
import { runc } from '../../runtime/runc.ts';
import { findUser, ROOT, type User } from '../../runtime/users.ts';
import type { Device } from '../../runtime/gpus.ts';
import type { GpuShares } from './gpu-shares.ts';
import type { PersistentVolumes } from './persistent-volumes.ts';

/** A static init of this host; a program of its own does not get signals that it has no handler for. */
const INITS = ['/usr/bin/tini-static', '/usr/bin/docker-init'] as const;
const INIT_IN_CONTAINER = '/run/portolan-init';
const MAX_OUTPUT = 4096;

export interface NativeContainerizerComponents {
  readonly containers: Containers;
  readonly images: ImageStore;
  readonly volumes: PersistentVolumes;
  readonly gpus: GpuShares;
}

export class NativeContainerizer implements Containerizer {
  readonly runtime = 'mesos';
  readonly #containers: Containers;
  readonly #images: ImageStore;
  readonly #volumes: PersistentVolumes;
  readonly #gpus: GpuShares;

  constructor({ containers, images, volumes, gpus }: NativeContainerizerComponents) {
    this.#containers = containers;
    this.#images = images;
    this.#volumes = volumes;
    this.#gpus = gpus;
  }

  problem(): Promise<string | undefined> {
    const path = `${process.env['PATH'] ?? ''}:/usr/sbin:/usr/bin:/sbin:/bin`.split(':');
    const missing = ['runc', 'conmon'].filter(
      (program) => !path.some((directory) => existsSync(join(directory, program))),
    );
    return Promise.resolve(missing.length === 0 ? undefined : `${missing.join(' and ')} not installed`);
  }

  async launch(order: ContainerOrder, options: LaunchOptions): Promise<TaskContainer> {
    const { image } = order.launch;
    if (image === undefined) return this.#start(order, undefined, options);
    const credentials = await credentialsIn(order.sandbox);
    const wish = { name: image.name, force: image.force_pull, credentials, signal: options.signal };
    return this.#images.use(wish, (found) => this.#start(order, found, options));
  }

  async #start(
    order: ContainerOrder,
    image: Image | undefined,
    options: LaunchOptions,
  ): Promise<TaskContainer> {
    const devices = await this.#gpus.take(order.id, order.launch.resources.gpus, () => this.#devicesInUse());
    try {
      return await this.#startWith(devices, order, image, options);
    } finally {
      this.#gpus.launched(order.id);
    }
  }

  async #devicesInUse(): Promise<readonly string[]> {
    const running = (await this.#containers.ofTasks()).filter(({ state }) => state === 'running');
    return running.flatMap(({ record }) => (record.program.devices ?? []).map(({ path }) => path));
  }

  async #startWith(
    devices: readonly Device[],
    order: ContainerOrder,
    image: Image | undefined,
    options: LaunchOptions,
  ): Promise<TaskContainer> {
    const { launch } = order;
    const program = { ...(await this.#program(order, image)), devices: [...devices] };
    options.starting(order.id);
    const draft: ContainerDraft = {
      id: order.id,
      name: launch.id,
      task: launch.id,
      program,
      networks: networkWishes(launch),
      labels: { MESOS_TASK_ID: launch.id },
      remove: false,
    };
    return viewOf(await this.#containers.launch(draft, options.signal));
  }

  async find(id: string): Promise<TaskContainer | undefined> {
    const found = await this.#containers.find(id);
    return found === undefined ? undefined : viewOf(found);
  }

  async list(): Promise<readonly TaskContainer[]> {
    return (await this.#containers.ofTasks()).map(viewOf);
  }

  async signal(id: string, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const found = await this.#containers.find(id);
    if (found?.state === 'running' && found.record.process !== undefined)
      signalProcess(found.record.process, signal);
  }

  release(id: string): Promise<void> {
    return this.#containers.release(id);
  }

  async remove(id: string): Promise<void> {
    if ((await this.#containers.find(id)) !== undefined) await this.#containers.remove(id, { force: true });
    // Also of a launch that came to nothing: its image may be there.
    await this.#images.removeUnused(this.#containers.images(), Date.now());
  }

  logPath(id: string): Promise<string> {
    return Promise.resolve().then(() => this.#containers.logPath(id));
  }

  async exec(id: string, shell: string, options: { readonly timeoutMs: number }): Promise<ExecResult> {
    const found = await this.#containers.find(id);
    if (found?.state !== 'running') throw notRunning(id);
    const pidFile = join(found.paths.bundle, `exec-${process.hrtime.bigint()}.pid`);
    const words = runc(found.paths, 'exec', '--pid-file', pidFile, id, '/bin/sh', '-c', shell);
    try {
      const { status, stdout, stderr } = await runCommand(words, options);
      return { exitCode: status, output: `${stdout}${stderr}`.slice(0, MAX_OUTPUT) };
    } catch (error) {
      await killRecorded(pidFile);
      throw error;
    } finally {
      await rm(pidFile, { force: true });
    }
  }

  async execWords(id: string, options: { readonly terminal: boolean }): Promise<readonly string[]> {
    const found = await this.#containers.find(id);
    if (found?.state !== 'running') throw notRunning(id);
    return runc(found.paths, 'exec', ...(options.terminal ? ['--tty'] : []), id);
  }

  async #program(order: ContainerOrder, image: Image | undefined): Promise<ContainerProgram> {
    const { launch, sandbox } = order;
    const lower = image?.rootfs ?? '/';
    const wanted = launch.user ?? image?.user;
    const user = wanted === undefined ? ROOT : await findUser(lower, wanted);
    await giveSandbox(sandbox, user);
    const init = launch.shell === undefined ? undefined : INITS.find((path) => existsSync(path));
    const mounts = [
      { source: sandbox, destination: SANDBOX, read_only: false },
      ...(init === undefined ? [] : [{ source: init, destination: INIT_IN_CONTAINER, read_only: true }]),
      ...(await this.#mounts(launch.volumes, user)),
    ];
    return {
      argv: [...(init === undefined ? [] : [INIT_IN_CONTAINER, '-g', '--']), ...argvOf(launch, image)],
      env: {
        ...image?.env,
        ...(user.home === undefined ? {} : { HOME: user.home }),
        MESOS_SANDBOX: SANDBOX,
        ...launch.env,
      },
      cwd: image?.cwd ?? SANDBOX,
      lower,
      ...(image === undefined ? {} : { image: image.id }),
      user: { uid: user.uid, gid: user.gid, groups: [...user.groups] },
      limits: { cpus: launch.resources.cpus, mem_mib: launch.resources.mem_mib },
      mounts,
      tty: launch.tty,
    };
  }

  async #mounts(volumes: readonly TaskVolume[], user: User): Promise<ContainerProgram['mounts']> {
    const mounts: ContainerProgram['mounts'] = [];
    for (const volume of volumes) {
      const { container_path: path, read_only } = volume;
      const destination = path.startsWith('/') ? path : join(SANDBOX, path);
      const source =
        volume.kind === 'host'
          ? await existingPath(volume.host_path)
          : await this.#volumes.path(volume, user);
      mounts.push({ source, destination, read_only });
    }
    return mounts;
  }
}

/** A shell line, or words; with an image its entry point comes first, as with `docker run`. */
function argvOf(launch: TaskLaunch, image: Image | undefined): string[] {
  if (launch.shell !== undefined) return ['/bin/sh', '-c', launch.shell];
  const entrypoint = image?.entrypoint ?? [];
  const argv = [...entrypoint, ...(launch.argv ?? image?.command ?? [])];
  if (argv.length > 0) return argv;
  throw new PortolanError('invalid', 'Cannot start the task: neither it nor its image says what to run', {
    field: 'cmd',
    remedy: 'give the app a "cmd" or "args"',
  });
}

/** One for each network; a host port leads to the first that its mapping allows. */
function networkWishes(launch: TaskLaunch): readonly NetworkWish[] {
  const networks = launch.networks.filter(({ mode }) => mode !== 'host');
  const names = networks.map(({ mode, name }) => (mode === 'bridge' ? LOCAL_BRIDGE : name));
  const placed = names.map((): PortMapping[] => []);
  for (const {
    host_port: hostPort,
    container_port: containerPort,
    protocol,
    networks: only,
  } of launch.ports) {
    if (hostPort === undefined || containerPort === undefined) continue;
    const at = names.findIndex((name) => only === undefined || (name !== undefined && only.includes(name)));
    placed[Math.max(at, 0)]?.push({ hostPort, containerPort, protocol });
  }
  return names.map((name, i) => ({ name, ports: placed[i] ?? [] }));
}

async function existingPath(path: string): Promise<string> {
  await stat(path).catch(() => {
    throw new PortolanError(
      'invalid',
      `Cannot mount "${path}": there is no such file or directory on this host`,
      {
        field: 'container.volumes.hostPath',
        remedy: 'make it, or name another',
      },
    );
  });
  return path;
}

function viewOf(container: NativeContainer): TaskContainer {
  const { record, state, exitCode, outOfMemory } = container;
  return {
    id: record.id,
    task: record.task ?? '',
    runtimeId: record.id,
    state: state === 'running' ? 'running' : state === 'exited' ? 'ended' : 'lost',
    ...(exitCode === undefined ? {} : { exitCode }),
    outOfMemory,
    networks: networksOf(container),
    ...(record.netns === undefined ? {} : { netns: record.netns }),
  };
}

function networksOf({ record }: NativeContainer): TaskContainer['networks'] {
  if (record.interfaces.length === 0) return [{ mode: 'host', addresses: [] }];
  return record.interfaces.map((each) => ({
    mode: each.network === LOCAL_BRIDGE ? 'bridge' : 'container',
    name: each.network,
    addresses: each.addresses.map((text) => String(parseInterfaceAddress(text)?.address ?? text)),
  }));
}

async function killRecorded(pidFile: string): Promise<void> {
  const pid = Number(await readFile(pidFile, 'utf8').catch(() => ''));
  if (!Number.isInteger(pid) || pid <= 1) return;
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    return; // It has ended meanwhile.
  }
}

function notRunning(id: string): PortolanError {
  return new PortolanError('conflict', `Cannot run a command in container "${id}": it does not run`);
}
