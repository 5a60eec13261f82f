/** One real dockerd in a network namespace of the test's own, with everything below one temporary directory. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startDockerd, type Dockerd, type DockerdInit } from '../../src/lab/dockerd.ts';
import { BUSYBOX_IMAGE, ensureBusyboxImage } from '../../src/lab/docker-image.ts';
import { mustRun } from '../../src/runtime/command.ts';

const TIMEOUT_MS = 30_000;

export interface TestDockerd {
  readonly socket: string;
  readonly init: DockerdInit;
  /** Runs the docker client against it. */
  docker(...args: string[]): Promise<string>;
  /** `docker run -d`; resolves with the container's id. */
  run(...args: string[]): Promise<string>;
  /** Starts it again after `halt`. */
  restart(): Promise<void>;
  /** Stops the daemon, keeping its data. */
  halt(): Promise<void>;
  /** Stops it and removes all it had. */
  stop(): Promise<void>;
}

/** `name` is the network namespace, which must exist. */
export async function startTestDockerd(name: string): Promise<TestDockerd> {
  const dir = await mkdtemp(join(tmpdir(), `${name}-dockerd-`));
  const init: DockerdInit = {
    enter: ['nsenter', `--net=/run/netns/${name}`, '--'],
    dataRoot: join(dir, 'data'),
    execRoot: join(dir, 'exec'),
    socket: join(dir, 'docker.sock'),
    log: join(dir, 'dockerd.log'),
    cgroup: `/${name}-dockerd`,
  };
  let daemon: Dockerd | undefined;
  const start = async (): Promise<void> => {
    daemon = await startDockerd(init);
    await daemon.ready();
  };
  const halt = async (): Promise<void> => {
    await daemon?.stop();
    daemon = undefined;
  };
  const docker = async (...args: string[]): Promise<string> =>
    (await mustRun(['docker', '-H', `unix://${init.socket}`, ...args], { timeoutMs: TIMEOUT_MS })).trim();
  const stop = async (): Promise<void> => {
    await halt();
    await rm(dir, { recursive: true, force: true });
  };
  try {
    await start();
    await ensureBusyboxImage(init.socket);
  } catch (error) {
    await stop();
    throw error;
  }
  const run = (...args: string[]): Promise<string> =>
    docker('run', '-d', ...args, BUSYBOX_IMAGE, 'sleep', '600');
  return { socket: init.socket, init, docker, run, restart: start, halt, stop };
}
