/**
 * Native containers of this host: `runc` under `conmon`, on a copy-on-write view of the host's root or of an image's,
 * attached to networks by executing the CNI plug-in as any runtime would, or in the network of the host.
 *
 * Invariants: everything of a container is in its directory or is named after its id (network namespace, cgroup, runc
 * state), so that `destroy` finds it whatever step a crash came after; nothing is remembered only in memory; a container
 * outlives the agent, not the host's boot.
 * Review notes: a new thing made in `create` is undone in `destroy`, which must be harmless when the thing is not there.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { parseIp, type IpAddress } from '../base/ip.ts';
import type { Clock, Timer } from '../base/clock.ts';
import { PortolanError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { Random } from '../base/random.ts';
import type { ContainerInfo, ContainerLogs, ContainerRequest } from '../model/container.ts';
import { defaultPluginDirectories } from '../runtime/cni-runtime.ts';
import { readLog } from '../runtime/container-log.ts';
import { isRunning } from '../runtime/process.ts';
import { createNetns, removeNetns, rewriteHosts, rootfsPaths, unmountRootfs } from '../runtime/rootfs.ts';
import {
  containerPaths,
  isSupervised,
  rotateLog,
  readExitCode,
  startContainer,
  wasOutOfMemory,
  type ContainerPaths,
} from '../runtime/runc.ts';
import { containersRoot, currentBoot, destroyContainer, netnsPath, runcRoot } from './container-removal.ts';
import { writeBundle } from './container-bundle.ts';
import { addressesOf, bareAddresses, ContainerNetwork, type NetworkWish } from './container-network.ts';
import {
  listDirectories,
  readRecord,
  writeRecord,
  type ContainerInterface,
  type ContainerProgram,
  type ContainerRecord,
} from './container-record.ts';

export const MAX_CONTAINERS = 4096;
const SWEEP_MS = 2_000;
/** Of a log, before it is begun anew; the one before is kept. */
const LOG_MAX_BYTES = 8 * 1024 * 1024;
/** As Docker cuts ids. */
const HOSTNAME_LENGTH = 12;
/** What a listing says in place of a network. */
const HOST_NETWORK = 'host';

export interface ContainersComponents {
  readonly log: Log;
  readonly clock: Clock;
  readonly random: Random;
}

export interface ContainersInit {
  readonly stateDir: string;
  readonly runDir: string;
  readonly cniDir: string;
  /** Absent = where distributions put CNI plug-ins. */
  readonly pluginDirectories?: readonly string[];
  /** Absent = 8 MiB. */
  readonly logMaxBytes?: number;
  /** Those of this host, in the order of the cluster's configuration: the first is the default. */
  overlays(): readonly string[];
  /** The DNS servers of a container with these addresses; none = those of the host. */
  dnsServers(addresses: readonly IpAddress[]): readonly string[];
  /** False = the host has forgotten the attachment, as a node does that gave up its block. */
  attached(interfaceOf: { readonly container: string; readonly ifname: string }): boolean;
}

/** A container as whoever makes it wants it. */
export interface ContainerDraft {
  /** Hexadecimal; its beginning is its host name unless it is in the host's network. */
  readonly id: string;
  readonly name: string;
  readonly task?: string;
  readonly program: ContainerProgram;
  /** None = the host's own network. */
  readonly networks: readonly NetworkWish[];
  readonly labels: Readonly<Record<string, string>>;
  readonly remove: boolean;
}

/** What the agent itself knows of a container. */
export interface NativeContainer {
  readonly record: ContainerRecord;
  readonly state: ContainerInfo['state'];
  readonly exitCode: number | undefined;
  /** The kernel has ended a process of it for want of memory. */
  readonly outOfMemory: boolean;
  readonly paths: ContainerPaths;
}

export interface Containers {
  run(request: ContainerRequest): Promise<ContainerInfo>;
  /** Nothing is left of it when this rejects, or when `signal` is aborted meanwhile. */
  launch(draft: ContainerDraft, signal?: AbortSignal): Promise<NativeContainer>;
  /** By id; `undefined` when there is none. */
  find(id: string): Promise<NativeContainer | undefined>;
  /** Those that belong to tasks, also those that have ended. */
  ofTasks(): Promise<readonly NativeContainer[]>;
  /** Gives back what an ended container holds at once, without waiting for the next look. */
  release(id: string): Promise<void>;
  /** Unpacked images that containers stand on. */
  images(): ReadonlySet<string>;
  list(): Promise<readonly ContainerInfo[]>;
  /** By id, name or the beginning of an id. */
  inspect(reference: string): Promise<ContainerInfo>;
  /** From byte `from` of its log on; a piece at a time. */
  logs(reference: string, from: number): Promise<ContainerLogs>;
  remove(reference: string, options: { readonly force: boolean }): Promise<void>;
  /** The words before `ID COMMAND...` that run a command in a container. */
  readonly runcRoot: string;
  close(): Promise<void>;
}

/** Finds the containers of a former run of the agent, removes those that were never made whole, and watches the rest. */
export async function openContainers(
  components: ContainersComponents,
  init: ContainersInit,
): Promise<Containers> {
  const service = new NativeContainers(components, init);
  await service.recover();
  return service;
}

class NativeContainers implements Containers {
  readonly runcRoot: string;
  readonly #components: ContainersComponents;
  readonly #init: ContainersInit;
  readonly #root: string;
  readonly #network: ContainerNetwork;
  readonly #records = new Map<string, ContainerRecord>();
  /** Containers of which only the removal is left, because it has failed so far. */
  readonly #broken = new Set<string>();
  /** The last of those who want a container for themselves; the next waits for it. */
  readonly #turns = new Map<string, Promise<unknown>>();
  #boot = '';
  #timer: Timer | undefined;
  #closed = false;

  constructor(components: ContainersComponents, init: ContainersInit) {
    this.#components = components;
    this.#init = init;
    this.#root = containersRoot(init);
    this.runcRoot = runcRoot(init);
    this.#network = new ContainerNetwork({
      cniDir: init.cniDir,
      overlays: () => init.overlays(),
      cni: {
        env: { PORTOLAN_CNI_SOCKET: join(init.runDir, 'cni.sock') },
        pluginDirectories: init.pluginDirectories ?? defaultPluginDirectories,
      },
    });
  }

  async recover(): Promise<void> {
    await mkdir(this.#root, { recursive: true, mode: 0o700 });
    this.#boot = await currentBoot();
    for (const id of await listDirectories(this.#root)) {
      const record = await readRecord(join(this.#root, id));
      if (record?.process === undefined) {
        this.#components.log.warn('Container was never made whole and is removed', { container: id });
        await this.#discard(id, record);
      } else this.#records.set(id, record);
    }
    this.#watch();
  }

  /** Removes what nobody was told of; what cannot be removed now is tried again by the sweep. */
  async #discard(id: string, record: ContainerRecord | undefined): Promise<void> {
    try {
      await this.#destroy(id, record);
      this.#records.delete(id);
      this.#broken.delete(id);
    } catch (error) {
      if (record !== undefined) this.#records.set(id, record);
      this.#broken.add(id);
      this.#failed(id, error);
    }
  }

  async run(request: ContainerRequest): Promise<ContainerInfo> {
    const id = Buffer.from(this.#components.random.bytes(6)).toString('hex');
    const { argv, env, cwd, network, ports, labels, remove } = request;
    const { record } = await this.launch({
      id,
      name: request.name ?? id,
      program: { argv, env, cwd, lower: '/', user: { uid: 0, gid: 0, groups: [] }, mounts: [], tty: false },
      networks: [{ name: network, ports }],
      labels,
      remove,
    });
    return this.#info(record);
  }

  async launch(draft: ContainerDraft, signal?: AbortSignal): Promise<NativeContainer> {
    if (this.#records.size >= MAX_CONTAINERS)
      throw new PortolanError('exhausted', `Cannot run more than ${MAX_CONTAINERS} containers on one agent`, {
        remedy: 'remove containers that have ended',
      });
    const record = await this.#draft(draft);
    this.#records.set(record.id, record);
    await this.#alone(record.id, () => this.#createOrDestroy(record, signal));
    this.#components.log.info('Container started', { container: record.id, name: record.name });
    return this.#view(record);
  }

  async find(id: string): Promise<NativeContainer | undefined> {
    const record = this.#records.get(id);
    return record === undefined ? undefined : this.#view(record);
  }

  async ofTasks(): Promise<readonly NativeContainer[]> {
    const records = [...this.#records.values()].filter((record) => record.task !== undefined);
    return Promise.all(records.map((record) => this.#view(record)));
  }

  async release(id: string): Promise<void> {
    const record = this.#records.get(id);
    if (record === undefined || (await this.#view(record)).state === 'running') return;
    await this.#alone(id, () => this.#ended(record));
  }

  images(): ReadonlySet<string> {
    return new Set([...this.#records.values()].flatMap(({ program }) => program.image ?? []));
  }

  async #view(record: ContainerRecord): Promise<NativeContainer> {
    const paths = this.#paths(record.id);
    // Agents look at all their containers all the time: one that runs costs no more than a look into /proc.
    if (this.#state(record, undefined) === 'running')
      return { record, state: 'running', exitCode: undefined, paths, outOfMemory: false };
    // Its supervisor writes how it ended, and ends: who looks in between must look once more.
    const early = await readExitCode(paths);
    if (early === undefined && record.process !== undefined && (await isSupervised(paths)))
      return { record, state: 'running', exitCode: undefined, paths, outOfMemory: false };
    const exitCode = early ?? (await readExitCode(paths));
    return {
      record,
      state: this.#state(record, exitCode),
      exitCode,
      paths,
      outOfMemory: wasOutOfMemory(paths),
    };
  }

  /** One at a time per container: a request and the sweep must not undo each other's work. */
  async #alone<T>(id: string, action: () => Promise<T>): Promise<T> {
    const turn = (this.#turns.get(id) ?? Promise.resolve()).then(action);
    const quiet = turn.catch(() => undefined);
    this.#turns.set(id, quiet);
    try {
      return await turn;
    } finally {
      if (this.#turns.get(id) === quiet) this.#turns.delete(id);
    }
  }

  async #createOrDestroy(record: ContainerRecord, signal: AbortSignal | undefined): Promise<void> {
    try {
      await this.#create(record, signal);
    } catch (error) {
      await this.#discard(record.id, record);
      throw error;
    }
  }

  async #draft(draft: ContainerDraft): Promise<ContainerRecord> {
    const { id, name, task, program, labels, remove, networks } = draft;
    const interfaces = await this.#network.interfaces(networks);
    const holder = [...this.#records.values()].find((each) => each.name === name || each.id === id);
    if (holder !== undefined)
      throw new PortolanError('conflict', `Cannot use the name "${name}": container ${holder.id} has it`, {
        field: 'name',
        remedy: `remove it with "portolan container rm ${name}" or choose another name`,
      });
    return {
      id,
      name,
      hostname: task === undefined ? name : id.slice(0, HOSTNAME_LENGTH),
      ...(task === undefined ? {} : { task }),
      program,
      labels,
      remove,
      boot: this.#boot,
      createdMs: this.#components.clock.wallMs(),
      ...(networks.length === 0 ? {} : { netns: netnsPath(this.#init, id) }),
      interfaces,
    };
  }

  /** The record goes to disk before the first thing is made, and again when there is more to undo. */
  async #create(record: ContainerRecord, signal: AbortSignal | undefined): Promise<void> {
    const directory = join(this.#root, record.id);
    await mkdir(directory, { mode: 0o700 });
    await writeRecord(directory, record);
    if (record.netns !== undefined) await createNetns(record.netns);
    const save = (): Promise<void> => writeRecord(directory, record);
    await this.#network.attach(record, record.interfaces, save);
    signal?.throwIfAborted();
    await writeBundle(record, {
      directory,
      hidden: [this.#init.stateDir, '/etc/portolan'],
      nameservers: this.#init.dnsServers(bareAddresses(record).flatMap((text) => parseIp(text) ?? [])),
    });
    signal?.throwIfAborted();
    record.process = await startContainer(this.#paths(record.id), { terminal: record.program.tty });
    await writeRecord(directory, record);
  }

  #paths(id: string): ContainerPaths {
    return containerPaths(join(this.#root, id), id, this.runcRoot);
  }

  async list(): Promise<readonly ContainerInfo[]> {
    const records = [...this.#records.values()].sort((a, b) => a.createdMs - b.createdMs);
    return Promise.all(records.map((record) => this.#info(record)));
  }

  async inspect(reference: string): Promise<ContainerInfo> {
    return this.#info(this.#find(reference));
  }

  async logs(reference: string, from: number): Promise<ContainerLogs> {
    const { entries, next } = await readLog(this.#paths(this.#find(reference).id).log, from);
    return { entries: [...entries], next };
  }

  async remove(reference: string, options: { readonly force: boolean }): Promise<void> {
    const { id } = this.#find(reference);
    await this.#alone(id, async () => {
      // It may have gone while this waited for its turn.
      const record = this.#find(id);
      const { state } = await this.#info(record);
      if (state === 'running' && !options.force)
        throw new PortolanError('conflict', `Cannot remove container "${record.name}": it is running`, {
          remedy: 'add --force to kill it',
        });
      await this.#destroy(id, record);
      this.#records.delete(id);
      this.#broken.delete(id);
      this.#components.log.info('Container removed', { container: id, name: record.name });
    });
  }

  #find(reference: string): ContainerRecord {
    const all = [...this.#records.values()];
    const exact = all.find((each) => each.id === reference || each.name === reference);
    const begins = all.filter((each) => reference.length > 0 && each.id.startsWith(reference));
    const found = exact ?? (begins.length === 1 ? begins[0] : undefined);
    if (found !== undefined) return found;
    throw new PortolanError('not-found', `Cannot find container "${reference}" on this host`, {
      field: 'container',
      remedy: 'see "portolan container ls"',
    });
  }

  async #info(record: ContainerRecord): Promise<ContainerInfo> {
    const exitCode = await readExitCode(this.#paths(record.id));
    const state = this.#state(record, exitCode);
    return {
      id: record.id,
      name: record.name,
      network: record.interfaces.map(({ network }) => network).join(',') || HOST_NETWORK,
      argv: record.program.argv,
      state,
      addresses: [...addressesOf(record)],
      ports: record.interfaces.flatMap(({ ports }) => ports),
      labels: record.labels,
      ...(state === 'running' && record.process !== undefined ? { pid: record.process.pid } : {}),
      ...(exitCode === undefined ? {} : { exitCode }),
      createdMs: record.createdMs,
    };
  }

  #state(record: ContainerRecord, exitCode: number | undefined): ContainerInfo['state'] {
    if (this.#broken.has(record.id)) return 'lost';
    if (record.process === undefined) return 'creating';
    if (record.boot === this.#boot && isRunning(record.process)) return 'running';
    return exitCode === undefined ? 'lost' : 'exited';
  }

  /** Ends and removes everything of a container. */
  async #destroy(id: string, record: ContainerRecord | undefined): Promise<void> {
    const sameBoot = record === undefined || record.boot === this.#boot;
    await destroyContainer(this.#init, id, {
      process: sameBoot ? record?.process : undefined,
      release: () => (record === undefined ? Promise.resolve() : this.#release(record)),
    });
  }

  /** Gives its addresses back. */
  async #release(record: ContainerRecord): Promise<void> {
    await this.#network.detach(record);
    if (record.netns !== undefined) await removeNetns(record.netns);
  }

  /** Looks again and again for containers that have ended: their addresses go back, their logs stay until `rm`. */
  #watch(): void {
    if (this.#closed) return;
    this.#timer = this.#components.clock.after(SWEEP_MS, () => {
      void this.#sweep().finally(() => this.#watch());
    });
  }

  async #sweep(): Promise<void> {
    for (const id of this.#broken) await this.#alone(id, () => this.#discard(id, this.#records.get(id)));
    for (const record of this.#records.values()) {
      if (this.#turns.has(record.id) || record.process === undefined) continue;
      if (record.boot === this.#boot && isRunning(record.process)) await this.#keepUp(record);
      else if (holdsSomething(record) || record.remove)
        await this.#alone(record.id, () => this.#ended(record)).catch((error: unknown) =>
          this.#failed(record.id, error),
        );
    }
  }

  async #keepUp(record: ContainerRecord): Promise<void> {
    await this.#keepAttached(record);
    const { logMaxBytes = LOG_MAX_BYTES } = this.#init;
    await rotateLog(this.#paths(record.id), logMaxBytes).catch((error: unknown) =>
      this.#components.log.warn("A container's log could not be begun anew", { container: record.id, error }),
    );
  }

  /** A container whose addresses became somebody else's gets others. */
  async #keepAttached(record: ContainerRecord): Promise<void> {
    const container = record.id;
    const lost = record.interfaces.filter(
      ({ result, ifname }) => result === undefined || !this.#init.attached({ container, ifname }),
    );
    if (lost.length === 0) return;
    const was = lost.flatMap(({ addresses }) => addresses);
    const fields = { container, name: record.name, was };
    try {
      await this.#alone(container, () => this.#attachAgain(record, lost));
      const addresses = addressesOf(record);
      this.#components.log.warn('Container was given other addresses', { ...fields, addresses });
    } catch (error) {
      if (was.length > 0)
        this.#components.log.warn('Container has no network until it can be attached again', {
          ...fields,
          error,
        });
    }
  }

  async #attachAgain(record: ContainerRecord, lost: readonly ContainerInterface[]): Promise<void> {
    const directory = join(this.#root, record.id);
    const save = (): Promise<void> => writeRecord(directory, record);
    await this.#network.attachAgain(record, lost, save);
    const files = { hostname: record.hostname, addresses: bareAddresses(record) };
    await rewriteHosts(rootfsPaths(directory), files);
  }

  async #ended(record: ContainerRecord): Promise<void> {
    const { id, name } = record;
    // It may have been removed, or been through this, while this waited for its turn.
    if (this.#records.get(id) !== record || !(holdsSomething(record) || record.remove)) return;
    if (record.remove) {
      await this.#destroy(id, record);
      this.#records.delete(id);
    } else {
      const directory = join(this.#root, id);
      await this.#release(record);
      await unmountRootfs(rootfsPaths(directory));
      record.released = true;
      await writeRecord(directory, record);
    }
    this.#components.log.info('Container has ended', { container: id, name });
  }

  #failed(id: string, error: unknown): void {
    this.#components.log.warn('Container could not be cleaned up and will be tried again', {
      container: id,
      error,
    });
  }

  close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    return Promise.resolve();
  }
}

/** An ended container that nobody has looked at yet. */
function holdsSomething(record: ContainerRecord): boolean {
  return record.released !== true;
}
