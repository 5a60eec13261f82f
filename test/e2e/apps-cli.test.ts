/** Apps as users have them: definitions from files, what is told of them, and every verb of `app`, `task`, `deployment`. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { get } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { request } from '../../src/http/client.ts';
import { labPaths } from '../../src/lab/paths.ts';
import { readLabState } from '../../src/lab/state.ts';
import { TestLab } from '../support/lab.ts';
import { startPrometheus } from '../support/prometheus.ts';

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

interface TaskRow {
  readonly id: string;
  readonly appId: string;
  readonly host: string;
  readonly state: string;
  readonly ports: readonly number[];
  readonly ipAddresses: readonly { readonly ipAddress: string }[];
}

const lab = new TestLab('mara');
const socketPath = labPaths(lab.name).apiSocket;
let dir = '';

function portolan(...words: readonly string[]): Promise<Outcome> {
  return new Promise((resolve) => {
    execFile('bin/portolan', ['--api', `unix://${socketPath}`, ...words], (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr });
    });
  });
}

async function file(name: string, content: unknown): Promise<string> {
  const path = join(dir, name);
  await writeFile(path, typeof content === 'string' ? content : JSON.stringify(content));
  return path;
}

async function api(path: string): Promise<unknown> {
  const { status, body } = await request({ socketPath }, { method: 'GET', path, timeoutMs: 10_000 });
  expect(status).toBe(200);
  return body;
}

async function tasksOf(app: string): Promise<readonly TaskRow[]> {
  return ((await api(`/v2/apps${app}/tasks`)) as { tasks: readonly TaskRow[] }).tasks;
}

const web = {
  id: '/shop/web',
  cmd: 'echo ready; echo oops >&2; exec busybox httpd -f -p 80 -h /etc',
  instances: 2,
  cpus: 0.1,
  mem: 32,
  networks: [{ mode: 'container', name: 'dcos' }],
  container: { type: 'MESOS', portMappings: [{ containerPort: 80, name: 'http' }] },
  healthChecks: [
    { protocol: 'TCP', portIndex: 0, intervalSeconds: 1, delaySeconds: 0, gracePeriodSeconds: 30 },
  ],
};

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'mar-apps-'));
  await lab.up({ hosts: 2 });
});
afterAll(async () => {
  await lab.down();
  await rm(dir, { recursive: true, force: true });
});

describe('portolan app', () => {
  it('applies a definition and ends when it runs', async () => {
    const outcome = await portolan('app', 'apply', await file('web.json', web));
    expect(outcome, outcome.stderr).toMatchObject({ code: 0 });
    expect(outcome.stderr).toMatch(/^deployment \S+\n/);
    expect(outcome.stderr).toContain('/shop/web: 2 of 2 run');
    expect(outcome.stderr.endsWith('done\n')).toBe(true);
    const tasks = await tasksOf('/shop/web');
    expect(tasks.map((task) => task.state)).toEqual(['TASK_RUNNING', 'TASK_RUNNING']);
    expect(new Set(tasks.map((task) => task.host)).size).toBe(2);
    for (const { ipAddresses } of tasks) {
      const address = ipAddresses[0]?.ipAddress ?? '';
      expect(address).toMatch(/^9\./);
      expect(await lab.sh('agent1', `busybox wget -qO- http://${address}/hostname`)).not.toBe('');
    }
  });

  it('lists and shows it', async () => {
    const table = (await portolan('app', 'ls')).stdout;
    expect(table).toMatch(/^ID +RUNNING +HEALTHY/);
    expect(table).toMatch(/\/shop\/web +2\/2 +2\/2 +0.1 +32 +dcos/);
    const shown = JSON.parse((await portolan('app', 'inspect', 'shop/web', '-o', 'json')).stdout) as {
      tasks: unknown[];
    };
    expect(shown.tasks).toHaveLength(2);
    const rows = JSON.parse((await portolan('task', 'ls', '/shop/web', '-o', 'json')).stdout) as TaskRow[];
    expect(rows).toHaveLength(2);
  });

  it('reads what a task writes and runs commands in it, from outside of the lab', async () => {
    const [task] = await tasksOf('/shop/web');
    const logs = await portolan('task', 'logs', task?.id ?? '');
    expect(logs).toMatchObject({ code: 0, stdout: 'ready\n' });
    expect(logs.stderr).toContain('oops');
    const inside = await portolan(
      'task',
      'exec',
      task?.id ?? '',
      '--',
      'sh',
      '-c',
      'ip -4 -o addr show; exit 7',
    );
    expect(inside.code).toBe(7);
    expect(inside.stdout).toContain(task?.ipAddresses[0]?.ipAddress);
    for (const [program, code, why] of [
      ['nope', 127, 'executable file not found in $PATH'],
      ['/etc/hostname', 126, 'permission denied'],
    ] as const)
      expect(await portolan('task', 'exec', task?.id ?? '', '--', program)).toEqual({
        code,
        stdout: '',
        stderr: `portolan: Cannot run "${program}" in "${task?.id}": "${program}": ${why}\n`,
      });
    const none = await portolan('task', 'logs', 'nobody');
    expect(none).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('Cannot find task "nobody"') as string,
    });
  });

  it('is told to the world as Mesos would', async () => {
    interface State {
      readonly slaves: readonly object[];
      readonly frameworks: readonly {
        name: string;
        tasks: readonly {
          name: string;
          statuses: readonly {
            container_status: {
              network_infos: readonly { name?: string; ip_addresses: readonly { ip_address: string }[] }[];
            };
          }[];
        }[];
      }[];
    }
    const state = (await api('/master/state')) as State;
    expect(state).toMatchObject({ leader: 'master@10.0.0.1:5050' });
    // The master's host has an agent too.
    expect(state.slaves).toHaveLength(3);
    const tasks = state.frameworks
      .find(({ name }) => name === 'marathon')
      ?.tasks.filter(({ name }) => name === 'web.shop');
    expect(tasks).toHaveLength(2);
    const infos =
      tasks?.flatMap(({ statuses }) => statuses.at(-1)?.container_status.network_infos ?? []) ?? [];
    const addresses = (await tasksOf('/shop/web')).map((task) => task.ipAddresses[0]?.ipAddress);
    expect(new Set(infos.map((info) => info.ip_addresses[0]?.ip_address))).toEqual(new Set(addresses));
    expect(infos.map((info) => info.name)).toEqual(['dcos', 'dcos']);
    expect(await api('/v1/openapi.json')).toMatchObject({ openapi: '3.1.0' });
    expect(await api('/v2/info')).toMatchObject({
      elected: true,
      marathon_config: { default_network_name: 'dcos' },
    });
  });

  it('is found by Prometheus, as Debian ships it', async () => {
    const state = await readLabState(lab.name);
    const prometheus = await startPrometheus(`http://127.0.0.1:${state?.apiPort ?? 0}`);
    try {
      const found = async (): Promise<(string | undefined)[]> =>
        (await prometheus.targets()).map((target) => target['__address__']);
      const wanted = (await tasksOf('/shop/web')).map((task) => `${task.ipAddresses[0]?.ipAddress ?? ''}:80`);
      await expect.poll(found, { timeout: 60_000, interval: 500 }).toEqual(wanted.sort());
    } finally {
      await prometheus.stop();
    }
  });

  it('scales, and the event stream tells of it', async () => {
    const types = new Set<string>();
    const stream = get(
      { socketPath, path: '/v2/events?plan-format=light', headers: { accept: 'text/event-stream' } },
      (response) => {
        response.on('data', (chunk: Buffer) => {
          for (const [, type = ''] of chunk.toString().matchAll(/^event: (.*)$/gm)) types.add(type);
        });
        response.on('error', () => undefined);
      },
    );
    stream.on('error', () => undefined);
    await expect.poll(() => types, { timeout: 30_000 }).toContain('event_stream_attached');
    const outcome = await portolan('app', 'scale', '/shop/web', '3');
    expect(outcome, outcome.stderr).toMatchObject({ code: 0 });
    expect(await tasksOf('/shop/web')).toHaveLength(3);
    for (const type of [
      'status_update_event',
      'deployment_success',
      'group_change_success',
      'api_post_event',
    ])
      await expect.poll(() => types, { timeout: 30_000 }).toContain(type);
    stream.destroy();
    expect(await portolan('app', 'scale', '/none', '3')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("App '/none' does not exist") as string,
    });
  });

  it('replaces tasks that are killed, and all of them at a restart', async () => {
    const [first] = await tasksOf('/shop/web');
    expect(await portolan('task', 'kill', first?.id ?? '')).toMatchObject({ code: 0 });
    const isReplaced = async (): Promise<boolean> => {
      const tasks = await tasksOf('/shop/web');
      const running = tasks.filter((task) => task.state === 'TASK_RUNNING');
      return running.length === 3 && tasks.every((task) => task.id !== first?.id);
    };
    await expect.poll(isReplaced, { timeout: 60_000, interval: 500 }).toBe(true);
    const before = new Set((await tasksOf('/shop/web')).map((task) => task.id));
    const outcome = await portolan('app', 'restart', 'shop/web');
    expect(outcome, outcome.stderr).toMatchObject({ code: 0 });
    expect((await tasksOf('/shop/web')).every((task) => !before.has(task.id))).toBe(true);
  });

  it('takes the seed app in its old form, with something to run', async () => {
    const seed = `id: myservice
cmd: sleep 1000
cpus: 0.1
mem: 32
portDefinitions:
  - {protocol: tcp, port: 6666, labels: {VIP_0: "myservice:6666"}, name: jmx}
  - {protocol: tcp, port: 7777, labels: {VIP_1: "myservice:7777"}, name: api}
`;
    const outcome = await portolan('app', 'apply', await file('seed.yaml', seed));
    expect(outcome, outcome.stderr).toMatchObject({ code: 0 });
    const [task] = await tasksOf('/myservice');
    expect(task?.ports).toHaveLength(2);
    expect(task?.ipAddresses).toEqual([{ ipAddress: task?.host, protocol: 'IPv4' }]);
  });

  it('says why an app is stuck, and takes it back', async () => {
    const seed = {
      id: 'bridged',
      container: {
        docker: {
          image: 'chrisrc/myservice',
          portMappings: [
            { containerPort: 6666, servicePort: 6666, name: 'jmx', labels: { VIP_0: 'bridged:6666' } },
          ],
          network: 'BRIDGE',
        },
      },
    };
    const path = await file('bridged.json', seed);
    const outcome = await portolan('app', 'apply', '--patience', '3', path);
    expect(outcome.code).toBe(1);
    expect(outcome.stderr).toMatch(
      /is stuck: it has come no farther for 3 s: .*\/bridged: 1 waiting.*agent1/,
    );
    const listed = JSON.parse((await portolan('deployment', 'ls', '-o', 'json')).stdout) as { id: string }[];
    expect(listed).toHaveLength(1);
    const other = await file('bridged.json', { ...seed, instances: 2 });
    expect(await portolan('app', 'apply', other)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(`App is locked: wait for deployment ${listed[0]?.id}`) as string,
    });
    expect(await portolan('deployment', 'cancel', listed[0]?.id ?? '')).toMatchObject({ code: 0 });
    const isGone = async (): Promise<boolean> =>
      ((await api('/v2/apps?id=bridged')) as { apps: unknown[] }).apps.length === 0 &&
      ((await api('/v2/deployments')) as unknown[]).length === 0;
    await expect.poll(isGone, { timeout: 30_000, interval: 500 }).toBe(true);
  });

  it('refuses what is wrong in one line, with the place', async () => {
    const outcome = await portolan(
      'app',
      'apply',
      await file('wrong.json', { id: '/wrong', cmd: 'sleep 1', instances: -1 }),
    );
    expect(outcome).toMatchObject({ code: 2, stdout: '' });
    expect(outcome.stderr).toBe(
      `portolan: Cannot apply ${join(dir, 'wrong.json')}: instances: must be at least 0, and is -1: correct the file and apply it again\n`,
    );
    expect((await portolan('app', 'apply', await file('bad.json', '{"id": '))).stderr).toContain(
      'correct the JSON or YAML there',
    );
    expect((await portolan('app', 'apply', '/nowhere.json')).stderr).toContain('Cannot read /nowhere.json');
    expect(await portolan('app', 'scale', '/shop/web', 'many')).toMatchObject({ code: 2 });
  });

  it('applies groups, and removes what it is told to', async () => {
    const group = {
      id: '/prod',
      apps: [{ id: 'front', cmd: 'sleep 1000', cpus: 0.1, mem: 32, dependencies: ['/prod/back'] }],
      groups: [{ id: 'back', apps: [{ id: 'db', cmd: 'sleep 1000', cpus: 0.1, mem: 32 }] }],
    };
    const outcome = await portolan('app', 'apply', await file('group.json', group));
    expect(outcome, outcome.stderr).toMatchObject({ code: 0 });
    expect(await tasksOf('/prod/front')).toHaveLength(1);
    const removed = await portolan('app', 'rm', '/prod/front', '/prod/back/db', '/shop/web', 'myservice');
    expect(removed, removed.stderr).toMatchObject({ code: 0 });
    await expect
      .poll(async () => ((await api('/v2/tasks')) as { tasks: unknown[] }).tasks, {
        timeout: 60_000,
        interval: 500,
      })
      .toEqual([]);
  });
});
