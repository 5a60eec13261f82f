/** The lab's own promises, on whole clusters: what it brings up, what it breaks, and that it leaves nothing. */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { request } from '../../src/http/client.ts';
import { eventually, type PlacedContainer } from '../../src/lab/demo-tools.ts';
import { labHeal, labPartition, labReboot, labStart, labStop, labUp } from '../../src/lab/lab.ts';
import { hostPaths, labPaths } from '../../src/lab/paths.ts';
import { knownNodes } from '../../src/lab/readiness.ts';
import { labRun, removeNative } from '../../src/lab/run.ts';
import { readLabState } from '../../src/lab/state.ts';
import { labStatus } from '../../src/lab/status.ts';
import { TestLab } from '../support/lab.ts';
import { rootNetwork, tracesOf } from '../support/machine.ts';

describe('a lab of three hosts', () => {
  const lab = new TestLab('plbe');
  let web1: PlacedContainer;
  let web2: PlacedContainer;

  beforeAll(async () => {
    await lab.up({ hosts: 3 });
    web1 = await lab.run('agent1', 'web1');
    web2 = await lab.run('agent2', 'web2');
  });
  afterAll(() => lab.down());

  it('lists its hosts with their blocks', async () => {
    const { rows } = await labStatus(lab.name);
    expect(rows.map((row) => `${row.host} ${row.state}`)).toEqual([
      'master1 ready',
      'agent1 ready',
      'agent2 ready',
      'agent3 ready',
    ]);
    expect(rows.find((row) => row.host === 'agent1')?.blocks[0]).toMatch(/^dcos 9\.0\.\d+\.0\/24$/);
  });

  it('answers on its unix socket and on a port of 127.0.0.1', async () => {
    const { apiPort } = (await readLabState(lab.name)) ?? {};
    const ask = { method: 'GET', path: '/health', timeoutMs: 5_000 } as const;
    expect((await request({ socketPath: labPaths(lab.name).apiSocket }, ask)).status).toBe(200);
    expect((await request({ host: '127.0.0.1', port: apiPort ?? 0 }, ask)).status).toBe(200);
  });

  it('carries traffic between containers of different hosts, each with its own address', async () => {
    expect(web1.address).not.toBe(web2.address);
    await lab.reaches(web1, web2);
    await lab.reaches(web2, web1);
  });

  it('is left as it is by a second "lab up"', async () => {
    const before = await readLabState(lab.name);
    await lab.up({});
    expect((await readLabState(lab.name))?.processes).toEqual(before?.processes);
    await lab.reaches(web1, web2);
  });

  it('is mended by "lab up" when a daemon has died', async () => {
    const agent = (await readLabState(lab.name))?.processes.find(
      (each) => each.host === 'agent3' && each.kind === 'agent',
    );
    process.kill(agent?.pid ?? 0, 'SIGKILL');
    await lab.up({});
    const { rows } = await labStatus(lab.name);
    expect(rows.find((row) => row.host === 'agent3')?.state).toBe('ready');
  });

  it('publishes a port of a container on every address of its host', async () => {
    const ports = [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' as const }];
    const argv = [
      'busybox',
      'sh',
      '-c',
      'mkdir -p /tmp/w; echo open > /tmp/w/index.html; exec busybox httpd -f -h /tmp/w',
    ];
    const open = await labRun({
      lab: lab.name,
      host: 'agent3',
      name: 'open',
      argv,
      runtime: 'native',
      ports,
    });
    await eventually('agent1 asks agent3:8080', 10_000, async () =>
      (await lab.tools.fetchFromHost('agent1', '10.0.0.13:8080')) === 'open' ? true : undefined,
    );
    await removeNative(lab.name, 'agent3', open.id);
  });

  it('keeps containers reachable while an agent is dead, and knows them when it is back', async () => {
    await labStop(lab.name, 'agent1', 'SIGKILL');
    await lab.reaches(web2, web1);
    await labStart(lab.name, 'agent1', () => undefined);
    await lab.reaches(web2, web1);
    await removeNative(lab.name, 'agent1', web1.id);
    web1 = await lab.run('agent1', 'web1');
    await lab.reaches(web2, web1);
  });

  it('cuts hosts off and heals', async () => {
    await labPartition(lab.name, ['agent2']);
    expect(await lab.tools.fetchFromContainer(web1, web2.address)).toContain('failed');
    await labHeal(lab.name);
    await lab.reaches(web1, web2);
  });

  it('gives a rebooted host the same VTEP and block, and an empty kernel to fill again', async () => {
    const before = await lab.grant('agent2');
    await labReboot(lab.name, 'agent2', () => undefined);
    expect(await lab.grant('agent2')).toEqual(before);
    expect(await lab.sh('agent2', 'ip -d link show vtep1024')).toContain(before.mac);
    web2 = await lab.run('agent2', 'web2-again');
    await lab.reaches(web1, web2);
    await lab.reaches(web2, web1);
  });

  it('lives on without a master, through restart and reboot of an agent', async () => {
    const before = await lab.grant('agent3');
    await labStop(lab.name, 'master1', 'SIGKILL');
    await labStop(lab.name, 'agent1', 'SIGKILL');
    await labStart(lab.name, 'agent1', () => undefined);
    await labReboot(lab.name, 'agent3', () => undefined);
    expect(await lab.grant('agent3')).toEqual(before);
    const web3 = await lab.run('agent3', 'web3');
    await lab.reaches(web1, web3);
    await lab.reaches(web3, web1);
    await labStart(lab.name, 'master1', () => undefined);
  });

  it('grows by a host that all others learn of', async () => {
    await labUp(lab.name, { hosts: 4 }, () => undefined);
    expect(await knownNodes(lab.name, 'agent1')).toContain('agent4');
    const web4 = await lab.run('agent4', 'web4');
    await lab.reaches(web1, web4);
  });

  it('writes where a daemon says what it does', () => {
    const log = readFileSync(`${hostPaths(lab.name, 'agent1').log}/agent.log`, 'utf8');
    expect(log.split('\n')[0]).toMatch(/^\{"level":/);
  });

  it('names the hosts when asked for one that is not there', async () => {
    await expect(labStop(lab.name, 'agent9', 'SIGTERM')).rejects.toMatchObject({
      code: 'not-found',
      remedy: expect.stringContaining('agent1') as string,
    });
  });
});

describe('lab down', () => {
  it('leaves the machine as it was, containers and a partition included', async () => {
    const lab = new TestLab('plbd');
    const before = rootNetwork();
    try {
      await lab.up({ hosts: 2 });
      await lab.run('agent1', 'web1');
      await labPartition(lab.name, ['agent1']);
      await labStop(lab.name, 'agent2', 'SIGTERM');
    } finally {
      await lab.down();
    }
    expect(tracesOf(lab.name)).toEqual([]);
    expect(rootNetwork()).toEqual(before);
  });
});
