/** Names on a lab: from hosts and containers of every kind, through cuts, and by way of upstreams. */
import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { mainProgram } from '../../src/lab/daemons.ts';
import { BUSYBOX_IMAGE } from '../../src/lab/docker-image.ts';
import { eventually, type PlacedContainer } from '../../src/lab/demo-tools.ts';
import { labHeal, labPartition, labStart, labStop } from '../../src/lab/lab.ts';
import { labRun } from '../../src/lab/run.ts';
import { TestLab } from '../support/lab.ts';

const hosts = ['master1', 'agent1', 'agent2'] as const;
const own = (name: string, zone = 'containerip'): string =>
  `${name}.marathon.${zone}.dcos.thisdcos.directory`;

describe('names', () => {
  const lab = new TestLab('pld');
  const containers: PlacedContainer[] = [];
  let docker = '';

  const dig = async (host: string, ...words: readonly string[]): Promise<readonly string[]> => {
    const { stdout } = await lab.try(host, ['dig', '+short', '+tries=2', '+time=5', ...words]);
    return stdout.split('\n').filter((line) => line !== '');
  };
  const inside = async (container: PlacedContainer, ...argv: readonly string[]): Promise<string> =>
    (await lab.tools.inContainer(container, argv)).stdout;
  const [web1, web2] = [() => containers[0] as PlacedContainer, () => containers[1] as PlacedContainer];

  beforeAll(async () => {
    await lab.up({ hosts: 2, docker: true });
    const labels = { VIP_0: '/shop:80', VIP_0_PORT: '80' };
    for (const [host, name] of [
      ['agent1', 'web1'],
      ['agent2', 'web2'],
    ] as const) {
      const ports = [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' as const }];
      const init = { lab: lab.name, host, name, argv: ['sleep', '100000'], labels, ports };
      const { id, addresses } = await labRun({ ...init, runtime: 'native' });
      containers.push({ name, host, id, address: addresses[0] ?? '' });
    }
    const { id } = await labRun({
      ...{ lab: lab.name, host: 'agent1', name: 'web3', argv: ['sleep', '100000'] },
      runtime: 'docker',
    });
    docker = id;
    for (const host of hosts)
      for (const name of ['web1', 'web2', 'web3'])
        await eventually(`${host} knows ${name}`, 30_000, async () =>
          (await dig(host, own(name))).length === 1 ? true : undefined,
        );
  });
  afterAll(() => lab.down());

  it('are known on every host, by every word for them', async () => {
    const agents: Record<string, string> = { agent1: '10.0.0.11', agent2: '10.0.0.12' };
    for (const host of hosts)
      for (const { name, host: on, address } of containers) {
        expect(await dig(host, own(name))).toEqual([address]);
        expect(await dig(host, own(name, 'agentip'))).toEqual([agents[on]]);
        expect(await dig(host, own(name, 'autoip'))).toEqual([agents[on]]);
        expect(await dig(host, `${name}.marathon.mesos`)).toEqual([address]);
        expect(await dig(host, `${name}.marathon.slave.mesos`)).toEqual([agents[on]]);
        expect(await dig(host, '-x', address)).toEqual([`${own(name)}.`]);
      }
    expect((await dig('agent1', 'slave.mesos')).toSorted()).toEqual(['10.0.0.1', '10.0.0.11', '10.0.0.12']);
    for (const name of ['leader.mesos', 'master.mesos', 'marathon.mesos', 'leader.dcos.thisdcos.directory'])
      expect(await dig('agent2', name), name).toEqual(['10.0.0.1']);
    expect(await dig('agent2', 'ready.spartan')).toEqual(['127.0.0.1']);
  });

  it('lead to services by SRV, on the host and in the container', async () => {
    const [row = ''] = await dig('agent2', 'SRV', '_web1._tcp.marathon.slave.mesos');
    expect(row).toMatch(/^0 1 8080 web1-[a-z0-9]{5}-n[a-z2-7]{25}\.marathon\.slave\.mesos\.$/);
    expect(await dig('agent2', row.split(' ')[3] ?? '')).toEqual(['10.0.0.11']);
  });

  it('are all that DC/OS and Mesos-DNS document, of a task of Marathon', async () => {
    const small = { cpus: 0.01, mem: 32, constraints: [['hostname', 'LIKE', 'agent1']] };
    const often = { intervalSeconds: 1, gracePeriodSeconds: 60 };
    await lab.tools.api('POST', '/v2/apps', {
      id: '/outer/sub/myapp',
      cmd: 'sleep 100000',
      networks: [{ mode: 'container', name: 'dcos' }],
      container: {
        type: 'MESOS',
        portMappings: [
          { containerPort: 8080, hostPort: 31_080, name: 'http', labels: { VIP_0: '/myservice:80' } },
        ],
      },
      ...small,
      // Healthy only where a task finds names by its own resolv.conf.
      healthChecks: [{ protocol: 'COMMAND', command: { value: `getent hosts ${own('web2')}` }, ...often }],
    });
    await lab.tools.api('POST', '/v2/apps', {
      id: '/docked',
      cmd: 'sleep 100000',
      networks: [{ mode: 'container', name: 'dcos' }],
      container: { type: 'DOCKER', docker: { image: BUSYBOX_IMAGE } },
      ...small,
      healthChecks: [{ protocol: 'COMMAND', command: { value: `nslookup ${own('web2')}` }, ...often }],
    });
    for (const id of ['/outer/sub/myapp', '/docked'])
      await eventually(`${id} finds names`, 60_000, async () => {
        const { app } = (await lab.tools.api('GET', `/v2/apps/${id}`)) as { app: { tasksHealthy: number } };
        return app.tasksHealthy === 1 ? true : undefined;
      });
    const task = 'myapp-sub-outer.marathon';
    const address = await eventually(
      'the task has a name',
      60_000,
      async () => (await dig('agent2', `${task}.containerip.dcos.thisdcos.directory`))[0],
    );
    const vip = await eventually(
      'its VIP has one',
      30_000,
      async () => (await dig('agent2', 'myservice.marathon.l4lb.thisdcos.directory'))[0],
    );
    const [srv = ''] = await dig('agent2', 'SRV', '_myapp-sub-outer._tcp.marathon.mesos');
    const canonical = /^0 1 8080 (myapp-sub-outer-[a-z0-9]{5}-n[a-z2-7]{25}\.marathon)\.mesos\.$/.exec(
      srv,
    )?.[1];
    expect(canonical, srv).toBeDefined();
    const { cluster } = (await lab.tools.api('GET', '/health')) as { cluster: string };
    const [agent, master] = ['10.0.0.11', '10.0.0.1'];
    const [onTask, onAgent] = [`0 1 8080 ${canonical}.mesos.`, `0 1 31080 ${canonical}.slave.mesos.`];
    const soa = (mname: string, rname: string): string => `${mname}. ${rname}. 1 60 180 86400 1`;
    const documented: readonly (readonly [name: string, type: string, answer: string])[] = [
      [`${task}.agentip.dcos.thisdcos.directory`, 'A', agent],
      [`${task}.autoip.dcos.thisdcos.directory`, 'A', agent],
      [`${task}.containerip.dcos.thisdcos.global`, 'A', address],
      [`${task}.mesos`, 'A', address],
      [`${task}.slave.mesos`, 'A', agent],
      [`${task}.mesos.thisdcos.directory`, 'A', address],
      ['myapp.sub.outer.marathon.mesos', 'A', address],
      ['myapp.sub.outer.marathon.slave.mesos', 'A', agent],
      [`${canonical}.mesos`, 'A', address],
      [`${canonical}.slave.mesos`, 'A', agent],
      ['_http._myapp-sub-outer._tcp.marathon.mesos', 'SRV', onTask],
      ['_myapp.sub.outer._tcp.marathon.mesos', 'SRV', onTask],
      ['_myapp-sub-outer._tcp.marathon.slave.mesos', 'SRV', onAgent],
      ...['l4lb.thisdcos.directory', 'dclb.thisdcos.directory', 'l4lb.thisdcos.global'].map(
        (zone) => [`MyService.marathon.${zone}`, 'A', vip] as const,
      ),
      [`myservice.marathon.l4lb.${cluster}.dcos.directory`, 'A', vip],
      [
        `${address.split('.').toReversed().join('.')}.in-addr.arpa`,
        'PTR',
        `${task}.containerip.dcos.thisdcos.directory.`,
      ],
      ...['leader.mesos', 'master.mesos', 'master0.mesos', 'marathon.mesos', 'zk-1.zk'].map(
        (name) => [name, 'A', master] as const,
      ),
      ['leader.dcos.thisdcos.directory', 'A', master],
      ['master.dcos.thisdcos.directory', 'A', master],
      ['leader.*.mesos', 'A', master],
      ['_leader._tcp.mesos', 'SRV', '0 1 5050 leader.mesos.'],
      ['_leader._udp.mesos', 'SRV', '0 1 5050 leader.mesos.'],
      ['_framework._tcp.marathon.mesos', 'SRV', '0 1 5050 marathon.mesos.'],
      ['_slave._tcp.mesos', 'SRV', '0 1 5051 slave.mesos.'],
      ['ns1.mesos', 'A', '198.51.100.1'],
      ['ns.spartan', 'A', '198.51.100.1'],
      ['ready.spartan', 'A', '127.0.0.1'],
      ['localhost', 'A', '127.0.0.1'],
      ['mesos', 'SOA', soa('ns1.mesos', 'root.ns1.mesos')],
      ['thisdcos.directory', 'SOA', soa('ns.spartan', 'support.mesosphere.com')],
      ['thisdcos.directory', 'NS', 'ns.spartan.'],
      ['mesos', 'NS', 'ns1.mesos.'],
    ];
    for (const [name, type, answer] of documented)
      expect(await dig('agent2', type, name), `${type} ${name}`).toEqual([answer]);
    const status = async (...words: readonly string[]): Promise<string> =>
      /status: ([A-Z]+),.*ANSWER: (\d+), AUTHORITY: (\d+)/s
        .exec((await lab.try('agent2', ['dig', '+tries=2', ...words])).stdout)
        ?.slice(1)
        .join(' ') ?? 'none';
    expect(await status('AAAA', `${task}.mesos`)).toBe('NOERROR 0 1');
    expect(await status('TXT', 'leader.mesos')).toBe('NOERROR 0 1');
    expect(await status('marathon.l4lb.thisdcos.directory')).toBe('NOERROR 0 1');
    for (const name of ['nobody.marathon.mesos', 'nobody.thisdcos.directory', 'zk-9.zk', 'nobody.spartan'])
      expect(await status(name), name).toBe('NXDOMAIN 0 1');
    expect(await status('ANY', `${task}.mesos`)).toBe('NOERROR 1 0');
    expect(await status('CH', 'TXT', 'version.bind')).toBe('REFUSED 0 0');
  });

  it('are those of VIPs too', async () => {
    const [address = ''] = await dig('agent1', 'shop.marathon.l4lb.thisdcos.directory');
    expect(address).toMatch(/^11\./);
    expect(await dig('agent2', 'shop.marathon.l4lb.thisdcos.directory')).toEqual([address]);
    expect(await dig('agent2', '-x', address)).toEqual(['shop.marathon.l4lb.thisdcos.directory.']);
  });

  it('are asked for by containers as by any program, native ones and those of Docker', async () => {
    for (const container of containers)
      for (const { name, address } of containers)
        expect(await inside(container, 'getent', 'ahostsv4', own(name))).toContain(address);
    const { stdout } = await lab.try('agent1', ['docker', 'exec', docker, 'nslookup', own('web2')]);
    expect(stdout).toContain(web2().address);
  });

  it('are answered for A and AAAA at once, again and again, by UDP and TCP, on all addresses', async () => {
    const script = `for i in $(seq 200); do getent ahosts ${own('web2')} >/dev/null || echo lost; done`;
    expect(await inside(web1(), 'sh', '-c', script)).toBe('');
    for (const server of ['198.51.100.1', '198.51.100.2', '198.51.100.3', 'fd01:d::c633:6401'])
      for (const transport of ['+notcp', '+tcp'])
        expect(await dig('agent1', `@${server}`, transport, own('web1')), server).toEqual([web1().address]);
  });

  it('cost no entry of connection tracking', async () => {
    await inside(web1(), 'getent', 'hosts', own('web2'));
    const { stdout } = await lab.try('agent1', ['conntrack', '-L', '--dst', '198.51.100.1']);
    expect(stdout).toBe('');
  });

  it('stay when the host of a task is cut off and comes back', async () => {
    const script = `end=$(( $(date +%s) + 12 )); n=0
      while [ $(date +%s) -lt $end ]; do
        for name in ${own('web1')} web1.marathon.mesos ${own('web1', 'agentip')}; do
          dig +tries=1 +time=5 $name | grep -q 'status: NOERROR' || echo "$name"; n=$((n+1)); done
      done; echo "asked $((n > 20))"`;
    const asking = lab.sh('agent2', script);
    for (let flap = 0; flap < 2; flap++) {
      await labPartition(lab.name, ['agent1']);
      await eventually('agent1 is out of reach', 20_000, async () => {
        const argv = ['curl', '-sf', '--unix-socket', '/run/portolan/agent.sock', 'http://agent/v1/nodes'];
        const { nodes } = JSON.parse((await lab.try('agent2', argv)).stdout) as {
          nodes: { name: string; state: string }[];
        };
        return nodes.find(({ name }) => name === 'agent1')?.state === 'unreachable' ? true : undefined;
      });
      expect(await dig('agent2', own('web1'))).toEqual([web1().address]);
      await labHeal(lab.name);
    }
    expect(await asking).toBe('asked 1\n');
  });

  it('are never "no such name" to those who ask an agent that is killed and comes back', async () => {
    const names = [
      'shop.marathon.l4lb.thisdcos.directory',
      own('web1'),
      'web2.marathon.mesos',
      'leader.mesos',
    ];
    // Nobody answers while it is gone, which makes clients ask again; what is answered must be right.
    const script = `end=$(( $(date +%s) + 8 ))
      while [ $(date +%s) -lt $end ]; do
        for name in ${names.join(' ')}; do
          dig +tries=1 +time=1 @198.51.100.1 $name | sed -n 's/.*status: \\([A-Z]*\\).*/\\1/p'; done
      done | sort | uniq -c`;
    const asking = lab.sh('agent2', script);
    for (let time = 0; time < 2; time++) {
      await labStop(lab.name, 'agent2', 'SIGKILL');
      await labStart(lab.name, 'agent2', () => undefined);
    }
    expect((await asking).trim()).toMatch(/^\d+ NOERROR$/);
    expect(await dig('agent2', names[0] ?? '')).toHaveLength(1);
  });

  it('of others come from the name servers of the host, as its resolv.conf names them now', async () => {
    const argv = [
      'dnsmasq',
      '--no-daemon',
      '--conf-file=/dev/null',
      '--no-resolv',
      '--no-hosts',
      '--pid-file=',
    ];
    const where = ['--user=root', '--listen-address=10.0.0.12', '--bind-interfaces'];
    const upstream = await lab.tools.startOnHost('agent2', [
      ...argv,
      ...where,
      '--address=/outside.example/192.0.2.5',
    ]);
    try {
      expect(await dig('agent1', 'www.outside.example')).toEqual([]);
      await lab.sh('agent1', 'echo nameserver 10.0.0.12 >/etc/resolv.conf');
      await eventually('agent1 asks the new server', 30_000, async () =>
        (await dig('agent1', '@198.51.100.1', 'www.outside.example'))[0] === '192.0.2.5' ? true : undefined,
      );
      expect(await inside(web1(), 'getent', 'hosts', 'www.outside.example')).toContain('192.0.2.5');
      const said = await lab.try('agent1', [
        ...[process.execPath, mainProgram(), 'dns', 'query', 'www.outside.example', '-o', 'json'],
      ]);
      expect(JSON.parse(said.stdout)).toMatchObject({
        ...{ source: 'upstream', zone: '.', rcode: 'NOERROR', upstreams: ['10.0.0.12:53'] },
      });
      const elsewhere = await lab.try('agent1', [
        ...[process.execPath, mainProgram(), 'dns', 'query', own('web2'), '--agent', '10.0.0.12:5051'],
      ]);
      expect(elsewhere.stdout).toContain(web2().address);
    } finally {
      upstream.kill('SIGTERM');
      await once(upstream, 'exit');
    }
  });

  it('are listed by the API of Mesos-DNS, on the host alone', async () => {
    const get = async (path: string): Promise<unknown> =>
      JSON.parse((await lab.try('agent1', ['curl', '-sf', `http://127.0.0.1:62080${path}`])).stdout);
    const { address } = web2();
    expect(await get('/v1/hosts/web2.marathon.mesos')).toEqual([
      { host: 'web2.marathon.mesos.', ip: address },
    ]);
    expect(await get('/v1/hosts/nobody.marathon.mesos')).toEqual([{ host: '', ip: '' }]);
    expect(await get('/v1/services/_web2._tcp.marathon.slave.mesos')).toMatchObject([
      { port: 8080, ip: '10.0.0.12' },
    ]);
    expect(await get('/v1/axfr')).toMatchObject({
      Domain: 'mesos',
      Records: { As: { 'web2.marathon.mesos.': [address] } },
    });
    expect(await get('/v1/enumerate')).toMatchObject({ frameworks: [{ name: 'marathon' }] });
    expect(await get('/v1/records')).toContainEqual({
      name: 'web2.marathon.mesos.',
      host: address,
      rtype: 'A',
    });
    expect(await get('/v1/version')).toMatchObject({ Service: 'dcos-dns' });
  });

  it('are asked for by "portolan dns query", and those of addresses too', async () => {
    const ask = (...words: readonly string[]) =>
      lab.try('agent1', [process.execPath, mainProgram(), 'dns', 'query', ...words]);
    const { stdout } = await ask(web2().address, 'PTR', '-o', 'json');
    expect(JSON.parse(stdout)).toMatchObject({ source: 'cluster', answers: [{ data: `${own('web2')}.` }] });
    for (const wrong of [[''], ['a..b'], ['leader.mesos', 'FROB'], ['leader.mesos', 'TYPE70000']])
      expect((await ask(...wrong)).status, wrong.join(' ')).toBe(2);
  });

  it('and VIPs are counted under the names that DC/OS documents', async () => {
    const get = async (path: string): Promise<string> =>
      (await lab.try('agent1', ['curl', '-s', `http://127.0.0.1:62080${path}`])).stdout;
    await dig('agent1', '@198.51.100.1', 'www.nowhere.example');
    const text = await get('/v1/metrics');
    const l4lb = ['vips', 'backends', 'unreachable_backends', 'unreachable_vips', 'unreachable_nodes'];
    const local = ['local_vips', 'local_backends', 'local_tasks', 'local_running_tasks'];
    for (const name of [...l4lb, ...local].map((each) => `l4lb_${each}`))
      expect(text).toMatch(new RegExp(`^${name} \\d+$`, 'm'));
    for (const name of [
      'l4lb_vips_duration_seconds_count',
      'dns_zone_records{zone="mesos"}',
      'dns_forwarder_requests_duration_seconds',
      'dns_forwarder_failures_total',
      'dns_worker_requests_duration_seconds',
      'dns_worker_failures_total',
    ])
      expect(text).toContain(name);
    expect(await get('/v1/metrics/default')).toContain('l4lb_vips');
    expect(await get('/v1/metrics/nosuch')).toBe('Unknown Registry');
  });

  it('are listed by the master too, in the words of Mesos-DNS', async () => {
    const get = (path: string): Promise<unknown> => lab.tools.api('GET', path);
    expect(await get('/v1/version')).toMatchObject({ Service: 'Mesos-DNS' });
    expect(await get('/v1/hosts/web2.marathon.mesos')).toEqual([
      { host: 'web2.marathon.mesos.', ip: web2().address },
    ]);
    expect(await get('/v1/services/_web2._tcp.marathon.slave.mesos')).toMatchObject([{ port: '8080' }]);
    expect(await get('/v1/hosts/shop.marathon.l4lb.thisdcos.directory')).toMatchObject([
      { ip: expect.stringMatching(/^11\./) as string },
    ]);
  });

  it('are told to other hosts on addresses of the host, and under words of its operator, where that is configured', async () => {
    expect(await dig('agent2', '@10.0.0.11', '+timeout=1', '+tries=1', own('web2'))).not.toContain(
      web2().address,
    );
    const change = {
      host_addresses: ['10.0.0.11'],
      zones: { 'corp.thisdcos.directory': [{ name: 'web', value: 'web2.marathon.mesos' }] },
    };
    const config = JSON.parse(await lab.sh('agent1', 'cat /etc/portolan/agent.yaml')) as object;
    await labStop(lab.name, 'agent1', 'SIGTERM');
    const agent = await lab.start('agent1', 'agent', { ...config, dns: change });
    for (const transport of ['+notcp', '+tcp'])
      await eventually(`agent1 answers agent2, ${transport}`, 30_000, async () =>
        (await dig('agent2', '@10.0.0.11', transport, own('web2')))[0] === web2().address ? true : undefined,
      );
    for (const server of ['@10.0.0.11', '@198.51.100.1'])
      expect(await dig('agent1', server, 'web.corp.thisdcos.directory')).toEqual([
        'web2.marathon.mesos.',
        web2().address,
      ]);
    const resolved = await inside(web1(), 'getent', 'ahostsv4', 'web.corp.thisdcos.directory');
    expect(resolved).toContain(web2().address);
    // Where nothing is configured, other hosts are not answered.
    expect(await dig('agent2', '@10.0.0.12', '+timeout=1', '+tries=1', own('web2'))).not.toContain(
      web2().address,
    );
    await agent.stop();
    await labStart(lab.name, 'agent1', () => undefined);
  });
});
