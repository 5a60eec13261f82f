/**
 * Labs: a cluster of network namespaces on one machine.
 *
 * Purpose: everything that needs several hosts (tests, demo, benches, a curious user) gets them here in seconds.
 * Invariants: no packet leaves the lab; every verb may be repeated; `down` finds what is left also without `lab.json`.
 * Review notes: a new kind of process, mount or file needs its line in `down` and in test/e2e/lab.test.ts.
 */
import { existsSync } from 'node:fs';
import { mkdir, rm, symlink } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { isPortolanError, PortolanError } from '../base/errors.ts';
import { sleep } from '../base/clock.ts';
import { request } from '../http/client.ts';
import { signalProcess, waitForEnd } from '../runtime/process.ts';
import { lockFile, type FileLock } from '../store/file-lock.ts';
import { ensureLabDirectory } from './directory.ts';
import {
  daemonsOf,
  mainProgram,
  renderAgentConfig,
  renderConfigs,
  runningDaemon,
  startDaemon,
  startProxy,
  writeFiles,
} from './daemons.ts';
import { startMissingDockers } from './docker-hosts.ts';
import { createHost, hostExists } from './host.ts';
import { LAB_ROOT, hostPaths, labPaths } from './paths.ts';
import { checkLabName, defaultLabOptions, findHost, planHosts, type LabOptions } from './plan.ts';
import { powerOff } from './power.ts';
import { waitUntilReady } from './readiness.ts';
import { readLabState, requireLabState, writeLabState, type LabHost, type LabState } from './state.ts';
import { endStrays } from './strays.ts';
import { makeTokens } from './tokens.ts';
import { applyPartition, connectHosts, ensureUnderlay } from './underlay.ts';

const READY_TIMEOUT_MS = 60_000;
/** They share the processors of one machine. */
const READY_TIMEOUT_MS_PER_HOST = 3_000;
const STOP_TIMEOUT_MS = 15_000;
const POLL_MS = 10;
/** Longer than any verb takes. */
const LOCK_TIMEOUT_MS = 180_000;
const LOCK_POLL_MS = 50;

/** Says what is going on, one line at a time. */
export type Say = (line: string) => void;

export function requireRoot(): void {
  if (process.getuid?.() === 0) return;
  throw new PortolanError('forbidden', 'Cannot make network namespaces: this user is not root', {
    remedy: 'run it with sudo',
  });
}

/** One verb at a time per lab; another one waits for its turn. */
async function locked<T>(lab: string, action: () => Promise<T>): Promise<T> {
  requireRoot();
  await mkdir(LAB_ROOT, { recursive: true });
  const lock = await waitForLock(checkLabName(lab));
  try {
    return await action();
  } finally {
    await lock.release();
  }
}

async function waitForLock(lab: string): Promise<FileLock> {
  const end = performance.now() + LOCK_TIMEOUT_MS;
  for (;;) {
    try {
      return await lockFile(labPaths(lab).lock);
    } catch (error) {
      if (!isPortolanError(error, 'conflict')) throw error;
      if (performance.now() > end)
        throw new PortolanError('conflict', `Cannot change lab "${lab}": another command is at work on it`, {
          remedy: `wait until process ${String(error.details?.['pid'])} has ended, or end it`,
        });
    }
    await sleep(LOCK_POLL_MS);
  }
}

/** Brings a lab up, or mends it, or adds hosts to it; resolves when all of it works. */
export function labUp(name: string, options: Partial<LabOptions>, say: Say): Promise<LabState> {
  return locked(name, async () => {
    mainProgram();
    checkMasters(options.masters ?? 1);
    const state = await mergeState(name, options);
    await ensureLabDirectory(labPaths(name));
    await writeLabState(state);
    await endStrays(state);
    const wanted = state.hosts.filter((host) => host.wanted);
    await bringUpHosts(state, wanted, say);
    await ready(state, say);
    return state;
  });
}

/** The embedded store is in its master's process: two masters would be two clusters. */
function checkMasters(masters: number): void {
  if (masters === 1) return;
  throw new PortolanError('invalid', `Cannot make a lab with ${masters} masters on the embedded store`, {
    field: '--masters',
    remedy: 'use one master',
  });
}

async function mergeState(name: string, options: Partial<LabOptions>): Promise<LabState> {
  const old = await readLabState(name);
  const count = (role: LabHost['role']): number =>
    old?.hosts.filter((host) => host.role === role).length ?? 0;
  const hosts = planHosts({
    hosts: Math.max(options.hosts ?? (old === undefined ? defaultLabOptions.hosts : 1), count('agent')),
    masters: Math.max(options.masters ?? 1, count('master')),
    docker: false,
  });
  return {
    name,
    docker: options.docker ?? old?.docker ?? false,
    // A host that was stopped on purpose stays so until `lab start`.
    hosts: hosts.map((host) => ({
      ...host,
      wanted: old?.hosts.find((each) => each.name === host.name)?.wanted ?? true,
    })),
    processes: old?.processes ?? [],
    partition: old?.partition ?? [],
    ...(old?.apiPort === undefined ? {} : { apiPort: old.apiPort }),
  };
}

/**
 * Namespaces, mounts, cables and daemons of all `hosts`. The masters start while the other hosts are still being made:
 * one processor is enough for either.
 */
async function bringUpHosts(state: LabState, hosts: readonly LabHost[], say: Say): Promise<void> {
  const lab = labPaths(state.name);
  await ensureUnderlay(lab);
  if (state.partition.length > 0) await applyPartition(lab, state.partition);
  const masters = hosts.filter((host) => host.role === 'master');
  await ensureHosts(state, masters);
  await together([startMasters(state, masters), bringUpOthers(state, hosts, say)]);
  await writeLabState(state);
  await startAgents(state, hosts);
  await writeLabState(state);
}

/** All that hosts without a master have, except their agents. */
async function bringUpOthers(state: LabState, hosts: readonly LabHost[], say: Say): Promise<void> {
  const others = hosts.filter((host) => host.role !== 'master');
  await ensureHosts(state, others);
  say(`${hosts.length} hosts on the underlay 10.0.0.0/24`);
  if (state.docker) await startDockers(state, others, say);
}

/** Fails when one fails, but not before all have ended: nothing of a verb goes on after it. */
async function together(steps: readonly Promise<void>[]): Promise<void> {
  const failed = (await Promise.allSettled(steps)).find((each) => each.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
}

/** Namespaces, mounts and cables. */
async function ensureHosts(state: LabState, hosts: readonly LabHost[]): Promise<void> {
  await Promise.all(hosts.map((host) => ensureHost(state, host)));
  await connectHosts(labPaths(state.name), hosts);
}

async function ensureHost(state: LabState, host: LabHost): Promise<void> {
  const paths = hostPaths(state.name, host.name);
  if (!(await hostExists(paths))) {
    await powerOff(state.name, host.name);
    await createHost(paths);
  }
  await writeFiles(paths, renderConfigs(host, state.hosts));
}

/** Each with tokens to join with: what it needs at its first start and after having been removed from the cluster. */
async function startAgents(state: LabState, hosts: readonly LabHost[]): Promise<void> {
  const missing = hosts.filter((host) => runningDaemon(state, host.name, 'agent') === undefined);
  const tokens = await makeTokens(state, missing);
  await Promise.all(
    missing.map(async (host) => {
      const options = { docker: state.docker, join: tokens.get(host.name) ?? [] };
      const files = new Map([['/etc/portolan/agent.yaml', renderAgentConfig(host, state.hosts, options)]]);
      await writeFiles(hostPaths(state.name, host.name), files, { secret: true });
      await ensureDaemon(state, host, 'agent');
    }),
  );
}

/** Before any agent, so that no first registration is in vain. */
async function startMasters(state: LabState, masters: readonly LabHost[]): Promise<void> {
  if (masters.length === 0) return;
  await Promise.all(masters.map((host) => ensureDaemon(state, host, 'master')));
  await Promise.all(masters.map((host) => waitForMaster(state, host.name)));
  await ensureApi(state);
}

async function startDockers(state: LabState, hosts: readonly LabHost[], say: Say): Promise<void> {
  for (const each of await startMissingDockers(state, hosts)) {
    record(state, (old) => old.host === each.host && old.kind === 'dockerd', each);
    say(`${each.host ?? ''} has a dockerd`);
  }
}

async function ensureDaemon(state: LabState, host: LabHost, kind: 'master' | 'agent'): Promise<void> {
  if (!daemonsOf(host.role).includes(kind) || runningDaemon(state, host.name, kind) !== undefined) return;
  const started = await startDaemon(hostPaths(state.name, host.name), kind);
  record(state, (each) => each.host === host.name && each.kind === kind, started);
}

function record(
  state: LabState,
  replaces: (process: LabState['processes'][number]) => boolean,
  started: LabState['processes'][number],
): void {
  state.processes = [...state.processes.filter((each) => !replaces(each)), started];
}

async function waitForMaster(state: LabState, name: string): Promise<void> {
  const master = hostPaths(state.name, name);
  const end = performance.now() + READY_TIMEOUT_MS;
  const health = { method: 'GET', path: '/health', timeoutMs: 5_000 } as const;
  for (;;) {
    if (existsSync(master.apiSocket)) {
      const alive = await request({ socketPath: master.apiSocket }, health).then(
        (answer) => answer.status < 500,
        () => false,
      );
      if (alive) return;
    }
    const ended = runningDaemon(state, name, 'master') === undefined;
    if (ended || performance.now() > end)
      throw new PortolanError(
        'unavailable',
        `The master of host "${name}" ${ended ? 'has ended' : 'does not answer'}`,
        {
          remedy: `see ${master.log}/master.log`,
        },
      );
    await sleep(POLL_MS);
  }
}

/** `api.sock` and the port on 127.0.0.1 lead to the first master. */
async function ensureApi(state: LabState): Promise<void> {
  const lab = labPaths(state.name);
  const master = state.hosts.find((host) => host.role === 'master');
  if (master === undefined) return;
  const paths = hostPaths(state.name, master.name);
  await rm(lab.apiSocket, { force: true });
  await symlink(paths.apiSocket, lab.apiSocket);
  if (runningDaemon(state, undefined, 'proxy') !== undefined) return;
  state.apiPort ??= await freePort();
  record(state, (each) => each.kind === 'proxy', await startProxy(lab, paths, state.apiPort));
}

function freePort(): Promise<number> {
  const probe = createServer();
  return new Promise((resolve, reject) => {
    probe.once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address() as AddressInfo;
      probe.close(() => resolve(port));
    });
  });
}

/** Waits for all hosts that are meant to run and can reach the others. */
async function ready(state: LabState, say: Say): Promise<void> {
  const hosts = state.hosts.filter((host) => host.wanted && !state.partition.includes(host.name));
  await waitUntilReady(state.name, hosts, {
    timeoutMs: READY_TIMEOUT_MS + hosts.length * READY_TIMEOUT_MS_PER_HOST,
    masterless: isMasterless(state),
    hasEnded: (host) => runningDaemon(state, host, 'agent') === undefined,
    onReady: (host) => say(`${host} is ready`),
  });
}

/** Without a master an agent lives on its stored grant; it is ready when its own kernel is. */
function isMasterless({ hosts, partition }: LabState): boolean {
  return !hosts.some((host) => host.role === 'master' && host.wanted && !partition.includes(host.name));
}

/** Ends the host's daemons, gracefully or not; its containers and its namespaces stay. */
export function labStop(name: string, hostName: string, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
  return changeHost(name, hostName, async (state, host) => {
    const daemons = state.processes.filter(
      (each) => each.host === host.name && (each.kind === 'master' || each.kind === 'agent'),
    );
    for (const each of daemons) signalProcess(each, signal);
    for (const each of await waitForEnd(daemons, STOP_TIMEOUT_MS)) signalProcess(each, 'SIGKILL');
    host.wanted = false;
  });
}

/** Power cut; the host stays off until it is started. */
export function labOff(name: string, hostName: string): Promise<void> {
  return changeHost(name, hostName, async (_state, host) => {
    host.wanted = false;
    await powerOff(name, host.name);
  });
}

/** Starts the host's daemons, and the host when it is off; resolves when it is ready. */
export function labStart(name: string, hostName: string, say: Say): Promise<void> {
  return changeHost(name, hostName, (state, host) => bringUp(state, host, say));
}

/** Power cut and start: namespaces, memory and `/run` are lost, the disk is kept. */
export function labReboot(name: string, hostName: string, say: Say): Promise<void> {
  return changeHost(name, hostName, async (state, host) => {
    await powerOff(name, host.name);
    say(`${host.name} is off`);
    await bringUp(state, host, say);
  });
}

async function bringUp(state: LabState, host: LabHost, say: Say): Promise<void> {
  host.wanted = true;
  await bringUpHosts(state, [host], () => undefined);
  const masterless = isMasterless(state) || state.partition.includes(host.name);
  const hasEnded = (name: string): boolean => runningDaemon(state, name, 'agent') === undefined;
  await waitUntilReady(state.name, [host], { timeoutMs: READY_TIMEOUT_MS, masterless, hasEnded });
  say(`${host.name} is ready`);
}

function changeHost(
  name: string,
  hostName: string,
  change: (state: LabState, host: LabHost) => Promise<void>,
): Promise<void> {
  return locked(name, async () => {
    const state = await requireLabState(name);
    await change(state, findHost(name, state.hosts, hostName));
    await writeLabState(state);
  });
}

/** Cuts the hosts named off from all others; among themselves they still talk. */
export function labPartition(name: string, hostNames: readonly string[]): Promise<readonly string[]> {
  return locked(name, async () => {
    const state = await requireLabState(name);
    state.partition = hostNames.map((each) => findHost(name, state.hosts, each).name);
    await applyPartition(labPaths(name), state.partition);
    await writeLabState(state);
    return state.partition;
  });
}

export async function labHeal(name: string): Promise<void> {
  await labPartition(name, []);
}
