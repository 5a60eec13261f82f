/** Every way in which a task can come to nothing, with real containers: it ends in a state that says so, and nothing is left. */
import { execFileSync } from 'node:child_process';
import { createServer as createHttpServer } from 'node:http';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openTestContainers, remainsIn } from '../../../test/support/native-containers.ts';
import { PublishedTasks } from '../../../test/support/published-tasks.ts';
import { realClock } from '../../base/clock.ts';
import { silentLog } from '../../base/log.ts';
import { portPerhapsInUse } from '../../kernel/port-probe.ts';
import { tcpSocketIn } from '../../kernel/netns-socket.ts';
import { launchOf } from '../../model/task-fake.ts';
import type { TaskLaunch, TaskRecord } from '../../model/task.ts';
import { removeCgroupParent } from '../../runtime/cgroup.ts';
import { FetchCache } from '../../runtime/fetch-cache.ts';
import { ImageStore } from '../../runtime/images.ts';
import { openJournal } from '../../store/journal.ts';
import type { Journal } from '../../store/types.ts';
import { refuseOccupiedPorts } from '../attachments-ports.ts';
import type { Containers } from '../container-types.ts';
import { GpuShares } from './gpu-shares.ts';
import { NativeContainerizer } from './native-containerizer.ts';
import { PersistentVolumes } from './persistent-volumes.ts';
import { TaskPublisher } from './task-publisher.ts';
import { TaskStore } from './task-store.ts';
import { EndedTasks } from './ended-tasks.ts';
import { TaskHost } from './task-host.ts';
import { Tasks } from './tasks.ts';

let directory = '';
let state = '';
let journal: Journal | undefined;
let containers: Containers | undefined;
let tasks: Tasks | undefined;
let published = new PublishedTasks();
let revision = 0;

const plugin = `#!/bin/sh
cat > /dev/null
echo '{"cniVersion":"1.0.0","ips":[{"address":"9.0.1.2/25"}]}'
`;

async function open(): Promise<Tasks> {
  const log = silentLog;
  const clock = realClock;
  journal = await openJournal({ log }, { path: join(directory, 'journal'), what: 'tasks', recovery: 'none' });
  containers = await openTestContainers(directory, { overlays: () => ['dcos'] });
  const images = new ImageStore({ clock }, { root: join(state, 'images') });
  await images.open();
  const root = join(state, 'tasks');
  const ended = new EndedTasks({ clock, log }, { root, keepMs: 0, diskHeadroom: 0.1, max: 10 });
  const volumes = new PersistentVolumes({ root: join(state, 'volumes') });
  const native = new NativeContainerizer({ containers, images, volumes, gpus: new GpuShares() });
  const fetchCache = new FetchCache({ root: join(state, 'fetch'), maxBytes: 1024 });
  await fetchCache.open();
  const host = new TaskHost(
    { log, containerizers: [native], ended, fetchCache },
    {
      root,
      refuseTakenPorts: (launch, container) =>
        refuseOccupiedPorts(
          { portPerhapsInUse },
          launch.ports.map(({ host_port = 0, protocol }) => ({
            ...{ hostPort: host_port, containerPort: host_port, protocol },
          })),
          container,
        ),
    },
  );
  tasks = new Tasks(
    {
      clock,
      log,
      store: new TaskStore({ journal, log }),
      publisher: new TaskPublisher({ exchange: published.exchange, clock, log }, { node: published.node }),
      ...{ host, ended, volumes, socketIn: tcpSocketIn },
    },
    { agentIp: () => '127.0.0.1' },
  );
  await tasks.open();
  return tasks;
}

async function shut(): Promise<void> {
  await tasks?.close();
  await containers?.close();
  await journal?.close();
}

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'plb-fail-'));
  state = join(directory, 'state');
  for (const each of ['cni', 'state', 'run']) await mkdir(join(directory, each));
  await writeFile(join(directory, 'portolan-cni'), plugin, { mode: 0o755 });
  const list = { cniVersion: '1.0.0', name: 'dcos', plugins: [{ type: 'portolan-cni' }] };
  await writeFile(join(directory, 'cni', 'dcos.conflist'), JSON.stringify(list));
  published = new PublishedTasks();
});

afterEach(async () => {
  await shut();
  await removeCgroupParent();
  await rm(directory, { recursive: true, force: true });
});

/** But for the small disk of one test. */
const remains = (): Promise<readonly string[]> =>
  remainsIn(directory, (line) => line.includes(' - tmpfs full '));

const told = (id: string): TaskRecord | undefined => published.told(id);

/** Runs it to its end, then drops it: what its record said last, when nothing is left of it. */
async function fate(launch: TaskLaunch): Promise<TaskRecord | undefined> {
  await tasks?.assign(String(++revision), [launch]);
  await expect
    .poll(() => told(launch.id)?.state, { timeout: 30_000 })
    .toMatch(/TASK_(FAILED|KILLED|FINISHED)/);
  const last = told(launch.id);
  await tasks?.assign(String(++revision), []);
  await expect.poll(() => told(launch.id), { timeout: 30_000 }).toBeUndefined();
  await expect.poll(remains, { timeout: 30_000 }).toEqual([]);
  return last;
}

describe('a task that comes to nothing says why and leaves nothing', () => {
  it('by its command', async () => {
    await open();
    const unknown = launchOf('t1', { shell: undefined, argv: ['nosuchprogram', '-x'] });
    expect(await fate(unknown)).toMatchObject({
      state: 'TASK_FAILED',
      reason: 'REASON_CONTAINER_LAUNCH_FAILED',
      message: expect.stringContaining('"nosuchprogram": executable file not found') as string,
    });
    expect(await fate(launchOf('t2', { shell: 'nosuchprogram' }))).toMatchObject({
      state: 'TASK_FAILED',
      exit_code: 127,
      message: 'Command exited with status 127, as of a command that is not found',
    });
    expect(await fate(launchOf('t3', { shell: 'kill -SEGV $$; sleep 9' }))).toMatchObject({
      state: 'TASK_FAILED',
      message: 'Command terminated with signal Segmentation fault',
    });
  });

  it('by its image, its network, its user or its volume', async () => {
    await open();
    const image = { name: 'oci:/nosuch/layout:x', force_pull: false };
    expect((await fate(launchOf('t1', { image })))?.message).toContain(
      'Cannot get image "oci:/nosuch/layout:x"',
    );
    const networks = [{ mode: 'container', name: 'elsewhere' }];
    expect((await fate(launchOf('t2', { networks })))?.message).toBe(
      'Cannot find the network "elsewhere" on this host: choose one of dcos',
    );
    expect((await fate(launchOf('t3', { user: 'nobodyknows' })))?.message).toContain('"nobodyknows"');
    const volumes = [{ kind: 'host', container_path: '/x', host_path: '/no/such', read_only: true }];
    expect((await fate(launchOf('t4', { volumes })))?.message).toContain('Cannot mount "/no/such"');
  });

  it('by what it fetches: a file that the server does not have, an archive that is none', async () => {
    await open();
    const server = createHttpServer((request, response) => {
      response.writeHead(request.url === '/broken.tgz' ? 200 : 404).end('no archive');
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const fetch = (uri: string, dest_path?: string) => ({
      fetch: [{ uri, extract: true, executable: false, cache: false, dest_path }],
    });
    try {
      expect((await fate(launchOf('t1', fetch(`${base}/nosuch.tgz`))))?.message).toBe(
        `Cannot fetch "${base}/nosuch.tgz": the server answered 404 Not Found`,
      );
      expect((await fate(launchOf('t2', fetch(`${base}/broken.tgz`))))?.message).toContain(
        'Cannot extract "broken.tgz"',
      );
      expect((await fate(launchOf('t3', fetch(`${base}/x`, '../../x'))))?.message).toContain(
        'it has no place in the sandbox',
      );
    } finally {
      server.close();
    }
  });

  it('by a port that somebody listens on, whom it names', async () => {
    await open();
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '0.0.0.0', resolve));
    const { port } = server.address() as AddressInfo;
    try {
      const change = { networks: [{ mode: 'host' }], ports: [{ protocol: 'tcp', host_port: port }] };
      expect((await fate(launchOf('t1', change)))?.message).toMatch(
        new RegExp(`^Cannot map host port ${port}/tcp: process ${process.pid} ".*" listens on it`),
      );
    } finally {
      server.close();
    }
  });

  it('by a health check that never passes', async () => {
    await open();
    const check = { grace_s: 0, interval_s: 0.1, timeout_s: 10, delay_s: 0, max_failures: 2 };
    const checked = (change: object) => ({ health_checks: [{ ...check, ...change }] });
    expect(await fate(launchOf('t1', checked({ protocol: 'MESOS_TCP', port: 81 })))).toMatchObject({
      state: 'TASK_KILLED',
      healthy: false,
      message: expect.stringMatching(/^Health check failed 2 times in a row: .*ECONNREFUSED/) as string,
    });
    const command = 'echo not well; exit 1';
    expect(await fate(launchOf('t2', checked({ protocol: 'COMMAND', command })))).toMatchObject({
      state: 'TASK_KILLED',
      message: 'Health check failed 2 times in a row: command exited with status 1: not well',
    });
  });

  it('by a disk that is full, before and while it runs', async () => {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'full', state]);
    try {
      await open();
      execFileSync('sh', ['-c', `head -c 4m /dev/zero > ${state}/ballast || true`], { stdio: 'ignore' });
      expect((await fate(launchOf('t1')))?.message).toMatch(/no space left on device/i);
      await rm(join(state, 'ballast'));
      const fills = 'head -c 4m /dev/zero > file';
      expect(await fate(launchOf('t2', { shell: fills }))).toMatchObject({ state: 'TASK_FAILED' });
      expect(await fate(launchOf('t3', { shell: 'true' }))).toMatchObject({ state: 'TASK_FINISHED' });
    } finally {
      await shut();
      execFileSync('umount', [state]);
    }
  });
});

it('is well by a check on 127.0.0.1 of its own network, and has what it fetched', async () => {
  await open();
  const archive = join(directory, 'site.tar.gz');
  await mkdir(join(directory, 'site'));
  await writeFile(join(directory, 'site', 'page'), 'fetched\n');
  execFileSync('tar', ['-C', directory, '-czf', archive, 'site']);
  const port = 8080;
  const launch = launchOf('t1', {
    shell: `exec busybox httpd -f -p 127.0.0.1:${port} -h site`,
    fetch: [{ uri: `file://${archive}`, extract: true, executable: false, cache: false }],
    ports: [{ protocol: 'tcp', container_port: port }],
    health_checks: [
      {
        ...{ protocol: 'MESOS_HTTP', path: '/page', port, grace_s: 30, interval_s: 0.1, timeout_s: 10 },
        ...{ delay_s: 0, max_failures: 3 },
      },
    ],
  });
  await tasks?.assign(String(++revision), [launch]);
  await expect.poll(() => told('t1')?.healthy, { timeout: 30_000 }).toBe(true);
  await shut();
  // Another agent goes on with it.
  await open();
  expect(told('t1')?.state).toBe('TASK_RUNNING');
  expect(await fate({ ...launch, goal: 'killed' })).toMatchObject({ state: 'TASK_KILLED' });
});
