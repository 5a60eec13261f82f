/** Long streams on a lab: past most of the kernel where they end, and none the wiser for it. */
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { request } from '../../src/http/client.ts';
import { labStart, labStop } from '../../src/lab/lab.ts';
import { hostPaths } from '../../src/lab/paths.ts';
import { labRun } from '../../src/lab/run.ts';
import { eventually, type PlacedContainer } from '../../src/lab/demo-tools.ts';
import { LIBERAL_SYSCTL } from '../../src/kernel/fastpath/fastpath.ts';
import { TestLab } from '../support/lab.ts';

const BULK = fileURLToPath(new URL('../support/bulk.mjs', import.meta.url));
const NODE = process.execPath;
const MIB = 64;

describe('the fast path', () => {
  const lab = new TestLab('fpl');
  let near: PlacedContainer;
  let far: PlacedContainer;
  let vip = '';

  const run = async (host: string, name: string, argv: readonly string[], labels = {}) => {
    const { id, addresses } = await labRun({ lab: lab.name, host, name, argv, labels, runtime: 'native' });
    return { name, host, id, address: addresses[0] ?? '' };
  };
  const passed = async (host: string): Promise<number> => {
    const target = { socketPath: hostPaths(lab.name, host).agentSocket };
    const { body } = await request(target, { method: 'GET', path: '/v1/status', timeoutMs: 5000 });
    const { fast_path } = body as { fast_path: { state: string; passed: number } };
    expect(fast_path.state).toBe('on');
    return fast_path.passed;
  };
  const stream = async (from: PlacedContainer, to: string, port: number, mib = MIB) => {
    const argv = [NODE, BULK, 'send', to, `${port}`, `${mib}`];
    const { stdout } = await lab.tools.inContainer(from, argv);
    // Nothing from a container that does not run yet.
    return JSON.parse(stdout === '' ? '{}' : stdout) as {
      readonly sent?: string;
      readonly got?: string;
      readonly error?: string;
    };
  };

  beforeAll(async () => {
    await lab.up({ hosts: 2 });
    const labels = { VIP_0: '/bulk:6666', VIP_0_PORT: '5201' };
    const server = await run('agent1', 'server', [NODE, BULK, 'serve', '5201'], labels);
    await run('agent1', 'source', [NODE, BULK, 'source', '5202', `${MIB}`], {
      VIP_0: '/bulk:6667',
      VIP_0_PORT: '5202',
    });
    near = await run('agent1', 'near', ['sleep', '10000']);
    far = await run('agent2', 'far', ['sleep', '10000']);
    vip = server.address;
    await eventually('the server listens', 15_000, async () =>
      (await stream(near, server.address, 5201, 1)).got === undefined ? undefined : true,
    );
    const name = 'bulk.marathon.l4lb.thisdcos.directory';
    vip = await eventually('the VIP has an address', 15_000, async () => {
      const { stdout } = await lab.tools.inContainer(near, ['getent', 'ahostsv4', name]);
      return /^11\.\S+/.exec(stdout)?.[0];
    });
  });
  afterAll(() => lab.down());

  it.each([
    ['of this host', () => near],
    ['of another host', () => far],
  ])(
    'takes a stream to a virtual IP from a container %s to the byte, and keeps its address',
    async (_what, from) => {
      const before = await passed('agent1');
      const { sent, got } = await stream(from(), vip, 6666);
      expect(got).toBe(`${sent} ${from().address}`);
      expect((await passed('agent1')) - before).toBeGreaterThan(MIB);
    },
  );

  it.each([
    ['of this host', () => near],
    ['of another host', () => far],
  ])('gives a stream from a virtual IP to a container %s to the byte', async (_what, to) => {
    const before = await passed(to().host);
    const { stdout } = await lab.tools.inContainer(to(), [NODE, BULK, 'fetch', vip, '6667']);
    const { sent, got } = JSON.parse(stdout) as { readonly sent: string; readonly got: string };
    expect(got).toBe(sent);
    expect((await passed(to().host)) - before).toBeGreaterThan(MIB);
  });

  it('leaves a stream whole whose agent is killed and comes back in the middle of it', async () => {
    const going = stream(near, vip, 6666, 2048);
    await labStop(lab.name, 'agent1', 'SIGKILL');
    await labStart(lab.name, 'agent1', () => undefined);
    const { sent, got } = await going;
    expect(got).toBe(`${sent} ${near.address}`);
    const before = await passed('agent1');
    await stream(near, vip, 6666);
    expect((await passed('agent1')) - before).toBeGreaterThan(MIB);
  });

  it('has what connection tracking is told put back, and goes on', async () => {
    await lab.sh('agent1', `echo 0 > /proc/sys/${LIBERAL_SYSCTL}`);
    await expect.poll(() => lab.sh('agent1', `cat /proc/sys/${LIBERAL_SYSCTL}`)).toBe('1\n');
    const before = await passed('agent1');
    const { sent, got } = await stream(near, vip, 6666);
    expect(got).toBe(`${sent} ${near.address}`);
    expect((await passed('agent1')) - before).toBeGreaterThan(MIB);
  });
});
