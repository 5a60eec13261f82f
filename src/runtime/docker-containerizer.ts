/**
 * The containerizer `DOCKER`: containers of the daemon of this host, made through its API.
 *
 * A container is found by its name, `portolan-<id>`, and by its label as a task's; the daemon remembers everything else,
 * so that an agent without memory needs none. What a container was seen to be counts until an event of the daemon speaks
 * of it, or for ten seconds.
 * Invariants: a container that was created and never started is nobody's: it is removed by the next launch of its task,
 * and by whoever lists.
 */
import { z } from 'zod';
import type { Clock } from '../base/clock.ts';
import { isPortolanError, PortolanError } from '../base/errors.ts';
import { LOCAL_BRIDGE } from '../model/overlay.ts';
import type { TaskLaunch } from '../model/task.ts';
import {
  SANDBOX,
  type Containerizer,
  type ContainerOrder,
  type ExecResult,
  type LaunchOptions,
  type TaskContainer,
} from './containerizer.ts';
import { createContainerBody, TASK_LABEL } from './docker-create.ts';
import { callDocker, readDocker } from './docker-http.ts';
import { ensureDockerImage, type DockerImagesInit } from './docker-images.ts';
import { openDocker } from './docker.ts';
import { giveSandbox } from './fetch.ts';
import { findUser, ROOT, type User } from './users.ts';

/** Starting sets up networks, removing ends programs. */
const SLOW_TIMEOUT_MS = 60_000;
const SEEN_MS = 10_000;
const MAX_OUTPUT = 4096;
/** Of a command that the daemon says nothing of. */
const UNKNOWN_STATUS = 255;
/** Docker's own network of this name, where the daemon has one. */
const DEFAULT_BRIDGE = 'bridge';

const inspected = z.object({
  Id: z.string(),
  Config: z.object({ Labels: z.record(z.string(), z.string()).nullish() }),
  State: z.object({
    Status: z.string(),
    Running: z.boolean(),
    Pid: z.int(),
    ExitCode: z.int(),
    OOMKilled: z.boolean().default(false),
  }),
  LogPath: z.string().default(''),
  HostConfig: z.object({ NetworkMode: z.string().default('default') }),
  NetworkSettings: z.object({
    Networks: z
      .record(
        z.string(),
        z.object({ IPAddress: z.string().default(''), GlobalIPv6Address: z.string().default('') }),
      )
      .nullish(),
  }),
});
type Inspected = z.infer<typeof inspected>;

export interface DockerContainerizerInit extends DockerImagesInit {
  /** The directory of a persistent volume, made where it is not there yet. */
  volume(
    volume: { readonly id: string; readonly size_mib: number },
    user: Pick<User, 'uid' | 'gid'>,
  ): Promise<string>;
}

export class DockerContainerizer implements Containerizer {
  readonly runtime = 'docker';
  readonly #clock: Clock;
  readonly #init: DockerContainerizerInit;
  /** By id, with when it was seen. */
  readonly #seen = new Map<string, { readonly container: TaskContainer; readonly atMs: number }>();
  #events: 'closed' | 'opening' | 'open' = 'closed';
  #close = (): void => undefined;
  #ended = false;

  constructor(components: { readonly clock: Clock }, init: DockerContainerizerInit) {
    this.#clock = components.clock;
    this.#init = init;
  }

  async problem(): Promise<string | undefined> {
    return openDocker(this.#init.socket)
      .version()
      .then(
        () => undefined,
        (error: unknown) => (error instanceof Error ? error.message : String(error)),
      );
  }

  async launch(order: ContainerOrder, options: LaunchOptions): Promise<TaskContainer> {
    const { launch, id } = order;
    await this.remove(id);
    await ensureDockerImage({ clock: this.#clock }, this.#init, order, options.signal);
    const user = await userOf(launch);
    if (user !== undefined) await giveSandbox(order.sandbox, user);
    const network = await this.#network(launch);
    const volumes = await this.#volumes(launch, user ?? ROOT);
    const body = createContainerBody({
      launch,
      network,
      binds: [{ source: order.sandbox, destination: SANDBOX, read_only: false }, ...volumes],
    });
    options.signal.throwIfAborted();
    try {
      const path = `/containers/create?name=${nameOf(id)}`;
      const answer = await this.#call('POST', path, body);
      if (answer === undefined) throw noImage(launch);
      options.starting(z.object({ Id: z.string() }).parse(answer).Id);
      await this.#call('POST', `/containers/${nameOf(id)}/start`);
      options.signal.throwIfAborted();
      const container = await this.find(id);
      if (container !== undefined) return container;
      throw new PortolanError('unavailable', 'Docker has lost the container that it was told to start');
    } catch (error) {
      await this.remove(id);
      throw error;
    }
  }

  async find(id: string): Promise<TaskContainer | undefined> {
    const known = this.#seen.get(id);
    if (known !== undefined && this.#events === 'open' && performance.now() - known.atMs < SEEN_MS)
      return known.container;
    this.#follow();
    const atMs = performance.now();
    const answer = await this.#call('GET', `/containers/${nameOf(id)}/json`);
    this.#seen.delete(id);
    if (answer === undefined) return undefined;
    const container = viewOf(id, inspected.parse(answer));
    if (container !== undefined) this.#seen.set(id, { container, atMs });
    return container;
  }

  async list(): Promise<readonly TaskContainer[]> {
    const filters = encodeURIComponent(JSON.stringify({ label: [TASK_LABEL] }));
    const answer = await this.#call('GET', `/containers/json?all=1&filters=${filters}`);
    const names = z.array(z.object({ Names: z.array(z.string()) })).parse(answer ?? []);
    const ids = names.flatMap(({ Names }) => Names.flatMap((name) => idOf(name) ?? []));
    const found = await Promise.all(ids.map((id) => this.find(id)));
    return found.filter((each) => each !== undefined);
  }

  async signal(id: string, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    this.#seen.delete(id);
    // 409: it does not run.
    await unless('conflict', this.#call('POST', `/containers/${nameOf(id)}/kill?signal=${signal}`));
    this.#seen.delete(id);
  }

  /** An ended container of Docker has no address and no process; its log and its layer stay until it is removed. */
  release(): Promise<void> {
    return Promise.resolve();
  }

  async remove(id: string): Promise<void> {
    // 409: it is being removed already.
    await unless('conflict', this.#call('DELETE', `/containers/${nameOf(id)}?force=true&v=true`));
    this.#seen.delete(id);
  }

  async logPath(id: string): Promise<string> {
    const answer = await this.#call('GET', `/containers/${nameOf(id)}/json`);
    if (answer === undefined) throw notRunning(id);
    const { LogPath } = inspected.parse(answer);
    if (LogPath === '')
      throw new PortolanError('unavailable', 'Cannot read the log: another driver than json-file has it', {
        remedy: 'look where its log driver writes',
      });
    return LogPath;
  }

  async exec(id: string, shell: string, { timeoutMs }: { readonly timeoutMs: number }): Promise<ExecResult> {
    const Cmd = ['/bin/sh', '-c', shell];
    const made = await this.#call('POST', `/containers/${nameOf(id)}/exec`, {
      Cmd,
      AttachStdout: true,
      AttachStderr: true,
    });
    if (made === undefined) throw notRunning(id);
    const exec = z.object({ Id: z.string() }).parse(made).Id;
    const call = {
      method: 'POST',
      path: `/exec/${exec}/start`,
      body: { Detach: false, Tty: false },
    } as const;
    try {
      const output = withoutHeaders(await readDocker(this.#init.socket, { ...call, timeoutMs }));
      return {
        exitCode: (await this.#execState(exec)).ExitCode ?? UNKNOWN_STATUS,
        output: output.slice(0, MAX_OUTPUT),
      };
    } catch (error) {
      const { Running, Pid } = await this.#execState(exec);
      if (Running && Pid > 1) killHard(Pid);
      throw error;
    }
  }

  execWords(id: string, options: { readonly terminal: boolean }): Promise<readonly string[]> {
    const terminal = options.terminal ? ['--interactive', '--tty'] : ['--interactive'];
    return Promise.resolve(['docker', '-H', `unix://${this.#init.socket}`, 'exec', ...terminal, nameOf(id)]);
  }

  /** Ends its hold of the daemon's events. */
  close(): void {
    this.#ended = true;
    this.#close();
  }

  async #execState(exec: string): Promise<{ Running: boolean; Pid: number; ExitCode: number | null }> {
    const state = z.object({ Running: z.boolean(), Pid: z.int(), ExitCode: z.int().nullable() });
    return state.parse(await this.#call('GET', `/exec/${exec}/json`));
  }

  #call(method: 'GET' | 'POST' | 'DELETE', path: string, body?: unknown): Promise<unknown> {
    const call = { method, path, timeoutMs: SLOW_TIMEOUT_MS };
    return callDocker(this.#init.socket, body === undefined ? call : { ...call, body });
  }

  /** What was seen counts only as long as changes are heard of. */
  #follow(): void {
    if (this.#events !== 'closed' || this.#ended) return;
    this.#events = 'opening';
    openDocker(this.#init.socket)
      .events(({ type, id }) => this.#forget(type === 'container' ? id : undefined))
      .then((events) => {
        this.#events = 'open';
        this.#close = () => events.close();
        if (this.#ended) events.close();
        return events.ended;
      })
      .catch(() => undefined)
      .finally(() => {
        this.#events = 'closed';
        this.#seen.clear();
      });
  }

  /** An event of a network does not say whose address it concerns. */
  #forget(runtimeId: string | undefined): void {
    for (const [id, { container }] of this.#seen)
      if (runtimeId === undefined || container.runtimeId === runtimeId) this.#seen.delete(id);
  }

  async #network(launch: TaskLaunch): Promise<string> {
    const [network] = launch.networks;
    if (network === undefined || network.mode === 'host') return 'host';
    if (network.mode === 'container') return network.name ?? '';
    const docker = openDocker(this.#init.socket);
    if ((await docker.network(DEFAULT_BRIDGE)) !== undefined) return DEFAULT_BRIDGE;
    // A daemon without a bridge of its own (`--bridge=none`) gets one from us.
    if ((await docker.network(LOCAL_BRIDGE)) === undefined)
      await unless('conflict', docker.createNetwork(localBridge));
    return LOCAL_BRIDGE;
  }

  async #volumes(
    launch: TaskLaunch,
    user: User,
  ): Promise<readonly { source: string; destination: string; read_only: boolean }[]> {
    return Promise.all(
      launch.volumes.map(async (volume) => ({
        source: volume.kind === 'host' ? volume.host_path : await this.#init.volume(volume, user),
        destination: volume.container_path.startsWith('/')
          ? volume.container_path
          : `${SANDBOX}/${volume.container_path}`,
        read_only: volume.read_only,
      })),
    );
  }
}

/** Whose the sandbox is to be, as with Mesos. A name that only the image knows means nobody on this host. */
async function userOf({ user }: TaskLaunch): Promise<User | undefined> {
  if (user === undefined) return undefined;
  return findUser('/', user).catch((error: unknown) => {
    if (isPortolanError(error, 'invalid')) return undefined;
    throw error;
  });
}

const localBridge = {
  name: LOCAL_BRIDGE,
  subnets: [],
  enableIpv4: true,
  enableIpv6: false,
  options: { 'com.docker.network.bridge.name': `d-${LOCAL_BRIDGE}` },
  labels: { portolan: LOCAL_BRIDGE },
};

function nameOf(id: string): string {
  return `portolan-${id}`;
}

function idOf(name: string): string | undefined {
  return /^\/portolan-([0-9a-f]+)$/.exec(name)?.[1];
}

/** `undefined` for one that was never started. */
function viewOf(id: string, seen: Inspected): TaskContainer | undefined {
  const { State, Config, Id } = seen;
  if (State.Status === 'created') return undefined;
  const hostMode = seen.HostConfig.NetworkMode === 'host';
  return {
    id,
    task: Config.Labels?.[TASK_LABEL] ?? '',
    runtimeId: Id,
    state: State.Running ? 'running' : State.Status === 'exited' ? 'ended' : 'lost',
    ...(State.Running ? {} : { exitCode: State.ExitCode }),
    outOfMemory: State.OOMKilled,
    networks: networksOf(seen),
    ...(hostMode || !State.Running ? {} : { netns: `/proc/${State.Pid}/ns/net` }),
  };
}

function networksOf({ HostConfig, NetworkSettings }: Inspected): TaskContainer['networks'] {
  if (HostConfig.NetworkMode === 'host') return [{ mode: 'host', addresses: [] }];
  return Object.entries(NetworkSettings.Networks ?? {}).map(([name, { IPAddress, GlobalIPv6Address }]) => ({
    mode: name === DEFAULT_BRIDGE || name === LOCAL_BRIDGE ? 'bridge' : 'container',
    name,
    addresses: [IPAddress, GlobalIPv6Address].filter((address) => address !== ''),
  }));
}

/** Of a command without a terminal each piece has 8 bytes before it: the stream, and its length in the last four. */
function withoutHeaders(bytes: Buffer): string {
  const pieces: Buffer[] = [];
  for (let at = 0; at + 8 <= bytes.length;) {
    const length = bytes.readUInt32BE(at + 4);
    pieces.push(bytes.subarray(at + 8, at + 8 + length));
    at += 8 + length;
  }
  return Buffer.concat(pieces).toString('utf8');
}

async function unless(code: 'conflict', call: Promise<unknown>): Promise<void> {
  try {
    await call;
  } catch (error) {
    if (!(error instanceof PortolanError) || error.code !== code) throw error;
  }
}

function killHard(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    return; // It has ended meanwhile.
  }
}

function noImage(launch: TaskLaunch): PortolanError {
  return new PortolanError('invalid', `Cannot find the image "${launch.image?.name ?? ''}"`, {
    field: 'container.docker.image',
    remedy: 'check its name, or set forcePullImage to true',
  });
}

function notRunning(id: string): PortolanError {
  return new PortolanError(
    'conflict',
    `Cannot run a command in container "${id}": Docker has none of that name`,
  );
}
