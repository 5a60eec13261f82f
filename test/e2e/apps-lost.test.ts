/**
 * Apps on a lab when something is missing: an agent, a whole host, an address, a program. What shall run runs elsewhere or
 * waits with a reason, nothing runs twice, and nothing is left of what came to nothing.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { request } from '../../src/http/client.ts';
import { eventually } from '../../src/lab/demo-tools.ts';
import { labOff, labStart, labStop } from '../../src/lab/lab.ts';
import { hostPaths, labPaths } from '../../src/lab/paths.ts';
import { defaultNetwork } from '../../src/model/config.ts';
import { localTasks } from '../../src/model/task-api.ts';
import { EventStream } from '../support/event-stream.ts';
import { TestLab, type TestDaemon } from '../support/lab.ts';

const lab = new TestLab('lost');
const agents = ['agent1', 'agent2', 'agent3'] as const;
const WAIT = { timeout: 90_000, interval: 200 };
/** Of `/29`, half of which Docker has, one address is left for a container of an agent. */
const tiny = { name: 'tiny', subnet: '10.78.0.0/16', prefix: 29, enabled: true };
const configuration = {
  ...{ address: '10.0.0.1', masters: ['10.0.0.1:5050'] },
  network: { ...defaultNetwork, overlays: [...defaultNetwork.overlays, tiny] },
  apps: { agent_lost_seconds: 2, drain_grace_seconds: 0 },
};
let master: TestDaemon | undefined;

const task = z.object({ id: z.string(), host: z.string(), state: z.string() });
type Task = z.infer<typeof task>;
const queue = z.object({
  queue: z.array(
    z.object({
      app: z.object({ id: z.string() }),
      count: z.int(),
      reasons: z.array(z.object({ host: z.string(), reason: z.string(), message: z.string() })),
    }),
  ),
});

const api = (method: 'GET' | 'POST' | 'DELETE', path: string, body?: unknown): Promise<unknown> =>
  lab.tools.api(method, path, body);
const post = (app: object): Promise<unknown> =>
  api('POST', '/v2/apps', { cmd: 'exec sleep 10000', cpus: 0.01, mem: 16, ...app });
const quiet = (): void => undefined;

async function tasks(app: string): Promise<readonly Task[]> {
  const { tasks: found } = z.object({ tasks: z.array(task) }).parse(await api('GET', `/v2/apps${app}/tasks`));
  return found;
}

/** How many tasks there are of each state. */
async function states(app: string): Promise<Readonly<Record<string, number>>> {
  const count: Record<string, number> = {};
  for (const { state } of await tasks(app)) count[state] = (count[state] ?? 0) + 1;
  return count;
}

const become = (app: string, wanted: Readonly<Record<string, number>>): Promise<void> =>
  expect.poll(() => states(app), WAIT).toEqual(wanted);
const idsOf = (found: readonly Task[]): readonly string[] => found.map(({ id }) => id).sort();

/** What the agents themselves run of an app. */
async function onAgents(app: string): Promise<readonly string[]> {
  const found = await Promise.all(
    agents.map(async (host) => {
      const target = { socketPath: hostPaths(lab.name, host).agentSocket };
      const { body } = await request(target, { method: 'GET', path: '/v1/tasks', timeoutMs: 20_000 });
      return localTasks.parse(body).tasks.filter((each) => each.app === app);
    }),
  );
  return found.flatMap((each) => each.map(({ id }) => id)).sort();
}

/** Containers, namespaces, ports of bridges, mounts and groups of tasks, of all hosts. */
async function remains(): Promise<string> {
  const left = await Promise.all(
    agents.map((host) =>
      lab.sh(
        host,
        `ls /var/lib/portolan/agent/containers /run/portolan/netns | grep -v : || true
        ip -br link show master m-dcos; ip -br link show master m-tiny
        grep /var/lib/portolan/agent/containers /proc/self/mountinfo || true
        nft list map inet portolan hostports 2>/dev/null | grep 'dnat\\|elements' || true`,
      ),
    ),
  );
  return left.join('').trim();
}

async function removeAll(...apps: readonly string[]): Promise<void> {
  for (const app of apps) await api('DELETE', `/v2/apps${app}`);
  await expect.poll(() => api('GET', '/v2/tasks'), WAIT).toEqual({ tasks: [] });
  await expect.poll(remains, WAIT).toBe('');
}

beforeAll(async () => {
  await lab.up({ hosts: agents.length });
  await labStop(lab.name, 'master1', 'SIGTERM');
  master = await lab.start('master1', 'master', configuration);
  const blocks = z.object({
    nodes: z.array(z.object({ overlays: z.record(z.string(), z.string()) })),
  });
  await eventually('blocks of tiny', 60_000, async () => {
    const told = blocks.safeParse(await api('GET', '/v1/nodes').catch(() => undefined));
    const having = told.data?.nodes.filter(({ overlays }) => overlays['tiny']) ?? [];
    return having.length >= agents.length ? true : undefined;
  });
});
afterAll(async () => {
  await master?.stop();
  await lab.down();
});

describe('agents without addresses', () => {
  it('make tasks wait with that reason, and start when an address comes free; none fails', async () => {
    const networks = [{ mode: 'container', name: 'tiny' }];
    await post({ id: '/first', networks, instances: 1 });
    await become('/first', { TASK_RUNNING: 1 });
    await post({ id: '/crowded', networks, instances: 3 });
    await become('/crowded', { TASK_RUNNING: 2 });
    const [holder] = await tasks('/first');
    const name = `agent${Number(holder?.host.split('.').at(-1)) - 10}`;
    await expect
      .poll(async () => {
        const { queue: waiting } = queue.parse(await api('GET', '/v2/queue'));
        const reasons = waiting[0]?.reasons.filter(({ host }) => host !== 'master1') ?? [];
        return [waiting[0]?.app.id, waiting[0]?.count, ...reasons.map(({ message }) => message).sort()];
      }, WAIT)
      .toEqual(['/crowded', 1, ...agents.map((agent) => `${agent} has no free address in tiny`)]);
    await api('DELETE', '/v2/apps/first');
    await become('/crowded', { TASK_RUNNING: 3 });
    const places = (await tasks('/crowded')).map(({ host }) => host).sort();
    expect(places, name).toEqual(['10.0.0.11', '10.0.0.12', '10.0.0.13']);
    const ended = z.object({ tasks: z.array(z.object({ name: z.string(), state: z.string() })) });
    const failed = ended
      .parse(await api('GET', '/tasks?limit=1000'))
      .tasks.filter(({ name: of, state }) => of === 'crowded' && state === 'TASK_FAILED');
    expect(failed).toEqual([]);
    await removeAll('/crowded');
  });
});

describe('an agent that is lost', () => {
  const networks = [{ mode: 'container', name: 'dcos' }];

  it('has its tasks replaced as each app wants it, and ends the surplus when it returns', async () => {
    const hour = { inactiveAfterSeconds: 3600, expungeAfterSeconds: 7200 };
    const kept = { inactiveAfterSeconds: 0, expungeAfterSeconds: 3600 };
    const apps = ['/fast', '/kept', '/slow', '/stays'] as const;
    await post({ id: '/fast', networks, instances: 3 });
    await post({ id: '/kept', networks, instances: 3, unreachableStrategy: kept });
    await post({ id: '/slow', networks, instances: 3, unreachableStrategy: hour });
    await post({ id: '/stays', networks, instances: 3, unreachableStrategy: 'disabled' });
    for (const app of apps) await become(app, { TASK_RUNNING: 3 });
    const before = new Map<string, readonly string[]>();
    for (const app of apps) before.set(app, idsOf(await tasks(app)));
    const lost = (await tasks('/fast')).find(({ host }) => host === '10.0.0.13')?.id ?? '';
    const stream = await EventStream.open(labPaths(lab.name).apiSocket);
    // Its containers go on.
    await labStop(lab.name, 'agent3', 'SIGKILL');
    await become('/fast', { TASK_RUNNING: 3 });
    await become('/kept', { TASK_RUNNING: 3, TASK_UNREACHABLE: 1 });
    await become('/slow', { TASK_RUNNING: 2, TASK_UNREACHABLE: 1 });
    await become('/stays', { TASK_RUNNING: 2, TASK_UNREACHABLE: 1 });
    await expect
      .poll(async () => (await tasks('/fast')).filter(({ host }) => host === '10.0.0.13'), WAIT)
      .toEqual([]);
    await labStart(lab.name, 'agent3', quiet);
    for (const app of apps) {
      await become(app, { TASK_RUNNING: 3 });
      await expect.poll(() => onAgents(app), WAIT).toEqual(idsOf(await tasks(app)));
    }
    for (const app of ['/slow', '/stays']) expect(idsOf(await tasks(app)), app).toEqual(before.get(app));
    expect(idsOf(await tasks('/fast'))).not.toEqual(before.get('/fast'));
    const instanceId = lost.replace(/\._app\.1$/, '');
    await expect
      .poll(() => stream.of('unknown_instance_terminated_event'), WAIT)
      .toEqual([expect.objectContaining({ instanceId, runSpecId: '/fast', condition: 'Killed' })]);
    stream.close();
    for (const app of apps.slice(0, 3)) await api('DELETE', `/v2/apps${app}`);
    for (const app of apps.slice(0, 3)) await expect.poll(() => onAgents(app), WAIT).toEqual([]);
  });

  it('whose host went down has its tasks again only when it is back, where they must not run twice', async () => {
    await become('/stays', { TASK_RUNNING: 3 });
    const before = idsOf(await tasks('/stays'));
    await labOff(lab.name, 'agent3');
    await become('/stays', { TASK_RUNNING: 2, TASK_UNREACHABLE: 1 });
    expect(idsOf(await tasks('/stays'))).toEqual(before);
    await labStart(lab.name, 'agent3', quiet);
    await become('/stays', { TASK_RUNNING: 3 });
    await expect.poll(() => onAgents('/stays'), WAIT).toEqual(idsOf(await tasks('/stays')));
    expect(idsOf(await tasks('/stays')).filter((id) => before.includes(id))).toHaveLength(2);
    const told = z.object({ app: z.object({ lastTaskFailure: z.object({ message: z.string() }) }) });
    expect(told.parse(await api('GET', '/v2/apps/stays')).app.lastTaskFailure.message).toBe(
      'The container was lost: its host went down, or its supervisor was killed with it',
    );
    await removeAll('/stays');
  });

  it('in the middle of a launch leaves the task to another one, and nothing when it is back', async () => {
    const serving = (program: string): string =>
      `mkdir -p /tmp/site; echo fetched > /tmp/site/page; ${program} >/dev/null 2>&1 & echo $!`;
    // Somebody who takes the question and never answers.
    const deaf = await lab.sh('master1', serving('busybox nc -ll -p 8999 -e sleep 3600'));
    const uri = 'http://10.0.0.1:8999/page';
    await post({ id: '/fetches', networks, cmd: 'grep fetched page; exec sleep 10000', fetch: [{ uri }] });
    await become('/fetches', { TASK_STAGING: 1 });
    const [first] = await tasks('/fetches');
    const name = `agent${Number(first?.host.split('.').at(-1)) - 10}`;
    await labStop(lab.name, name, 'SIGKILL');
    await expect
      .poll(async () => (await tasks('/fetches')).filter(({ host }) => host !== first?.host).length, WAIT)
      .toBe(1);
    const files = await lab.sh('master1', serving('busybox httpd -f -p 10.0.0.1:8998 -h /tmp/site'));
    await lab.sh('master1', `kill ${deaf.trim()}; pkill -P ${deaf.trim()} || true`);
    await api('DELETE', '/v2/apps/fetches');
    const elsewhere = [{ uri: uri.replace('8999', '8998') }];
    await expect.poll(() => api('GET', '/v2/tasks'), WAIT).toEqual({ tasks: [] });
    await post({ id: '/fetches', networks, cmd: 'grep fetched page; exec sleep 10000', fetch: elsewhere });
    await become('/fetches', { TASK_RUNNING: 1 });
    await labStart(lab.name, name, quiet);
    await expect.poll(() => onAgents('/fetches'), WAIT).toEqual(idsOf(await tasks('/fetches')));
    await lab.sh('master1', `kill ${files.trim()}`);
    await removeAll('/fetches');
  });
});

describe('an app that cannot run', () => {
  it.each([
    ['a program', { cmd: null, args: ['nosuchprogram'] }, '"nosuchprogram": executable file not found'],
    [
      'an image',
      { container: { type: 'MESOS', docker: { image: 'oci:/nosuch/layout:x' } } },
      'Cannot get image "oci:/nosuch/layout:x"',
    ],
    [
      'a passing health check',
      {
        healthChecks: [
          {
            ...{ protocol: 'COMMAND', command: { value: 'echo not well; exit 1' }, gracePeriodSeconds: 0 },
            ...{ intervalSeconds: 1, delaySeconds: 0, maxConsecutiveFailures: 2 },
          },
        ],
      },
      'Health check failed 2 times in a row: command exited with status 1: not well',
    ],
  ])('for want of %s says so, and leaves nothing', async (_, change, message) => {
    await post({ id: '/bad', networks: [{ mode: 'container', name: 'dcos' }], ...change });
    const told = z.object({ app: z.object({ lastTaskFailure: z.object({ message: z.string() }) }) });
    await expect
      .poll(async () => {
        const answer = told.safeParse(await api('GET', '/v2/apps/bad'));
        return answer.data?.app.lastTaskFailure.message ?? '';
      }, WAIT)
      .toContain(message);
    await removeAll('/bad');
  });
});
