/** How far a change of the masters' has come, on a whole cluster of which one host is cut off. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../../src/lab/demo-tools.ts';
import { labHeal, labPartition } from '../../src/lab/lab.ts';
import type { AppliedStatus } from '../../src/node/applied.ts';
import { TestLab } from '../support/lab.ts';

describe("a change of the masters'", () => {
  const lab = new TestLab('plrv');
  const portolan = (host: string, ...words: string[]): ReturnType<typeof lab.try> =>
    lab.try(host, [`${process.cwd()}/bin/portolan`, ...words]);
  const applied = async (query = ''): Promise<AppliedStatus> =>
    (await lab.tools.api('GET', `/v1/applied${query}`)) as AppliedStatus;
  const addNetwork = (name: string, subnet: string): Promise<unknown> =>
    lab.tools.api('POST', '/v1/networks', { name, subnet, prefix: 24, enabled: true });

  beforeAll(() => lab.up({ hosts: 3 }));
  afterAll(() => lab.down());

  it('is in every kernel when the wait for it ends, whoever is asked', async () => {
    const before = await applied('?wait=20');
    expect(before).toMatchObject({ done: true, agents: 4, applied: 4, missing: [] });
    await addNetwork('blue', '10.64.0.0/16');
    const after = await applied('?wait=20');
    expect(after.revision).toBeGreaterThan(before.revision);
    expect(after).toMatchObject({ done: true, applied: 4 });
    for (const host of ['agent1', 'agent2', 'agent3'])
      expect(await lab.sh(host, 'ip -4 -o address show dev m-blue')).toContain('10.64.');
    expect(after.slowest_ms).toBeGreaterThanOrEqual(0);
    const asked = await portolan('agent2', 'status', '--wait', String(after.revision));
    expect(asked).toMatchObject({ status: 0 });
    expect(asked.stdout).toContain(`revision ${after.revision} applied on 4/4`);
  });

  it('is not held up by an overlay that has no block left for some', async () => {
    await lab.tools.api('POST', '/v1/networks', {
      name: 'small',
      subnet: '10.66.0.0/24',
      prefix: 24,
      enabled: true,
    });
    expect(await applied('?wait=20')).toMatchObject({ done: true, applied: 4 });
    const { nodes } = (await lab.tools.api('GET', '/v1/nodes')) as { nodes: { overlays: object }[] };
    expect(nodes.filter(({ overlays }) => 'small' in overlays)).toHaveLength(1);
  });

  it('names the host that is cut off, does not wait for it, and reaches it when it is back', async () => {
    await labPartition(lab.name, ['agent3']);
    await eventually('agent3 is unreachable', 20_000, async () =>
      (await applied()).reachable === 3 ? true : undefined,
    );
    await addNetwork('green', '10.65.0.0/16');
    const cut = await applied('?wait=20');
    expect(cut).toMatchObject({
      ...{ done: true, agents: 4, applied: 3 },
      missing: [{ name: 'agent3', reason: 'unreachable' }],
    });
    // Whom agents cannot reach they tell a moment later.
    await expect
      .poll(async () => (await portolan('master1', 'status')).stdout)
      .toMatch(/4 nodes, 3 reachable; unreachable: agent3 \(also for agent1, agent2, master1\)/);
    const checks = JSON.parse((await portolan('agent1', 'doctor', '-o', 'json')).stdout) as {
      check: string;
    }[];
    expect(checks.filter(({ check }) => /^(port|masters|nodes|clock)/.test(check))).toMatchObject([
      { check: 'port exchange', found: 'TCP 62501 is ours' },
      { check: 'port beats', found: 'UDP 62501 is ours' },
      { check: 'port api', verdict: 'ok' },
      { check: 'port vxlan', found: 'UDP 64000 is ours' },
      { check: 'masters', verdict: 'ok' },
      { check: 'nodes', verdict: 'warning', found: 'unreachable: agent3' },
      { check: 'clock', verdict: 'ok' },
    ]);
    const alone = await portolan('agent3', 'status', '--wait', String(cut.revision), '--timeout', '0');
    expect(alone).toMatchObject({ status: 1 });
    expect(alone.stdout).toMatch(/agent3: behind/);

    await labHeal(lab.name);
    const healed = await eventually('agent3 has it too', 20_000, async () => {
      const status = await applied(`?revision=${cut.revision}&wait=5`);
      return status.applied === 4 ? status : undefined;
    });
    expect(healed.missing).toEqual([]);
    await expect
      .poll(async () => (await portolan('agent1', 'node', 'inspect', 'agent3', '-o', 'json')).stdout)
      .toMatch(/"state": "alive"(.|\n)*"unreachable_for": \[\](.|\n)*"applied": [0-9]+/);
  });
});
