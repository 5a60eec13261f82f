/**
 * What is to be said of a container: whether it runs, how it ended, and the rest that listings show.
 *
 * Invariants: nothing is remembered; its process, what its supervisor wrote and its record say all of it.
 */
import type { ContainerInfo } from '../model/container.ts';
import { isRunning } from '../runtime/process.ts';
import { isSupervised, readExitCode, wasOutOfMemory, type ContainerPaths } from '../runtime/runc.ts';
import { addressesOf } from './container-network.ts';
import type { ContainerRecord } from './container-record.ts';
import type { NativeContainer } from './container-types.ts';

/** What a listing says in place of a network. */
const HOST_NETWORK = 'host';

export interface ContainerStatesInit {
  paths(id: string): ContainerPaths;
  /** This boot of the host: processes of an earlier one are gone, whoever has their numbers. */
  boot(): string;
  /** Only its removal is left, which has failed so far. */
  isBroken(id: string): boolean;
}

export class ContainerStates {
  readonly #init: ContainerStatesInit;

  constructor(init: ContainerStatesInit) {
    this.#init = init;
  }

  /** Costs no more than a look into /proc. */
  isRunning({ boot, process }: ContainerRecord): boolean {
    return process !== undefined && boot === this.#init.boot() && isRunning(process);
  }

  /** What the agent itself wants to know of it. */
  async view(record: ContainerRecord): Promise<NativeContainer> {
    const paths = this.#init.paths(record.id);
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

  /** What people are told of it. */
  async info(record: ContainerRecord): Promise<ContainerInfo> {
    const exitCode = await readExitCode(this.#init.paths(record.id));
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

  /** `exitCode`: as its supervisor has written it. */
  #state(record: ContainerRecord, exitCode: number | undefined): ContainerInfo['state'] {
    if (this.#init.isBroken(record.id)) return 'lost';
    if (record.process === undefined) return 'creating';
    if (this.isRunning(record)) return 'running';
    return exitCode === undefined ? 'lost' : 'exited';
  }
}
