/**
 * Takes everything of Portolan's off this host: kernel objects, rules in Docker's chains, Docker networks, CNI files.
 *
 * Nothing else is touched, and each step is harmless when there is nothing to take away. State stays on disk unless it
 * is purged: an agent that starts again finds its identity and its blocks.
 */
import { existsSync } from 'node:fs';
import { rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describeError, PortolanError } from '../base/errors.ts';
import type { Clock } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { Metrics } from '../base/metrics.ts';
import { SysctlMemory } from '../kernel/sysctl-memory.ts';
import type { Kernel } from '../kernel/types.ts';
import type { AgentConfig } from '../model/config.ts';
import { LOCAL_BRIDGE } from '../model/overlay.ts';
import type { TaskContainer } from '../runtime/containerizer.ts';
import { DockerContainerizer } from '../runtime/docker-containerizer.ts';
import { openDocker } from '../runtime/docker.ts';
import { legacyTables } from '../runtime/legacy-tables.ts';
import type { Docker } from '../runtime/types.ts';
import { openJournal } from '../store/journal.ts';
import { memoryJournal } from '../store/memory-journal.ts';
import type { Journal } from '../store/types.ts';
import { syncConflists } from './cni-config.ts';
import { destroyAllContainers, runningContainers } from './container-removal.ts';
import { createDockerIsolation } from './docker-isolation.ts';
import { DOCKER_LABEL } from './docker-network-plan.ts';
import { GrantKeeper } from './grant-keeper.ts';
import { createReconciler, type RoundReport } from './reconciler.ts';
import { VipTables } from './vip-tables.ts';

export interface UninstallComponents {
  readonly kernel: Kernel;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}

export interface UninstallReport {
  /** Kernel objects removed. */
  readonly kernel_objects: number;
  readonly docker_networks: readonly string[];
  /** Native containers, and Docker's of tasks, ended or, ended already, removed. */
  readonly containers: readonly string[];
  /** What could not be removed, and why. */
  readonly left: readonly string[];
}

/** Rejects with `conflict`, and does nothing, while the agent runs, or native containers without `force`. */
export async function uninstall(
  components: UninstallComponents,
  config: AgentConfig,
  options: { readonly purge: boolean; readonly force: boolean },
): Promise<UninstallReport> {
  const { log } = components;
  const places = { stateDir: config.state_dir, runDir: config.run_dir };
  const journal = await openState(log, config, options.purge);
  const inDocker = await dockerTasks(components, config);
  const running = inDocker.filter(({ state }) => state === 'running').map(({ task }) => task);
  const busy = [...(await runningContainers(places)), ...running];
  if (busy.length > 0 && !options.force) {
    await journal.close();
    throw containersRun(busy);
  }
  const containers = [...(await destroyAllContainers(places)), ...inDocker.map(({ task }) => task)];
  const containerizer = openDockerTasks(components, config);
  for (const { id } of inDocker) await containerizer.remove(id);
  containerizer.close();
  const granted = new GrantKeeper({ journal }).current()?.overlays ?? [];
  const docker = await removeDockerNetworks(config, [
    ...granted.map((overlay) => overlay.info.name),
    LOCAL_BRIDGE,
  ]);
  const round = await disconnect({ ...components, journal }, config);
  await rm(join(config.cni_bin_dir, 'portolan-cni'), { force: true });
  await journal.close();
  await removeRunFiles(config.run_dir);
  if (options.purge) await rm(config.state_dir, { recursive: true, force: true });
  return {
    kernel_objects: round.steps,
    docker_networks: docker.removed,
    containers,
    left: [...docker.left, ...round.failures.map(({ change, reason }) => `${change.what}: ${reason}`)],
  };
}

/** Takes this host off all overlays: no device, route or rule of ours, and no network that runtimes would try. */
export async function disconnect(
  components: UninstallComponents & { readonly journal: Journal },
  config: AgentConfig,
): Promise<RoundReport> {
  const { kernel, log, journal } = components;
  await createDockerIsolation({ nft: kernel.nft, legacyTables, log }).ensure([], false);
  const sysctls = new SysctlMemory({ namespace: kernel, journal });
  await new VipTables({ nft: kernel.nft, journal, log }).remove();
  const round = await createReconciler({ ...components, sysctls }, { desired: () => undefined }).removeAll();
  await syncConflists({ log }, { directory: config.cni_dir, overlays: [] });
  return round;
}

type Clocked = Pick<UninstallComponents, 'clock'>;

function openDockerTasks({ clock }: Clocked, { docker }: AgentConfig): DockerContainerizer {
  return new DockerContainerizer({ clock }, { socket: docker.socket, volume: () => Promise.resolve('') });
}

/** A daemon that does not answer has nothing that could be removed. */
async function dockerTasks(components: Clocked, config: AgentConfig): Promise<readonly TaskContainer[]> {
  if (!existsSync(config.docker.socket)) return [];
  const containerizer = openDockerTasks(components, config);
  try {
    return await containerizer.list();
  } catch (error) {
    if (error instanceof PortolanError && error.code === 'unavailable') return [];
    throw error;
  } finally {
    containerizer.close();
  }
}

/** What the agent keeps for the time of a boot; a master may have its own beside it. */
async function removeRunFiles(runDir: string): Promise<void> {
  for (const name of ['agent.sock', 'cni.sock', 'cni.sock.d', 'boot-id'])
    await rm(join(runDir, name), { recursive: true, force: true });
  // Not `rm`: what is mounted there, or somebody else's, stays.
  for (const path of [join(runDir, 'netns'), join(runDir, 'runc'), runDir])
    await rmdir(path).catch(() => undefined);
}

function containersRun(names: readonly string[]): PortolanError {
  return new PortolanError(
    'conflict',
    `Cannot uninstall: ${names.length === 1 ? 'container' : 'containers'} ${names.join(', ')} would lose the network`,
    { remedy: 'remove what runs with "portolan container rm --force" while the agent is up, or add --force' },
  );
}

function running(): PortolanError {
  return new PortolanError('conflict', 'Cannot uninstall: the agent runs', { remedy: 'stop it first' });
}

/** The journal knows the sysctls of before; one that is damaged must not keep a purge from working. */
async function openState(log: Log, config: AgentConfig, purge: boolean): Promise<Journal> {
  const path = join(config.state_dir, 'agent.journal');
  if (!existsSync(path)) return memoryJournal();
  try {
    const recovery = 'run this again, or add --purge: sysctls stay as they are then';
    return await openJournal({ log }, { path, what: "this host's former settings", recovery });
  } catch (error) {
    if (error instanceof PortolanError && error.code === 'corrupt' && purge) return memoryJournal();
    throw error instanceof PortolanError && error.code === 'conflict' ? running() : error;
  }
}

/** Only networks that carry our label; one that containers still use is left and named. */
async function removeDockerNetworks(
  config: AgentConfig,
  overlays: readonly string[],
): Promise<{ removed: string[]; left: string[] }> {
  const outcome = { removed: [] as string[], left: [] as string[] };
  if (!existsSync(config.docker.socket)) return outcome;
  const docker: Docker = openDocker(config.docker.socket);
  for (const name of overlays) {
    try {
      const network = await docker.network(name);
      if (network?.labels[DOCKER_LABEL] === undefined) continue;
      await docker.removeNetwork(name);
      outcome.removed.push(name);
    } catch (error) {
      outcome.left.push(`Docker network ${name}: ${describeError(error)}`);
    }
  }
  return outcome;
}
