import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestDockerd, type TestDockerd } from '../../test/support/dockerd.ts';
import { dockerConfig, startRegistry, startSilentRegistry } from '../../test/support/registry.ts';

import { realClock } from '../base/clock.ts';
import { launchOf } from '../model/task-fake.ts';
import { mustRun } from './command.ts';
import { readLog } from './container-log.ts';
import type { TaskContainer } from './containerizer.ts';
import { containerizerContract } from './containerizer-contract.ts';
import { DockerContainerizer, type DockerContainerizerInit } from './docker-containerizer.ts';

/** Made by the test's dockerd. */
const BUSYBOX_IMAGE = 'portolan/busybox';
const name = `plbdkc${randomBytes(2).toString('hex')}`;
const options = { timeoutMs: 20_000 };
let dockerd: TestDockerd | undefined;
let volumes = '';
let containerizer: DockerContainerizer | undefined;

function open(more: Partial<DockerContainerizerInit> = {}): Promise<DockerContainerizer> {
  containerizer?.close();
  containerizer = new DockerContainerizer(
    { clock: realClock },
    {
      socket: dockerd?.socket ?? '',
      volume: async ({ id }) => {
        const path = join(volumes, encodeURIComponent(id));
        await mkdir(path, { recursive: true });
        return path;
      },
      ...more,
    },
  );
  return Promise.resolve(containerizer);
}

function current(): DockerContainerizer {
  if (containerizer === undefined) throw new Error('no containerizer is open');
  return containerizer;
}

async function docker(...words: string[]): Promise<string> {
  return (await dockerd?.docker(...words)) ?? '';
}

beforeAll(async () => {
  await mustRun(['ip', 'netns', 'add', name], options);
  await mustRun(['ip', '-n', name, 'link', 'set', 'lo', 'up'], options);
  dockerd = await startTestDockerd(name);
  volumes = await mkdtemp(join(tmpdir(), 'plb-volumes-'));
  await open();
}, 60_000);

afterAll(async () => {
  containerizer?.close();
  await dockerd?.stop();
  await mustRun(['ip', 'netns', 'del', name], options);
  await rm(volumes, { recursive: true, force: true });
}, 60_000);

containerizerContract('DOCKER', () => ({
  containerizer: current(),
  base: { runtime: 'docker', image: { name: BUSYBOX_IMAGE, force_pull: false } },
  noImage: 'portolan/nosuch',
  again: open,
  remains: async () => (await docker('ps', '-aq')).split('\n').filter((line) => line !== ''),
}));

describe('containers of Docker', () => {
  const never = { signal: new AbortController().signal, starting: () => undefined };
  const start = async (
    change: Readonly<Record<string, unknown>>,
    look: (container: TaskContainer) => Promise<void>,
  ): Promise<void> => {
    const id = randomBytes(16).toString('hex');
    const sandbox = await mkdtemp(join(volumes, 'sandbox-'));
    const image = { name: BUSYBOX_IMAGE, force_pull: false };
    const launch = launchOf(`task.${id}`, { runtime: 'docker', image, ...change });
    try {
      await look(await current().launch({ id, launch, sandbox }, never));
    } finally {
      await current().remove(id);
    }
  };
  const ask = async (runtimeId: string, format: string): Promise<unknown> =>
    JSON.parse(await docker('inspect', '--format', `{{json ${format}}}`, runtimeId));

  it('have the labels, limits and parameters of their task', async () => {
    const parameters = [
      { key: 'hostname', value: 'given' },
      { key: 'cap-add', value: 'NET_ADMIN' },
      { key: 'env', value: 'MORE=1' },
    ];
    const change = { parameters, labels: { a: 'b' }, env: { ONE: '1' }, networks: [{ mode: 'host' }] };
    await start(change, async ({ runtimeId, task, networks, netns }) => {
      expect(await ask(runtimeId, '.Config.Labels')).toEqual({
        a: 'b',
        MESOS_TASK_ID: task,
        'portolan.task': task,
      });
      expect(await ask(runtimeId, '.Config.Env')).toEqual(expect.arrayContaining(['ONE=1', 'MORE=1']));
      expect(await ask(runtimeId, '.HostConfig')).toMatchObject({
        NetworkMode: 'host',
        CapAdd: ['NET_ADMIN'],
        CpuShares: 102,
        CpuQuota: 10_000,
        Memory: 64 * 1024 * 1024,
      });
      expect(await ask(runtimeId, '.Config.Hostname')).toBe('given');
      expect(networks).toEqual([{ mode: 'host', addresses: [] }]);
      expect(netns).toBeUndefined();
    });
    await expect(start({ parameters: [{ key: 'net', value: 'x' }] }, async () => undefined)).rejects.toThrow(
      /parameter "net"/,
    );
  });

  it('are on a bridge with their ports mapped, also where the daemon has none of its own', async () => {
    const ports = [{ protocol: 'tcp', container_port: 80, host_port: 31_000 }];
    const change = { networks: [{ mode: 'bridge' }], ports, shell: 'echo hello > x; httpd -f -p 80 -h .' };
    await start(change, async ({ runtimeId, networks, netns }) => {
      expect(networks).toMatchObject([{ mode: 'bridge', name: 'mesos-bridge' }]);
      expect(networks[0]?.addresses[0]).toMatch(/^[0-9.]+$/);
      expect(netns).toMatch(/^\/proc\/[0-9]+\/ns\/net$/);
      expect(await ask(runtimeId, '.HostConfig.PortBindings')).toEqual({
        '80/tcp': [{ HostIp: '', HostPort: '31000' }],
      });
      const fetch = ['nsenter', `--net=/run/netns/${name}`, 'curl', '-s', 'http://127.0.0.1:31000/x'];
      await expect.poll(() => mustRun(fetch, options).catch(() => ''), { timeout: 30_000 }).toBe('hello\n');
    });
  });

  it('are made of images of a registry: asked again where that is forced, and with what the task has fetched', async () => {
    const enter = ['nsenter', `--net=/run/netns/${name}`, '--'];
    const [open, closed] = [
      await startRegistry({ port: 5000, enter }),
      await startRegistry({ port: 5001, enter, isPrivate: true }),
    ];
    const says = async (image: string, wish: { force?: boolean; config?: string } = {}): Promise<string> => {
      const id = randomBytes(16).toString('hex');
      const sandbox = await mkdtemp(join(volumes, 'sandbox-'));
      if (wish.config !== undefined) {
        await mkdir(join(sandbox, '.docker'));
        await writeFile(join(sandbox, '.docker', 'config.json'), wish.config);
      }
      const launch = launchOf(`task.${id}`, {
        ...{ runtime: 'docker', shell: undefined, networks: [{ mode: 'host' }] },
        image: { name: image, force_pull: wish.force ?? false },
      });
      await current().launch({ id, launch, sandbox }, never);
      await expect.poll(async () => (await current().find(id))?.state, { timeout: 30_000 }).toBe('ended');
      const { entries } = await readLog(await current().logPath(id), 0);
      await current().remove(id);
      return entries.map(({ text }) => text).join('');
    };
    try {
      const image = `${open.address}/team/web:1`;
      await open.push('team/web:1', 'first');
      expect(await says(image)).toBe('entry first\n');
      await open.push('team/web:1', 'second');
      expect(await says(image)).toBe('entry first\n');
      expect(await says(image, { force: true })).toBe('entry second\n');
      await expect(says(`${open.address}/nosuch:1`)).rejects.toThrow(
        /Cannot pull the image ".*nosuch:1": .*manifest/,
      );
      await open.halt();
      expect(await says(image)).toBe('entry second\n');
      await expect(says(image, { force: true })).rejects.toThrow(
        /Cannot pull the image .*connection refused/,
      );
      await closed.push('web', 'hidden');
      const hidden = `${closed.address}/web`;
      await expect(says(hidden)).rejects.toThrow(/Cannot pull the image .*no basic auth credentials/);
      expect(await says(hidden, { config: dockerConfig(closed.address) })).toBe('entry hidden\n');
    } finally {
      await open.stop();
      await closed.stop();
    }
    expect(await docker('ps', '-aq')).toBe('');
  });

  it('are not waited for where their registry never answers', async () => {
    const silent = await startSilentRegistry({
      port: 5002,
      enter: ['nsenter', `--net=/run/netns/${name}`, '--'],
    });
    await open({ registryAnswerMs: 300 });
    try {
      const image = { name: `${silent.address}/web:1`, force_pull: false };
      const id = randomBytes(16).toString('hex');
      const launch = launchOf(`task.${id}`, { runtime: 'docker', image, networks: [{ mode: 'host' }] });
      await expect(current().launch({ id, launch, sandbox: volumes }, never)).rejects.toThrow(
        `Cannot pull the image "${image.name}": its registry ${silent.address} has not answered for 0.3 s`,
      );
    } finally {
      await open();
      await silent.stop();
    }
  });

  it('are on a network by its name, and say its address', async () => {
    await docker('network', 'create', '--subnet', '9.0.5.0/24', 'dcos');
    try {
      await start({ networks: [{ mode: 'container', name: 'dcos' }] }, ({ networks }) => {
        expect(networks).toEqual([{ mode: 'container', name: 'dcos', addresses: ['9.0.5.2'] }]);
        return Promise.resolve();
      });
    } finally {
      await docker('network', 'rm', 'dcos');
    }
  });

  it('that an agent created and did not come to start are not there, and are in nobody’s way', async () => {
    const id = randomBytes(16).toString('hex');
    const words = ['--name', `portolan-${id}`, '--label', 'portolan.task=t1', BUSYBOX_IMAGE, 'true'];
    await docker('create', ...words);
    expect(await current().find(id)).toBeUndefined();
    const launch = launchOf('t1', {
      runtime: 'docker',
      image: { name: BUSYBOX_IMAGE, force_pull: false },
      networks: [{ mode: 'host' }],
    });
    const container = await current().launch({ id, launch, sandbox: volumes }, never);
    expect(container.state).toBe('running');
    await current().remove(id);
  });

  it('are seen to have ended by an event, and are seen again when the daemon was away', async () => {
    await start({ networks: [{ mode: 'host' }] }, async ({ id, runtimeId }) => {
      expect((await current().find(id))?.state).toBe('running');
      await docker('kill', runtimeId);
      await expect.poll(async () => (await current().find(id))?.state, { timeout: 30_000 }).toBe('ended');
    });
  });
});
