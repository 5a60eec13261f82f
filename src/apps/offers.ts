/**
 * What an agent has left: its resources less what the tasks given to it have.
 *
 * Invariant: `take` is called only for what `rejection` finds nothing against, so nothing is given twice.
 */
import type { Random } from '../base/random.ts';
import type { NodeId } from '../model/names.ts';
import type { RejectReason } from '../model/deployment.ts';
import type { ResourcesRecord } from '../model/task.ts';
import type { ConstrainedAgent } from './constraints.ts';
import { ANY_ROLE, poolOf, type Demand } from './demand.ts';
import { HostPorts } from './host-ports.ts';

/** An agent as the scheduler knows it. */
export interface SchedulerAgent {
  readonly node: NodeId;
  readonly name: string;
  readonly address: string;
  readonly isReachable: boolean;
  /** Its operator wants no new tasks on it, and its tasks elsewhere. */
  readonly isDrained: boolean;
  readonly resources: ResourcesRecord;
  /** Overlays that it has a block of. */
  readonly overlays: ReadonlySet<string>;
}

/** What one task given to an agent has. */
export interface Held {
  readonly cpus: number;
  readonly mem: number;
  readonly disk: number;
  readonly gpus: number;
  readonly hostPorts: readonly number[];
  readonly runtime: 'mesos' | 'docker';
  /** Overlays that it has or will get an address of. */
  readonly addresses: readonly string[];
}

export interface Rejection {
  readonly reason: RejectReason;
  /** What follows the agent's name in a sentence. */
  readonly message: string;
}

/** Sums of decimals such as 0.1 are a little off. */
const EPSILON = 1e-6;

export class Offer implements ConstrainedAgent {
  readonly agent: SchedulerAgent;
  /** Among equals the lower one is taken. */
  readonly index: number;
  readonly #ports: HostPorts;
  readonly #addresses = new Map<string, number>();
  #cpus: number;
  #mem: number;
  #disk: number;
  #gpus: number;
  #load: number;

  constructor(agent: SchedulerAgent, index: number) {
    this.agent = agent;
    this.index = index;
    const { resources } = agent;
    this.#cpus = resources.cpus;
    this.#mem = resources.mem_mib;
    this.#disk = resources.disk_mib;
    this.#gpus = resources.gpus;
    this.#load = this.#weigh();
    this.#ports = new HostPorts(resources.ports);
    for (const [overlay, free] of Object.entries(resources.task_addresses)) {
      this.#addresses.set(poolOf('mesos', overlay), free.mesos);
      this.#addresses.set(poolOf('docker', overlay), free.docker);
    }
  }

  get name(): string {
    return this.agent.name;
  }

  get address(): string {
    return this.agent.address;
  }

  get region(): string | undefined {
    return this.agent.resources.region;
  }

  get zone(): string | undefined {
    return this.agent.resources.zone;
  }

  get attributes(): Readonly<Record<string, string>> {
    return this.agent.resources.attributes;
  }

  /** 0 = idle, 1 = nothing left of cpus or memory. */
  get load(): number {
    return this.#load;
  }

  #weigh(): number {
    const { cpus, mem_mib: mem } = this.agent.resources;
    return Math.max(cpus > 0 ? 1 - this.#cpus / cpus : 1, mem > 0 ? 1 - this.#mem / mem : 1);
  }

  hold(held: Held): void {
    this.#cpus -= held.cpus;
    this.#mem -= held.mem;
    this.#disk -= held.disk;
    this.#gpus -= held.gpus;
    this.#load = this.#weigh();
    for (const port of held.hostPorts) this.#ports.take(port);
    for (const overlay of held.addresses) this.#takeAddress(held.runtime, overlay);
  }

  /** Takes what one instance needs; returns its host ports in the order of the declared ones. */
  take(demand: Demand, random: Random): (number | undefined)[] {
    const { cpus, mem, disk, gpus, runtime, overlays } = demand;
    this.hold({ cpus, mem, disk, gpus, hostPorts: [], runtime, addresses: overlays });
    for (const port of demand.hostPorts) if (port !== undefined && port !== 0) this.#ports.take(port);
    return demand.hostPorts.map((port) => (port === 0 ? this.#ports.takeAny(random) : port));
  }

  /** Why one instance cannot be here, whatever the constraints; `undefined` = it can. */
  rejection(demand: Demand): Rejection | undefined {
    return this.#unfit(demand) ?? this.#shortage(demand);
  }

  /** What does not change while tasks are placed. */
  #unfit(demand: Demand): Rejection | undefined {
    const { isReachable, isDrained, resources } = this.agent;
    if (!isReachable) return { reason: 'AgentUnreachable', message: 'is unreachable' };
    if (isDrained) return { reason: 'AgentMaintenance', message: 'is drained for maintenance' };
    const role = resources.attributes['role'] ?? ANY_ROLE;
    if (!demand.acceptedRoles.includes(role))
      return {
        reason: 'UnfulfilledRole',
        message: `has role ${role}, wanted is ${demand.acceptedRoles.join(' or ')}`,
      };
    if (!resources.runtimes.includes(demand.runtime))
      return { reason: 'RuntimeUnavailable', message: `cannot run ${demand.runtime} containers` };
    const foreign = demand.overlays.find((overlay) => !this.agent.overlays.has(overlay));
    if (foreign !== undefined)
      return { reason: 'NetworkUnavailable', message: `has no block of network ${foreign}` };
    const untold = demand.pools.findIndex((pool) => !this.#addresses.has(pool));
    if (untold < 0) return undefined;
    return {
      reason: 'NetworkUnavailable',
      message: `has not told yet how many addresses of network ${demand.overlays[untold]} are free`,
    };
  }

  #shortage(demand: Demand): Rejection | undefined {
    if (demand.cpus > this.#cpus + EPSILON) return short('InsufficientCpus', 'cpus', this.#cpus, demand.cpus);
    if (demand.mem > this.#mem + EPSILON)
      return short('InsufficientMemory', 'MiB of memory', this.#mem, demand.mem);
    if (demand.disk > this.#disk + EPSILON)
      return short('InsufficientDisk', 'MiB of disk', this.#disk, demand.disk);
    if (demand.gpus > this.#gpus) return short('InsufficientGpus', 'gpus', this.#gpus, demand.gpus);
    return this.#portShortage(demand.hostPorts) ?? this.#addressShortage(demand);
  }

  #portShortage(ports: readonly (number | undefined)[]): Rejection | undefined {
    let needed = 0;
    for (const port of ports) {
      if (port === undefined) continue;
      needed += 1;
      if (port === 0 || this.#ports.isFree(port)) continue;
      const why = this.#ports.isOffered(port) ? 'taken' : 'not among those it offers';
      return { reason: 'InsufficientPorts', message: `cannot give host port ${port}: it is ${why}` };
    }
    return needed > this.#ports.free
      ? short('InsufficientPorts', 'host ports', this.#ports.free, needed)
      : undefined;
  }

  #addressShortage({ pools, overlays }: Demand): Rejection | undefined {
    const full = pools.findIndex((pool) => (this.#addresses.get(pool) ?? 0) <= 0);
    if (full < 0) return undefined;
    return { reason: 'InsufficientAddresses', message: `has no free address in ${overlays[full]}` };
  }

  #takeAddress(runtime: Held['runtime'], overlay: string): void {
    const key = poolOf(runtime, overlay);
    const free = this.#addresses.get(key);
    if (free !== undefined) this.#addresses.set(key, free - 1);
  }
}

function short(reason: RejectReason, what: string, free: number, wanted: number): Rejection {
  const left = Math.max(0, Math.round(free * 1000) / 1000);
  return { reason, message: `has ${left} ${what} free, ${wanted} are wanted` };
}
