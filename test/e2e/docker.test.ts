/** Docker on a whole cluster: `docker run --network dcos` beside containers that came through CNI. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually, webServer, type PlacedContainer } from '../../src/lab/demo-tools.ts';
import { BUSYBOX_IMAGE } from '../../src/lab/docker-image.ts';
import { labDown } from '../../src/lab/down.ts';
import { labRun } from '../../src/lab/run.ts';
import { readLabState } from '../../src/lab/state.ts';
import { traceResult, type TraceResult } from '../../src/model/trace.ts';
import { TestLab } from '../support/lab.ts';
import { tracesOf } from '../support/machine.ts';

const WAIT_MS = 15_000;
const quoted = (word: string): string => `'${word.replaceAll("'", String.raw`'\''`)}'`;
const labels = { VIP_0: '/docked:8080', VIP_0_PORT: '80' };

describe('a lab of two hosts with Docker', () => {
  const lab = new TestLab('pdke');
  const docker: PlacedContainer[] = [];
  const cni: PlacedContainer[] = [];

  async function runDocker(host: string, name: string): Promise<PlacedContainer> {
    // The network is there as soon as the agent has met Docker, which may be after the agent is ready.
    await eventually(`network dcos on ${host}`, WAIT_MS, async () => {
      const { status } = await lab.try(host, ['docker', 'network', 'inspect', 'dcos']);
      return status === 0 ? true : undefined;
    });
    const init = { lab: lab.name, host, name, argv: webServer(name), labels, runtime: 'docker' } as const;
    const { id, addresses } = await labRun(init);
    return { name, host, id, address: addresses[0] ?? '' };
  }

  async function dockerReaches(from: PlacedContainer, to: PlacedContainer): Promise<void> {
    await eventually(`${from.name} asks ${to.name}`, WAIT_MS, async () =>
      (await lab.tools.fetchFromDocker(from, to.address)) === to.name ? true : undefined,
    );
  }

  /** Who answers each kind of client on each host at a VIP, which is asked until everybody has. */
  async function heardAt(
    address: string,
    everybody: readonly string[],
    beside: readonly PlacedContainer[] = [],
  ): Promise<Readonly<Record<string, readonly string[]>>> {
    const heard: Record<string, readonly string[]> = {};
    const ask = async (client: string, once: () => Promise<string>): Promise<void> => {
      const names = new Set<string>();
      const missing = (): boolean => everybody.some((name) => !names.has(name));
      for (let i = 0; i < 40 && missing(); i++) names.add(await once());
      // A loaded machine may keep somebody waiting for too long.
      heard[client] = Array.from(names)
        .filter((name) => !name.startsWith('(failed'))
        .sort();
    };
    for (const host of ['agent1', 'agent2', 'master1'])
      await ask(host, () => lab.tools.fetchFromHost(host, address));
    for (const from of [...docker, ...beside])
      await ask(from.name, () => lab.tools.fetchFromDocker(from, address));
    for (const from of cni) await ask(from.name, () => lab.tools.fetchFromContainer(from, address));
    return heard;
  }

  /** The address of a VIP, once it has these backends and every host has it. */
  async function vipWith(vip: string, backends: readonly string[]): Promise<string> {
    return eventually(`${vip} has all backends`, WAIT_MS, async () => {
      const { vips } = (await lab.tools.api('GET', `/v1/vips/inspect?vip=${vip}`).catch(() => ({
        vips: [],
      }))) as {
        vips: {
          addresses: string[];
          backends: { ip: string; port: number }[];
          applied_on: number;
          hosts_total: number;
        }[];
      };
      const [found] = vips;
      if (found?.backends.length !== backends.length || found.applied_on !== found.hosts_total)
        return undefined;
      expect(found.backends.map((each) => `${each.ip}:${each.port}`).sort()).toEqual(backends);
      return found.addresses[0];
    });
  }

  /** Every container asks every other one. */
  async function allReachAll(): Promise<void> {
    const others = (from: PlacedContainer): PlacedContainer[] =>
      [...docker, ...cni].filter((each) => each !== from);
    for (const from of docker) for (const to of others(from)) await dockerReaches(from, to);
    for (const from of cni) for (const to of others(from)) await lab.reaches(from, to);
  }

  beforeAll(async () => {
    await lab.up({ hosts: 2, docker: true });
    for (const host of ['agent1', 'agent2']) {
      docker.push(await runDocker(host, `docker-${host}`));
      cni.push(await lab.run(host, `cni-${host}`));
    }
    // Docker sends what stays on one bridge through the filter too (bridge-nf-call-iptables).
    cni.push(await lab.run('agent1', 'cni-beside'));
  });
  afterAll(() => lab.down());

  it('gives Docker containers addresses of the upper half of the block', async () => {
    for (const container of docker) expect(Number(container.address.split('.')[3])).toBeGreaterThan(129);
    for (const container of cni) expect(Number(container.address.split('.')[3])).toBeLessThan(127);
  });

  it('lets Docker and CNI containers reach each other, on one host and across hosts, both ways', async () => {
    await allReachAll();
  });

  it("says so in a trace too, through all of Docker's rules, and where one of them cuts the way", async () => {
    const trace = async (from: PlacedContainer, to: PlacedContainer): Promise<TraceResult> => {
      const query = new URLSearchParams({ from: from.name, to: `${to.name}:80` });
      return traceResult.parse(await lab.tools.api('GET', `/v1/trace?${query.toString()}`));
    };
    const all = [...docker, ...cni];
    for (const from of all)
      for (const to of all.filter((each) => each !== from))
        expect(await trace(from, to), `${from.name} to ${to.name}`).toMatchObject({
          arrives: true,
          doubts: [],
        });
    await lab.sh('agent1', 'iptables-nft -I DOCKER-USER -i d-dcos -p tcp -m tcp --dport 80 -j REJECT');
    const [from, to] = docker as [PlacedContainer, PlacedContainer];
    const cut = await trace(from, to);
    expect(cut.reason).toMatch(/^agent1: rejected by table ip filter chain DOCKER-USER rule handle \d+$/);
    expect(cut.remedy).toBe('let it pass: iptables -I DOCKER-USER -i d-dcos -o vtep1024 -j ACCEPT');
    await lab.sh('agent1', 'iptables-nft -D DOCKER-USER -i d-dcos -p tcp -m tcp --dport 80 -j REJECT');
    expect(await trace(from, to)).toMatchObject({ arrives: true });
  });

  it("makes one host's Docker containers known on the other", async () => {
    const [one] = docker;
    const known = await eventually('the endpoint', WAIT_MS, async () =>
      (await lab.tools.endpoints('agent2')).find((endpoint) => endpoint.name === one?.name),
    );
    expect(known).toMatchObject({ source: 'docker', network: 'dcos', addresses: [`${one?.address}/25`] });
  });

  it('leads to Docker containers by the VIP that they are labelled with, from hosts, beside them and from themselves', async () => {
    docker.push(await runDocker('agent1', 'docker-beside'));
    const address = await eventually('the VIP has all backends', WAIT_MS, async () => {
      const { vips } = (await lab.tools.api('GET', '/v1/vips/inspect?vip=docked:8080').catch(() => ({
        vips: [],
      }))) as {
        vips: { addresses: string[]; backends: unknown[]; applied_on: number; hosts_total: number }[];
      };
      const [found] = vips;
      const isWhole = found?.backends.length === 3 && found.applied_on === found.hosts_total;
      return isWhole ? found.addresses[0] : undefined;
    });
    const all = docker.map(({ name }) => name).sort();
    const heard = await heardAt(`${address}:8080`, all);
    expect(heard).toEqual(Object.fromEntries(Object.keys(heard).map((client) => [client, all])));
    expect(Object.keys(heard)).toHaveLength(3 + docker.length + cni.length);
    await lab.try('agent1', ['docker', 'rm', '--force', 'docker-beside']);
    docker.pop();
  });

  it("leads to containers on Docker's own bridges by their published ports", async () => {
    for (const host of ['agent1', 'agent2'])
      await lab.sh(
        host,
        `docker network create plain && docker run -d --name plain-${host} --network plain -p 8090:80 ` +
          `--label VIP_0=/plain:90 ${BUSYBOX_IMAGE} ${webServer(`plain-${host}`).map(quoted).join(' ')}`,
      );
    const names = ['plain-agent1', 'plain-agent2'];
    const address = await vipWith('plain:90', ['10.0.0.11:8090', '10.0.0.12:8090']);
    const plain = ['agent1', 'agent2'].map((host) => ({ host, name: `plain-${host}`, id: '', address: '' }));
    const heard = await heardAt(`${address}:90`, names, plain);
    expect(heard).toEqual(Object.fromEntries(Object.keys(heard).map((client) => [client, names])));
    for (const host of ['agent1', 'agent2'])
      await lab.sh(host, `docker rm --force plain-${host} && docker network rm plain`);
    await eventually('the VIP is gone', WAIT_MS, async () => {
      const gone = await lab.tools.api('GET', '/v1/vips/inspect?vip=plain:90').then(
        () => false,
        () => true,
      );
      return gone ? true : undefined;
    });
  });

  it('serves containers that name no network, on the default bridge: VIPs to them and from them, and names', async () => {
    for (const host of ['agent1', 'agent2'])
      await lab.sh(
        host,
        `docker run -d --name default-${host} -p 8092:80 --label VIP_0=/default:92 ${BUSYBOX_IMAGE} ` +
          webServer(`default-${host}`).map(quoted).join(' '),
      );
    const names = ['default-agent1', 'default-agent2'];
    const address = await vipWith('default:92', ['10.0.0.11:8092', '10.0.0.12:8092']);
    const own = ['agent1', 'agent2'].map((host) => ({ host, name: `default-${host}`, id: '', address: '' }));
    const all = (heard: object, who: readonly string[]) =>
      expect(heard).toEqual(Object.fromEntries(Object.keys(heard).map((client) => [client, who])));
    all(await heardAt(`${address}:92`, names, own), names);
    // Those on Docker's bridge for the overlay too, which Docker keeps apart from its default one.
    const docked = docker.map(({ name }) => name).sort();
    const { vips } = (await lab.tools.api('GET', '/v1/vips/inspect?vip=docked:8080')) as {
      vips: { addresses: string[] }[];
    };
    all(await heardAt(`${vips[0]?.addresses[0]}:8080`, docked, own), docked);
    for (const from of own) {
      const resolver = await lab.sh(from.host, `docker exec ${from.name} cat /etc/resolv.conf`);
      expect(resolver).toContain('nameserver 198.51.100.1');
      for (const [vip, servers] of [
        ['default.marathon.l4lb.thisdcos.directory:92', names],
        ['docked.marathon.l4lb.thisdcos.directory:8080', docker.map(({ name }) => name)],
      ] as const)
        await eventually(`${from.name} asks ${vip}`, WAIT_MS, async () =>
          servers.includes(await lab.tools.fetchFromDocker(from, vip)) ? true : undefined,
        );
    }
    const query = new URLSearchParams({ from: 'default-agent1', to: 'docked:8080' });
    await expect(lab.tools.api('GET', `/v1/trace?${query.toString()}`)).rejects.toThrow(
      'its network is none of ours',
    );
    for (const host of ['agent1', 'agent2']) await lab.sh(host, `docker rm --force default-${host}`);
  });

  it("leads to containers in their host's network by the host's address, from hosts and from containers", async () => {
    const names = ['hosted-agent1', 'hosted-agent2'];
    for (const [i, name] of names.entries()) {
      const argv = webServer(name).map((word) =>
        word.replaceAll('-p 80 ', '-p 8091 ').replaceAll('/tmp/www', `/tmp/${name}`),
      );
      await lab.sh(
        `agent${i + 1}`,
        `docker run -d --name ${name} --network host --label VIP_0=/hosted:91 --label VIP_0_PORT=8091 ` +
          `${BUSYBOX_IMAGE} ${argv.map(quoted).join(' ')}`,
      );
    }
    const address = await vipWith('hosted:91', ['10.0.0.11:8091', '10.0.0.12:8091']);
    const heard = await heardAt(`${address}:91`, names);
    expect(heard).toEqual(Object.fromEntries(Object.keys(heard).map((client) => [client, names])));
    for (const [i, name] of names.entries()) await lab.sh(`agent${i + 1}`, `docker rm --force ${name}`);
  });

  it('keeps them together when somebody flushes the tables that Docker uses', async () => {
    await lab.sh('agent1', 'iptables-nft -F');
    await eventually('our rules', WAIT_MS, async () =>
      (await lab.sh('agent1', 'nft list chain ip filter DOCKER-USER')).includes('PORTOLAN')
        ? true
        : undefined,
    );
    await allReachAll();
  });

  it('serves a dockerd that was killed and comes back', async () => {
    const daemon = (await readLabState(lab.name))?.processes.find(
      (each) => each.host === 'agent1' && each.kind === 'dockerd',
    );
    process.kill(daemon?.pid ?? 0, 'SIGKILL');
    await lab.up({});
    await lab.try('agent1', ['docker', 'rm', '--force', 'docker-agent1']);
    docker[0] = await runDocker('agent1', 'docker-again');
    await allReachAll();
  });

  it('leaves nothing when it is taken down', async () => {
    await labDown(lab.name, () => undefined);
    expect(tracesOf(lab.name)).toEqual([]);
  });
});
