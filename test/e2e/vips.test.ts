/** Virtual IPs on a lab: from hosts and containers, on one bridge and across hosts, through deaths and repairs. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually, type PlacedContainer } from '../../src/lab/demo-tools.ts';
import { labHeal, labPartition } from '../../src/lab/lab.ts';
import { labRun, removeNative } from '../../src/lab/run.ts';
import { TestLab } from '../support/lab.ts';
import { asker, caller, namingServer, type Call } from '../support/vip-traffic.ts';

const SERVICE = { address: '11.213.148.254', port: 6666 };
const hosts = ['agent1', 'agent2', 'agent3'] as const;
const OVERLAY = /^9\.0\./;

describe('virtual IPs', () => {
  const lab = new TestLab('plv');
  const servers: PlacedContainer[] = [];
  let client: PlacedContainer;
  let udp = { address: '', port: 53 };

  const run = async (
    host: string,
    name: string,
    argv: readonly string[],
    labels = {},
  ): Promise<PlacedContainer> => {
    const { id, addresses } = await labRun({ lab: lab.name, host, name, argv, labels, runtime: 'native' });
    return { name, host, id, address: addresses[0] ?? '' };
  };
  const onHost = async (host: string, argv: readonly string[]): Promise<string> =>
    (await lab.try(host, argv)).stdout;
  const inside = async (container: PlacedContainer, argv: readonly string[]): Promise<string> =>
    (await lab.tools.inContainer(container, argv)).stdout;
  const calls = async (
    from: string | PlacedContainer,
    count: number,
    target = SERVICE,
  ): Promise<readonly Call[]> => {
    const argv = caller(target, { count });
    return JSON.parse(
      typeof from === 'string' ? await onHost(from, argv) : await inside(from, argv),
    ) as Call[];
  };
  const filterBridges = async (filtered: number): Promise<void> => {
    for (const host of hosts)
      await lab.sh(host, `echo ${filtered} > /proc/sys/net/bridge/bridge-nf-call-iptables || true`);
  };
  const names = (answers: readonly Call[]): ReadonlySet<string> =>
    new Set(answers.map(({ name, error }) => name ?? `${error}`));
  const vip = async (): Promise<{ applied_on: number; hosts_total: number; connections: number }> => {
    const { vips } = (await lab.tools.api('GET', '/v1/vips/inspect?vip=tcp/myservice.marathon:6666')) as {
      vips: [{ applied_on: number; hosts_total: number; connections: number; backends: unknown[] }];
    };
    if (vips[0].backends.length < 3) throw new Error('not all backends are known');
    return vips[0];
  };

  beforeAll(async () => {
    await lab.up({ hosts: 3 });
    const labels = {
      ...{ VIP_0: '/myservice:6666', VIP_0_PORT: '8080', VIP_1: 'asked:53', VIP_1_PORT: '8080/udp' },
    };
    for (const [index, host] of hosts.entries())
      servers.push(await run(host, `web${index + 1}`, namingServer(`web${index + 1}`), labels));
    client = await run('agent1', 'client', ['sleep', '100000']);
    await eventually('the VIP is on every host', 30_000, async () => {
      const { applied_on: applied, hosts_total: total } = await vip().catch(() => ({
        applied_on: 0,
        hosts_total: 1,
      }));
      return applied === total ? true : undefined;
    });
    const listed = (await lab.tools.api('GET', '/v1/vips/all')) as {
      vips: { id: string; addresses: string[] }[];
    };
    udp = {
      ...udp,
      address: listed.vips.find(({ id }) => id === 'udp/asked.marathon:53')?.addresses[0] ?? '',
    };
  });
  afterAll(() => lab.down());

  it('answer from every host, from every backend, and see the host itself', async () => {
    for (const host of hosts) {
      const answers = await calls(host, 60);
      expect(names(answers)).toEqual(new Set(['web1', 'web2', 'web3']));
      const own = await lab.sh(host, "ip -o -4 address | awk '{print $4}' | cut -d/ -f1");
      for (const answer of answers) expect(own.split('\n')).toContain(answer.caller);
    }
  });

  it.each([0, 1])(
    'keep the source of containers, on one bridge too, with br_netfilter %s',
    async (filtered) => {
      await filterBridges(filtered);
      const answers = await calls(client, 60);
      expect(names(answers)).toEqual(new Set(['web1', 'web2', 'web3']));
      expect(new Set(answers.map((answer) => answer.caller))).toEqual(new Set([client.address]));
    },
  );

  it('answer a backend that calls its own VIP, which others see by its address', async () => {
    for (const server of servers) {
      const answers = await calls(server, 60);
      expect(names(answers)).toEqual(new Set(['web1', 'web2', 'web3']));
      for (const { name, caller: seen } of answers)
        if (name === server.name) expect(seen).toMatch(OVERLAY);
        else expect(seen).toBe(server.address);
    }
  });

  it('answer over UDP from hosts and containers', async () => {
    for (const server of servers)
      await eventually(`${server.name} answers`, 20_000, async () =>
        (await inside(client, asker(udp))).startsWith(server.name) ? true : undefined,
      );
    expect((await inside(client, asker(udp))).trim().split(' ')[1]).toBe(client.address);
    expect(await onHost('agent2', asker(udp))).toMatch(/^web/);
  });

  it.each([0, 1])(
    'refuse other ports, and names that nobody has, at once, with br_netfilter %s',
    async (filtered) => {
      await filterBridges(filtered);
      for (const from of ['agent2', client])
        for (const target of [
          { ...SERVICE, port: 6667 },
          { address: '11.1.1.1', port: 80 },
        ]) {
          const [answer] = await calls(from, 1, target);
          expect(answer?.error).toBe('ECONNREFUSED');
        }
      expect((await inside(client, asker({ address: '11.1.1.1', port: 53 }))).trim()).toBe('ECONNREFUSED');
    },
  );

  it('have their connections counted, and say on how many hosts they are applied', async () => {
    const before = (await vip()).connections;
    await calls('agent3', 7);
    expect((await vip()).connections).toBe(before + 7);
    const metrics = await lab.sh('agent3', 'curl -s http://10.0.0.13:5051/metrics');
    expect(metrics).toMatch(/portolan_vip_connections_total\{vip="myservice\.marathon[^}]*\} [1-9]/);
    const documented = await lab.sh('agent1', 'curl -s http://127.0.0.1:62080/v1/vips');
    expect(JSON.parse(documented)).toContainEqual(
      expect.objectContaining({ vip: 'myservice.marathon.l4lb.thisdcos.directory:6666', protocol: 'tcp' }),
    );
  });

  it('are put back and told when somebody changes them', async () => {
    const told = (): number =>
      lab
        .log('agent1')
        .filter((line) => line['msg'] === 'repaired what somebody else changed' && line['object'] === 'vip')
        .length;
    for (const damage of [
      'for share in 0 1 2 3; do nft flush map inet portolan_vip slots4-$share; done',
      `nft delete element inet portolan_vip services4 '{ ${SERVICE.address} . tcp . ${SERVICE.port} }'`,
      "nft add element inet portolan_vip services4 '{ 11.9.9.9 . tcp . 80 : 0:1 }'",
      'nft flush chain inet portolan_vip nat-prerouting',
      'nft delete table inet portolan_vip',
      'nft delete table bridge portolan_vip',
    ]) {
      const before = told();
      await lab.sh('agent1', damage);
      await expect.poll(told, { timeout: 30_000 }).toBeGreaterThan(before);
      expect(names(await calls(client, 60))).toEqual(new Set(['web1', 'web2', 'web3']));
      expect(await lab.sh('agent1', 'nft list map inet portolan_vip services4')).not.toContain('11.9.9.9');
    }
  });

  it('lose the backends of a host that is cut off, and have them again when it is back', async () => {
    await labPartition(lab.name, ['agent3']);
    await expect
      .poll(async () => names(await calls('agent1', 30)), { timeout: 30_000 })
      .toEqual(new Set(['web1', 'web2']));
    await expect
      .poll(async () => names(await calls('agent3', 30)), { timeout: 30_000 })
      .toEqual(new Set(['web3']));
    await labHeal(lab.name);
    await expect
      .poll(async () => names(await calls('agent1', 60)), { timeout: 30_000 })
      .toEqual(new Set(['web1', 'web2', 'web3']));
  });

  it('are refused when their last backend is gone, and forgotten', async () => {
    const last = await run('agent2', 'last', namingServer('last'), {
      VIP_0: '198.18.0.7:80',
      VIP_0_PORT: '8080',
    });
    const target = { address: '198.18.0.7', port: 80 };
    for (const from of ['agent1', client])
      await expect
        .poll(async () => names(await calls(from, 1, target)), { timeout: 30_000 })
        .toEqual(new Set(['last']));
    await removeNative(lab.name, 'agent2', last.id);
    await expect
      .poll(
        async () =>
          (
            await lab.sh('agent1', 'ip route show proto 225 198.18.0.7; nft list table inet portolan_vip')
          ).includes('198.18.0.7'),
        { timeout: 30_000 },
      )
      .toBe(false);
  });
});
