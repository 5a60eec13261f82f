/** A Docker daemon in memory: it can be absent, start, stop, refuse, and it hands out addresses as the real one does. */
import { PortolanError } from '../base/errors.ts';
import { InterfaceAddress, type Prefix } from '../base/ip.ts';
import type { Mac } from '../base/mac.ts';
import { assert } from '../base/assert.ts';
import type {
  Docker,
  DockerAttachment,
  DockerContainer,
  DockerEvent,
  DockerNetwork,
  DockerNetworkSpec,
  DockerPort,
  DockerVersion,
} from './types.ts';

interface FakeContainer extends DockerContainer {
  readonly networks: readonly string[];
}

export class FakeDocker implements Docker {
  reports: DockerVersion = { version: '20.10.24', apiVersion: '1.41' };
  /** Names of the verbs that were called, in order. */
  readonly calls: string[] = [];
  /** Rejects the next call of the verb of that name with this error. */
  readonly failures = new Map<keyof Docker, Error>();
  readonly #networks = new Map<string, DockerNetwork>();
  readonly #containers = new Map<string, FakeContainer>();
  readonly #streams = new Set<{ onEvent: (event: DockerEvent) => void; end: () => void }>();
  #up: boolean;
  #sequence = 0;

  constructor(up = true) {
    this.#up = up;
  }

  start(): void {
    this.#up = true;
  }

  /** The daemon ends: streams end, networks stay on its disk, containers stop. */
  stop(): void {
    this.#up = false;
    for (const id of this.#containers.keys()) this.#detach(id);
    this.#containers.clear();
    for (const stream of this.#streams) stream.end();
  }

  /** `docker run --network`. Returns the container's id. */
  run(name: string, network: string, labels: Record<string, string> = {}, ports: DockerPort[] = []): string {
    const id = this.#id();
    this.#containers.set(id, { id, name, labels, ports, networks: [network] });
    this.#attach(id, network);
    return id;
  }

  kill(id: string): void {
    this.#detach(id);
    this.#containers.delete(id);
    this.#emit({ type: 'container', action: 'die', id });
  }

  /** Puts a network there that somebody else made. */
  put(network: Partial<DockerNetwork> & { readonly name: string }): void {
    const blank = {
      id: this.#id(),
      driver: 'bridge',
      internal: false,
      enableIpv6: false,
      subnets: [],
      options: {},
      labels: {},
      attachments: [],
    };
    this.#networks.set(network.name, { ...blank, ...network });
  }

  version(): Promise<DockerVersion> {
    return this.#answer('version', () => this.reports);
  }

  network(name: string): Promise<DockerNetwork | undefined> {
    return this.#answer('network', () => this.#find(name));
  }

  networks(): ReturnType<Docker['networks']> {
    return this.#answer('networks', () =>
      [...this.#networks.values()].map((network) => ({ ...network, attachments: [] })),
    );
  }

  createNetwork(spec: DockerNetworkSpec): Promise<string> {
    return this.#answer('createNetwork', () => {
      this.#refuseConflicts(spec);
      const { name, subnets, enableIpv6, options, labels } = spec;
      this.put({ name, subnets, enableIpv6, options, labels });
      const id = this.#networks.get(name)?.id ?? '';
      this.#emit({ type: 'network', action: 'create', id });
      return id;
    });
  }

  removeNetwork(name: string): Promise<void> {
    return this.#answer('removeNetwork', () => {
      const network = this.#find(name);
      if (network === undefined) return;
      if (network.attachments.length > 0)
        throw new PortolanError('conflict', `Docker refused: network ${name} has active endpoints`);
      this.#networks.delete(network.name);
      this.#emit({ type: 'network', action: 'destroy', id: network.id });
    });
  }

  container(id: string): Promise<DockerContainer | undefined> {
    return this.#answer('container', () => {
      const byName = [...this.#containers.values()].find((container) => container.name === id);
      const found = this.#containers.get(id) ?? byName;
      if (found === undefined) return undefined;
      const { name, labels, ports } = found;
      return { id: found.id, name, labels, ports, pid: Number.parseInt(found.id, 16) };
    });
  }

  containers(): ReturnType<Docker['containers']> {
    return this.#answer('containers', () =>
      [...this.#containers.values()].toSorted((a, b) => (a.id < b.id ? -1 : 1)),
    );
  }

  events(onEvent: (event: DockerEvent) => void): ReturnType<Docker['events']> {
    return this.#answer('events', () => {
      let end = (): void => undefined;
      const ended = new Promise<void>((resolve) => {
        end = resolve;
      });
      const stream = {
        onEvent,
        end: () => {
          this.#streams.delete(stream);
          end();
        },
      };
      this.#streams.add(stream);
      return { ended, close: stream.end };
    });
  }

  async #answer<T>(verb: keyof Docker, action: () => T): Promise<T> {
    this.calls.push(verb);
    await Promise.resolve();
    if (!this.#up) throw new PortolanError('unavailable', 'Cannot reach Docker: connect ECONNREFUSED');
    const failure = this.failures.get(verb);
    this.failures.delete(verb);
    if (failure !== undefined) throw failure;
    return action();
  }

  #find(name: string): DockerNetwork | undefined {
    return this.#networks.get(name) ?? [...this.#networks.values()].find((network) => network.id === name);
  }

  #refuseConflicts(spec: DockerNetworkSpec): void {
    for (const other of this.#networks.values()) {
      if (other.name === spec.name)
        throw new PortolanError('conflict', `Docker refused: network ${spec.name} already exists`);
      if (other.subnets.some((taken) => spec.subnets.some((wanted) => wanted.overlaps(taken))))
        throw new PortolanError(
          'conflict',
          'Docker refused: Pool overlaps with other one on this address space',
        );
    }
  }

  #attach(id: string, name: string): void {
    const network = this.#networks.get(name);
    assert(network !== undefined, `network "${name}" exists`);
    const attachment: DockerAttachment = {
      container: id,
      name: this.#containers.get(id)?.name ?? '',
      endpoint: this.#id(),
      mac: '02:42:09:00:00:82' as Mac,
      addresses: network.subnets.map((subnet) => freeAddress(subnet, network.attachments)),
    };
    const attachments = [...network.attachments, attachment].sort((a, b) =>
      a.container < b.container ? -1 : 1,
    );
    this.#networks.set(name, { ...network, attachments });
    this.#emit({ type: 'network', action: 'connect', id: network.id });
  }

  #detach(id: string): void {
    for (const [name, network] of this.#networks) {
      const attachments = network.attachments.filter((attachment) => attachment.container !== id);
      if (attachments.length === network.attachments.length) continue;
      this.#networks.set(name, { ...network, attachments });
      this.#emit({ type: 'network', action: 'disconnect', id: network.id });
    }
  }

  #emit(event: DockerEvent): void {
    for (const stream of this.#streams) stream.onEvent(event);
  }

  #id(): string {
    return (++this.#sequence).toString(16).padStart(64, '0');
  }
}

/** The lowest free one after the gateway. */
function freeAddress(subnet: Prefix, taken: readonly DockerAttachment[]): InterfaceAddress {
  const held = new Set(taken.flatMap(({ addresses }) => addresses.map((entry) => String(entry.address))));
  for (let offset = 2n; offset < subnet.size; offset++) {
    const address = subnet.at(offset);
    if (address !== undefined && !held.has(String(address)))
      return new InterfaceAddress(address, subnet.length);
  }
  throw new PortolanError('exhausted', `Docker refused: no available IPv${subnet.family} addresses`);
}
