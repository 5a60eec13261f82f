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
import { parseIp } from '../base/ip.ts';
import type { Timer } from '../base/clock.ts';
import { PortolanError } from '../base/errors.ts';
import type { ContainerInfo, ContainerLogs, ContainerRequest } from '../model/container.ts';
import { defaultPluginDirectories } from '../runtime/cni-runtime.ts';
import { readLog } from '../runtime/container-log.ts';
import { createNetns, removeNetns, rootfsPaths, unmountRootfs } from '../runtime/rootfs.ts';
import { containerPaths, startContainer, type ContainerPaths } from '../runtime/runc.ts';
import { containersRoot, currentBoot, destroyContainer, netnsPath, runcRoot } from './container-removal.ts';
import { writeBundle } from './container-bundle.ts';
import { bareAddresses, ContainerNetwork } from './container-network.ts';
import { listDirectories, readRecord, writeRecord, type ContainerRecord } from './container-record.ts';
import { ContainerStates } from './container-states.ts';
import type {
  ContainerDraft,
  Containers,
  ContainersComponents,
  ContainersInit,
  NativeContainer,
} from './container-types.ts';
import { ContainerUpkeep } from './container-upkeep.ts';

export const MAX_CONTAINERS = 4096;
const SWEEP_MS = 2_000;
/** Of a log, before it is begun anew; the one before is kept. */
const LOG_MAX_BYTES = 8 * 1024 * 1024;
/** As Docker cuts ids. */
const HOSTNAME_LENGTH = 12;

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
  readonly #states: ContainerStates;
  readonly #upkeep: ContainerUpkeep;
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
    const paths = (id: string): ContainerPaths => this.#paths(id);
    this.#states = new ContainerStates({
      paths,
      boot: () => this.#boot,
      isBroken: (id) => this.#broken.has(id),
    });
    this.#upkeep = new ContainerUpkeep(
      { log: components.log, network: this.#network },
      {
        paths,
        logMaxBytes: init.logMaxBytes ?? LOG_MAX_BYTES,
        directory: (id) => join(this.#root, id),
        attached: (interfaceOf) => init.attached(interfaceOf),
        alone: (id, action) => this.#alone(id, action),
      },
    );
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
      this.#watch();
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
    return this.#states.info(record);
  }

  async launch(draft: ContainerDraft, signal?: AbortSignal): Promise<NativeContainer> {
    if (this.#records.size >= MAX_CONTAINERS)
      throw new PortolanError('exhausted', `Cannot run more than ${MAX_CONTAINERS} containers on one agent`, {
        remedy: 'remove containers that have ended',
      });
    const record = await this.#draft(draft);
    this.#records.set(record.id, record);
    this.#watch();
    await this.#alone(record.id, () => this.#createOrDestroy(record, signal));
    this.#components.log.info('Container started', { container: record.id, name: record.name });
    return this.#states.view(record);
  }

  async find(id: string): Promise<NativeContainer | undefined> {
    const record = this.#records.get(id);
    return record === undefined ? undefined : this.#states.view(record);
  }

  async ofTasks(): Promise<readonly NativeContainer[]> {
    const records = [...this.#records.values()].filter((record) => record.task !== undefined);
    return Promise.all(records.map((record) => this.#states.view(record)));
  }

  async release(id: string): Promise<void> {
    const record = this.#records.get(id);
    if (record === undefined || (await this.#states.view(record)).state === 'running') return;
    await this.#alone(id, () => this.#ended(record));
  }

  images(): ReadonlySet<string> {
    return new Set([...this.#records.values()].flatMap(({ program }) => program.image ?? []));
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
    return Promise.all(records.map((record) => this.#states.info(record)));
  }

  async inspect(reference: string): Promise<ContainerInfo> {
    return this.#states.info(this.#find(reference));
  }

  async logs(reference: string, from: number): Promise<ContainerLogs> {
    const { entries, next } = await readLog(this.logPath(reference), from);
    return { entries: [...entries], next };
  }

  logPath(reference: string): string {
    return this.#paths(this.#find(reference).id).log;
  }

  async remove(reference: string, options: { readonly force: boolean }): Promise<void> {
    const { id } = this.#find(reference);
    await this.#alone(id, async () => {
      // It may have gone while this waited for its turn.
      const record = this.#find(id);
      const { state } = await this.#states.info(record);
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
    const isIdle = this.#records.size === 0 && this.#broken.size === 0;
    if (this.#closed || isIdle || this.#timer !== undefined) return;
    this.#timer = this.#components.clock.after(SWEEP_MS, () => {
      void this.#sweep().finally(() => {
        this.#timer = undefined;
        this.#watch();
      });
    });
  }

  async #sweep(): Promise<void> {
    for (const id of this.#broken) await this.#alone(id, () => this.#discard(id, this.#records.get(id)));
    for (const record of this.#records.values()) {
      if (this.#turns.has(record.id) || record.process === undefined) continue;
      if (this.#states.isRunning(record)) await this.#upkeep.keepUp(record);
      else if (holdsSomething(record) || record.remove)
        await this.#alone(record.id, () => this.#ended(record)).catch((error: unknown) =>
          this.#failed(record.id, error),
        );
    }
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
