/**
 * Runtimes that we did not write, on whole hosts: podman with its CNI backend, `ctr run --cni` of containerd, and the
 * plug-in executed by hand as the specification says; beside the reference plug-ins, in parallel, and over a reboot.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { labReboot, labStart, labStop } from '../../src/lab/lab.ts';
import { CniByHand, type HandCall } from '../support/cni-by-hand.ts';
import { TestLab } from '../support/lab.ts';
import { tracesOf } from '../support/machine.ts';
import { HostRuntimes, type RunningWeb } from '../support/runtimes.ts';

const lab = new TestLab('plrt');
const one = new HostRuntimes(lab, 'agent1');
const two = new HostRuntimes(lab, 'agent2');
const hand = new CniByHand(lab, 'agent2');

/** On the first host a network of the reference plug-ins alone, and theirs behind ours on our overlay. */
const otherNetworks = `
cat > /etc/cni/net.d/plain.conflist <<'END'
{"cniVersion":"0.4.0","name":"plain","plugins":[
  {"type":"bridge","bridge":"plain0","isGateway":true,"ipMasq":true,
   "ipam":{"type":"host-local","ranges":[[{"subnet":"10.88.77.0/24"}]],"routes":[{"dst":"0.0.0.0/0"}]}},
  {"type":"portmap","capabilities":{"portMappings":true}}]}
END
cat > /etc/cni/net.d/dcos.conflist <<'END'
{"cniVersion":"0.4.0","name":"dcos","plugins":[
  {"type":"portolan-cni","capabilities":{"ips":true}},
  {"type":"portmap","capabilities":{"portMappings":true}},
  {"type":"firewall"},
  {"type":"tuning","sysctl":{"net.ipv4.ip_default_ttl":"77"}}]}
END
`;

beforeAll(async () => {
  await lab.up({ hosts: 2 });
  await Promise.all([one.prepare(), two.prepare()]);
});
afterAll(async () => {
  await lab.down();
  expect(tracesOf(lab.name)).toEqual([]);
});

/** From a host, or from within a container. */
async function answer(from: string | RunningWeb, where: string): Promise<string> {
  const [host, enter] =
    typeof from === 'string' ? [from, []] : [from.host, ['nsenter', `--net=/proc/${from.pid}/ns/net`]];
  const ask = ['busybox', 'timeout', '2', 'busybox', 'wget', '-q', '-O-', `http://${where}/`];
  return (await lab.try(host, [...enter, ...ask])).stdout.trim();
}

/** The web server answers at all of these, each asked from everywhere. */
async function answers(
  web: RunningWeb,
  from: readonly (string | RunningWeb)[],
  ...at: string[]
): Promise<void> {
  for (const each of from)
    for (const where of at)
      await expect
        .poll(() => answer(each, where), { message: `${where} from ${JSON.stringify(each)}` })
        .toBe(web.name);
}

const names = async (host: string): Promise<readonly string[]> =>
  (await lab.tools.endpoints(host)).map(({ name, container }) => name ?? container).sort();

/** What attachments leave on a host, when there are none. */
async function expectNothingOn(host: string): Promise<void> {
  const left = `ip -br link | grep '^pv' || true; nft list map inet portolan portMap4 | grep elements || true`;
  await expect.poll(() => lab.sh(host, left)).toBe('');
}

describe('podman with its CNI backend', () => {
  let web: RunningWeb;
  let far: RunningWeb;

  it('runs containers on an overlay that reach each other across hosts', async () => {
    [web, far] = await Promise.all([
      one.podmanWeb('web', 'dcos', '--publish', '31888:80'),
      two.podmanWeb('far', 'dcos'),
    ]);
    await answers(web, ['agent1', 'agent2', far], web.address);
    await answers(far, ['agent1', 'agent2', web], far.address);
    for (const host of ['agent1', 'agent2']) await expect.poll(() => names(host)).toEqual(['far', 'web']);
  });

  it('publishes a port to the host itself, other hosts, other containers and the container itself', async () => {
    await answers(web, ['agent1'], '127.0.0.1:31888', '10.0.0.11:31888');
    await answers(web, ['agent2', far, web], '10.0.0.11:31888');
  });

  it('is told by us why a container cannot start, though podman itself listens on the port', async () => {
    expect(await lab.sh('agent1', 'ss -ltnp sport = :31888')).toContain('conmon');
    await expect(one.podmanWeb('second', 'dcos', '--publish', '31888:80')).rejects.toThrow(
      /Cannot map host port 31888\/tcp: container "web" \([0-9a-f]{64}\/eth0\) holds it/,
    );
    await one.podman('rm', '--force', '--time=0', 'second');
    await lab.sh('agent1', 'busybox httpd -p 31887 -h /etc');
    await expect(one.podmanWeb('third', 'dcos', '--publish', '31887:80')).rejects.toThrow(
      /Cannot map host port 31887\/tcp: process \d+ "busybox" listens on it/,
    );
    await one.podman('rm', '--force', '--time=0', 'third');
  });

  it('disconnects and connects a container whose port it goes on to reserve', async () => {
    expect((await one.podman('network', 'disconnect', 'dcos', 'web')).status).toBe(0);
    await expect.poll(() => names('agent1')).toEqual(['far']);
    expect((await one.podman('network', 'connect', 'dcos', 'web')).status).toBe(0);
    web = await one.podmanInspect('web', 'dcos');
    await answers(web, ['agent2', far], web.address, '10.0.0.11:31888');
  });

  it('honours a fixed address and MAC', async () => {
    const { address, pid } = await two.podmanWeb(
      ...([
        'fixed',
        'dcos',
        '--ip',
        far.address.replace(/\d+$/, '99'),
        '--mac-address',
        '0a:00:00:00:00:99',
      ] as const),
    );
    expect(address).toBe(far.address.replace(/\d+$/, '99'));
    expect(await lab.sh('agent2', `nsenter --net=/proc/${pid}/ns/net ip link show eth0`)).toContain(
      '0a:00:00:00:00:99',
    );
    await two.podman('rm', '--force', '--time=0', 'fixed');
  });

  it('runs containers of the reference plug-ins beside ours, and in a chain behind ours', async () => {
    await lab.sh('agent1', otherNetworks);
    const theirs = await one.podmanWeb('theirs', 'plain', '--publish', '31889:80');
    const chain = await one.podmanWeb('chain', 'dcos', '--publish', '31890:80');
    await answers(theirs, ['agent1'], theirs.address, '127.0.0.1:31889');
    await answers(theirs, ['agent2'], '10.0.0.11:31889');
    await answers(chain, ['agent1', 'agent2', far, web], chain.address, '10.0.0.11:31890');
    await answers(web, ['agent1', 'agent2', chain], web.address, '10.0.0.11:31888');
    const ttl = `nsenter --net=/proc/${chain.pid}/ns/net cat /proc/sys/net/ipv4/ip_default_ttl`;
    expect(await lab.sh('agent1', ttl)).toBe('77\n');
    await one.podman('rm', '--force', '--time=0', 'theirs', 'chain');
    await expect.poll(() => names('agent1')).toEqual(['far', 'web']);
    await answers(web, ['agent1', 'agent2'], '10.0.0.11:31888');
  });
});

describe('ctr of containerd', () => {
  it('runs containers that reach each other and those of podman, and gives their addresses back', async () => {
    const [near, far] = await Promise.all([one.ctrWeb('near'), two.ctrWeb('remote')]);
    await answers(near.web, ['agent2', far.web], near.web.address);
    await answers(far.web, ['agent1', near.web], far.web.address);
    await answers(await one.podmanInspect('web', 'dcos'), [near.web, far.web], '10.0.0.11:31888');
    await Promise.all([near.ended(), far.ended()]);
    await expect.poll(() => names('agent1')).toEqual(['far', 'web']);
  });
});

describe('the plug-in executed by hand', () => {
  const code = async (command: string, call: HandCall = {}): Promise<unknown> => {
    const { status, json } = await hand.call(command, call);
    expect(status).toBe(1);
    return json?.['code'];
  };

  it('answers VERSION and STATUS', async () => {
    expect((await hand.call('VERSION', { version: '0.4.0' })).json).toEqual({
      cniVersion: '0.4.0',
      supportedVersions: ['0.1.0', '0.2.0', '0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'],
    });
    expect(await hand.call('STATUS')).toEqual({ status: 0, json: undefined });
  });

  it('refuses with the codes of the specification', async () => {
    expect(await code('STATUS', { version: '1.0.0' })).toBe(1);
    expect(await code('ADD', { container: 'c', version: '2.0.0' })).toBe(1);
    expect(await code('ADD', { container: 'c', config: { ipam: { type: 'host-local' } } })).toBe(2);
    expect(await code('CHECK', { container: 'c', config: { prevResult: {} } })).toBe(3);
    expect(await code('ADD')).toBe(4);
    expect(await code('ADD', { container: 'c' })).toBe(4);
    expect(await code('ADD', { container: 'c', stdin: '{' })).toBe(6);
    expect(await code('ADD', { container: 'c', network: 'nowhere' })).toBe(7);
  });

  it('adds, checks, collects and deletes; DEL as often as one likes', async () => {
    await hand.makeNamespaces('hand1', 'hand2');
    const config = { runtimeConfig: { portMappings: [{ hostPort: 31_891, containerPort: 80 }] } };
    const added = await hand.call('ADD', { container: 'hand1', config });
    expect(added.json).toMatchObject({ cniVersion: '1.1.0', ips: [{ interface: 2 }] });
    expect((await hand.call('ADD', { container: 'hand2', version: '0.2.0' })).json).toHaveProperty('ip4.ip');
    const check = { container: 'hand1', config: { ...config, prevResult: added.json } };
    expect(await hand.call('CHECK', check)).toEqual({ status: 0, json: undefined });
    await lab.sh('agent2', 'nsenter --net=/run/netns/hand1 ip address flush dev eth0');
    expect(await code('CHECK', check)).toBe(105);
    const keep = await keepAllBut('hand2');
    expect(await hand.call('GC', { config: { 'cni.dev/valid-attachments': keep } })).toMatchObject({
      status: 0,
    });
    await expect.poll(() => names('agent2')).toEqual(['far', 'hand1', 'web']);
    for (const netns of ['/run/netns/hand1', '', '/run/netns/gone'])
      expect(await hand.call('DEL', { container: 'hand1', netns })).toEqual({ status: 0, json: undefined });
    await hand.removeNamespaces('hand1', 'hand2');
    await expect.poll(() => names('agent2')).toEqual(['far', 'web']);
  });

  async function keepAllBut(container: string): Promise<readonly object[]> {
    const endpoints = await lab.tools.endpoints('agent2');
    return endpoints
      .filter((each) => each.host === 'agent2' && each.container !== container)
      .map((each) => ({ containerID: each.container, ifname: 'eth0' }));
  }

  it('stands a storm of calls, each container with an address and a port of its own, also when the agent dies', async () => {
    const count = 30;
    const all = Array.from({ length: count }, (_, i) => `storm${i + 1}`);
    await hand.makeNamespaces(...all);
    const printed = await hand.storm('storm', count, 'ADD', 'DEL', 'ADD');
    const results = printed.map((line) => JSON.parse(line) as { msg?: string; ips?: { address: string }[] });
    expect(results.filter(({ msg }) => msg !== undefined)).toEqual([]);
    const last = new Set(results.map(({ ips }) => ips?.[0]?.address));
    expect(last.size).toBe(2 * count);
    await expect.poll(async () => (await names('agent1')).length).toBe(count + 2);
    const deaths = hand.storm('storm', count, 'DEL', 'ADD', 'DEL', 'ADD');
    await labStop(lab.name, 'agent2', 'SIGKILL');
    await deaths;
    await labStart(lab.name, 'agent2', () => undefined);
    expect(await hand.storm('storm', count, 'DEL', 'DEL')).toEqual([]);
    await hand.removeNamespaces(...all);
    await expect.poll(() => names('agent1')).toEqual(['far', 'web']);
    await two.podman('rm', '--force', '--time=0', 'far');
    await expectNothingOn('agent2');
  });
});

describe('a host that is rebooted under its containers', () => {
  it('has nothing of them left, and its runtimes go on: start again, remove, DEL', async () => {
    const onFirst = new CniByHand(lab, 'agent1');
    await onFirst.makeNamespaces('lost');
    const config = { runtimeConfig: { portMappings: [{ hostPort: 31_892, containerPort: 80 }] } };
    await onFirst.call('ADD', { container: 'lost', config });
    const detached = await one.ctrDetached('detached');
    await answers(detached, ['agent2'], detached.address);
    await labReboot(lab.name, 'agent1', () => undefined);
    await expectNothingOn('agent1');
    await expect.poll(() => names('agent2')).toEqual([]);
    // It has the list of the operator still.
    expect(await lab.sh('agent1', 'cat /etc/cni/net.d/dcos.conflist')).toContain('tuning');
    expect(await onFirst.call('DEL', { container: 'lost' })).toEqual({ status: 0, json: undefined });
    expect((await one.podman('start', 'web')).status).toBe(0);
    const web = await one.podmanInspect('web', 'dcos');
    await answers(web, ['agent1', 'agent2'], web.address, '10.0.0.11:31888');
    expect((await one.podman('rm', '--force', '--time=0', 'web')).stderr).toBe('');
    await one.startContainerd();
    await lab.sh('agent1', 'ctr containers delete detached');
    const again = await one.ctrWeb('detached');
    await answers(again.web, ['agent2'], again.web.address);
    await again.ended();
    await expectNothingOn('agent1');
  });
});
