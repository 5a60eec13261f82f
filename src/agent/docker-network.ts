/**
 * Offers every overlay to Docker as a network of its own, and tells which containers are on them.
 *
 * One loop, two states. *Waiting*: the daemon does not answer; it is asked again after 0.25 s, then ever later, up to
 * 5 s. *Connected*: the event stream is open; each event, trigger and sweep starts a round over everything, the end of
 * the stream leads back to waiting. A round compares the whole wish with all that is there, so no event needs to be
 * understood and a lost one costs a minute at most.
 *
 * Invariants: nothing here blocks or fails the agent: an overlay without Docker is whole for all other runtimes. A
 * network that somebody made and that does not fit is never changed, only named. Endpoints are those of the last round;
 * while the daemon is away, those of them whose processes run (with `live-restore` they run on).
 * Review notes: every wait is on the injected clock and ends with `stop`.
 */
import type { Clock } from '../base/clock.ts';
import { describeError, isPortolanError, PortolanError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { Metrics } from '../base/metrics.ts';
import type { Nft } from '../kernel/nft/types.ts';
import type { Endpoint } from '../model/endpoint.ts';
import { LOCAL_BRIDGE } from '../model/overlay.ts';
import { legacyTables } from '../runtime/legacy-tables.ts';
import type {
  Docker,
  DockerContainer,
  DockerEvent,
  DockerFactory,
  DockerNetwork,
  DockerNetworkSpec,
  DockerVersion,
} from '../runtime/types.ts';
import { DockerAlive, type Processes } from './docker-alive.ts';
import { labelledEndpoints, dockerEndpoint } from './docker-endpoints.ts';
import { createDockerIsolation, type DockerIsolation, type IsolationReport } from './docker-isolation.ts';
import { dockerNetworkPlan, networkInTheWay, type DockerNetworkWish } from './docker-network-plan.ts';
import { portConflicts } from './docker-port-conflicts.ts';
import { createWaker, type Waker } from './docker-waker.ts';

const BACKOFF_FIRST_MS = 250;
const BACKOFF_MAX_MS = 5_000;
/** While something is wrong, and otherwise. */
const RETRY_MS = 5_000;
const SWEEP_MS = 60_000;
const STOP_WAIT_MS = 1_000;
/** From the end of one round to the next at least: `docker compose up`, or a firewall being loaded, is many events. */
const GAP_MS = 50;
/** Of container events these change what an endpoint says; the others (exec, health) come by the thousand. */
const containerActions: ReadonlySet<string> = new Set(['start', 'die', 'destroy', 'rename']);

export interface DockerNetworkStatus {
  readonly name: string;
  readonly state: 'waiting' | 'ok' | 'failed' | 'unsupported';
  readonly message?: string;
}

export interface DockerNetworksStatus {
  readonly daemon: 'waiting' | 'connected' | 'stopped';
  readonly socket: string;
  readonly version?: string;
  /** Why it is waiting. */
  readonly error?: string;
  readonly networks: readonly DockerNetworkStatus[];
  readonly isolation: IsolationReport;
  readonly endpoints: number;
}

export interface DockerNetworksComponents {
  readonly docker: DockerFactory;
  readonly kernel: { readonly nft: Pick<Nft, 'list' | 'run' | 'generation'> };
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Default: of this process's network namespace. */
  readonly legacyTables?: () => Promise<readonly string[]>;
  /** Default: this host's. */
  readonly processes?: Processes;
}

export interface DockerNetworksInit {
  readonly socket: string;
  /** What Docker shall offer now; asked in every round. */
  readonly networks: () => readonly DockerNetworkWish[];
  /** Containers of other runtimes on this host, whose ports Docker may publish again. */
  readonly attached?: () => readonly Endpoint[];
  /** All containers on our networks, and those on others that are labelled with a VIP, whenever that changed. */
  readonly onEndpoints: (endpoints: readonly Endpoint[]) => void;
}

export interface DockerNetworks {
  start(): void;
  /** Starts a round soon: wishes changed, or somebody changed nftables. */
  trigger(): void;
  status(): DockerNetworksStatus;
  stop(): Promise<void>;
}

export function createDockerNetworks(
  components: DockerNetworksComponents,
  init: DockerNetworksInit,
): DockerNetworks {
  return new Networks(components, init);
}

class Networks implements DockerNetworks {
  readonly #components: DockerNetworksComponents;
  readonly #init: DockerNetworksInit;
  readonly #log: Log;
  readonly #isolation: DockerIsolation;
  readonly #waker: Waker;
  readonly #containers = new Map<string, DockerContainer>();
  readonly #states = new Map<string, DockerNetworkStatus>();
  #isolationReport: IsolationReport = { sites: [], changed: false, problem: undefined };
  #daemon: DockerNetworksStatus['daemon'] = 'stopped';
  #version: DockerVersion | undefined;
  #error: string | undefined;
  readonly #alive: DockerAlive;
  #portConflicts: ReadonlySet<string> = new Set();
  #published = '';
  #endpoints: readonly Endpoint[] = [];
  #running: Promise<void> | undefined;

  constructor(components: DockerNetworksComponents, init: DockerNetworksInit) {
    this.#components = components;
    this.#init = init;
    this.#log = components.log;
    this.#waker = createWaker(components.clock);
    this.#alive = new DockerAlive(components.processes);
    this.#isolation = createDockerIsolation({
      nft: components.kernel.nft,
      legacyTables: components.legacyTables ?? legacyTables,
      log: this.#log,
    });
  }

  start(): void {
    this.#daemon = 'waiting';
    this.#running ??= this.#run();
  }

  trigger(): void {
    this.#waker.wake();
  }

  status(): DockerNetworksStatus {
    const waiting = (name: string): DockerNetworkStatus => ({ name, state: 'waiting' });
    return {
      daemon: this.#daemon,
      socket: this.#init.socket,
      ...(this.#version === undefined ? {} : { version: this.#version.version }),
      ...(this.#error === undefined ? {} : { error: this.#error }),
      networks: this.#init.networks().map(({ name }) => this.#states.get(name) ?? waiting(name)),
      isolation: this.#isolationReport,
      endpoints: this.#endpoints.length,
    };
  }

  async stop(): Promise<void> {
    this.#waker.close();
    // A daemon that hangs must not hold up the agent's end.
    const limit = new Promise<void>((resolve) => {
      this.#components.clock.after(STOP_WAIT_MS, resolve);
    });
    await Promise.race([this.#running ?? Promise.resolve(), limit]);
    this.#daemon = 'stopped';
  }

  async #run(): Promise<void> {
    let backoffMs = BACKOFF_FIRST_MS;
    while (!this.#waker.closed) {
      try {
        await this.#session(() => {
          backoffMs = BACKOFF_FIRST_MS;
        });
        this.#leave('the event stream ended');
      } catch (error) {
        this.#leave(describeError(error));
      }
      await this.#waitAway(backoffMs);
      backoffMs = Math.min(backoffMs * 2, BACKOFF_MAX_MS);
    }
  }

  /** The daemon's rules outlive it, so a trigger mends the way through them while it is away as well. */
  async #waitAway(delayMs: number): Promise<void> {
    const { clock } = this.#components;
    const endMs = clock.nowMs() + delayMs;
    while (!this.#waker.closed && clock.nowMs() < endMs) {
      this.#withdrawEnded();
      if ((await this.#waker.wait(endMs - clock.nowMs())) !== 'woken') continue;
      await this.#ensureIsolation(false);
      await this.#waker.rest(GAP_MS);
    }
  }

  /** From the first answer of the daemon to the end of its event stream. */
  async #session(onConnected: () => void): Promise<void> {
    const docker = this.#components.docker(this.#init.socket);
    const version = await docker.version();
    // Subscribed before the first round: what happens during the round is an event, and starts another.
    const events = await docker.events((event) => this.#onEvent(event));
    const stream = { open: true };
    const ended = events.ended.then(() => {
      stream.open = false;
      this.#waker.wake();
    });
    try {
      this.#enter(version);
      onConnected();
      while (stream.open && !this.#waker.closed) {
        const allWell = await this.#round(docker, version);
        await this.#waker.rest(GAP_MS);
        await this.#waker.wait(allWell ? SWEEP_MS : RETRY_MS);
      }
    } finally {
      events.close();
      await ended;
    }
  }

  #onEvent(event: DockerEvent): void {
    if (event.type === 'container') {
      if (!containerActions.has(event.action)) return;
      this.#containers.delete(event.id);
    }
    this.#waker.wake();
  }

  #enter(version: DockerVersion): void {
    this.#daemon = 'connected';
    this.#version = version;
    this.#error = undefined;
    this.#containers.clear();
    this.#gauge().set(1);
    this.#log.info('Docker is there', { version: version.version, socket: this.#init.socket });
  }

  #leave(why: string): void {
    if (this.#waker.closed) return;
    if (this.#daemon === 'connected' || this.#error === undefined)
      this.#log.info('waiting for Docker', { socket: this.#init.socket, why });
    this.#daemon = 'waiting';
    this.#version = undefined;
    this.#error = why;
    this.#states.clear();
    this.#gauge().set(0);
  }

  #gauge(): ReturnType<Metrics['gauge']> {
    return this.#components.metrics.gauge('portolan_docker_up', '1 while the Docker daemon answers');
  }

  /** True when every network is as wished. Rejects when the daemon has gone. */
  async #round(docker: Docker, version: DockerVersion): Promise<boolean> {
    const wishes = this.#init.networks();
    // An agent that does not know its grant yet knows nothing about containers either.
    if (wishes.length === 0) return true;
    const networks: DockerNetwork[] = [];
    for (const wish of wishes) {
      const network = await this.#ensureNetwork(docker, version, wish);
      if (network !== undefined) networks.push(network);
    }
    // After the networks: creating one makes Docker write its chains.
    await this.#ensureIsolation(true);
    await this.#publish(docker, networks);
    return [...this.#states.values()].every(({ state }) => state === 'ok' || state === 'unsupported');
  }

  /** The network as it is when it serves the overlay. */
  async #ensureNetwork(
    docker: Docker,
    version: DockerVersion,
    wish: DockerNetworkWish,
  ): Promise<DockerNetwork | undefined> {
    try {
      const existing = await docker.network(wish.name);
      const plan = dockerNetworkPlan(wish, existing, version);
      if (plan.do === 'keep') {
        const { remark } = plan;
        this.#note({ name: wish.name, state: 'ok', ...(remark === undefined ? {} : { message: remark }) });
        return existing;
      }
      if (plan.do === 'refuse' || plan.do === 'unsupported') {
        const state = plan.do === 'refuse' ? 'failed' : 'unsupported';
        this.#note({ name: wish.name, state, message: plan.message });
        return undefined;
      }
      if (plan.do === 'recreate') await docker.removeNetwork(wish.name);
      await this.#create(docker, plan.spec);
      this.#log.info('made a Docker network', {
        network: wish.name,
        subnets: wish.subnets.map(String),
        ...(plan.do === 'recreate' ? { instead: plan.differs } : {}),
      });
      this.#note({ name: wish.name, state: 'ok' });
      return await docker.network(wish.name);
    } catch (error) {
      this.#countFailure('network');
      if (isPortolanError(error, 'unavailable')) throw error;
      this.#note({ name: wish.name, state: 'failed', message: describeError(error) });
      return undefined;
    }
  }

  /** Docker does not say which network is in the way. */
  async #create(docker: Docker, spec: DockerNetworkSpec): Promise<void> {
    try {
      await docker.createNetwork(spec);
    } catch (error) {
      if (isPortolanError(error, 'unavailable')) throw error;
      const why = networkInTheWay(spec, await docker.networks());
      throw why === undefined ? error : new PortolanError('conflict', why, { cause: error });
    }
  }

  /** Logs transitions only. */
  #note(status: DockerNetworkStatus): void {
    const before = this.#states.get(status.name);
    this.#states.set(status.name, status);
    if (status.message !== undefined && status.message !== before?.message)
      this.#log.warn(
        status.state === 'ok' ? 'a Docker network is kept as it is' : 'an overlay is not offered to Docker',
        { network: status.name, reason: status.message },
      );
    if (status.state === 'ok' && before?.state === 'failed')
      this.#log.info('a Docker network fits again', { network: status.name });
  }

  /** Without a wish nothing is touched: an agent that has just started must not shut the way for running containers. */
  async #ensureIsolation(dockerRuns: boolean): Promise<void> {
    const offered = this.#init.networks().map(({ name, subnets }) => ({ name, dockerSubnets: subnets }));
    if (offered.length === 0) return;
    const overlays = [...offered, { name: LOCAL_BRIDGE, dockerSubnets: [] }];
    const before = this.#isolationReport.problem;
    try {
      this.#isolationReport = await this.#isolation.ensure(overlays, dockerRuns);
    } catch (error) {
      this.#countFailure('isolation');
      this.#isolationReport = { ...this.#isolationReport, problem: describeError(error) };
    }
    const { problem } = this.#isolationReport;
    if (problem !== undefined && problem !== before)
      this.#log.warn("Docker's isolation of bridges may cut overlays", { problem });
  }

  /** Details of a container are asked once per start; addresses come from the network in every round. */
  async #publish(docker: Docker, networks: readonly DockerNetwork[]): Promise<void> {
    const ours = new Set(this.#init.networks().map(({ name }) => name));
    const running = await docker.containers();
    this.#warnOfPorts(portConflicts(running, this.#init.attached?.() ?? []));
    const labelled = labelledEndpoints(running, ours);
    const concerned = new Set([
      ...networks.flatMap(({ attachments }) => attachments.map((each) => each.container)),
      ...labelled.map(({ container }) => container),
    ]);
    for (const id of this.#containers.keys()) if (!concerned.has(id)) this.#containers.delete(id);
    for (const id of concerned) await this.#container(docker, id);
    const attached = networks.flatMap((network) =>
      network.attachments.flatMap((attachment) => {
        const container = this.#containers.get(attachment.container);
        return container === undefined ? [] : [dockerEndpoint(network.name, attachment, container)];
      }),
    );
    this.#alive.learn(
      new Map(
        [...this.#containers.values()].flatMap(({ id, pid }) => (pid === undefined ? [] : [[id, pid]])),
      ),
    );
    this.#tell([...attached, ...labelled]);
  }

  /** Each once, while it lasts. */
  #warnOfPorts(conflicts: readonly string[]): void {
    for (const conflict of conflicts)
      if (!this.#portConflicts.has(conflict))
        this.#log.warn('a host port is published twice', { reason: conflict });
    this.#portConflicts = new Set(conflicts);
  }

  /** The daemon cannot say that a container has ended when it has ended itself. */
  #withdrawEnded(): void {
    const left = this.#endpoints.filter(({ container }) => !this.#alive.hasEnded(container));
    if (left.length < this.#endpoints.length) this.#tell(left);
  }

  #tell(endpoints: readonly Endpoint[]): void {
    const text = JSON.stringify(endpoints);
    if (text === this.#published) return;
    this.#published = text;
    this.#endpoints = endpoints;
    this.#components.metrics
      .gauge('portolan_docker_endpoints', "Docker containers on this node's overlays, and others with a VIP")
      .set(endpoints.length);
    this.#init.onEndpoints(endpoints);
  }

  async #container(docker: Docker, id: string): Promise<void> {
    if (this.#containers.has(id)) return;
    const found = await docker.container(id);
    if (found !== undefined) this.#containers.set(id, found);
  }

  #countFailure(verb: string): void {
    this.#components.metrics
      .counter('portolan_docker_failures_total', 'Failed dealings with Docker', ['verb'])
      .add(1, { verb });
  }
}
