/** Virtual IPs on a lab: from hosts and containers, on one bridge and across hosts, through deaths and repairs. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually, type PlacedContainer } from '../../src/lab/demo-tools.ts';
import { labHeal, labPartition } from '../../src/lab/lab.ts';
import { labRun, removeNative } from '../../src/lab/run.ts';
import { CniByHand } from '../support/cni-by-hand.ts';
import { TestLab } from '../support/lab.ts';
import { asker, caller, namingServer, type Call } from '../support/vip-traffic.ts';

const SERVICE = { address: '11.213.148.254', port: 6666 };
const hosts = ['agent1', 'agent2', 'agent3'] as const;
const OVERLAY = /^9\.0\./;
const WAIT = { timeout: 30_000 };

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
    network = 'dcos',
  ): Promise<PlacedContainer> => {
    const init = { lab: lab.name, host, name, argv, labels, network, runtime: 'native' } as const;
    const { id, addresses } = await labRun(init);
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
  const answering = (
    from: string | PlacedContainer,
    target: { readonly address: string; readonly port: number },
    ...wanted: readonly string[]
  ): Promise<void> =>
    expect
      .poll(async () => names(await calls(from, 20 * wanted.length, target)), WAIT)
      .toEqual(new Set(wanted));
  /** They run, and are backends, before their programs listen. */
  const listening = async (placed: readonly PlacedContainer[]): Promise<void> => {
    for (const { name, address } of placed)
      await eventually(`${name} listens`, WAIT.timeout, async () =>
        names(await calls('agent1', 1, { address, port: 8080 })).has(name) ? true : undefined,
      );
  };
  /** Of a VIP by its id, once it has one. */
  const addressOf = (id: string): Promise<string> =>
    eventually(`${id} has an address`, WAIT.timeout, async () => {
      const { vips } = (await lab.tools.api('GET', '/v1/vips/all')) as {
        vips: { id: string; addresses: string[] }[];
      };
      return vips.find((each) => each.id === id)?.addresses[0];
    });
  /** Once it has three backends. */
  const vip = async (
    id = 'tcp/myservice.marathon:6666',
  ): Promise<{ applied_on: number; hosts_total: number; connections: number }> => {
    const { vips } = (await lab.tools.api('GET', `/v1/vips/inspect?vip=${id}`)) as {
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
    await listening(servers);
    await eventually('the VIP is on every host', 30_000, async () => {
      const { applied_on: applied, hosts_total: total } = await vip().catch(() => ({
        applied_on: 0,
        hosts_total: 1,
      }));
      return applied === total ? true : undefined;
    });
    udp = { ...udp, address: await addressOf('udp/asked.marathon:53') };
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
    for (const url of ['http://127.0.0.1:62080/v1/metrics', 'http://10.0.0.13:5051/metrics']) {
      const metrics = await lab.sh('agent3', `curl -s ${url}`);
      expect(metrics).toMatch(/portolan_vip_connections_total\{vip="myservice\.marathon[^}]*\} [1-9]/);
      expect(metrics).toMatch(/^l4lb_vips [1-9]/m);
    }
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

  it('of IPv6 answer hosts, containers and their own backends, and refuse as those of IPv4 do', async () => {
    const labels = { VIP_0: 'six:6666', VIP_0_PORT: '8080' };
    const six = [
      await run('agent1', 'six1', namingServer('six1'), labels, 'dcos6'),
      await run('agent2', 'six2', namingServer('six2'), labels, 'dcos6'),
    ];
    const caller6 = await run('agent3', 'caller6', ['sleep', '100000'], {}, 'dcos6');
    const target = { address: await addressOf('tcp/six.marathon:6666'), port: 6666 };
    expect(target.address).toMatch(/^fd01:c:/);
    for (const from of [...hosts, caller6, ...six]) await answering(from, target, 'six1', 'six2');
    const seen = (await calls(caller6, 20, target)).map((answer) => answer.caller);
    expect(new Set(seen)).toEqual(new Set([caller6.address]));
    for (const from of ['agent3', caller6])
      for (const other of [
        { ...target, port: 6667 },
        { address: 'fd01:c::1', port: 80 },
      ])
        expect(names(await calls(from, 1, other))).toEqual(new Set(['ECONNREFUSED']));
    for (const { host, id } of six) await removeNative(lab.name, host, id);
    for (const from of ['agent3', caller6])
      await expect
        .poll(async () => names(await calls(from, 1, target)), WAIT)
        .toEqual(new Set(['ECONNREFUSED']));
  });

  it('with affinity lead a client to one backend for as long as that is there', async () => {
    const labels = { VIP_0: 'sticky:6666', VIP_0_PORT: '8080', VIP_0_AFFINITY: 'client' };
    const sticky: PlacedContainer[] = [];
    for (const host of hosts) sticky.push(await run(host, `on-${host}`, namingServer(`on-${host}`), labels));
    await listening(sticky);
    const target = { address: await addressOf('tcp/sticky.marathon:6666'), port: 6666 };
    const clients = [...hosts, client, ...servers];
    /** The one backend of each client, once all clients have all three to choose from. */
    const chosen = (): Promise<readonly string[]> =>
      Promise.all(
        clients.map(async (from) => {
          const told = [...names(await calls(from, 10, target))];
          expect(told).toHaveLength(1);
          return told[0] ?? '';
        }),
      );
    await eventually('all hosts have all backends', WAIT.timeout, async () => {
      const found = await vip('tcp/sticky.marathon:6666').catch(() => undefined);
      return found !== undefined && found.applied_on === found.hosts_total ? true : undefined;
    });
    const before = await chosen();
    expect(await chosen()).toEqual(before);
    const gone = sticky.find(({ name }) => name === before[0]);
    if (gone === undefined) throw new Error(`nobody is called ${before[0]}`);
    await removeNative(lab.name, gone.host, gone.id);
    await expect.poll(async () => (await chosen()).includes(gone.name), WAIT).toBe(false);
    const after = await chosen();
    for (const [at, name] of before.entries()) if (name !== gone.name) expect(after[at]).toBe(name);
  });

  it('are shared by apps, several on one port, and of both protocols', async () => {
    await run('agent1', 'mixed1', namingServer('mixed1'), {
      ...{ VIP_0: 'mixed:80', VIP_0_PORT: '8080', VIP_1: '198.18.0.9:81', VIP_1_PORT: '8080' },
      ...{ VIP_2: '/mixed:80', VIP_2_PORT: '8080/udp' },
    });
    await run('agent2', 'mixed2', namingServer('mixed2'), { VIP_7: '/mixed:80', VIP_7_PORT: '8080' });
    const target = { address: await addressOf('tcp/mixed.marathon:80'), port: 80 };
    expect(await addressOf('udp/mixed.marathon:80')).toBe(target.address);
    for (const from of ['agent3', client]) {
      await answering(from, target, 'mixed1', 'mixed2');
      await answering(from, { address: '198.18.0.9', port: 81 }, 'mixed1');
    }
    expect(await inside(client, asker(target))).toMatch(/^mixed1 /);
  });

  it('are given to containers of other runtimes by the labels of CNI', async () => {
    const cni = new CniByHand(lab, 'agent2');
    const call = {
      container: 'vipcni',
      config: {
        args: {
          cni: {
            labels: [
              { key: 'VIP_0', value: 'bycni:80' },
              { key: 'VIP_0_PORT', value: '8080' },
            ],
          },
        },
      },
    };
    await cni.makeNamespaces('vipcni');
    expect((await cni.call('ADD', call)).status).toBe(0);
    const argv = ['nsenter', '--net=/run/netns/vipcni', ...namingServer('bycni')];
    const server = await lab.tools.startOnHost('agent2', argv);
    const target = { address: await addressOf('tcp/bycni.marathon:80'), port: 80 };
    for (const from of ['agent1', 'agent2', client]) await answering(from, target, 'bycni');
    expect((await cni.call('DEL', call)).status).toBe(0);
    await expect
      .poll(async () => names(await calls(client, 1, target)), WAIT)
      .toEqual(new Set(['ECONNREFUSED']));
    server.kill('SIGKILL');
    await cni.removeNamespaces('vipcni');
  });

  it('lead to ports of hosts, and on the host itself to the container behind them', async () => {
    const server = `require('net').createServer((s) => s.on('error', () => 0)
      .end(process.env.HOST + ' ' + s.remoteAddress.replace('::ffff:', '')))`;
    const app = { cpus: 0.1, mem: 32, instances: 3, constraints: [['hostname', 'UNIQUE']] };
    const node = (listen: string): string =>
      `exec '${process.execPath}' -e "${server}.listen(${listen}, '::')"`;
    await lab.tools.api('POST', '/v2/apps', {
      ...{ ...app, id: '/on-host', cmd: node('process.env.PORT0') },
      portDefinitions: [{ port: 0, labels: { VIP_0: 'onhost:80' } }],
    });
    await lab.tools.api('POST', '/v2/apps', {
      ...{ ...app, id: '/mapped', cmd: node('7171'), networks: [{ mode: 'container', name: 'dcos' }] },
      container: {
        type: 'MESOS',
        portMappings: [{ containerPort: 7171, hostPort: 0, labels: { VIP_0: 'mapped:80' } }],
      },
    });
    const agents = ['10.0.0.11', '10.0.0.12', '10.0.0.13'];
    for (const id of ['onhost', 'mapped']) {
      const target = { address: await addressOf(`tcp/${id}.marathon:80`), port: 80 };
      // The host is where a backend of host mode is at home: that is its hairpin.
      for (const from of [...hosts, client]) await answering(from, target, ...agents);
      const slots = await lab.sh(
        'agent1',
        `nft list table inet portolan_vip | grep -o '${target.address} .*: [^,}]*'`,
      );
      const own = slots.match(/: (9\.0\.\d+\.\d+) \. 7171/g) ?? [];
      expect(own).toHaveLength(id === 'mapped' ? 1 : 0);
      if (id === 'onhost') continue;
      const pid = `for p in $(pgrep -f 'listen.7171'); do
        grep -qz '^HOST=10.0.0.11$' /proc/$p/environ && echo $p && break; done`;
      const enter = ['nsenter', '-t', (await lab.sh('agent1', pid)).trim(), '-n'];
      const { stdout } = await lab.try('agent1', [...enter, ...caller(target, { count: 60 })]);
      expect(names(JSON.parse(stdout) as Call[])).toEqual(new Set(agents));
    }
    for (const id of ['on-host', 'mapped']) await lab.tools.api('DELETE', `/v2/apps//${id}`);
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
