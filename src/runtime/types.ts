/**
 * Docker's daemon as values: the few verbs of its API that Portolan needs.
 *
 * Purpose: everything above this folder speaks of networks and containers and never sees HTTP.
 * Invariants: a 404 is `undefined` (or no failure, when removing); a daemon that does not answer rejects with
 * `unavailable`; any other refusal rejects with Docker's own message.
 * Review notes: the fake must refuse what the real daemon refuses; the contract suite says what that is.
 */
import type { InterfaceAddress, IpAddress, Prefix } from '../base/ip.ts';
import type { Mac } from '../base/mac.ts';

export interface DockerVersion {
  /** Of the daemon: `20.10.24+dfsg1`. */
  readonly version: string;
  /** Highest version of the API it speaks: `1.41`. */
  readonly apiVersion: string;
}

/** What a bridge network is asked for. */
export interface DockerNetworkSpec {
  readonly name: string;
  /** One of each family at most. */
  readonly subnets: readonly Prefix[];
  readonly enableIpv4: boolean;
  readonly enableIpv6: boolean;
  /** Options of the bridge driver. */
  readonly options: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
}

/** One container's attachment to one network, as the network knows it. */
export interface DockerAttachment {
  readonly container: string;
  readonly name: string;
  /** Changes with every attachment: a restarted container has another one. */
  readonly endpoint: string;
  readonly mac: Mac | undefined;
  readonly addresses: readonly InterfaceAddress[];
}

export interface DockerNetwork {
  readonly id: string;
  readonly name: string;
  readonly driver: string;
  readonly internal: boolean;
  readonly enableIpv6: boolean;
  readonly subnets: readonly Prefix[];
  readonly options: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  /** Running containers only, in order of their ids. */
  readonly attachments: readonly DockerAttachment[];
}

export interface DockerPort {
  readonly hostPort: number;
  readonly containerPort: number;
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  /** `undefined` = every address of the host. */
  readonly hostIp: IpAddress | undefined;
}

export interface DockerContainer {
  readonly id: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly ports: readonly DockerPort[];
  /** Of its first process, in the daemon's PID namespace; absent while it does not run, and in listings. */
  readonly pid?: number;
}

/** A container that runs, and the names of the networks that it is on. */
export interface DockerRunning extends DockerContainer {
  readonly networks: readonly string[];
}

/** Something happened to a network or to a container's place in one. */
export interface DockerEvent {
  readonly type: 'network' | 'container';
  readonly action: string;
  /** Id of the network or container. */
  readonly id: string;
}

export interface DockerEvents {
  /** Settles when the stream has ended, whoever ended it. */
  readonly ended: Promise<void>;
  close(): void;
}

export interface Docker {
  version(): Promise<DockerVersion>;
  /** By name or id. */
  network(name: string): Promise<DockerNetwork | undefined>;
  /** All, without their attachments. */
  networks(): Promise<readonly DockerNetwork[]>;
  /** Resolves with its id. Rejects with `conflict` when the name or the address space is taken. */
  createNetwork(spec: DockerNetworkSpec): Promise<string>;
  /** Rejects with `conflict` while containers are attached. */
  removeNetwork(name: string): Promise<void>;
  /** By name or id. */
  container(id: string): Promise<DockerContainer | undefined>;
  /** All that run, in order of their ids. */
  containers(): Promise<readonly DockerRunning[]>;
  /** Resolves when the daemon has accepted the subscription: no event after that is missed while it stays open. */
  events(onEvent: (event: DockerEvent) => void): Promise<DockerEvents>;
}

/** Opens the daemon at a unix socket; nothing is sent before the first verb. */
export type DockerFactory = (socketPath: string) => Docker;
