/**
 * One dockerd for one lab host, with a containerd of its own, started and stopped without a service manager.
 *
 * Quick because: overlay2, no start-up probes of other storage drivers, and no default bridge unless it is asked for
 * (`--bridge=none` saves its iptables). Ready in about 0.4 s here. Stopping would take 2 s for containerd's farewell and 10 s more for containers
 * that ignore SIGTERM; so containers are killed first, and dockerd as soon as its containerd is gone, which is after
 * it has written and unmounted everything.
 *
 * Invariants: the daemon's containers live in a cgroup of their own, by which they and their shims are found although
 * the daemon is dead; after `stop` there is no process, mount or cgroup of it, only its data directory.
 */
import { spawn } from 'node:child_process';
import { mkdir, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { sleep } from '../base/clock.ts';
import { PortolanError } from '../base/errors.ts';
import { RESOLVER_OPTIONS } from '../model/dns.ts';
import { runCommand } from '../runtime/command.ts';
import { callDocker } from '../runtime/docker-http.ts';
import { openDocker } from '../runtime/docker.ts';
import { childrenOf, isAlive, removeCgroup, signal } from './docker-processes.ts';

const READY_TIMEOUT_MS = 30_000;
const STOP_TIMEOUT_MS = 8_000;
const CLEAN_TIMEOUT_MS = 10_000;
const POLL_MS = 20;

export interface DockerdInit {
  /** Words that run a command inside the host's namespaces: `nsenter --net=... --`. Must exec in place. */
  readonly enter: readonly string[];
  /** As the daemon sees them. */
  readonly dataRoot: string;
  readonly execRoot: string;
  readonly socket: string;
  /** The socket as this process sees it; absent = the same path. */
  readonly reach?: string;
  /** Where this process writes the daemon's output. */
  readonly log: string;
  /** What containers are told to ask, by way of Docker's own server; absent = as the host does. */
  readonly dns?: readonly string[];
  /** With `docker0`, where containers go that name no network. */
  readonly hasDefaultBridge?: boolean;
  /** Name of a cgroup for the daemon's containers, no two daemons' the same: `/portolan-lab-agent1`. */
  readonly cgroup: string;
}

export interface Dockerd {
  readonly pid: number;
  /** Resolves when the API answers; rejects, with the end of its log, when the daemon gives up. */
  ready(): Promise<void>;
  stop(): Promise<void>;
}

/** Starts the daemon detached, so that it outlives this process. */
export async function startDockerd(init: DockerdInit): Promise<Dockerd> {
  await mkdir(dirname(init.log), { recursive: true });
  const log = await open(init.log, 'a');
  const [program = '', ...args] = [...init.enter, ...dockerdCommand(init)];
  const child = spawn(program, args, { detached: true, stdio: ['ignore', log.fd, log.fd] });
  const failed = new Promise<never>((_, reject) => child.once('error', reject));
  failed.catch(() => undefined);
  await log.close();
  const pid = child.pid;
  if (pid === undefined) return await failed;
  child.unref();
  return { pid, ready: () => dockerdReady(init, pid), stop: () => stopDockerd(init, pid) };
}

/**
 * A killed daemon leaves its socket and pid files. While init has not reaped the dead, their pids count as alive:
 * dockerd then refuses to start, or waits 15 s for a containerd that it does not start (20.10.24).
 */
const startScript = `
exec_root=$1; socket=$2; shift 2
rm -f "$socket" "$exec_root.pid" "$exec_root/containerd/containerd.pid"
exec "$@"
`;

function dockerdCommand(init: DockerdInit): readonly string[] {
  const options = {
    'data-root': init.dataRoot,
    'exec-root': init.execRoot,
    pidfile: `${init.execRoot}.pid`,
    host: `unix://${init.socket}`,
    'storage-driver': 'overlay2',
    ...(init.hasDefaultBridge === true ? {} : { bridge: 'none' }),
    'log-level': 'warn',
    'cgroup-parent': init.cgroup,
    'exec-opt': 'native.cgroupdriver=cgroupfs',
  };
  // Without live-restore a dockerd that was killed first spends 10 s on ending the containers it finds.
  const dns = (init.dns ?? []).flatMap((server) => ['--dns', server]);
  const resolver = dns.length === 0 ? [] : RESOLVER_OPTIONS.flatMap((option) => ['--dns-opt', option]);
  const words = [
    '--live-restore',
    ...dns,
    ...resolver,
    ...Object.entries(options).map(([name, value]) => `--${name}=${value}`),
  ];
  return ['sh', '-ec', startScript, 'start-dockerd', init.execRoot, init.socket, 'dockerd', ...words];
}

/** Waits until the daemon answers. */
export async function dockerdReady(init: DockerdInit, pid: number): Promise<void> {
  const docker = openDocker(reachOf(init));
  for (let waitedMs = 0; waitedMs < READY_TIMEOUT_MS; waitedMs += POLL_MS) {
    const answered = await docker.version().then(
      () => true,
      () => false,
    );
    if (answered) return;
    if (!(await isAlive(pid))) break;
    await sleep(POLL_MS);
  }
  throw new PortolanError('unavailable', `Cannot start dockerd (pid ${pid}): its API does not answer`, {
    remedy: `read "${init.log}"`,
  });
}

/** Ends the daemon and everything it started; harmless when it is dead already. */
export async function stopDockerd(init: DockerdInit, pid: number): Promise<void> {
  if (await isAlive(pid)) {
    await killContainers(reachOf(init));
    await endDaemon(pid);
  }
  await removeCgroup(init.cgroup);
  await unmountBelow(init);
  // All that was running is dead: its state goes as /run goes when the power does.
  await runCommand([...init.enter, 'rm', '-rf', init.execRoot, `${init.execRoot}.pid`, init.socket], {
    timeoutMs: CLEAN_TIMEOUT_MS,
  });
}

async function killContainers(socket: string): Promise<void> {
  const running = await callDocker(socket, { method: 'GET', path: '/containers/json' }).catch(() => []);
  const ids = (Array.isArray(running) ? running : []) as readonly { readonly Id: string }[];
  // One that has ended meanwhile answers 409: that is what was wanted.
  await Promise.allSettled(
    ids.map(({ Id }) => callDocker(socket, { method: 'POST', path: `/containers/${Id}/kill` })),
  );
}

async function endDaemon(pid: number): Promise<void> {
  const children = await childrenOf(pid);
  signal(pid, 'SIGTERM');
  for (let waitedMs = 0; waitedMs < STOP_TIMEOUT_MS && (await isAlive(pid)); waitedMs += POLL_MS) {
    const left = await Promise.all(children.map(isAlive));
    if (children.length > 0 && !left.some(Boolean)) break;
    await sleep(POLL_MS);
  }
  for (const each of [pid, ...children]) signal(each, 'SIGKILL');
  while (await isAlive(pid)) await sleep(POLL_MS);
}

/** What a daemon that was killed leaves mounted: its own data root, containers' roots and namespaces. */
async function unmountBelow(init: DockerdInit): Promise<void> {
  const options = { timeoutMs: CLEAN_TIMEOUT_MS };
  const mounts = await runCommand([...init.enter, 'cat', '/proc/self/mountinfo'], options);
  // proc(5): the fifth field is the mount point.
  const points = mounts.stdout.split('\n').flatMap((line) => line.split(' ')[4] ?? []);
  const ours = points.filter((point) =>
    [init.dataRoot, init.execRoot].some((root) => point === root || point.startsWith(`${root}/`)),
  );
  // A host with mounts of its own has mounted its data root itself: of those there, the lowest is the host's.
  const ownMounts = init.enter.some((word) => word.startsWith('--mount'));
  const kept = ownMounts ? ours.indexOf(init.dataRoot) : -1;
  for (const point of ours.filter((_, i) => i !== kept).toReversed())
    await runCommand([...init.enter, 'umount', '-l', point], options);
}

function reachOf(init: DockerdInit): string {
  return init.reach ?? init.socket;
}
