/** The packet tracer over the kernels of a whole cluster: what it says is what packets do. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually, webServer, type PlacedContainer } from '../../src/lab/demo-tools.ts';
import { labStart, labStop } from '../../src/lab/lab.ts';
import { labRun, listNative } from '../../src/lab/run.ts';
import { traceResult, type TraceResult } from '../../src/model/trace.ts';
import { TestLab } from '../support/lab.ts';

const quiet = (): void => undefined;

describe('a trace', () => {
  const lab = new TestLab('plt');
  let web1: PlacedContainer;
  let web2: PlacedContainer;

  const trace = async (from: string, to: string): Promise<TraceResult> =>
    traceResult.parse(
      await lab.tools.api('GET', `/v1/trace?${new URLSearchParams({ from, to }).toString()}`),
    );
  /** Records travel: the agent that is asked may hear of a container a moment later. */
  const known = (...names: readonly string[]): Promise<unknown> =>
    eventually('the agents know the containers', 20_000, async () => {
      for (const name of names)
        if ((await trace(name, 'agent1').catch(() => undefined)) === undefined) return undefined;
      return true;
    });

  beforeAll(async () => {
    await lab.up({ hosts: 2 });
    web1 = await lab.run('agent1', 'web1');
    web2 = await lab.run('agent2', 'web2');
    await known('web1', 'web2');
  });
  afterAll(() => lab.down());

  it('follows a packet from container to container, and its answer back', async () => {
    await lab.reaches(web1, web2);
    const result = await eventually('the trace finds the listener', 20_000, async () => {
      const found = await trace('web1', 'web2:80');
      return found.arrives ? found : undefined;
    });
    expect(result.packet).toEqual({
      source: web1.address,
      destination: web2.address,
      protocol: 'tcp',
      port: 80,
    });
    expect(result.hops.map(({ host, at }) => `${host} ${at}`)).toEqual([
      'agent1 container',
      'agent1 bridge',
      'agent1 route',
      'agent1 neighbour',
      'agent1 tunnel',
      'agent1 underlay',
      'agent2 tunnel',
      'agent2 route',
      'agent2 bridge',
      'agent2 container',
      'agent2 listener',
    ]);
    expect(result.back.at(-1)).toMatchObject({ host: 'agent1', at: 'container', ok: true });
  });

  it('says that nothing listens, and who says so', async () => {
    const result = await trace('web1', 'web2:81');
    expect(result).toMatchObject({ arrives: false, back: [] });
    expect(result.reason).toContain('agent2: nothing listens on tcp port 81 in web2');
  });

  it('goes to a VIP by its name, and on to what listens in the backend, on this host too', async () => {
    const run = (port: string) =>
      labRun({
        ...{
          lab: lab.name,
          host: 'agent1',
          name: `behind${port}`,
          argv: webServer('behind'),
          runtime: 'native',
        },
        labels: { VIP_0: `traced${port}:8080`, VIP_0_PORT: port },
      });
    await run('80');
    await run('81');
    const result = await eventually('the trace finds the listener', 20_000, async () => {
      const found = await trace('web1', 'traced80:8080').catch(() => undefined);
      return found?.arrives === true ? found : undefined;
    });
    expect(result.hops.map(({ at }) => at)).toEqual(expect.arrayContaining(['vip', 'listener']));
    const dead = await eventually('the VIP is known', 20_000, () =>
      trace('web1', 'traced81.marathon.l4lb.thisdcos.directory:8080').catch(() => undefined),
    );
    expect(dead.reason).toContain('agent1: nothing listens on tcp port 81 in behind81');
  });

  it('starts at a host too, and at whichever host the source is on', async () => {
    expect(await trace('agent1', 'web2:80')).toMatchObject({ arrives: true });
    expect(await trace('web2', 'agent1:62501')).toMatchObject({ arrives: true });
    expect(await trace('web2', web1.address)).toMatchObject({ arrives: true });
  });

  it('says so where a host has no route', async () => {
    expect(await trace('agent1', '192.0.2.1:80')).toMatchObject({
      arrives: false,
      packet: { source: '10.0.0.11', destination: '192.0.2.1' },
      reason: expect.stringContaining('no route to 192.0.2.1') as string,
    });
  });

  it("names another program's rule that drops the packet or its tunnel, on whichever host", async () => {
    await lab.sh('agent2', 'nft add table inet fw');
    try {
      await lab.sh(
        'agent2',
        "nft add chain inet fw fo '{ type filter hook forward priority 0; policy drop; }' && " +
          'nft add rule inet fw fo tcp dport 80 accept',
      );
      expect(await trace('web1', 'web2:80')).toMatchObject({
        arrives: false,
        reason: 'agent2: dropped by the policy of table inet fw chain fo',
        remedy: 'let it pass: nft insert rule inet fw fo iifname "m-dcos" oifname "vtep1024" accept',
      });
      await lab.sh('agent2', 'nft insert rule inet fw fo ct state established accept');
      expect(await trace('web1', 'web2:80')).toMatchObject({ arrives: true, doubts: [] });
      await lab.reaches(web1, web2);
      await lab.sh(
        'agent2',
        "nft add chain inet fw in '{ type filter hook input priority 0; }' && " +
          'nft add rule inet fw in udp dport 64000 drop',
      );
      expect(await trace('web1', 'web2:80')).toMatchObject({
        arrives: false,
        reason: expect.stringMatching(
          /^agent2: dropped by table inet fw chain in rule handle \d+$/,
        ) as string,
        remedy: 'let it pass: nft insert rule inet fw in udp dport 64000 accept',
      });
    } finally {
      await lab.sh('agent2', 'nft delete table inet fw');
    }
    expect(await trace('web1', 'web2:80')).toMatchObject({ arrives: true });
  });

  it('finds what is broken inside a container', async () => {
    const found = (await listNative(lab.name, 'agent2')).find(({ id }) => id === web2.id);
    await lab.sh('agent2', `nsenter -t ${found?.pid ?? 0} -n ip link set eth0 down`);
    const result = await trace('web1', 'web2:80');
    expect(result.reason).toContain("agent2: the container's interface eth0 is down");
    expect(result.remedy).toContain('restart the container');
  });

  it('names the host whose agent does not answer', async () => {
    await labStop(lab.name, 'agent2', 'SIGKILL');
    try {
      const result = await trace('web1', 'web2:80');
      expect(result.reason).toContain('the agent of agent2 does not answer');
    } finally {
      await labStart(lab.name, 'agent2', quiet);
    }
  });

  it('refuses what is nobody, and a port that is none', async () => {
    await expect(trace('nobody', 'web2:80')).rejects.toThrow('it is no container, task or host');
    await expect(trace('web1', 'web2:99999')).rejects.toThrow('Cannot trace to');
  });
});
