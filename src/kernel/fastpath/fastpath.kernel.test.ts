/** Streams through a host that translates, routes and bridges, with the fast path in between. */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { parseMac, type Mac } from '../../base/mac.ts';
import { mustRun } from '../../runtime/command.ts';
import * as libc from '../libc.ts';
import { writeSysctlHere } from '../sysctl.ts';
import { FastPath, LIBERAL_SYSCTL, type ContainerPort } from './fastpath.ts';

const BULK = fileURLToPath(new URL('../../../test/support/bulk.mjs', import.meta.url));
const NAME = `portolan-fp-${process.pid}`;
const inside = (end: string): readonly [string, string] => ['nsenter', `--net=/run/netns/${NAME}${end}`];
const MIB = 64;

/** client - c0 host br - s0 server, and t0 on the same bridge as the server. */
const ends = {
  c: { address: '9.0.1.11/24', address6: 'fd01::11/64', gateway: '9.0.1.1', gateway6: 'fd01::1' },
  s: { address: '9.0.2.11/24', address6: 'fd02::11/64', gateway: '9.0.2.1', gateway6: 'fd02::1' },
  t: { address: '9.0.2.12/24', address6: 'fd02::12/64', gateway: '9.0.2.1', gateway6: 'fd02::1' },
};
const RULES = `
  table inet t {
    chain translate {
      type nat hook prerouting priority dstnat
      ip daddr 11.0.0.1 tcp dport 6666 dnat ip to 9.0.2.11:5201
      ip6 daddr fd11::1 tcp dport 6666 dnat ip6 to [fd02::11]:5201
    }
    chain leave {
      type nat hook postrouting priority srcnat
      tcp dport 5202 oif br0 masquerade
    }
    chain forward { type filter hook forward priority filter; }
  }`;

describe('the fast path', () => {
  const servers: ChildProcess[] = [];
  let home: number;
  let path: FastPath;
  let ports: ContainerPort[];

  const run = (argv: readonly string[], input?: string): Promise<string> =>
    mustRun(argv, { timeoutMs: 30_000, ...(input === undefined ? {} : { input }) });
  const onHost = (script: string): Promise<string> => run([...inside('h'), 'sh', '-ec', script]);
  const nft = (rules: string): Promise<string> => run([...inside('h'), 'nft', '-f', '-'], rules);
  /** What the client says of its stream. */
  const stream = async (from: string, to: string, port: number, mib = MIB) => {
    const said = await run([...inside(from), process.execPath, BULK, 'send', to, `${port}`, `${mib}`]);
    return JSON.parse(said) as { readonly sent?: string; readonly got?: string; readonly error?: string };
  };
  /** Streams, checks every byte, and answers how many segments did not go through the kernel, and by whom the server was called. */
  const passed = async (from: string, to: string, port: number): Promise<readonly [number, string]> => {
    const before = path.counts().passed;
    const { sent, got = '' } = await stream(from, to, port);
    const [digest, caller = ''] = got.split(' ');
    expect(digest).toBe(sent);
    return [path.counts().passed - before, caller];
  };
  const enter = (fd: number): void => {
    expect(libc.setns(fd, libc.CLONE_NEWNET)).toBe(0);
  };
  const macOf = (end: string): Mac => {
    const text = execFileSync('ip', ['-n', `${NAME}${end}`, '-j', 'link', 'show', 'eth0']).toString();
    const [link] = JSON.parse(text) as [{ readonly address: string }];
    return parseMac(link.address) as Mac;
  };

  beforeAll(async () => {
    for (const end of ['h', 'c', 's', 't']) await run(['ip', 'netns', 'add', `${NAME}${end}`]);
    const script = Object.entries(ends).map(
      ([end, { address, address6, gateway, gateway6 }]) => `
        ip link add ${end}0 type veth peer name eth0 netns ${NAME}${end}
        ip link set ${end}0 up
        ip -n ${NAME}${end} address add ${address} dev eth0
        ip -n ${NAME}${end} address add ${address6} dev eth0 nodad
        ip -n ${NAME}${end} link set eth0 up
        ip -n ${NAME}${end} route add default via ${gateway}
        ip -n ${NAME}${end} route add default via ${gateway6}`,
    );
    await onHost(`
      ip link add br0 type bridge; ip link set br0 up
      ${script.join('\n')}
      ip link set s0 master br0; ip link set t0 master br0
      ip address add 9.0.1.1/24 dev c0; ip address add fd01::1/64 dev c0 nodad
      ip address add 9.0.2.1/24 dev br0; ip address add fd02::1/64 dev br0 nodad
      sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1`);
    await nft(RULES);
    for (const port of [5201, 5202]) {
      const [program, ...args] = [...inside('s'), process.execPath, BULK, 'serve', `${port}`];
      const server = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
      servers.push(server);
      await once(server.stdout, 'data');
    }
    home = openSync(`/proc/${process.pid}/ns/net`, 'r');
    const host = openSync(`/run/netns/${NAME}h`, 'r');
    enter(host);
    closeSync(host);
    ports = ['c', 's', 't'].map((end) => ({ link: `${end}0`, mac: macOf(end) }));
    writeSysctlHere(LIBERAL_SYSCTL, '1');
  });
  beforeEach(() => {
    path = FastPath.open();
    path.set({ ports, entries: [] });
  });
  afterEach(() => path.close());
  afterAll(async () => {
    for (const server of servers) server.kill();
    enter(home);
    closeSync(home);
    for (const end of ['h', 'c', 's', 't']) await run(['ip', 'netns', 'del', `${NAME}${end}`]);
  });

  it.each([
    ['to a virtual IP', 'c', '11.0.0.1', 6666, '9.0.1.11'],
    ['to a virtual IP, over IPv6', 'c', 'fd11::1', 6666, 'fd01::11'],
    ['that is routed', 'c', '9.0.2.11', 5201, '9.0.1.11'],
    ['that is routed, over IPv6', 'c', 'fd02::11', 5201, 'fd01::11'],
    ['of which both ends are others', 'c', '9.0.2.11', 5202, '9.0.2.1'],
    ['between two ports of a bridge', 't', '9.0.2.11', 5201, '9.0.2.12'],
    ['between two ports of a bridge, over IPv6', 't', 'fd02::11', 5201, 'fd02::12'],
  ])('carries a stream %s, byte for byte', async (_what, from, to, port, caller) => {
    const [count, seen] = await passed(from, to, port);
    expect(seen).toBe(caller);
    // Of MIB segments of 64 KiB, those at its begin and one each ten milliseconds show the way; streams of small segments do not pass.
    expect(count).toBeGreaterThan(MIB);
  });

  it('lets connections go on when it is closed in the middle of a stream, and when it comes back', async () => {
    const going = stream('c', '11.0.0.1', 6666, 512);
    for (let i = 0; i < 10; i++) {
      await promisify(setTimeout)(50);
      path.close();
      await promisify(setTimeout)(20);
      path = FastPath.open();
      path.set({ ports, entries: [] });
    }
    const { sent, got } = await going;
    expect(got).toBe(`${sent} 9.0.1.11`);
  });

  it('has connection tracking forget a stream that is cut off as soon as any other', async () => {
    const before = path.counts().passed;
    await run([...inside('c'), process.execPath, BULK, 'abort', '11.0.0.1', '6666', `${MIB}`]);
    expect(path.counts().passed - before).toBeGreaterThan(0);
    // Ten seconds after a reset, five days after anything else in the middle of a connection.
    const lives = (await onHost('conntrack -L -p tcp --orig-port-dst 6666 2>/dev/null || true'))
      .split('\n')
      .filter((line) => line.includes('ESTABLISHED'))
      .map((line) => Number(line.split(/\s+/)[2]));
    for (const seconds of lives) expect(seconds).toBeLessThanOrEqual(10);
  });

  it('does what the rules say a moment after they say so', async () => {
    const going = stream('c', '11.0.0.1', 6666, 100_000);
    await expect.poll(() => path.counts().passed).toBeGreaterThan(1000);
    await nft('add rule inet t forward ip daddr 9.0.2.11 drop');
    await promisify(setTimeout)(100);
    const { passed: then } = path.counts();
    await promisify(setTimeout)(300);
    expect(path.counts().passed).toBe(then);
    await nft('flush chain inet t forward');
    await nft('add rule inet t forward ip daddr 9.0.2.11 reject with tcp reset');
    expect(await going).toEqual({ error: 'ECONNRESET' });
    await nft('flush chain inet t forward');
  });

  it('sends nothing but by links it is told of', async () => {
    path.set({ ports: ports.slice(0, 1), entries: [] });
    expect((await passed('c', '11.0.0.1', 6666))[0]).toBe(0);
    path.set({ ports: ports.slice(1, 2), entries: [] });
    expect((await passed('c', '11.0.0.1', 6666))[0]).toBe(0);
    path.set({ ports: ports.slice(1, 2), entries: ['c0'] });
    expect((await passed('c', '11.0.0.1', 6666))[0]).toBeGreaterThan(MIB);
  });

  it('teaches nobody of a frame that a bridge floods to the wrong container', async () => {
    const [client, server] = ports as [ContainerPort, ContainerPort];
    path.set({ ports: [client, { ...server, mac: parseMac('02:00:00:00:00:01') as Mac }], entries: [] });
    expect((await passed('c', '11.0.0.1', 6666))[0]).toBe(0);
  });

  it('leaves segments to the kernel that do not fit any more', async () => {
    await run(['ip', '-n', `${NAME}s`, 'link', 'set', 'eth0', 'mtu', '1400']);
    await onHost('ip link set s0 mtu 1400; ip link set t0 mtu 1400');
    try {
      expect((await passed('c', '11.0.0.1', 6666))[0]).toBeGreaterThan(MIB);
    } finally {
      await onHost('ip link set s0 mtu 1500; ip link set t0 mtu 1500');
      await run(['ip', '-n', `${NAME}s`, 'link', 'set', 'eth0', 'mtu', '1500']);
    }
  });

  it('leaves streams to the kernel whose class of traffic it changes', async () => {
    await nft('add rule inet t forward ip dscp set cs1');
    expect((await passed('c', '11.0.0.1', 6666))[0]).toBe(0);
    await nft('flush chain inet t forward');
  });

  it('leaves out links that are not there', async () => {
    path.set({ ports: [...ports, { ...ports[0]!, link: 'none' }], entries: ['none6'] });
    expect((await passed('c', '11.0.0.1', 6666))[0]).toBeGreaterThan(MIB);
  });
});
