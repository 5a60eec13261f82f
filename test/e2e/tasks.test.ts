/** Apps by both containerizers and in every mode, in a lab: they are reached, outlive their agent, and leave nothing. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { request } from '../../src/http/client.ts';
import { dockerSocket } from '../../src/lab/docker-hosts.ts';
import { BUSYBOX_IMAGE, ensureBusyboxImage } from '../../src/lab/docker-image.ts';
import { hostPaths } from '../../src/lab/paths.ts';
import { localTasks } from '../../src/model/task-api.ts';
import type { TaskRecord } from '../../src/model/task.ts';
import { mustRun } from '../../src/runtime/command.ts';
import { SANDBOX } from '../../src/runtime/containerizer.ts';
import { TestLab } from '../support/lab.ts';
import { appsAnswer, servicesOf } from '../support/marathon-lb.ts';
import { mesosState, namesOf } from '../support/mesos-dns.ts';
import { dockerConfig, startRegistry, type TestRegistry } from '../support/registry.ts';

const lab = new TestLab('plbtasks');
const agents = ['agent1', 'agent2'] as const;
const WAIT = { timeout: 90_000, interval: 200 };
const web = 'mkdir -p www && echo $MARATHON_APP_ID > www/index.html && exec busybox httpd -f -p ';
const image = BUSYBOX_IMAGE;

interface PlacedTask extends TaskRecord {
  readonly host: string;
}

/** What the agents themselves say runs on them. */
async function tasks(app?: string): Promise<readonly PlacedTask[]> {
  const found = await Promise.all(
    agents.map(async (host) => {
      const target = { socketPath: hostPaths(lab.name, host).agentSocket };
      const answer = await request(target, { method: 'GET', path: '/v1/tasks', timeoutMs: 20_000 });
      return localTasks.parse(answer.body).tasks.map((task) => ({ ...task, host }));
    }),
  );
  return found.flat().filter((task) => app === undefined || task.app === app);
}

async function running(app: string, count = 1): Promise<readonly PlacedTask[]> {
  await expect
    .poll(async () => (await tasks(app)).map(({ state }) => state), WAIT)
    .toEqual(Array.from({ length: count }, () => 'TASK_RUNNING'));
  return tasks(app);
}

const post = (app: object): Promise<unknown> => lab.tools.api('POST', '/v2/apps', app);
const small = { cpus: 0.1, mem: 32 };
/** From each host of the lab. */
async function answers(where: string, expected: string): Promise<void> {
  for (const host of agents)
    await expect.poll(() => lab.tools.fetchFromHost(host, where), WAIT).toBe(expected);
}
const portolan = `${process.cwd()}/bin/portolan`;
const failure = z.object({ app: z.object({ lastTaskFailure: z.object({ message: z.string() }) }) });
const lastFailure = async (app: string): Promise<string> =>
  failure.safeParse(await lab.tools.api('GET', `/v2/apps${app}?embed=app.lastTaskFailure`)).data?.app
    .lastTaskFailure.message ?? '';
/** What tasks of /db have written on a host, a line for each of them. */
const wordsOf = async (host: string): Promise<readonly string[]> =>
  (await lab.sh(host, 'cat /var/lib/portolan/agent/volumes/*/data/words 2>/dev/null || true'))
    .split('\n')
    .filter((line) => line !== '');
const mesosStatus = z.looseObject({
  state: z.string(),
  container_status: z.object({
    network_infos: z
      .array(z.looseObject({ ip_addresses: z.array(z.object({ ip_address: z.string().min(7) })).min(1) }))
      .min(1),
  }),
});
const sorted = (names: Iterable<readonly [string, Iterable<string>]>): Record<string, string[]> =>
  Object.fromEntries([...names].map(([name, each]) => [name, [...each].toSorted()]));

/** What "docker login" leaves, as Marathon's users give it to their apps. */
async function packCredentials(path: string, address: string): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'plb-login-'));
  await mkdir(join(directory, '.docker'));
  await writeFile(join(directory, '.docker', 'config.json'), dockerConfig(address));
  await mustRun(['tar', '-C', directory, '-czf', path, '.docker'], { timeoutMs: 10_000 });
  await rm(directory, { recursive: true });
}

const addressOf = (task: PlacedTask | undefined): string => task?.networks[0]?.addresses[0] ?? '';

beforeAll(async () => {
  await lab.up({ hosts: agents.length, docker: true });
  for (const host of agents) await ensureBusyboxImage(dockerSocket(hostPaths(lab.name, host)));
});
afterAll(() => lab.down());

describe('apps', () => {
  it('have addresses of their own on an overlay, as MESOS and as DOCKER', async () => {
    const networks = [{ mode: 'container', name: 'dcos' }];
    const portMappings = [{ containerPort: 80, name: 'http' }];
    await post({
      ...{ id: '/native', cmd: `${web}80 -h www`, instances: 2, networks, ...small },
      container: { type: 'MESOS', portMappings },
      healthChecks: [
        { protocol: 'MESOS_HTTP', path: '/', portIndex: 0, intervalSeconds: 1, delaySeconds: 0 },
      ],
    });
    await post({
      ...{ id: '/docker', cmd: `cd /tmp && ${web}80 -h www`, networks, ...small },
      container: { type: 'DOCKER', docker: { image }, portMappings },
    });
    const natives = await running('/native', 2);
    for (const task of natives) await answers(addressOf(task), '/native');
    const [docker] = await running('/docker');
    await answers(addressOf(docker), '/docker');
    await expect
      .poll(async () => (await tasks('/native')).map(({ healthy }) => healthy), WAIT)
      .toEqual([true, true]);
  });

  it('are on the bridge of their host, or in its network, and reached by its ports', async () => {
    const networks = [{ mode: 'container/bridge' }];
    const portMappings = [{ containerPort: 80, hostPort: 0 }];
    await post({
      ...{
        id: '/bridge',
        cmd: `${web}80 -h www`,
        networks,
        container: { type: 'MESOS', portMappings },
        ...small,
      },
    });
    await post({
      ...{ id: '/docker-bridge', cmd: `cd /tmp && ${web}80 -h www`, networks, ...small },
      container: { type: 'DOCKER', docker: { image }, portMappings },
    });
    await post({ id: '/host', cmd: `${web}$PORT0 -h www`, ...small });
    for (const app of ['/bridge', '/docker-bridge', '/host']) {
      const [task] = await running(app);
      const agentIp = task?.host === 'agent1' ? '10.0.0.11' : '10.0.0.12';
      await answers(`${agentIp}:${task?.ports[0]?.host_port ?? 0}`, app);
    }
  });

  it('are found where they answer by the rules of marathon-lb', async () => {
    const services = servicesOf(appsAnswer.parse(await lab.tools.api('GET', '/v2/apps?embed=apps.tasks')));
    expect(services.map(({ app, backends }) => `${app} ${backends.length}`).toSorted()).toEqual([
      ...['/bridge 1', '/docker 1', '/docker-bridge 1', '/host 1', '/native 2'],
    ]);
    for (const { app, backends } of services) for (const backend of backends) await answers(backend, app);
  });

  it('have the names that Mesos-DNS would make of what the master tells', async () => {
    const theirs = namesOf(mesosState.parse(await lab.tools.api('GET', '/master/state')), ['10.0.0.1']);
    const isUseless = (name: string): boolean =>
      // It names each port of the host as UDP too.
      /\._udp\..*\.slave\.mesos\.$/.test(name);
    const services = Object.fromEntries(
      [...theirs.services]
        .filter(([name]) => !isUseless(name))
        .map(([name, targets]) => [name, [...targets].map((target) => onHost(name, target)).toSorted()]),
    );
    const wanted = { As: sorted(theirs.addresses), SRVs: services };
    const zone = z.object({
      Records: z.object({
        As: z.record(z.string(), z.array(z.string())),
        SRVs: z.record(z.string(), z.array(z.string())),
      }),
    });
    await expect
      .poll(async () => {
        const { stdout } = await lab.try('agent1', ['curl', '-s', 'http://127.0.0.1:62080/v1/axfr']);
        const { As, SRVs } = zone.parse(JSON.parse(stdout)).Records;
        delete As['ns1.mesos.'];
        return { As: sorted(Object.entries(As)), SRVs: sorted(Object.entries(SRVs)) };
      }, WAIT)
      .toEqual(wanted);
    /** Of a bridged task it names the task's address with the host's port, where nobody answers. */
    function onHost(name: string, target: string): string {
      return /^_(?:[a-z0-9-]+\._)?(docker-)?bridge\._tcp\.marathon\.mesos/.test(name)
        ? target.replace('.marathon.mesos.', '.marathon.slave.mesos.')
        : target;
    }
  });

  it('are told of to the last address, by /state and by the operator API', async () => {
    const { tasks: all } = z
      .object({ tasks: z.array(z.looseObject({ state: z.string(), statuses: z.array(mesosStatus) })) })
      .parse(await lab.tools.api('GET', '/tasks'));
    const told = all.flatMap(({ statuses }) => statuses).filter(({ state }) => state === 'TASK_RUNNING');
    expect(told).toHaveLength(6);
    const state = z.object({
      get_state: z.object({
        get_tasks: z.object({ tasks: z.array(z.looseObject({ statuses: z.array(mesosStatus) })) }),
      }),
    });
    const { get_state } = state.parse(await lab.tools.api('POST', '/api/v1', { type: 'GET_STATE' }));
    expect(get_state.get_tasks.tasks).toHaveLength(6);
  });

  it('are entered and read by portolan task on their host', async () => {
    const [task] = await running('/docker');
    const said = await lab.try(task?.host ?? '', [
      portolan,
      'task',
      'exec',
      task?.id ?? '',
      'echo',
      'inside',
    ]);
    expect(said.stdout).toBe('inside\n');
    const words = [portolan, 'task', 'exec', task?.id ?? '', 'nope'];
    expect(await lab.try(task?.host ?? '', words)).toMatchObject({
      ...{ status: 127, stdout: '' },
      stderr: `portolan: Cannot run "nope" in "${task?.id}": "nope": executable file not found in $PATH\n`,
    });
    await post({ id: '/talks', cmd: 'echo hello; echo oops >&2; sleep 1000', ...small });
    const [talks] = await running('/talks');
    const logs = await lab.try(talks?.host ?? '', [portolan, 'task', 'logs', talks?.id ?? '']);
    expect(logs).toMatchObject({ stdout: 'hello\n', stderr: 'oops\n' });
  });
});

describe('apps of a registry', () => {
  const where = [['hostname', 'CLUSTER', 'agent1']];
  const cmd = 'echo $IMAGE $PWD $(id -u); sleep 1000';
  const types = ['MESOS', 'DOCKER'] as const;
  const idOf = (type: string): string => `/registry-${type.toLowerCase()}`;
  const said = async (app: string): Promise<string> => {
    const [task] = await running(app);
    return (await lab.try('agent1', [portolan, 'task', 'logs', task?.id ?? ''])).stdout;
  };
  let registry: TestRegistry | undefined;
  afterAll(() => registry?.stop());

  it('are what the tag means when they start, and with forcePullImage when they start again', async () => {
    const { netns } = hostPaths(lab.name, 'agent1');
    registry = await startRegistry({
      port: 5000,
      enter: ['nsenter', `--net=${netns}`, '--'],
      isPrivate: true,
    });
    const { address } = registry;
    const credentials = join('/tmp', `${lab.name}-docker.tar.gz`);
    await packCredentials(credentials, address);
    const appOf = (type: string, image: string, forcePullImage: boolean): object => ({
      ...{ id: idOf(type), cmd, constraints: where, backoffSeconds: 3600, ...small },
      container: { type, docker: { image: `${address}/${image}`, forcePullImage } },
      fetch: [{ uri: `file://${credentials}` }],
    });
    await registry.push('team/web:1', 'first');
    for (const type of types) await post(appOf(type, 'team/web:1', false));
    for (const type of types) await expect.poll(() => said(idOf(type)), WAIT).toBe('first /srv 77\n');
    await registry.push('team/web:1', 'second');
    for (const type of types)
      await lab.tools.api('PUT', `/v2/apps${idOf(type)}?force=true`, appOf(type, 'team/web:1', true));
    for (const type of types) await expect.poll(() => said(idOf(type)), WAIT).toBe('second /srv 77\n');
    for (const type of types)
      await lab.tools.api('PUT', `/v2/apps${idOf(type)}?force=true`, appOf(type, 'nosuch:1', true));
    for (const type of types)
      await expect.poll(() => lastFailure(idOf(type)), WAIT).toMatch(/nosuch:1": .*manifest unknown/);
    for (const type of types) await lab.tools.api('DELETE', `/v2/apps${idOf(type)}?force=true`);
    // A shell that is process 1 of its container takes no SIGTERM: it lives for the whole grace period.
    for (const type of types) await expect.poll(() => tasks(idOf(type)), WAIT).toEqual([]);
    await rm(credentials);
  });
});

describe('what a task is given', () => {
  it('is its environment, in every word', async () => {
    const env = 'env | grep -E "^(MESOS|MARATHON|HOST=|PORT|OWN)" | sort; sleep 1000';
    await post({
      ...{ id: '/group/env', cmd: env, cpus: 0.2, mem: 33, disk: 1, env: { OWN: 'yes', PORT_admin: 'own' } },
      labels: { 'a.b': 'c', long: 'x'.repeat(600) },
      portDefinitions: [
        { port: 10_400, name: 'http' },
        { port: 10_500, name: 'jmx' },
      ],
    });
    const [task] = await running('/group/env');
    const [http = 0, jmx = 0] = (task?.ports ?? []).map(({ host_port }) => host_port);
    const log = [portolan, 'task', 'logs', task?.id ?? ''];
    const said = async (): Promise<readonly string[]> =>
      (await lab.try(task?.host ?? '', log)).stdout.trim().split('\n').toSorted();
    await expect
      .poll(said, WAIT)
      .toEqual(
        [
          `HOST=${task?.host === 'agent1' ? '10.0.0.11' : '10.0.0.12'}`,
          'MARATHON_APP_ENFORCE_GROUP_ROLE=FALSE',
          'MARATHON_APP_ID=/group/env',
          'MARATHON_APP_LABELS=A_B',
          'MARATHON_APP_LABEL_A_B=c',
          'MARATHON_APP_RESOURCE_CPUS=0.2',
          'MARATHON_APP_RESOURCE_DISK=1.0',
          'MARATHON_APP_RESOURCE_GPUS=0',
          'MARATHON_APP_RESOURCE_MEM=33.0',
          `MARATHON_APP_VERSION=${task?.version ?? ''}`,
          'MESOS_SANDBOX=/mnt/mesos/sandbox',
          `MESOS_TASK_ID=${task?.id ?? ''}`,
          'OWN=yes',
          `PORT=${http}`,
          `PORT0=${http}`,
          `PORT1=${jmx}`,
          `PORTS=${http},${jmx}`,
          `PORT_10400=${http}`,
          `PORT_10500=${jmx}`,
          `PORT_JMX=${jmx}`,
          `PORT_HTTP=${http}`,
          'PORT_admin=own',
        ].toSorted(),
      );
  });

  it('is so much memory, and no more', async () => {
    for (const [id, container] of [
      ['/hungry', undefined],
      ['/hungry-docker', { type: 'DOCKER', docker: { image } }],
    ] as const)
      await post({ id, cmd: 'a=x; while :; do a=$a$a; done', container, backoffSeconds: 3600, ...small });
    for (const id of ['/hungry', '/hungry-docker'])
      await expect
        .poll(() => lastFailure(id), WAIT)
        .toBe('Memory limit exceeded: the task may use 32 MiB; Command terminated with signal Killed');
  });
});

describe('an agent that is killed', () => {
  it('takes none of its tasks with it; how they ended meanwhile is told by the next', async () => {
    const instances = 4;
    const cmd = 'echo last words; while ! [ -e /mnt/mesos/sandbox/go ]; do sleep 0.1; done; exit 7';
    await post({ id: '/ends', cmd, instances, backoffSeconds: 3600, ...small });
    const ends = await running('/ends', instances);
    await post({
      ...{ id: '/db', cmd: `date +%s%N >> ${SANDBOX}/data/words; sleep 1000`, ...small },
      container: { type: 'MESOS', volumes: [{ containerPath: 'data', mode: 'RW', persistent: { size: 1 } }] },
    });
    const [first] = await running('/db');
    await expect.poll(async () => (await wordsOf(first?.host ?? '')).length, WAIT).toBe(1);
    await lab.tools.api('DELETE', `/v2/apps/db/tasks/${first?.id ?? ''}`);
    // It is where its volume is, and has what the first has left there.
    await expect.poll(async () => (await running('/db'))[0]?.id, WAIT).not.toBe(first?.id);
    await expect.poll(async () => (await wordsOf(first?.host ?? '')).length, WAIT).toBe(2);
    const words = await wordsOf(first?.host ?? '');
    const before = (await tasks())
      .filter(({ app }) => app !== '/db')
      .map(({ id, container }) => `${id} ${container ?? ''}`);
    for (const host of agents) process.kill(await lab.pid(host, 'agent'), 'SIGKILL');
    await lab.tools.api('DELETE', '/v2/apps/db/tasks?wipe=true');
    for (const host of agents)
      await lab.sh(host, 'for d in /var/lib/portolan/agent/tasks/*/sandbox; do touch $d/go; done');
    await lab.up({ hosts: agents.length, docker: true });
    // A master lets go of a task that has ended: what its agent said of it is in that one's log, and in the app.
    const said = (id: string): unknown =>
      agents
        .flatMap((host) => lab.log(host))
        .find((line) => line['task'] === id && line['state'] === 'TASK_FAILED')?.['message'];
    await expect
      .poll(() => ends.map(({ id }) => said(id)), WAIT)
      .toEqual(ends.map(() => 'Command exited with status 7'));
    await expect.poll(() => lastFailure('/ends'), WAIT).toBe('Command exited with status 7');
    // What was wiped while it was away has gone; the next task began anew.
    const anew = async (): Promise<readonly string[]> =>
      (await Promise.all(agents.map((host) => wordsOf(host)))).flat();
    await expect.poll(async () => (await anew()).length, WAIT).toBe(1);
    expect(words).not.toContain((await anew())[0]);
    const after = (await tasks()).map(({ id, container }) => `${id} ${container ?? ''}`);
    for (const each of before.filter((line) => !line.startsWith('ends.'))) expect(after).toContain(each);
  });
});

it('leaves what its tasks wrote for a time, and nothing else when all apps are gone', async () => {
  const { apps } = z
    .object({ apps: z.array(z.object({ id: z.string() })) })
    .parse(await lab.tools.api('GET', '/v2/apps'));
  for (const { id } of apps) await lab.tools.api('DELETE', `/v2/apps${id}`);
  await expect.poll(() => tasks(), WAIT).toEqual([]);
  for (const host of agents) {
    const left = await lab.sh(
      host,
      `ls /var/lib/portolan/agent/containers /run/portolan/netns | grep -v : || true
       cd /var/lib/portolan/agent/tasks
       for task in *; do [ -e $task/ended.json ] || echo $task; done
       find . -mindepth 2 -maxdepth 2 ! -name ended.json ! -name log ! -name sandbox
       docker ps -aq
       ip -br link show master m-dcos; ip -br link show master m-mesos-bridge
       grep /var/lib/portolan/agent/containers /proc/self/mountinfo || true`,
    );
    expect(left.trim()).toBe('');
    // Those of an app that is gone go with their last task.
    const volumes = 'ls /var/lib/portolan/agent/volumes 2>/dev/null || true';
    await expect.poll(() => lab.sh(host, volumes), WAIT).toBe('');
    const words = [`${process.cwd()}/bin/portolan`, 'task', 'logs'];
    const [ended] = lab
      .log(host)
      .filter((line) => line['state'] === 'TASK_FAILED' && String(line['task']).startsWith('ends.'));
    expect(await lab.try(host, [...words, String(ended?.['task'])])).toMatchObject({
      stdout: 'last words\n',
    });
  }
});
