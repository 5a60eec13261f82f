/** The assembled agent: whatever somebody does to its kernel, to its host or to itself, the overlay comes back. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually, type PlacedContainer } from '../../src/lab/demo-tools.ts';
import { labOff, labStart, labStop } from '../../src/lab/lab.ts';
import { knownNodes, readAgentStatus } from '../../src/lab/readiness.ts';
import { listNative } from '../../src/lab/run.ts';
import { TestLab } from '../support/lab.ts';

/** All of ours in a host, without counters and what the kernel adds by itself. */
const picture = `
ip route show table all proto 225; ip -6 route show table all proto 225; ip rule
ip neigh show dev vtep1024 nud permanent; ip -6 neigh show dev vtep1024 nud permanent
bridge fdb show dev vtep1024; nft -s list table inet portolan
ip -br address show scope global | grep -v pv
ip -o -d link show vtep1024 | cut -d: -f3-; sysctl net.ipv4.ip_forward net.ipv6.conf.all.forwarding
for port in /sys/class/net/m-dcos/brif/*; do basename $port; done
`;

describe('an agent on its host', () => {
  const lab = new TestLab('plh');
  let web1: PlacedContainer;
  let web2: PlacedContainer;

  const ours = async (): Promise<readonly string[]> =>
    (await lab.sh('agent1', picture))
      .split('\n')
      .map((line) => line.replace(/ +(UP|DOWN|UNKNOWN|linkdown) +/g, ' ').trim())
      .filter((line) => line !== '')
      .sort();
  const repairs = (object: string): readonly unknown[] =>
    lab
      .log('agent1')
      .filter((line) => line['msg'] === 'repaired what somebody else changed' && line['object'] === object);
  const mtuIn = async (container: PlacedContainer): Promise<string> =>
    (await lab.tools.inContainer(container, ['cat', '/sys/class/net/eth0/mtu'])).stdout.trim();

  beforeAll(async () => {
    await lab.up({ hosts: 2 });
    web1 = await lab.run('agent1', 'web1');
    web2 = await lab.run('agent2', 'web2');
    await lab.reaches(web1, web2);
  });
  afterAll(() => lab.down());

  it.each([
    ['route', 'ip route del $(ip route show proto 225 | head -n1 | cut -d" " -f1)'],
    ['route', 'ip route flush table 42'],
    ['neighbour', 'ip neigh flush dev vtep1024 nud permanent'],
    ['fdb', 'bridge fdb del $(bridge fdb show dev vtep1024 | head -n1 | cut -d" " -f1) dev vtep1024'],
    ['link', 'ip link del vtep1024'],
    ['link', 'ip link set vtep1024 down; ip link set vtep1024 name stolen'],
    ['link', 'ip link del m-dcos'],
    ['nft', 'nft flush ruleset'],
    ['sysctl', 'sysctl -q -w net.ipv4.ip_forward=0'],
  ])('repairs and tells a lost %s: %s', async (object, damage) => {
    const before = await ours();
    const told = repairs(object).length;
    await lab.sh('agent1', damage);
    await expect.poll(ours, { interval: 100 }).toEqual(before);
    await expect.poll(() => repairs(object).length).toBeGreaterThan(told);
    await lab.reaches(web1, web2);
    await lab.reaches(web2, web1);
  });

  it('leaves what is not ours alone, through repair, kill and restart', async () => {
    await lab.sh(
      'agent1',
      `ip link add foreign type bridge; ip link set foreign up; ip address add 172.16.0.1/24 dev foreign
      ip route add 9.9.0.0/16 via 172.16.0.2; ip rule add from 9.0.0.0/8 lookup 77 priority 99
      nft add table ip foreign; nft add chain ip foreign c; echo mine > /etc/cni/net.d/mine.conflist`,
    );
    const theirs = (): Promise<string> =>
      lab.sh(
        'agent1',
        `ip -o link show foreign; ip route show proto boot; ip rule show priority 99; nft list table ip foreign
        ip -o -4 address show dev foreign; cat /etc/cni/net.d/mine.conflist`,
      );
    const before = await theirs();
    await lab.sh('agent1', 'ip link del vtep1024');
    await lab.reaches(web1, web2);
    await labStop(lab.name, 'agent1', 'SIGKILL');
    await labStart(lab.name, 'agent1', () => undefined);
    expect(await theirs()).toBe(before);
  });

  it('loses no packet and no connection by being killed and started again, at both ends', async () => {
    const inWeb1 = (...argv: string[]): ReturnType<typeof lab.tools.inContainer> =>
      lab.tools.inContainer(web1, argv);
    await lab.tools.inContainer(web2, ['iperf3', '-s', '-D']);
    const pinging = inWeb1('ping', '-q', '-i', '0.01', '-c', '600', web2.address);
    const stream = inWeb1('iperf3', '-c', web2.address, '-t', '6', '-b', '20M', '-J');
    for (const host of ['agent1', 'agent2']) {
      await labStop(lab.name, host, 'SIGKILL');
      await labStart(lab.name, host, () => undefined);
    }
    expect((await pinging).stdout).toContain(' 0% packet loss');
    const report = JSON.parse((await stream).stdout) as {
      error?: string;
      end: { sum_received: { seconds: number } };
    };
    expect(report.error).toBeUndefined();
    expect(report.end.sum_received.seconds).toBeGreaterThan(5);
  });

  it("follows the underlay's MTU, with the containers that run", async () => {
    const mtus = async (): Promise<string> =>
      (await lab.sh('agent1', 'cd /sys/class/net; cat vtep1024/mtu m-dcos/mtu')).trim().replace('\n', ' ');
    await lab.sh('agent1', 'ip link set eth0 mtu 1400');
    await expect.poll(mtus).toBe('1350 1350');
    await expect.poll(() => mtuIn(web1)).toBe('1350');
    await lab.reaches(web1, web2);
    await lab.sh('agent1', 'ip link set eth0 mtu 1500');
    await expect.poll(mtus).toBe('1450 1450');
    await expect.poll(() => mtuIn(web1)).toBe('1450');
  });

  it('moves to another underlay address with the same VTEP and block', async () => {
    const before = await lab.grant('agent2');
    await labStop(lab.name, 'agent2', 'SIGTERM');
    const moving = await lab.start('agent2', 'agent', {
      masters: ['10.0.0.1:5050'],
      docker: { enabled: false },
    });
    await expect.poll(async () => (await readAgentStatus(lab.name, 'agent2'))?.registered).toBe(true);
    await lab.sh('agent2', 'ip address del 10.0.0.12/24 dev eth0; ip address add 10.0.0.212/24 dev eth0');
    await lab.reaches(web1, web2);
    await lab.reaches(web2, web1);
    expect(await lab.grant('agent2')).toEqual(before);
    expect(await lab.sh('agent1', 'bridge fdb show dev vtep1024')).toContain('dst 10.0.0.212 ');
    // Others can dial it there, too.
    await lab.sh('agent1', "timeout 5 bash -c 'exec 3<>/dev/tcp/10.0.0.212/62501'");
    expect(repairsIn(moving.said)).toEqual([]);
    await lab.sh('agent2', 'ip address del 10.0.0.212/24 dev eth0; ip address add 10.0.0.12/24 dev eth0');
    await lab.reaches(web1, web2);
    await moving.stop();
    await labStart(lab.name, 'agent2', () => undefined);
  });

  it('brings everything back when all hosts lose power at once and no master comes back', async () => {
    const hosts = ['agent1', 'agent2'];
    const before = await Promise.all(hosts.map((host) => lab.grant(host)));
    await Promise.all(['master1', ...hosts].map((host) => labOff(lab.name, host)));
    await Promise.all(hosts.map((host) => labStart(lab.name, host, () => undefined)));
    expect(await Promise.all(hosts.map((host) => lab.grant(host)))).toEqual(before);
    expect(await knownNodes(lab.name, 'agent1')).toEqual(['agent1', 'agent2', 'master1']);
    // Containers do not outlive the boot, and neither does anything that was theirs.
    expect((await listNative(lab.name, 'agent1')).map(({ name, state }) => `${name} ${state}`)).toEqual([
      'web1 lost',
    ]);
    expect(await lab.sh('agent1', 'ip -o link show type veth | grep -c pv || true')).toBe('0\n');
    web1 = await lab.run('agent1', 'web1-again');
    web2 = await lab.run('agent2', 'web2-again');
    await lab.reaches(web1, web2);
    await lab.reaches(web2, web1);
    const known = await eventually('both endpoints', 10_000, async () => {
      const endpoints = await lab.tools.endpoints('agent1');
      return endpoints.length === 2 ? endpoints.map(({ name }) => name).join(' ') : undefined;
    });
    expect(known).toBe('web1-again web2-again');
    await labStart(lab.name, 'master1', () => undefined);
    await expect.poll(async () => (await readAgentStatus(lab.name, 'agent1'))?.registered).toBe(true);
  });
});

function repairsIn(log: string): readonly string[] {
  return log.split('\n').filter((line) => line.includes('repaired what somebody else changed'));
}
