import { readdir, readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startTestDockerd, type TestDockerd } from '../../test/support/dockerd.ts';
import { mustRun, runCommand } from '../runtime/command.ts';
import { startDockerd, stopDockerd } from './dockerd.ts';
import { isAlive, signal } from './docker-processes.ts';

const namespace = `pdk-lab-${process.pid}`;
const options = { timeoutMs: 10_000 };
let daemon: TestDockerd;

beforeAll(async () => {
  await mustRun(['ip', 'netns', 'add', namespace], options);
  daemon = await startTestDockerd(namespace);
});

afterAll(async () => {
  await daemon.stop();
  await runCommand(['ip', 'netns', 'del', namespace], options);
});

/** Everything on this machine that names this test's daemon. */
async function traces(): Promise<readonly string[]> {
  const mounts = (await readFile('/proc/self/mountinfo', 'utf8')).split('\n');
  const pids = (await readdir('/proc')).filter((name) => /^[0-9]+$/.test(name));
  const commands = await Promise.all(
    pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')),
  );
  const groups = await mustRun(['find', '/sys/fs/cgroup', '-name', `${namespace}-dockerd`], options);
  const own = ` /run/netns/${namespace} `;
  return [
    ...mounts.filter((line) => line.includes(namespace) && !line.includes(own)),
    ...commands.filter((command) => command.includes(daemon.init.execRoot)),
    ...groups.split('\n').filter(Boolean),
  ];
}

describe('dockerd of a lab host', () => {
  test('runs in the namespace it was started in', async () => {
    await daemon.docker('network', 'create', '-o', 'com.docker.network.bridge.name=d-lab', 'lab');
    expect(await mustRun(['ip', '-n', namespace, 'link', 'show', 'd-lab'], options)).toContain('d-lab');
  });

  test('stops with containers that ignore it, and leaves no process, mount or cgroup', async () => {
    await daemon.run('--network', 'none');
    expect(await traces()).not.toEqual([]);
    await daemon.halt();
    expect(await traces()).toEqual([]);
    await daemon.restart();
  });

  test('killed, it leaves its containers, which a later stop finds and ends', async () => {
    await daemon.run('--network', 'none');
    await daemon.halt();
    const second = await startDockerd(daemon.init);
    await second.ready();
    await daemon.run('--network', 'none');
    signal(second.pid, 'SIGKILL');
    while (await isAlive(second.pid)) await new Promise((resolve) => setTimeout(resolve, 10));
    expect(await traces()).not.toEqual([]);
    await stopDockerd(daemon.init, second.pid);
    expect(await traces()).toEqual([]);
    await daemon.restart();
  });

  test('killed and started again, it has its containers still running', async () => {
    await daemon.halt();
    const first = await startDockerd(daemon.init);
    await first.ready();
    await daemon.run('--name', 'survivor', '--network', 'none');
    signal(first.pid, 'SIGKILL');
    while (await isAlive(first.pid)) await new Promise((resolve) => setTimeout(resolve, 10));
    await daemon.restart();
    expect(await daemon.docker('ps', '--format', '{{.Names}}')).toBe('survivor');
    await daemon.docker('rm', '-f', 'survivor');
  });

  test('keeps its images and networks over a stop and a start', async () => {
    await daemon.docker('network', 'create', '--label', 'kept=yes', 'kept');
    await daemon.halt();
    await daemon.restart();
    expect(await daemon.docker('network', 'ls', '--filter', 'label=kept', '--format', '{{.Name}}')).toBe(
      'kept',
    );
    expect(await daemon.docker('image', 'ls', '-q')).not.toBe('');
  });

  test('a daemon that cannot start says where its log is', async () => {
    const init = { ...daemon.init, dataRoot: '/proc/nowhere', socket: `${daemon.socket}.2` };
    const broken = await startDockerd({ ...init, execRoot: `${daemon.init.execRoot}2` });
    await expect(broken.ready()).rejects.toMatchObject({
      code: 'unavailable',
      remedy: `read "${daemon.init.log}"`,
    });
    await broken.stop();
  });
});
