/** Native containers as others of the agent ask for them. */
import type { IpAddress } from '../base/ip.ts';
import type { Clock } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { Random } from '../base/random.ts';
import type { ContainerInfo, ContainerLogs, ContainerRequest } from '../model/container.ts';
import type { ContainerPaths } from '../runtime/runc.ts';
import type { NetworkWish } from './container-network.ts';
import type { ContainerProgram, ContainerRecord } from './container-record.ts';

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
  /** The file that its log is written to. */
  logPath(reference: string): string;
  remove(reference: string, options: { readonly force: boolean }): Promise<void>;
  /** The words before `ID COMMAND...` that run a command in a container. */
  readonly runcRoot: string;
  close(): Promise<void>;
}
