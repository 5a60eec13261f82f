/**
 * Apps on a lab: from one POST to containers with addresses, upgraded under load, by masters that die in between, on agents
 * that do too.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { labStart, labStop } from '../../src/lab/lab.ts';
import { TestLab } from '../support/lab.ts';

const lab = new TestLab('orc');
const WAIT = { timeout: 90_000, interval: 250 };

interface Task {
  readonly id: string;
  readonly host: string;
  readonly state: string;
  readonly version: string;
  readonly ipAddresses: readonly { readonly ipAddress: string }[];
}
interface Shown {
  readonly tasksRunning: number;
  readonly version: string;
  readonly tasks: readonly Task[];
  readonly deployments: readonly unknown[];
}

const api = (method: string, path: string, body?: unknown): Promise<unknown> =>
  lab.tools.api(method as 'GET', path, body);
/** While a master starts nobody answers. */
const shown = async (id: string): Promise<Shown | undefined> => {
  try {
    return ((await api('GET', `/v2/apps/${id}`)) as { app: Shown }).app;
  } catch {
    return undefined;
  }
};
const sleeper = (change: object) => ({
  ...{ cmd: 'sleep 10000', cpus: 0.01, mem: 16, networks: [{ mode: 'container', name: 'dcos' }] },
  ...change,
});
const settled = (id: string, count: number) =>
  expect
    .poll(async () => {
      const app = await shown(id);
      return [
        app?.tasks.filter(({ state }) => state === 'TASK_RUNNING').length,
        app?.tasks.length,
        app?.deployments.length,
      ];
    }, WAIT)
    .toEqual([count, count, 0]);

beforeAll(() => lab.up({ hosts: 3 }));
afterAll(() => lab.down());

describe('apps on a lab', () => {
  it('get an address each, spread over the agents, and reach one another by it', async () => {
    await api('POST', '/v2/apps', sleeper({ id: '/spread', instances: 3 }));
    await settled('/spread', 3);
    const tasks = (await shown('/spread'))?.tasks ?? [];
    expect(new Set(tasks.map(({ host }) => host)).size).toBe(3);
    const addresses = tasks.flatMap(({ ipAddresses }) => ipAddresses.map(({ ipAddress }) => ipAddress));
    expect(addresses).toEqual([
      expect.stringMatching(/^9\./),
      expect.stringMatching(/^9\./),
      expect.stringMatching(/^9\./),
    ]);
    for (const address of addresses) await lab.sh('agent1', `ping -c 1 -W 5 ${address}`);
    await api('PUT', '/v2/apps//spread', { instances: 1 });
    await settled('/spread', 1);
    await api('DELETE', '/v2/apps//spread');
    await expect.poll(() => api('GET', '/v2/tasks'), WAIT).toEqual({ tasks: [] });
  });

  it('are upgraded to the end though the master is killed in the middle', async () => {
    await api('POST', '/v2/apps', sleeper({ id: '/upgraded', instances: 4 }));
    await settled('/upgraded', 4);
    const before = (await shown('/upgraded'))?.tasks.map(({ id }) => id) ?? [];
    const strategy = { minimumHealthCapacity: 0.5, maximumOverCapacity: 0 };
    await api('PUT', '/v2/apps//upgraded', { cmd: 'sleep 20000', upgradeStrategy: strategy });
    await labStop(lab.name, 'master1', 'SIGKILL');
    await labStart(lab.name, 'master1', () => undefined);
    await settled('/upgraded', 4);
    const after = (await shown('/upgraded'))?.tasks.map(({ id }) => id) ?? [];
    expect(after.some((id) => before.includes(id))).toBe(false);
    await api('DELETE', '/v2/apps//upgraded');
    await expect.poll(() => api('GET', '/v2/tasks'), WAIT).toEqual({ tasks: [] });
  });

  it('leave an agent that is drained, and wait with a reason while no agent may have them', async () => {
    await api('POST', '/v2/apps', sleeper({ id: '/moved', instances: 3 }));
    await settled('/moved', 3);
    const { nodes } = (await api('GET', '/v1/nodes')) as { nodes: { name: string; address: string }[] };
    const { address } = nodes.find(({ name }) => name === 'agent1')!;
    await api('POST', '/v1/nodes/agent1/drain');
    await expect
      .poll(async () => {
        const tasks = (await shown('/moved'))?.tasks ?? [];
        return [tasks.length, tasks.filter(({ host }) => host === address).length];
      }, WAIT)
      .toEqual([3, 0]);
    await api('POST', '/v2/apps', sleeper({ id: '/waiting', constraints: [['hostname', 'LIKE', 'agent1']] }));
    const { queue } = (await api('GET', '/v2/queue')) as {
      queue: { reasons: { host: string; message: string }[] }[];
    };
    expect(queue[0]?.reasons.find(({ host }) => host === 'agent1')?.message).toBe(
      'agent1 is drained for maintenance',
    );
    await api('DELETE', '/v1/nodes/agent1/drain');
    await settled('/waiting', 1);
  });
});
