/** Apps by both containerizers and in every mode, in a lab: they are reached, outlive their agent, and leave nothing. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { request } from '../../src/http/client.ts';
import { dockerSocket } from '../../src/lab/docker-hosts.ts';
import { BUSYBOX_IMAGE, ensureBusyboxImage } from '../../src/lab/docker-image.ts';
import { hostPaths } from '../../src/lab/paths.ts';
import { localTasks } from '../../src/model/task-api.ts';
import type { TaskRecord } from '../../src/model/task.ts';
import { TestLab } from '../support/lab.ts';

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

  it('are entered and read by portolan task on their host', async () => {
    const [task] = await running('/docker');
    const portolan = `${process.cwd()}/bin/portolan`;
    const said = await lab.try(task?.host ?? '', [
      portolan,
      'task',
      'exec',
      task?.id ?? '',
      'echo',
      'inside',
    ]);
    expect(said.stdout).toBe('inside\n');
    await post({ id: '/talks', cmd: 'echo hello; echo oops >&2; sleep 1000', ...small });
    const [talks] = await running('/talks');
    const logs = await lab.try(talks?.host ?? '', [portolan, 'task', 'logs', talks?.id ?? '']);
    expect(logs).toMatchObject({ stdout: 'hello\n', stderr: 'oops\n' });
  });
});

describe('an agent that is killed', () => {
  it('takes none of its tasks with it; how they ended meanwhile is told by the next', async () => {
    const instances = 4;
    const cmd = 'echo last words; while ! [ -e /mnt/mesos/sandbox/go ]; do sleep 0.1; done; exit 7';
    await post({ id: '/ends', cmd, instances, backoffSeconds: 3600, ...small });
    const ends = await running('/ends', instances);
    const before = (await tasks()).map(({ id, container }) => `${id} ${container ?? ''}`);
    for (const host of agents) process.kill(await lab.pid(host, 'agent'), 'SIGKILL');
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
    const failure = z.object({ app: z.object({ lastTaskFailure: z.object({ message: z.string() }) }) });
    await expect
      .poll(async () => {
        const answer = await lab.tools.api('GET', '/v2/apps/ends?embed=app.lastTaskFailure');
        return failure.safeParse(answer).data?.app.lastTaskFailure.message;
      }, WAIT)
      .toBe('Command exited with status 7');
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
    const words = [`${process.cwd()}/bin/portolan`, 'task', 'logs'];
    const [ended] = lab
      .log(host)
      .filter((line) => line['state'] === 'TASK_FAILED' && String(line['task']).startsWith('ends.'));
    expect(await lab.try(host, [...words, String(ended?.['task'])])).toMatchObject({
      stdout: 'last words\n',
    });
  }
});
