/**
 * Two hosts and their underlay in namespaces, each host with a reconciler in a process of its own and a container on a
 * veth: whatever somebody does to what is ours is put back, and what is not ours stays.
 */
import { spawn } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BuiltProgram, Namespaces, ReconcilerHost, run, waitFor } from '../../test/kernel/network.ts';
import type { InputText } from '../../test/kernel/reconciler-host.ts';
import { grantOf, nodeId, nodeRecords, recordOf } from '../overlay/arbitrary.ts';
import { attachmentAlias } from '../overlay/marks.ts';
import { agentNetworkConfig } from '../model/overlay.ts';

const spaces = new Namespaces('povrec');
/** Nodes 1 and 2 are real, at 10.0.0.11 and 10.0.0.12; the others exist as records. */
const hosts = { 1: '', 2: '' };
const containers = { 1: '', 2: '' };
let program: BuiltProgram;
let first: ReconcilerHost;
let second: ReconcilerHost;

type Index = 1 | 2;

function inputOf(index: Index, others: readonly number[], change: Partial<InputText> = {}): InputText {
  return {
    node: nodeId(index),
    grant: { overlays: grantOf(index), epoch: index },
    records: nodeRecords([1, 2, ...others]),
    removed: [],
    underlay: { address: `10.0.0.1${index}`, link: 'eth0', mtu: 1500 },
    attachments: [
      {
        container: `c${index}`,
        ifname: 'eth0',
        overlay: 'dcos',
        hostLink: 'pv1',
        addresses: [`9.0.${index}.2/25`],
        ports: [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }],
      },
    ],
    network: agentNetworkConfig.parse({}),
    ...change,
  };
}

const inHost = (index: Index, program_: string, ...args: readonly string[]): string =>
  run('ip', 'netns', 'exec', hosts[index], program_, ...args);
const ping = (from: string, to: string): boolean => {
  try {
    run('ip', 'netns', 'exec', from, 'busybox', 'ping', '-c1', '-W1', '-q', to);
    return true;
  } catch {
    return false;
  }
};

function makeUnderlay(): void {
  const underlay = spaces.add('ul');
  run('ip', '-n', underlay, 'link', 'add', 'underlay', 'type', 'bridge');
  run('ip', '-n', underlay, 'link', 'set', 'underlay', 'up');
  for (const index of [1, 2] as const) {
    hosts[index] = spaces.add(`h${index}`);
    run(
      'ip',
      '-n',
      underlay,
      'link',
      'add',
      `h${index}`,
      'type',
      'veth',
      'peer',
      'name',
      'eth0',
      'netns',
      hosts[index],
    );
    run('ip', '-n', underlay, 'link', 'set', `h${index}`, 'master', 'underlay', 'up');
    run('ip', '-n', hosts[index], 'address', 'add', `10.0.0.1${index}/24`, 'dev', 'eth0');
    run('ip', '-n', hosts[index], 'link', 'set', 'eth0', 'up');
  }
}

/** As an attachment makes it; the reconciler puts it into its bridge. */
function makeContainer(index: Index): void {
  const container = spaces.add(`c${index}`);
  containers[index] = container;
  run(
    'ip',
    '-n',
    hosts[index],
    'link',
    'add',
    'pv1',
    'type',
    'veth',
    'peer',
    'name',
    'eth0',
    'netns',
    container,
  );
  run('ip', '-n', hosts[index], 'link', 'set', 'pv1', 'alias', attachmentAlias(`c${index}`, 'eth0'));
  run('ip', '-n', container, 'address', 'add', `9.0.${index}.2/25`, 'dev', 'eth0');
  run('ip', '-n', container, 'link', 'set', 'eth0', 'mtu', '1450', 'up');
  run('ip', '-n', container, 'route', 'add', 'default', 'via', `9.0.${index}.1`);
}

interface LinkJson {
  readonly ifname: string;
  readonly flags: readonly string[];
  readonly mtu: number;
  readonly address: string;
  readonly ifalias?: string;
  readonly master?: string;
  readonly linkinfo?: {
    readonly info_kind?: string;
    readonly info_data?: Readonly<Record<string, unknown>>;
    readonly info_slave_data?: { readonly hairpin?: boolean };
  };
}

/** What a device is, without its timers, counters and indexes. */
function describeLink({ ifname, flags, mtu, address, ifalias, master, linkinfo }: LinkJson): string {
  const { id, local, port, learning } = linkinfo?.info_kind === 'vxlan' ? (linkinfo.info_data ?? {}) : {};
  const hairpin = linkinfo?.info_slave_data?.hairpin;
  const up = flags.includes('UP');
  return JSON.stringify({ ifname, up, mtu, address, ifalias, master, id, local, port, learning, hairpin });
}

/** All of ours in host 1 in the tools' own words, sorted. */
function picture(): readonly string[] {
  const ip = (...args: readonly string[]): string => inHost(1, 'ip', ...args);
  const text = [
    ip('route', 'show', 'table', 'all', 'proto', '225'),
    ip('-6', 'route', 'show', 'table', 'all', 'proto', '225'),
    ip('rule', 'show'),
    ip('neigh', 'show', 'dev', 'vtep1024', 'nud', 'permanent'),
    ip('-6', 'neigh', 'show', 'dev', 'vtep1024', 'nud', 'permanent'),
    inHost(1, 'bridge', 'fdb', 'show', 'dev', 'vtep1024'),
    // Without the operational state: an empty bridge gets it a moment after everything else.
    ip('-br', 'address', 'show', 'scope', 'global').replaceAll(/^(\S+)\s+(UP|DOWN|UNKNOWN)\s+/gm, '$1 '),
    inHost(1, 'nft', '-s', 'list', 'table', 'inet', 'portolan'),
    inHost(1, 'sysctl', 'net.ipv4.ip_forward', 'net.ipv6.conf.all.forwarding'),
    inHost(1, 'sysctl', '-a', '-r', '(vtep1024|m-dcos)[.](forwarding|rp_filter|accept_local)'),
  ].join('\n');
  const links = JSON.parse(ip('-j', '-d', 'link', 'show')) as readonly LinkJson[];
  return [...text.split('\n').filter((line) => line.trim() !== ''), ...links.map(describeLink)].sort();
}

beforeAll(async () => {
  program = new BuiltProgram('test/kernel/reconciler-host.ts');
  makeUnderlay();
  makeContainer(1);
  makeContainer(2);
  first = await ReconcilerHost.start(hosts[1], program.path);
  second = await ReconcilerHost.start(hosts[2], program.path);
});

afterAll(async () => {
  await first?.kill();
  await second?.kill();
  spaces.removeAll();
  program?.remove();
});

describe('reconciler', () => {
  it('writes nothing before it knows what is desired', async () => {
    const before = inHost(1, 'ip', '-o', 'link', 'show');
    expect(await first.report({ do: 'settle' })).toMatchObject({ done: false, steps: [] });
    expect(inHost(1, 'ip', '-o', 'link', 'show')).toBe(before);
  });

  it('connects containers across hosts, IPv4 and IPv6, and finds nothing to do afterwards', async () => {
    for (const [index, host] of [
      [1, first],
      [2, second],
    ] as const) {
      const report = await host.report({ do: 'desired', input: inputOf(index, [3]) });
      expect(report).toMatchObject({
        done: true,
        failures: [],
        faults: [],
        overlays: { dcos: 'ok', dcos6: 'ok' },
      });
    }
    expect(ping(containers[1], '9.0.2.2')).toBe(true);
    expect(ping(containers[1], '9.0.1.1')).toBe(true);
    expect(ping(hosts[1], 'fd01:a::2')).toBe(true);
    expect(ping(hosts[1], 'fd01:b::2:0:0:1')).toBe(true);
    expect((await first.report({ do: 'settle' })).steps).toEqual([]);
    expect(first.repaired('link')).toEqual([]);
  });

  it('lets a container reach a remote host with its own source address', async () => {
    const capture = spawn('ip', ['netns', 'exec', hosts[2], 'tcpdump', '-lnni', 'vtep1024', '-c1', 'icmp']);
    let seen = '';
    capture.stdout.on('data', (chunk: Buffer) => (seen += chunk.toString()));
    await waitFor('the request to be captured', () => ping(containers[1], '10.0.0.12') && seen !== '');
    expect(seen).toContain('9.0.1.2 > 10.0.0.12');
  });

  const damages: readonly [string, string, string][] = [
    ['ip route del', 'ip route del 9.0.2.0/24', 'route'],
    [
      'a route that was changed',
      'ip route change 9.0.2.0/24 via 44.128.0.9 dev vtep1024 onlink metric 8388611',
      'route',
    ],
    ['an IPv6 route deleted', 'ip -6 route del fd01:b::2:0:0:0/80', 'route'],
    ['a route of table 42 deleted', 'ip route flush table 42', 'route'],
    ['ip neigh del', 'ip neigh del 44.128.0.2 dev vtep1024', 'neighbour'],
    [
      'a neighbour that was changed',
      'ip neigh replace 44.128.0.2 lladdr 02:00:00:00:00:99 dev vtep1024 nud permanent',
      'neighbour',
    ],
    ['bridge fdb del', 'bridge fdb del 70:b3:d5:80:00:02 dev vtep1024', 'fdb'],
    [
      'an FDB entry that was changed',
      'bridge fdb replace 70:b3:d5:80:00:02 dst 10.0.0.99 dev vtep1024',
      'fdb',
    ],
    [
      'an FDB entry that was appended',
      'bridge fdb append 00:00:00:00:00:00 dst 10.0.0.99 dev vtep1024',
      'fdb',
    ],
    ['ip link del vtep1024', 'ip link del vtep1024', 'link'],
    ['ip link del p-dns', 'ip link del p-dns', 'link'],
    ['an address of the DNS server deleted', 'ip address del 198.51.100.1/32 dev p-dns', 'address'],
    ['a renamed tunnel', 'ip link set vtep1024 down; ip link set vtep1024 name stolen', 'link'],
    ['a renamed bridge', 'ip link set m-dcos down; ip link set m-dcos name stolen', 'link'],
    ['ip link set mtu', 'ip link set vtep1024 mtu 1300', 'link'],
    ['ip link set mtu below the IPv6 minimum', 'ip link set m-dcos6 mtu 1000', 'link'],
    ['ip link set down', 'ip link set vtep1024 down', 'link'],
    ['a bridge set down', 'ip link set m-dcos down', 'link'],
    ['a changed MAC of the VTEP', 'ip link set vtep1024 address 02:00:00:00:00:aa', 'link'],
    ['a changed MAC of a bridge', 'ip link set m-dcos address 02:00:00:00:00:aa', 'link'],
    ['a bridge deleted', 'ip link del m-dcos', 'link'],
    ['a veth taken out of its bridge', 'ip link set pv1 nomaster', 'port'],
    ['the address of a bridge deleted', 'ip address del 9.0.1.1/25 dev m-dcos', 'address'],
    ['the address of the VTEP deleted', 'ip address del 44.128.0.1/16 dev vtep1024', 'address'],
    ['an address added to a bridge', 'ip address add 9.0.1.9/25 dev m-dcos', 'address'],
    ['ip rule del', 'ip rule del from 9.0.0.0/8 lookup 42', 'rule'],
    ['nft flush ruleset', 'nft flush ruleset', 'nft'],
    ['a rule deleted by nft', 'nft flush chain inet portolan nat-postrouting', 'nft'],
    ['an element deleted by nft', 'nft delete element inet portolan portMap4 { tcp . 8080 }', 'nft'],
    ['forwarding switched off', 'sysctl -q -w net.ipv4.ip_forward=0', 'sysctl'],
    ['IPv6 forwarding switched off', 'sysctl -q -w net.ipv6.conf.all.forwarding=0', 'sysctl'],
    ['forwarding of one bridge switched off', 'sysctl -q -w net.ipv4.conf.m-dcos.forwarding=0', 'sysctl'],
    ['a strict rp_filter of the tunnel', 'sysctl -q -w net.ipv4.conf.vtep1024.rp_filter=1', 'sysctl'],
  ];

  it.each(damages)('repairs and logs %s', async (_, command, object) => {
    const before = picture();
    const known = first.repaired(object).length;
    inHost(1, 'sh', '-c', command);
    await expect.poll(() => first.repaired(object).length, { timeout: 2_000 }).toBeGreaterThan(known);
    await expect.poll(picture, { timeout: 2_000 }).toEqual(before);
    expect(ping(containers[1], '9.0.2.2')).toBe(true);
    expect(first.logs.filter(({ level }) => level === 'error')).toEqual([]);
    const { fields } = first.repaired(object).at(-1)!;
    expect(fields['count']).toBeGreaterThan(0);
    expect(fields['what']).not.toEqual([]);
  });

  it('counts repairs by object', async () => {
    const metrics = await first.metrics();
    expect(metrics['portolan_repairs_total{object=route}']).toBeGreaterThan(0);
    expect(metrics['portolan_repairs_total{object=nft}']).toBeGreaterThan(0);
  });

  it('leaves routes, devices, rules and tables alone that are not ours', async () => {
    inHost(1, 'sh', '-c', 'ip link add foreign type bridge && ip link set foreign up');
    inHost(
      1,
      'sh',
      '-c',
      'ip address add 172.16.0.1/24 dev foreign && ip route add 9.9.0.0/16 via 172.16.0.2',
    );
    inHost(
      1,
      'sh',
      '-c',
      'ip rule add from 9.0.0.0/8 lookup 77 priority 99 && ip neigh add 172.16.0.2 lladdr 02:00:00:00:00:01 dev foreign',
    );
    inHost(1, 'sh', '-c', 'nft add table ip foreign && nft add chain ip foreign c');
    // The kernel's detection of duplicates ends when it likes.
    const theirs = (): string =>
      inHost(
        1,
        'sh',
        '-c',
        'ip route show proto boot; ip rule show; ip -o link show foreign; ip neigh show dev foreign; ip -o a show dev foreign; nft list table ip foreign',
      ).replaceAll(' tentative', '');
    const before = theirs();
    inHost(1, 'ip', 'link', 'del', 'vtep1024');
    await waitFor('the tunnel to be back', () => ping(containers[1], '9.0.2.2'), 5_000);
    await first.report({ do: 'settle' });
    expect(theirs()).toBe(before);
  });

  it('adds one joining node by its own entries alone and forgets one that departs', async () => {
    const joined = await first.report({ do: 'desired', input: inputOf(1, [3, 4]) });
    expect(joined.steps).toHaveLength(6);
    expect(picture().join('\n')).toContain('9.0.4.0/24 via 44.128.0.4');
    const left = await first.report({ do: 'desired', input: inputOf(1, [3, 4], { removed: [nodeId(4)] }) });
    expect(left.steps).toHaveLength(6);
    expect(picture().join('\n')).not.toMatch(/44\.128\.0\.4\b|fd01:a::4\b|70:b3:d5:80:00:04/);
  });

  it('loses no packet while it is killed and started again without memory', async () => {
    const pinging = spawn('ip', [
      'netns',
      'exec',
      containers[1],
      'busybox',
      'ping',
      '-q',
      '-i',
      '0.01',
      '-c',
      '250',
      '9.0.2.2',
    ]);
    let summary = '';
    pinging.stdout.on('data', (chunk: Buffer) => (summary += chunk.toString()));
    const over = new Promise((resolve) => pinging.once('exit', resolve));
    await first.kill();
    first = await ReconcilerHost.start(hosts[1], program.path);
    const report = await first.report({ do: 'desired', input: inputOf(1, [3]) });
    // The table is replaced once, since nobody remembers its fingerprint; everything else is as it should be.
    expect(report.steps).toEqual(['table inet portolan: was other rules']);
    await over;
    expect(summary).toContain(' 0% packet loss');
    expect(first.logs.filter(({ level }) => level === 'warn')).toEqual([]);
  });

  it('names a device in its way, fails that overlay alone, and goes on when it is gone', async () => {
    inHost(1, 'ip', 'link', 'add', 'm-extra', 'type', 'veth', 'peer', 'name', 'theirs');
    const extra = {
      ...grantOf(1)[0]!,
      info: { name: 'extra', subnet: '12.0.0.0/8', prefix: 24, enabled: true },
    };
    const grant = {
      overlays: [
        ...grantOf(1),
        { ...extra, subnet: '12.0.1.0/24', mesos_bridge: { name: 'm-extra', ip: '12.0.1.0/25' } },
      ],
      epoch: 1,
    };
    const report = await first.report({ do: 'desired', input: inputOf(1, [3], { grant }) });
    expect(report.overlays).toEqual({
      dcos: 'ok',
      dcos6: 'ok',
      extra: expect.stringContaining('device m-extra exists and is a veth device') as unknown as string,
    });
    inHost(1, 'ip', 'link', 'del', 'm-extra');
    expect((await first.report({ do: 'settle' })).overlays['extra']).toBe('ok');
  });

  it('routes a block to the holder with the newer grant', async () => {
    const records = [
      ...nodeRecords([1, 2]),
      { node: nodeId(7), record: recordOf(7, { subnet: '9.0.2.0/24', grant_epoch: 1 }) },
    ];
    await first.report({ do: 'desired', input: inputOf(1, [], { records }) });
    expect(inHost(1, 'ip', 'route', 'show', '9.0.2.0/24')).toContain('via 44.128.0.2 ');
    expect(inHost(1, 'ip', 'route', 'show', '9.0.2.0/24').trim().split('\n')).toHaveLength(1);
  });

  it('costs little when there is nothing to do at 1,000 nodes', async () => {
    const many = Array.from({ length: 1000 }, (_, i) => i + 10);
    const report = await first.report({ do: 'desired', input: inputOf(1, many) });
    expect(report.failures).toEqual([]);
    const joined = await first.report({ do: 'desired', input: inputOf(1, [...many, 2000]) });
    expect(joined.steps).toHaveLength(6);
    expect(await first.cpuMs()).toBeGreaterThan(0);
  });

  it('removes everything that is ours, and nothing else', async () => {
    inHost(1, 'ip', 'link', 'del', 'pv1');
    await first.report({ do: 'remove' });
    const rest = inHost(
      1,
      'sh',
      '-c',
      'ip -o link show; ip rule show; ip route show table all; nft list tables',
    );
    expect(rest).not.toMatch(/vtep1024|p-dns|m-dcos|m-extra|proto 225|lookup 42|inet portolan/);
    expect(rest).toMatch(/foreign/);
    expect(inHost(1, 'ip', 'route', 'show', '9.9.0.0/16')).toContain('dev foreign');
  });
});
