/** Who may be a node: tokens, certificates and their renewal, removal, strangers; and masters that move. */
import { cp } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { sleep } from '../../src/base/clock.ts';
import { request } from '../../src/http/client.ts';
import { eventually, type PlacedContainer } from '../../src/lab/demo-tools.ts';
import { labStart, labStop } from '../../src/lab/lab.ts';
import { hostPaths } from '../../src/lab/paths.ts';
import { readAgentStatus } from '../../src/lab/readiness.ts';
import type { CommandResult } from '../../src/runtime/command.ts';
import { TestLab, type TestDaemon } from '../support/lab.ts';

const quiet = (): void => undefined;
const joined = z.object({ cluster: z.string(), node: z.string() });
const peers = z.object({
  peers: z.array(z.object({ node: z.string(), connected: z.boolean(), since: z.number().optional() })),
});

/** Ten rounds of what does not belong there, at an agent's and at a master's port. */
const strangers = `
  const { createConnection } = require('node:net');
  const send = (host, port, bytes) => new Promise((resolve) => {
    const socket = createConnection(port, host);
    socket.on('error', () => undefined).once('close', resolve).resume().end(bytes);
  });
  (async () => {
    for (let i = 0; i < 10; i++)
      for (const bytes of [Buffer.alloc(20000, i), Buffer.alloc(20000, 22), 'GET / HTTP/1.1\\r\\n\\r\\n']) {
        await send('10.0.0.11', 62501, bytes);
        await send('10.0.0.1', 5050, bytes);
      }
  })();
`;

describe('a cluster', () => {
  const lab = new TestLab('pltl');
  let web1: PlacedContainer;
  const portolan = (host: string, ...words: string[]): Promise<CommandResult> =>
    lab.try(host, [`${process.cwd()}/bin/portolan`, ...words]);
  const agent3 = { masters: ['10.0.0.1:5050'], address: '10.0.0.13', docker: { enabled: false } };
  const registered = async (host: string): Promise<boolean> =>
    (await readAgentStatus(lab.name, host))?.registered === true;
  const ask = async (socketPath: string, path: string): Promise<unknown> =>
    (await request({ socketPath }, { method: 'GET', path, timeoutMs: 5000 })).body;
  const refusals = (host: string): unknown[] =>
    lab
      .log(host)
      .filter(({ msg }) => msg === 'refused a connection')
      .map(({ reason }) => reason);

  beforeAll(async () => {
    await lab.up({ hosts: 3 });
    web1 = await lab.run('agent1', 'web1');
  });
  afterAll(() => lab.down());

  it('lets a host in with a token, once, in time, of this cluster; tells all others why not', async () => {
    await labStop(lab.name, 'agent3', 'SIGTERM');
    await lab.tools.api('DELETE', '/v1/nodes/agent3');
    await lab.sh('agent3', 'rm -r /var/lib/portolan/agent');
    const without = await lab.start('agent3', 'agent', agent3);
    expect(await without.ended).toBe(2);
    expect(without.said).toMatch(/joined no cluster: run "portolan join TOKEN@HOST:PORT"/);

    const created = await portolan('master1', 'token', 'create', '-o', 'json');
    const [token] = z.array(z.object({ id: z.string(), join: z.string() })).parse(JSON.parse(created.stdout));
    const short = await portolan('master1', 'token', 'create', '--ttl', '1s');
    await sleep(1100);
    for (const [invitation, status, why] of [
      ['nonsense', 2, /not TOKEN@HOST:PORT/],
      [token?.join.replace('@', 'A@') ?? '', 2, /cut or mistyped/],
      [short.stdout.trim().split(' ').at(-1) ?? '', 1, /expired at .*portolan token create/],
      [await tokenOfAnother(), 1, /is a master of another cluster than the token/],
    ] as const) {
      const refused = await portolan('agent3', 'join', invitation);
      expect([refused.status, refused.stderr]).toEqual([status, expect.stringMatching(why)]);
      expect(refused.stderr.trim().split('\n')).toHaveLength(1);
    }

    const good = await portolan('agent3', 'join', token?.join ?? '', '-o', 'json');
    expect(good.stderr).toContain('start the agent');
    const { node } = joined.parse(JSON.parse(good.stdout));
    expect((await portolan('agent3', 'join', token?.join ?? '')).stderr).toContain(`is node "${node}"`);
    const listed = await portolan('master1', 'token', 'ls');
    expect(listed.stdout).toMatch(new RegExp(`${token?.id ?? ''} +used .*${node}`));
    const second = await emptyConfig('agent2');
    const used = await portolan('agent2', 'join', token?.join ?? '', '--config', second);
    expect([used.status, used.stderr]).toEqual([1, expect.stringContaining(`was used by node "${node}"`)]);
  });

  /** For a node that would like to be a second one on its host. */
  async function emptyConfig(host: string): Promise<string> {
    const path = '/etc/portolan/second.json';
    await lab.sh(host, `echo '{"state_dir":"/run/second"}' > ${path}`);
    return path;
  }

  async function tokenOfAnother(): Promise<string> {
    const config = '/run/other.yaml';
    const made = await portolan('agent3', 'init', '--address', '10.0.0.13', '--config', config, '-o', 'json');
    expect(made.stderr).toContain('portolan token create');
    expect(await lab.sh('agent3', `cat ${config}`)).toBe('address: 10.0.0.13\n');
    const other = await lab.start('agent3', 'master', {
      ...{ address: '10.0.0.13', http_port: 6050, gossip_port: 6501, run_dir: '/run/other' },
    });
    const socket = 'unix:///run/other/api.sock';
    const created = await eventually('the other master', 15_000, async () => {
      const answer = await portolan('agent3', '--api', socket, 'token', 'create', '-o', 'json');
      return answer.status === 0 ? answer.stdout : undefined;
    });
    const health = await ask(`${hostPaths(lab.name, 'agent3').run}/other/api.sock`, '/health');
    expect(health).toMatchObject({ cluster: (JSON.parse(made.stdout) as { cluster: string }).cluster });
    const again = await portolan('agent3', 'init', '--config', config);
    expect([again.status, again.stderr]).toEqual([1, expect.stringMatching(/the master of this host runs/)]);
    await other.stop();
    const [first] = z.array(z.object({ join: z.string() })).parse(JSON.parse(created));
    return `${first?.join.split('@')[0] ?? ''}@10.0.0.1:5050`;
  }

  it('shuts out a node that was removed, for good, until it is given another token', async () => {
    const daemon = await lab.start('agent3', 'agent', agent3);
    await expect.poll(() => registered('agent3')).toBe(true);
    await lab.tools.api('DELETE', '/v1/nodes/agent3');
    expect(await daemon.ended).not.toBe(0);
    expect(daemon.said).toMatch(/removed this node.*\n.*joined no cluster/s);
    const again = await lab.start('agent3', 'agent', agent3);
    expect(await again.ended).toBe(2);
    await labStart(lab.name, 'agent3', quiet);
    await lab.reaches(web1, await lab.run('agent3', 'web3'));
  });

  it('lets a host go that leaves: its block is free, others forget it, its kernel holds nothing of ours', async () => {
    await labStop(lab.name, 'agent3', 'SIGTERM');
    const daemon = await lab.start('agent3', 'agent', agent3);
    await expect.poll(() => registered('agent3')).toBe(true);
    const { vtep, blocks } = await lab.grant('agent3');
    const routes = (): Promise<string> => lab.sh('agent1', 'ip route; bridge fdb show dev vtep1024');
    expect(await routes()).toContain(blocks[0]);
    expect(await lab.sh('agent3', 'ip link')).toContain('vtep1024');

    const left = await portolan('agent3', 'leave');
    expect(left.stdout + left.stderr).toMatch(
      /left the cluster as node n[a-z2-7]{25}; its agent needs another token/,
    );
    expect(await daemon.ended).not.toBe(0);
    expect(await lab.sh('agent3', 'ip -o link; ip route; nft list tables')).not.toMatch(
      /vtep1024|m-dcos|d-dcos|portolan|44\.128\.|(?<!\d)9\.0\./,
    );
    await expect.poll(routes, { timeout: 30_000 }).not.toContain(blocks[0]);
    expect(await routes()).not.toContain('10.0.0.13');
    const nodes = JSON.stringify(await lab.tools.api('GET', '/v1/nodes'));
    expect(nodes).not.toContain('agent3');
    expect(nodes).not.toContain(vtep);

    // It may come back with one of its other tokens, as another node; the lowest free block is its old one.
    await labStart(lab.name, 'agent3', quiet);
    expect((await lab.grant('agent3')).blocks).toEqual(blocks);
    await lab.reaches(web1, await lab.run('agent3', 'back3'));
  });

  it('is not disturbed by strangers at its ports, and says so once', async () => {
    const before = await readAgentStatus(lab.name, 'agent1');
    const sent = await lab.try('agent2', [process.execPath, '-e', strangers]);
    expect(sent).toMatchObject({ status: 0 });
    expect(refusals('agent1')).toContainEqual(expect.stringMatching(/does not speak our TLS/));
    expect(new Set(refusals('agent1')).size).toBe(refusals('agent1').length);
    expect(refusals('agent1').length).toBeLessThanOrEqual(8);
    expect((await readAgentStatus(lab.name, 'agent1'))?.registered).toBe(before?.registered);
    await lab.reaches(web1, await lab.run('agent2', 'web2'));
  });

  describe('with short-lived certificates', () => {
    let master: TestDaemon;

    it('renews them without dropping a connection, a record or a packet', async () => {
      await labStop(lab.name, 'master1', 'SIGTERM');
      master = await lab.start('master1', 'master', { address: '10.0.0.1', certificate_seconds: 12 });
      await eventually('the master', 15_000, () =>
        lab.tools.api('DELETE', '/v1/nodes/agent2').catch(() => undefined),
      );
      // It joins anew, with the next of its tokens, and a certificate of twelve seconds.
      await expect
        .poll(() => lab.log('agent2').filter(({ msg }) => msg === 'Joined the cluster').length)
        .toBe(2);
      await expect.poll(() => registered('agent2')).toBe(true);
      const web = await lab.run('agent2', 'during');
      await lab.reaches(web1, web);
      const since = async () => {
        const { agentSocket } = hostPaths(lab.name, 'agent2');
        const all = peers.parse(await ask(agentSocket, '/v1/status')).peers;
        return new Map(all.filter(({ connected }) => connected).map((peer) => [peer.node, peer.since]));
      };
      const connections = await since();
      const renewals = (): number =>
        lab.log('agent2').filter(({ msg }) => msg === 'Renewed the certificate').length;
      const failed: string[] = [];
      for (const until = Date.now() + 30_000; renewals() < 2; await sleep(20)) {
        const got = await lab.tools.fetchFromContainer(web1, web.address);
        if (got !== 'during') failed.push(got);
        if (Date.now() > until) throw new Error('no renewal in time');
      }
      expect(failed).toEqual([]);
      expect([...(await since()).keys()]).toEqual(expect.arrayContaining([...connections.keys()]));
      const after = await lab.run('agent1', 'after');
      await expect
        .poll(async () => (await lab.tools.endpoints('agent2')).map(({ name }) => name))
        .toContain(after.name);
    });

    it('finds a master that moved to another host by the records alone', async () => {
      await master.stop();
      const disk = (host: string): string => `${hostPaths(lab.name, host).disk}/portolan/master`;
      await cp(disk('master1'), disk('agent1'), { recursive: true });
      const moved = await lab.start('agent1', 'master', { address: '10.0.0.11', gossip_port: 62_511 });
      const masters = async (host: string): Promise<unknown> =>
        ask(hostPaths(lab.name, host).agentSocket, '/v1/masters');
      await expect.poll(() => masters('agent3')).toEqual({ masters: ['10.0.0.11:5050'] });
      const state = z.object({
        agents: z.array(
          z.object({
            ip: z.string(),
            overlays: z.array(z.object({ state: z.object({ status: z.string() }).optional() })),
          }),
        ),
      });
      const known = async (): Promise<readonly string[]> => {
        const body = await ask(hostPaths(lab.name, 'agent1').apiSocket, '/overlay-master/state').catch(
          () => ({
            agents: [],
          }),
        );
        return state
          .parse(body)
          .agents.filter(({ overlays }) => overlays.every((each) => each.state?.status === 'STATUS_OK'))
          .map(({ ip }) => ip);
      };
      await expect
        .poll(known, { timeout: 40_000 })
        .toEqual(expect.arrayContaining(['10.0.0.11', '10.0.0.13']));
      // Also one that was off meanwhile, and whose configuration names the old one.
      await labStop(lab.name, 'agent3', 'SIGTERM');
      await labStart(lab.name, 'agent3', quiet);
      await expect.poll(() => registered('agent3'), { timeout: 40_000 }).toBe(true);
      await moved.stop();
    });
  });
});
