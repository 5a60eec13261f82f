/** The tracer and other people's rules: what it says of each rule is what the kernel does with packets. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { waitFor } from '../../../test/kernel/network.ts';
import { silentLog } from '../../base/log.ts';
import * as libc from '../../kernel/libc.ts';
import { openNamespaceHandle } from '../../kernel/netns.ts';
import { openKernel } from '../../kernel/real.ts';
import type { Kernel } from '../../kernel/types.ts';
import type { TraceHop, TraceLeg } from '../../model/trace.ts';
import type { KnownEndpoint } from '../../node/record-view.ts';
import { mustRun, runCommand } from '../../runtime/command.ts';
import { walk } from '../../trace/walk.ts';
import { observeHost } from './observe.ts';
import { readFilters, readFiltersInside } from './observe-filters.ts';

const ROUTER = `portolan-trace-${process.pid}`;
const CLIENT = `${ROUTER}-c`;
const SERVER = `${ROUTER}-s`;
const options = { timeoutMs: 10_000 };
const home = `/proc/${process.pid}/ns/net`;

function enter(path: string): void {
  const fd = openSync(path, 'r');
  expect(libc.setns(fd, libc.CLONE_NEWNET)).toBe(0);
  closeSync(fd);
}

const within = (namespace: string, ...argv: readonly string[]): string[] => [
  'nsenter',
  `--net=/run/netns/${namespace}`,
  '--',
  ...argv,
];

/** Chain `fo` of `inet fw`, in `forward`. */
const forward = (rules: string, rest = ''): string =>
  `table inet fw {\n${rest}\nchain fo {\ntype filter hook forward priority filter\n${rules}\n}\n}`;

describe("other people's rules", () => {
  let kernel: Kernel;
  const servers: ChildProcess[] = [];

  const nft = (script: string): Promise<string> => mustRun(['nft', '-f', '-'], { ...options, input: script });
  const endpoint = (name: string, address: string): KnownEndpoint =>
    ({
      node: 'n',
      container: name,
      name,
      network: name,
      addresses: [address],
      ports: [],
    }) as unknown as KnownEndpoint;
  const trace = async (port: number, answer = false): Promise<TraceLeg> => {
    const state = await observeHost(kernel, {
      host: 'router',
      attachments: [],
      docker: [
        { endpoint: endpoint('client', '10.8.1.2/24'), bridge: 'to-client' },
        { endpoint: endpoint('server', '10.8.2.2/24'), bridge: 'to-server' },
      ],
      vip: () => undefined,
      concerned: new Set(),
    });
    const there = { source: '10.8.1.2', destination: '10.8.2.2', protocol: 'tcp', port } as const;
    const back = { source: '10.8.2.2', destination: '10.8.1.2', protocol: 'tcp', sourcePort: port } as const;
    return walk(state, { packet: answer ? back : there, answer });
  };
  const said = async (
    port = 80,
  ): Promise<{ passes: boolean; doubts: readonly string[]; last: TraceHop | undefined }> => {
    const leg = await trace(port);
    const doubts = leg.hops.flatMap((hop) => hop.doubts ?? []);
    return { passes: leg.end.kind === 'delivered', doubts, last: leg.hops.at(-1) };
  };
  /** One try: what is dropped never comes; what passes is asked again until it does. */
  const connects = async (port = 80): Promise<boolean> => {
    const argv = within(CLIENT, 'timeout', '0.4', 'bash', '-c', `</dev/tcp/10.8.2.2/${port}`);
    return (await runCommand(argv, options)).status === 0;
  };

  beforeAll(async () => {
    for (const name of [ROUTER, CLIENT, SERVER]) await mustRun(['ip', 'netns', 'add', name], options);
    for (const [name, device, gateway, address] of [
      [CLIENT, 'to-client', '10.8.1.1', '10.8.1.2'],
      [SERVER, 'to-server', '10.8.2.1', '10.8.2.2'],
    ] as const) {
      const outside = [
        `link add ${device} type veth peer name eth0 netns ${name}`,
        `address add ${gateway}/24 dev ${device}`,
        `link set ${device} up`,
      ];
      const inside = [
        `link set lo up`,
        `address add ${address}/24 dev eth0`,
        'link set eth0 up',
        `route add default via ${gateway}`,
      ];
      await mustRun(['ip', '-n', ROUTER, '-batch', '-'], { ...options, input: `${outside.join('\n')}\n` });
      await mustRun(['ip', '-n', name, '-batch', '-'], { ...options, input: `${inside.join('\n')}\n` });
    }
    for (const port of ['80', '443'])
      servers.push(
        spawn('nsenter', [...within(SERVER).slice(1), 'busybox', 'httpd', '-f', '-p', port, '-h', '/run'], {
          stdio: 'ignore',
        }),
      );
    enter(`/run/netns/${ROUTER}`);
    kernel = await openKernel({ log: silentLog });
    await kernel.writeSysctl('net/ipv4/ip_forward', '1');
    for (const port of [80, 443]) await waitFor(`a server on ${port}`, () => connects(port), 20_000);
  });
  afterEach(async () => {
    await nft('flush ruleset');
    await runCommand(['iptables-legacy', '-F'], options);
  });
  afterAll(() => {
    kernel.close();
    for (const server of servers) server.kill('SIGKILL');
    enter(home);
    for (const name of [CLIENT, SERVER, ROUTER]) spawnSync('ip', ['netns', 'delete', name]);
  });

  const dropping: readonly (readonly [string, string])[] = [
    ['a policy', 'table inet fw {\nchain fo {\ntype filter hook forward priority filter; policy drop;\n}\n}'],
    ['a port', forward('tcp dport 80 drop')],
    ['a reset', forward('tcp dport 80 reject with tcp reset')],
    ['devices', forward('iifname "to-cl*" oifname { "x", "to-server" } drop')],
    ['what is not so', forward('ip daddr != 10.8.2.3 iifname != "lo" drop')],
    [
      'a set of networks',
      forward(
        'ip saddr @bad drop',
        'set bad {\ntype ipv4_addr\nflags interval\nelements = { 10.8.0.0/23 }\n}',
      ),
    ],
    ['a pair', forward('ip daddr . tcp dport { 10.8.2.2 . 80 } drop')],
    ['a map of verdicts', forward('tcp dport vmap { 22 : accept, 80 : drop }')],
    [
      'a named map and a jump',
      forward(
        'tcp dport vmap @m',
        'map m {\ntype inet_service : verdict\nelements = { 80 : jump bad }\n}\nchain bad {\nip saddr 10.8.1.0/24 counter drop\n}',
      ),
    ],
    [
      'a goto that does not come back',
      'table inet fw {\nchain rest {\ntcp dport 81 accept\n}\nchain fo {\ntype filter hook forward priority filter; policy drop;\ngoto rest\naccept\n}\n}',
    ],
    [
      'another family of the same hook',
      'table ip fw {\nchain fo {\ntype filter hook forward priority 10\nct state new drop\n}\n}',
    ],
    [
      'a mark',
      'table inet fw {\nchain pre {\ntype filter hook prerouting priority mangle\ntcp dport 80 meta mark set 0x11\n}\nchain fo {\ntype filter hook forward priority filter\nmeta mark & 0xf0 == 0x10 drop\n}\n}',
    ],
    ['the beginning of a connection', forward('tcp flags & (fin|syn|rst|ack) == syn drop')],
    ['a way back that is not there', forward('fib saddr . iif oif exists drop')],
    [
      'a local address',
      'table inet fw {\nchain pre {\ntype filter hook prerouting priority raw\nfib daddr type unicast ip protocol tcp drop\n}\n}',
    ],
    [
      'what leaves',
      'table inet fw {\nchain post {\ntype filter hook postrouting priority filter\noifname "to-server" th dport 0-1023 drop\n}\n}',
    ],
  ];
  it.each(dropping)('drop by %s', async (_, script) => {
    await nft(script);
    const { passes, last } = await said();
    expect(last?.reason).toMatch(/^(dropped|rejected) by (the policy of )?table i[a-z]+ fw chain /);
    expect({ passes, connects: await connects() }).toEqual({ passes: false, connects: false });
  });

  const passing: readonly (readonly [string, string])[] = [
    ['an accept before', forward('ip daddr 10.8.2.2 accept\ntcp sport 80 accept\ndrop')],
    ['another port', forward('tcp dport { 22, 8000-9000 } drop')],
    [
      'another protocol',
      forward('udp dport 80 drop\nmeta l4proto { icmp, udp } drop\nmeta nfproto ipv6 drop'),
    ],
    [
      'a return before the drop',
      forward('jump some', 'chain some {\nth dport 80 return\nct state new drop\n}'),
    ],
    ['a state that it is not in', forward('ct state invalid drop\nct state established,related accept')],
    ['counting and logging', forward('counter log prefix "seen " group 1\nct mark set 5')],
    [
      'a drop on another hook',
      'table inet fw {\nchain in {\ntype filter hook input priority filter; policy drop;\n}\n}',
    ],
  ];
  it.each(passing)('let through by %s', async (_, script) => {
    await nft(script);
    expect(await said()).toMatchObject({ passes: true, doubts: [] });
    await expect.poll(() => connects()).toBe(true);
  });

  it('follows a translation of the destination', async () => {
    await nft(
      'table ip fw {\nchain pre {\ntype nat hook prerouting priority dstnat\ntcp dport 8080 dnat to 10.8.2.2:443\n}\n}',
    );
    const leg = await trace(8080);
    expect(leg.packet).toMatchObject({ destination: '10.8.2.2', port: 443 });
    await expect.poll(() => connects(8080)).toBe(true);
  });

  it('lets an answer pass only where established connections may', async () => {
    await nft(forward('ct state established accept\niifname "to-client" tcp dport 80 accept\ndrop'));
    expect((await trace(80)).end.kind).toBe('delivered');
    expect((await trace(80, true)).end.kind).toBe('delivered');
    expect((await trace(443)).end.kind).toBe('stopped');
    await nft('flush ruleset');
    await nft(forward('ip daddr 10.8.2.2 accept\ndrop'));
    expect((await trace(80)).end.kind).toBe('delivered');
    expect((await trace(80, true)).end.kind).toBe('stopped');
    expect(await connects()).toBe(false);
  });

  it('says what it cannot evaluate', async () => {
    await nft(forward('limit rate over 1/day drop'));
    expect(await said()).toMatchObject({
      passes: true,
      doubts: [
        expect.stringMatching(
          /^may be dropped by table inet fw chain fo rule handle \d+ \(cannot be evaluated: limit rate/,
        ) as string,
      ],
    });
    await nft('flush ruleset');
    await nft(forward('meta hour "00:00"-"23:59" accept\ndrop'));
    const [doubt] = (await said()).doubts;
    expect(doubt).toMatch(
      /^is dropped by table inet fw .* unless table inet fw .* accepts it before \(cannot be evaluated: meta hour/,
    );
  });

  it("reads iptables-nft's rules with their extensions", async () => {
    const iptables = (...args: string[]): Promise<string> => mustRun(['iptables-nft', ...args], options);
    await iptables('-P', 'FORWARD', 'DROP');
    expect((await said()).last).toMatchObject({
      reason: 'dropped by the policy of table ip filter chain FORWARD',
      remedy: 'let it pass: iptables -I FORWARD -i to-client -o to-server -j ACCEPT',
    });
    await iptables('-N', 'OPEN');
    await iptables('-A', 'FORWARD', '-m', 'conntrack', '--ctstate', 'RELATED,ESTABLISHED', '-j', 'ACCEPT');
    await iptables('-A', 'FORWARD', '-m', 'comment', '--comment', 'the "web"', '-j', 'OPEN');
    await iptables(
      '-A',
      'OPEN',
      '-p',
      'tcp',
      '-m',
      'multiport',
      '--dports',
      '80,8080',
      '-m',
      'conntrack',
      '--ctstate',
      'NEW',
      '-j',
      'ACCEPT',
    );
    expect(await said()).toMatchObject({ passes: true, doubts: [] });
    expect((await trace(80, true)).end.kind).toBe('delivered');
    await expect.poll(() => connects()).toBe(true);
    expect(await said(443)).toMatchObject({ passes: false });
    expect(await connects(443)).toBe(false);
    await iptables('-I', 'DOCKER-USER', '-j', 'RETURN').catch(() => iptables('-N', 'DOCKER-USER'));
    expect((await said(443)).last?.remedy).toContain(
      'iptables -I DOCKER-USER -i to-client -o to-server -j ACCEPT',
    );
    await iptables('-I', 'FORWARD', '-m', 'string', '--string', 'x', '--algo', 'bm', '-j', 'REJECT');
    expect((await said()).doubts).toEqual([
      expect.stringContaining('may be rejected by table ip filter chain FORWARD') as string,
    ]);
  });

  it('reads what is inside another namespace', async () => {
    const path = `/run/netns/${SERVER}`;
    const inside = async (): Promise<Awaited<ReturnType<typeof readFilters>>> => {
      const handle = openNamespaceHandle(path);
      try {
        return await readFiltersInside(path, handle);
      } finally {
        handle.close();
      }
    };
    expect((await inside()).tables.filter(({ family }) => family === 'inet')).toEqual([]);
    const script =
      'table inet own {\nchain in {\ntype filter hook input priority filter\ntcp dport 443 drop\n}\n}';
    await mustRun(within(SERVER, 'nft', '-f', '-'), { ...options, input: script });
    await mustRun(within(SERVER, 'iptables-legacy', '-A', 'INPUT', '-p', 'udp', '-j', 'DROP'), options);
    const { tables, unreadable } = await inside();
    expect(unreadable).toEqual([]);
    expect(tables.map(({ name }) => name)).toEqual(expect.arrayContaining(['own', 'filter']));
    expect(await connects(443)).toBe(false);
    await mustRun(within(SERVER, 'nft', 'delete', 'table', 'inet', 'own'), options);
    await mustRun(within(SERVER, 'iptables-legacy', '-F'), options);
  });

  it('reads the legacy xtables, and says so where it cannot', async () => {
    await mustRun(['iptables-legacy', '-A', 'FORWARD', '-p', 'tcp', '--dport', '80', '-j', 'DROP'], options);
    expect((await said()).last).toMatchObject({
      reason: 'dropped by iptables-legacy table filter chain FORWARD rule number 1',
      remedy: 'let it pass: iptables-legacy -I FORWARD -i to-client -o to-server -j ACCEPT',
    });
    expect(await connects()).toBe(false);
    expect(await said(443)).toMatchObject({ passes: true, doubts: [] });
    const { unreadable } = await readFilters(kernel.nft, {
      save: () => Promise.resolve(undefined),
      legacyTablesOf: (family) => Promise.resolve(family === 'ip' ? ['filter'] : []),
    });
    expect(unreadable).toEqual([expect.stringContaining('install iptables-legacy-save') as string]);
  });
});
