/** Hosts and overlays that come and go on a whole cluster, and state that got damaged. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { eventually, type PlacedContainer } from '../../src/lab/demo-tools.ts';
import { labHeal, labOff, labPartition, labStart, labStop, labUp } from '../../src/lab/lab.ts';
import { hostPaths } from '../../src/lab/paths.ts';
import { knownNodes, readAgentStatus } from '../../src/lab/readiness.ts';
import { listNative, removeNative } from '../../src/lab/run.ts';
import { TestLab } from '../support/lab.ts';

const nodes = z.object({
  nodes: z.array(
    z.object({
      id: z.string(),
      name: z.string(),
      address: z.string(),
      overlays: z.record(z.string(), z.string()),
    }),
  ),
});
type Node = z.infer<typeof nodes>['nodes'][number];

const quiet = (): void => undefined;

describe('a cluster', () => {
  const lab = new TestLab('plm');
  let web1: PlacedContainer;

  const listed = async (): Promise<readonly Node[]> =>
    nodes.parse(await lab.tools.api('GET', '/v1/nodes')).nodes;
  const named = async (name: string): Promise<Node | undefined> =>
    (await listed()).find((node) => node.name === name);
  const blockOf = async (name: string): Promise<string | undefined> => (await named(name))?.overlays['dcos'];
  const routes = (host: string): Promise<string> => lab.sh(host, 'ip route show proto 225');
  const registered = async (host: string): Promise<boolean> =>
    (await readAgentStatus(lab.name, host))?.registered === true;
  /** The container as it is now: it may have been given another address. */
  const now = async (container: PlacedContainer): Promise<PlacedContainer> => {
    // The agent's socket is away for a moment while it takes another identity.
    const all = await listNative(lab.name, container.host).catch(() => []);
    const found = all.find(({ id }) => id === container.id);
    return { ...container, address: found?.addresses[0]?.split('/')[0] ?? '' };
  };
  const moved = (container: PlacedContainer): Promise<PlacedContainer> =>
    eventually(`${container.name} has another address`, 15_000, async () => {
      const found = await now(container);
      return found.address === '' || found.address === container.address ? undefined : found;
    });

  beforeAll(async () => {
    await lab.up({ hosts: 3 });
    web1 = await lab.run('agent1', 'web1');
  });
  afterAll(() => lab.down());

  it('forgets a dead host that is removed, and takes it in again as a new one when it comes back', async () => {
    const web3 = await lab.run('agent3', 'web3');
    await lab.reaches(web1, web3);
    const before = await named('agent3');
    await labStop(lab.name, 'agent3', 'SIGKILL');
    await lab.tools.api('DELETE', '/v1/nodes/agent3');
    await expect.poll(() => routes('agent1')).not.toContain(before?.overlays['dcos']);
    expect(await lab.sh('agent1', 'bridge fdb show dev vtep1024')).not.toContain('10.0.0.13');
    expect(await knownNodes(lab.name, 'agent1')).not.toContain('agent3');
    await labStart(lab.name, 'agent3', quiet);
    const after = await named('agent3');
    expect(after?.id).not.toBe(before?.id);
    // The lowest free block is the one that came back; the container that ran on has an address of it of its own.
    expect(after?.overlays).toEqual(before?.overlays);
    await lab.reaches(web1, await moved(web3));
    await removeNative(lab.name, 'agent3', web3.id);
  });

  it('gives a living host that is removed another identity, and its containers other addresses', async () => {
    const web2 = await lab.run('agent2', 'web2');
    await lab.reaches(web1, web2);
    const before = await named('agent2');
    await lab.tools.api('POST', '/overlay-master/agents/delete', { agents: ['10.0.0.12', '10.9.9.9'] });
    await expect.poll(async () => (await named('agent2'))?.id ?? before?.id).not.toBe(before?.id);
    const again = await moved(web2);
    await lab.reaches(web1, again);
    await lab.reaches(again, web1);
    await expect
      .poll(async () => (await lab.tools.endpoints('agent1')).find(({ name }) => name === 'web2')?.addresses)
      .toEqual([`${again.address}/25`]);
    await removeNative(lab.name, 'agent2', web2.id);
  });

  it('gives the block of a host that is cut off to another one, and nothing of the old holder survives healing', async () => {
    const web3 = await lab.run('agent3', 'web3');
    const block = await blockOf('agent3');
    await labPartition(lab.name, ['agent3']);
    await lab.tools.api('DELETE', '/v1/nodes/agent3');
    await labUp(lab.name, { hosts: 4 }, quiet);
    expect(await blockOf('agent4')).toBe(block);
    const web4 = await lab.run('agent4', 'web4');
    await lab.reaches(web1, web4);
    const during = await lab.run('agent1', 'during');
    // The old holder cannot know yet, and keeps its own running.
    expect((await now(web3)).address).toBe(web3.address);

    await labHeal(lab.name);
    const again = await moved(web3);
    expect(await blockOf('agent3')).not.toBe(block);
    for (const from of [web1, again]) await lab.reaches(from, web4);
    await lab.reaches(web1, again);
    // It has everything that was written while it was away.
    await lab.reaches(again, during);
    expect((await lab.tools.endpoints('agent3')).map(({ name }) => name)).toContain('during');
    await removeNative(lab.name, 'agent1', during.id);
    await removeNative(lab.name, 'agent3', web3.id);
  });

  it('carries an overlay of both families that is added while it runs', async () => {
    const body = {
      name: 'blue',
      ...{ subnet: '10.64.0.0/16', prefix: 24, subnet6: 'fd02::/48', prefix6: 80, enabled: true },
    };
    await lab.tools.api('POST', '/v1/networks', body);
    const [one, two] = await Promise.all(['agent1', 'agent2'].map((host) => onNetwork(host, 'blue')));
    expect(one?.addresses).toHaveLength(2);
    for (const address of two?.addresses ?? []) await pings('agent1', one?.id ?? '', address);
    await expect(lab.tools.api('DELETE', '/v1/networks/blue')).rejects.toThrow('nodes hold blocks of it');
    const overlapping = { name: 'red', subnet: '10.64.8.0/22', prefix: 24, enabled: true };
    await expect(lab.tools.api('POST', '/v1/networks', overlapping)).rejects.toThrow(
      /10\.64\.8\.0\/22.*intersects 10\.64\.0\.0\/16/,
    );
  });

  it('carries an overlay of IPv6 alone, container to container across hosts', async () => {
    const [one, two] = await Promise.all(['agent1', 'agent2'].map((host) => onNetwork(host, 'dcos6')));
    await pings('agent1', one?.id ?? '', two?.addresses[0] ?? '');
    await pings('agent2', two?.id ?? '', one?.addresses[0] ?? '');
  });

  /** A container on the overlay, as soon as the host has a block of it. */
  function onNetwork(
    host: string,
    network: string,
  ): Promise<{ readonly id: string; readonly addresses: readonly string[] }> {
    return eventually(`a container on ${network} of ${host}`, 20_000, async () => {
      const started = await portolan(
        host,
        'container',
        'run',
        '--detach',
        '--network',
        network,
        '-o',
        'json',
        '--',
        'sleep',
        '1000',
      );
      if (started.status !== 0) return undefined;
      const [info] = z
        .array(z.object({ id: z.string(), addresses: z.array(z.string()) }))
        .parse(JSON.parse(started.stdout));
      return info && { id: info.id, addresses: info.addresses.map((each) => each.split('/')[0] ?? '') };
    });
  }
  const portolan = (host: string, ...words: string[]): ReturnType<typeof lab.try> =>
    lab.try(host, [`${process.cwd()}/bin/portolan`, ...words]);
  const pings = (host: string, id: string, address: string): Promise<unknown> =>
    eventually(`${host} pings ${address}`, 15_000, async () => {
      const { status } = await portolan(host, 'container', 'exec', id, '--', 'ping', '-c1', '-W1', address);
      return status === 0 ? true : undefined;
    });

  it('has gateways without a block, which reach containers all the same', async () => {
    await labOff(lab.name, 'agent4');
    await lab.tools.api('DELETE', '/v1/nodes/agent4');
    await labStart(lab.name, 'agent4', quiet);
    await labStop(lab.name, 'agent4', 'SIGTERM');
    await lab.tools.api('DELETE', '/v1/nodes/agent4');
    const gateway = await lab.start('agent4', 'agent', {
      ...{ masters: ['10.0.0.1:5050'], address: '10.0.0.14', docker: { enabled: false } },
      network_config: { allocate_subnet: false },
      join: await lab.invitation(),
    });
    await expect.poll(async () => (await named('agent4'))?.overlays['dcos']).toBe('');
    await lab.tools.awaitAnswer('agent4', web1.address, 'web1');
    // Of overlays: what is the host's own, for names and for containers without an overlay, it has like all others.
    expect(await lab.sh('agent4', 'ip -br link show type bridge')).not.toMatch(/\b[md]-dcos/);
    await gateway.stop();
  });

  it('refuses the agent of another cluster by name, and leaves what it carries working', async () => {
    const web2 = await lab.run('agent2', 'web2');
    await labStop(lab.name, 'agent3', 'SIGTERM');
    const other = await lab.start('agent3', 'master', {
      ...{ address: '10.0.0.13', http_port: 6050, gossip_port: 6501 },
      ...{ state_dir: '/run/other/state', run_dir: '/run/other' },
    });
    await labStop(lab.name, 'agent2', 'SIGTERM');
    const strayed = await lab.start('agent2', 'agent', {
      ...{ masters: ['10.0.0.13:6050'], address: '10.0.0.12', docker: { enabled: false } },
    });
    await expect
      .poll(() => strayed.said)
      .toMatch(/https:\/\/10\.0\.0\.13:6050: its certificate is not of this cluster's authority/);
    expect(await registered('agent2')).toBe(false);
    await lab.tools.awaitAnswer('agent1', web2.address, 'web2');
    await strayed.stop();
    await other.stop();
    for (const host of ['agent2', 'agent3']) await labStart(lab.name, host, quiet);
  });

  it.each([
    [
      'agent',
      'agent1',
      'agent/agent.journal',
      /agent\.journal.* is damaged .*join again .*registers anew with a new block/,
    ],
    ['master', 'master1', 'master/store/data.mdb', /checksum does not match: restore the state directory/],
  ] as const)(
    'says of a damaged state of the %s what is lost, and throws nothing away',
    async (kind, host, file, message) => {
      await labStop(lab.name, host, 'SIGTERM');
      const path = join(hostPaths(lab.name, host).disk, 'portolan', file);
      const sound = readFileSync(path);
      const damaged = flipped(sound, (await lab.grant('agent2')).blocks[0] ?? '');
      writeFileSync(path, damaged);
      const daemon = await lab.start(host, kind, {});
      expect(await daemon.ended).toBe(1);
      expect(daemon.said).toMatch(message);
      expect(daemon.said.trim().split('\n')).toHaveLength(1);
      expect(readFileSync(path).equals(damaged)).toBe(true);
      writeFileSync(path, sound);
      await labStart(lab.name, host, quiet);
      await lab.reaches(await now(web1), web1);
    },
  );

  it('takes the overlay JSON of DC/OS, with one more overlay, from a restarted master', async () => {
    await labStop(lab.name, 'master1', 'SIGTERM');
    const master = await lab.start('master1', 'master', dcosConfiguration);
    const green = await eventually('a block of green', 30_000, () =>
      listed().then(
        (all) => all.find(({ name }) => name === 'agent1')?.overlays['green'],
        () => undefined,
      ),
    );
    expect(green).toMatch(/^10\.77\.[0-3]\.0\/24$/);
    const [one, two] = await Promise.all(['agent1', 'agent2'].map((host) => onNetwork(host, 'green')));
    await pings('agent1', one?.id ?? '', two?.addresses[0] ?? '');
    await master.stop();
    // An overlay of which agents hold blocks cannot vanish.
    const refused = await lab.start('master1', 'master', {});
    expect(await refused.ended).toBe(2);
    expect(refused.said).toContain('green');
  });
});

/** One bit is another wherever `text` stands: a database keeps older pages too. */
function flipped(sound: Buffer, text: string): Buffer {
  const damaged = Buffer.from(sound);
  for (let at = sound.indexOf(text); at >= 0; at = sound.indexOf(text, at + 1))
    damaged[at] = (sound[at] ?? 0) ^ 1;
  return damaged;
}

const dcosConfiguration = {
  replicated_log_dir: '/var/lib/dcos/overlay/log',
  replicated_log_timeout: '5mins',
  zk: { url: 'zk://10.0.0.1:2181,10.0.0.2:2181/mesos', quorum: 2, session_timeout: 10 },
  network: {
    vtep_subnet: '44.128.0.0/20',
    vtep_subnet6: 'fd01:a::/64',
    vtep_mac_oui: '70:B3:D5:00:00:00',
    vtep_mtu: 1500,
    overlays: [
      { name: 'dcos', subnet: '9.0.0.0/8', prefix: 24 },
      { name: 'dcos6', subnet6: 'fd01:b::/64', prefix6: 80, enabled: true },
      { name: 'green', subnet: '10.77.0.0/21', prefix: 24 },
    ],
  },
};
