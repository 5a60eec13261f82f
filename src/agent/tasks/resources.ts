/**
 * What this host offers to masters: found out, unless its configuration says it.
 *
 * Told again when it has changed, addresses two seconds after: they change with containers that are no tasks. Of a new
 * overlay it is told at once: until then no task of it comes. What the host itself has nobody tells: it is asked for less
 * often, since that costs files, sockets and system calls.
 */
import { statfs } from 'node:fs/promises';
import { cpus, totalmem } from 'node:os';
import type { Clock, Timer } from '../../base/clock.ts';
import type { Log } from '../../base/log.ts';
import type { AgentConfig } from '../../model/config.ts';
import type { ResourcesRecord } from '../../model/task.ts';
import { hostGpus } from '../../runtime/gpus.ts';
import type { Containerizer } from '../../runtime/containerizer.ts';
import type { TaskPublisher } from './task-publisher.ts';

const MIB = 1024 * 1024;
/** Left to the host itself, as Mesos leaves it: a gigabyte of memory, five of disk, or half where there is less. */
const HOST_MEMORY_MIB = 1024;
const HOST_DISK_MIB = 5 * 1024;
const GATHER_MS = 2_000;
const HOST_MS = 10_000;

export interface ResourcesComponents {
  readonly clock: Clock;
  readonly log: Log;
  readonly publisher: TaskPublisher;
  readonly containerizers: readonly Containerizer[];
}

export interface ResourcesInit {
  readonly config: AgentConfig;
  taskAddresses(): ResourcesRecord['task_addresses'];
}

export class Resources {
  readonly #components: ResourcesComponents;
  readonly #init: ResourcesInit;
  #timer: Timer | undefined;
  #told = '';
  #host: Omit<ResourcesRecord, 'task_addresses'> | undefined;
  #soon: Timer | undefined;
  #closed = false;

  constructor(components: ResourcesComponents, init: ResourcesInit) {
    this.#components = components;
    this.#init = init;
  }

  /** Tells at once, and from then on what changes. */
  async start(): Promise<void> {
    await this.#refresh(undefined);
    if (!this.#closed)
      this.#timer = this.#components.clock.after(HOST_MS, () => {
        void this.start();
      });
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    this.#soon?.cancel();
  }

  /** Containers have come or gone, and with them addresses. */
  addressesChanged(): void {
    if (this.#closed) return;
    this.#soon ??= this.#components.clock.after(GATHER_MS, () => {
      this.#soon = undefined;
      void this.refresh();
    });
  }

  /** Tells at once what has changed. */
  refresh(): Promise<void> {
    return this.#refresh(this.#host);
  }

  async #refresh(host: Omit<ResourcesRecord, 'task_addresses'> | undefined): Promise<void> {
    try {
      this.#host = host ?? (await this.#ask());
      const record: ResourcesRecord = { ...this.#host, task_addresses: this.#init.taskAddresses() };
      const text = JSON.stringify(record);
      if (text === this.#told || this.#closed) return;
      this.#told = text;
      this.#components.publisher.resources(record);
    } catch (error) {
      this.#components.log.warn('Cannot tell what this host offers', { error });
    }
  }

  async #ask(): Promise<Omit<ResourcesRecord, 'task_addresses'>> {
    const { config } = this.#init;
    const { resources, attributes, region, zone } = config;
    const runtimes: ResourcesRecord['runtimes'] = [];
    for (const each of this.#components.containerizers)
      if ((await each.problem()) === undefined) runtimes.push(each.runtime);
    return {
      cpus: resources.cpus ?? cpus().length,
      mem_mib: resources.mem_mib ?? leaving(totalmem() / MIB, HOST_MEMORY_MIB),
      disk_mib: resources.disk_mib ?? leaving(await diskMib(config.state_dir), HOST_DISK_MIB),
      gpus: resources.gpus ?? (await hostGpus()).gpus.length,
      ports: resources.ports,
      attributes,
      ...(region === undefined ? {} : { region }),
      ...(zone === undefined ? {} : { zone }),
      runtimes,
    };
  }
}

function leaving(total: number, forHost: number): number {
  return Math.floor(total > 2 * forHost ? total - forHost : total / 2);
}

async function diskMib(directory: string): Promise<number> {
  const { blocks, bsize } = await statfs(directory);
  return (blocks * bsize) / MIB;
}
