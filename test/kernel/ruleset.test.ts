/**
 * Each sentence of the ruleset, by real packets: two hosts with containers, and a host outside, on one underlay.
 *
 *   outside 10.0.0.99 --+-- host1 10.0.0.11 -- m-dcos 9.0.1.1/25 -- a 9.0.1.3, b 9.0.1.4, intruder 9.0.1.5
 *                       |                   |- m-other 12.0.1.1/25 -- c 12.0.1.3
 *                       |                   \- m-local 172.31.254.1/24 -- l 172.31.254.3
 *                       +-- host2 10.0.0.12 -- m-dcos 9.0.2.1/25 -- d 9.0.2.3
 */
import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { FORGED_SOURCE, forgedFrame, sendVxlan } from '../support/forged-frame.ts';
import { Traffic } from '../support/traffic.ts';
import { ip, prefix } from '../../src/base/ip.ts';
import { renderTable } from '../../src/kernel/nft/render.ts';
import type { NftTable } from '../../src/kernel/nft/types.ts';
import { requiredSysctls, ruleset, type RulesetInput } from '../../src/overlay/ruleset.ts';

const tag = `ruleset-${process.pid}`;
const names = ['under', 'outside', 'host1', 'host2', 'a', 'b', 'intruder', 'c', 'l', 'd'] as const;
type Name = (typeof names)[number];
const ns = (name: Name): string => `${tag}-${name}`;
const pathOf = (name: Name): string => `/run/netns/${ns(name)}`;

const sh = (script: string): string => execFileSync('sh', ['-ec', script], { encoding: 'utf8' });
const inside = (name: Name, command: string): string =>
  execFileSync('nsenter', [`--net=${pathOf(name)}`, 'sh', '-ec', command], { encoding: 'utf8' });
const nft = (name: Name, script: string): void => {
  execFileSync('nsenter', [`--net=${pathOf(name)}`, 'nft', '-f', '-'], { input: script });
};
const load = (name: Name, table: NftTable): void => nft(name, [...renderTable(table)].join(''));

const dcos = { name: 'dcos', space: prefix('9.0.0.0/8'), space6: prefix('fd01:b::/64') };
/** In the canonical form, as sockets give them. */
const [A6, D6, M6] = ['fd01:b::1:0:0:3', 'fd01:b::2:0:0:3', 'fd01:b::1:0:0:1'];
const tcp = { protocol: 6, toPort: 80 };

function inputOf(host: 1 | 2): RulesetInput {
  const local = {
    ...dcos,
    bridge: 'm-dcos',
    subnet: prefix(`9.0.${host}.0/25`),
    dockerSubnet: prefix(`9.0.${host}.128/25`),
    subnet6: prefix(`fd01:b:0:0:${host}::/80`),
  };
  const other = { name: 'other', space: prefix('12.0.0.0/8') };
  const hostOne = [
    { ...other, bridge: 'm-other', subnet: prefix('12.0.1.0/25') },
    { name: 'local', bridge: 'm-local', subnet: prefix('172.31.254.0/24') },
  ];
  return {
    overlays: [local, ...(host === 1 ? hostOne : [other])],
    vtep: 'vtep1024',
    vxlanPort: 64_000,
    underlay: ip(`10.0.0.1${host}`),
    underlayLink: 'eth0',
    mtu: 1450,
    portMappings: host === 1 ? portMappings : [],
    dns: { addresses: [ip('198.51.100.1')], port: 53 },
  };
}

const portMappings: RulesetInput['portMappings'] = [
  { ...tcp, hostPort: 8080, to: ip('9.0.1.3') },
  { ...tcp, hostPort: 8081, to: ip('9.0.1.3'), hostAddress: ip('10.0.0.11') },
  { ...tcp, hostPort: 8082, to: ip('9.0.1.3') },
  { ...tcp, hostPort: 8082, to: ip('12.0.1.3'), hostAddress: ip('10.0.0.11') },
  { protocol: 17, hostPort: 5353, to: ip('9.0.1.3'), toPort: 53 },
  { ...tcp, hostPort: 8080, to: ip(A6) },
  { ...tcp, hostPort: 8081, to: ip(A6), hostAddress: ip('fd00::11') },
];

/** A host of the underlay with its tunnel to the other one. */
function hostScript(host: 1 | 2): string {
  const peer = host === 1 ? 2 : 1;
  const name = ns(`host${host}`);
  const n = `ip -n ${name}`;
  return `
    ip netns exec ${name} sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
    ${n} link add vtep1024 address 70:b3:d5:80:00:0${host} mtu 1450 type vxlan id 1024 dstport 64000 local 10.0.0.1${host} nolearning
    ${n} addr add 44.128.0.${host}/20 dev vtep1024
    ${n} addr add fd01:a::${host}/64 dev vtep1024 nodad
    ${n} link set vtep1024 up
    ip netns exec ${name} sysctl -qw net.ipv4.conf.vtep1024.rp_filter=0 net.ipv4.conf.vtep1024.accept_local=1
    bridge -n ${name} fdb add 70:b3:d5:80:00:0${peer} dev vtep1024 dst 10.0.0.1${peer} self permanent
    ${n} neigh add 44.128.0.${peer} lladdr 70:b3:d5:80:00:0${peer} dev vtep1024 nud permanent
    ${n} neigh add fd01:a::${peer} lladdr 70:b3:d5:80:00:0${peer} dev vtep1024 nud permanent
    ${n} route add 9.0.${peer}.0/24 via 44.128.0.${peer} dev vtep1024 onlink
    ${n} route add fd01:b:0:0:${peer}::/80 via fd01:a::${peer} dev vtep1024 onlink
    ${n} rule add priority 4242 from 9.0.0.0/8 lookup 42
    ${n} route add 10.0.0.1${peer} via 44.128.0.${peer} dev vtep1024 onlink table 42
    ${bridgeScript(name, 'm-dcos', `9.0.${host}.1/25`, `fd01:b:0:0:${host}::1/80`)}`;
}

function bridgeScript(host: string, bridge: string, address: string, address6?: string): string {
  const n = `ip -n ${host}`;
  return `
    ${n} link add ${bridge} type bridge
    ${n} addr add ${address} dev ${bridge}
    ${address6 === undefined ? '' : `${n} addr add ${address6} dev ${bridge} nodad`}
    ip netns exec ${host} sysctl -qw net.ipv4.conf.${bridge}.accept_local=1
    ${n} link set ${bridge} up`;
}

function containerScript(name: Name, host: Name, bridge: string, address: string, address6?: string): string {
  const n = `ip -n ${ns(name)}`;
  const gateway = address.replace(/\.\d+\/.*/, '.1');
  return `
    ip -n ${ns(host)} link add v-${name} type veth peer name eth0 netns ${ns(name)}
    ip -n ${ns(host)} link set v-${name} master ${bridge} up
    bridge -n ${ns(host)} link set dev v-${name} hairpin on
    ${n} addr add ${address} dev eth0
    ${n} link set eth0 up
    ${n} route add default via ${gateway}
    ${address6 === undefined ? '' : `${n} addr add ${address6} dev eth0 nodad`}
    ${address6 === undefined ? '' : `${n} route add default via ${address6.replace(/::.*/, '::1')}`}`;
}

const underlayScript = (name: Name, address: string, address6: string): string => `
    ip -n ${ns('under')} link add u-${name} type veth peer name eth0 netns ${ns(name)}
    ip -n ${ns('under')} link set u-${name} master br0 up
    ip -n ${ns(name)} addr add ${address}/24 dev eth0
    ip -n ${ns(name)} addr add ${address6}/64 dev eth0 nodad
    ip -n ${ns(name)} link set eth0 up`;

function build(): void {
  sh(names.map((name) => `ip netns add ${ns(name)}; ip -n ${ns(name)} link set lo up`).join('\n'));
  sh(`
    ip -n ${ns('under')} link add br0 type bridge
    ip -n ${ns('under')} link set br0 up
    ${underlayScript('outside', '10.0.0.99', 'fd00::99')}
    ${underlayScript('host1', '10.0.0.11', 'fd00::11')}
    ${underlayScript('host2', '10.0.0.12', 'fd00::12')}
    ${hostScript(1)}
    ${hostScript(2)}
    ${bridgeScript(ns('host1'), 'm-other', '12.0.1.1/25')}
    ${bridgeScript(ns('host1'), 'm-local', '172.31.254.1/24')}
    ${containerScript('l', 'host1', 'm-local', '172.31.254.3/24')}
    ${containerScript('a', 'host1', 'm-dcos', '9.0.1.3/25', 'fd01:b:0:0:1::3/80')}
    ${containerScript('b', 'host1', 'm-dcos', '9.0.1.4/25', 'fd01:b:0:0:1::4/80')}
    ${containerScript('intruder', 'host1', 'm-dcos', '9.0.1.5/25')}
    ${containerScript('c', 'host1', 'm-other', '12.0.1.3/25')}
    ${containerScript('d', 'host2', 'm-dcos', '9.0.2.3/25', 'fd01:b:0:0:2::3/80')}
    ip -n ${ns('outside')} route add fd01:b::/64 via fd00::11`);
  for (const host of [1, 2] as const) {
    for (const { key, value } of requiredSysctls(inputOf(host)))
      inside(`host${host}`, `echo ${value} >/proc/sys/${key}`);
    load(`host${host}`, ruleset(inputOf(host)));
  }
}

/** br_netfilter, where it is loaded (Docker does), shows bridged packets to nftables and translates in the bridge. */
function callFromBridges(called: number): void {
  for (const key of ['bridge-nf-call-iptables', 'bridge-nf-call-ip6tables'])
    inside('host1', `test ! -e /proc/sys/net/bridge/${key} || echo ${called} >/proc/sys/net/bridge/${key}`);
}

describe('the ruleset on real packets', () => {
  const traffic = new Map<Name, Traffic>();
  const at = (name: Name): Traffic => {
    const found = traffic.get(name);
    if (found === undefined) throw new Error(`no traffic in ${name}`);
    return found;
  };

  beforeAll(async () => {
    build();
    for (const name of names.filter((each) => each !== 'under'))
      traffic.set(name, await Traffic.open(pathOf(name)));
    for (const name of ['a', 'b', 'd', 'c', 'outside', 'host2'] as const) await at(name).listen(80);
    for (const name of ['a', 'd', 'outside'] as const) await at(name).listen(80, { address: '::' });
    await at('a').listen(53, { protocol: 'udp' });
    await at('outside').listen(64_000, { protocol: 'udp' });
    await at('host1').listen(9999, { address: '127.0.0.1' });
    await at('host1').listen(9999, { address: '127.0.0.1', protocol: 'udp' });
  });

  afterAll(async () => {
    for (const each of traffic.values()) await each.close();
    for (const name of names) sh(`ip netns delete ${ns(name)} 2>/dev/null || true`);
  });

  beforeEach(() => load('host1', ruleset(inputOf(1))));

  describe('masquerade', () => {
    it('leaves the addresses of containers alone within the overlay, across hosts', async () => {
      expect(await at('a').ask({ to: '9.0.2.3', port: 80 })).toBe('9.0.1.3');
      expect(await at('d').ask({ to: '9.0.1.3', port: 80 })).toBe('9.0.2.3');
      expect(await at('a').ask({ to: D6, port: 80 })).toBe(A6);
    });

    it('leaves them alone between overlays', async () => {
      expect(await at('c').ask({ to: '9.0.1.3', port: 80 })).toBe('12.0.1.3');
      expect(await at('a').ask({ to: '12.0.1.3', port: 80 })).toBe('9.0.1.3');
    });

    it("gives connections to anything outside the host's address", async () => {
      expect(await at('a').ask({ to: '10.0.0.99', port: 80 })).toBe('10.0.0.11');
      expect(await at('c').ask({ to: '10.0.0.99', port: 80 })).toBe('10.0.0.11');
      expect(await at('d').ask({ to: '10.0.0.99', port: 80 })).toBe('10.0.0.12');
    });

    it('keeps the address of a container towards a remote host, which answers through the tunnel', async () => {
      expect(await at('a').ask({ to: '10.0.0.12', port: 80 })).toBe('9.0.1.3');
    });

    it('masquerades towards the same remote host what has no way through the tunnel', async () => {
      expect(await at('c').ask({ to: '10.0.0.12', port: 80 })).toBe('10.0.0.11');
    });

    it('leaves IPv6 alone, as the reference does', async () => {
      expect(await at('a').ask({ to: 'fd00::99', port: 80 })).toBe(A6);
    });
  });

  describe('host ports', () => {
    it('lead other hosts to the container, which sees who asks', async () => {
      expect(await at('outside').ask({ to: '10.0.0.11', port: 8080 })).toBe('10.0.0.99');
      expect(await at('host2').ask({ to: '10.0.0.11', port: 8080 })).toBe('10.0.0.12');
      expect(await at('outside').ask({ to: 'fd00::11', port: 8080 })).toBe('fd00::99');
    });

    it('lead the host itself there, by any of its addresses', async () => {
      expect(await at('host1').ask({ to: '10.0.0.11', port: 8080 })).toBe('10.0.0.11');
      expect(await at('host1').ask({ to: '9.0.1.1', port: 8080 })).toBe('9.0.1.1');
      expect(await at('host1').ask({ to: 'fd00::11', port: 8080 })).toBe('fd00::11');
    });

    it("lead the host there by 127.0.0.1, as the bridge's address", async () => {
      expect(await at('host1').ask({ to: '127.0.0.1', port: 8080 })).toBe('9.0.1.1');
      expect(await at('host1').ask({ to: '127.0.0.1', port: 5353, protocol: 'udp' })).toBe('9.0.1.1');
    });

    it.each([0, 1])(
      'lead containers of the same bridge there, also the container itself (bridge-nf-call-iptables %i)',
      async (called) => {
        callFromBridges(called);
        for (const to of ['10.0.0.11', '9.0.1.1'])
          for (const from of ['b', 'a'] as const)
            expect(await at(from).ask({ to, port: 8080 }), `${from} to ${to}`).toBe('9.0.1.1');
        for (const from of ['b', 'a'] as const)
          expect(await at(from).ask({ to: 'fd00::11', port: 8080 }), from).toBe(M6);
      },
    );

    it('lead containers of other bridges and other hosts there, which are seen by their own addresses', async () => {
      expect(await at('c').ask({ to: '10.0.0.11', port: 8080 })).toBe('12.0.1.3');
      expect(await at('d').ask({ to: '10.0.0.11', port: 8080 })).toBe('9.0.2.3');
      expect(await at('d').ask({ to: '10.0.0.11', port: 5353, protocol: 'udp' })).toBe('9.0.2.3');
    });

    it('hold for UDP as for TCP, each by itself', async () => {
      expect(await at('outside').ask({ to: '10.0.0.11', port: 5353, protocol: 'udp' })).toBe('10.0.0.99');
      expect(await at('outside').ask({ to: '10.0.0.11', port: 5353 })).toBe('ECONNREFUSED');
    });

    it('of one host address hold for that only, and come before those of all', async () => {
      expect(await at('outside').ask({ to: '10.0.0.11', port: 8081 })).toBe('10.0.0.99');
      expect(await at('host1').ask({ to: '127.0.0.1', port: 8081 })).toBe('ECONNREFUSED');
      expect(await at('outside').ask({ to: 'fd00::11', port: 8081 })).toBe('fd00::99');
      expect(await at('host1').ask({ to: 'fd01:b:0:0:1::1', port: 8081 })).toBe('ECONNREFUSED');
      await at('a').connect('general', '44.128.0.1', 8082);
      expect(await at('a').say('general')).toBe('9.0.1.1');
      expect(await at('a').ask({ to: '10.0.0.11', port: 8082 })).toBe('9.0.1.3');
    });

    it('take nothing that is addressed to somebody else', async () => {
      expect(await at('a').ask({ to: '10.0.0.99', port: 8080 })).toBe('ECONNREFUSED');
      expect(await at('host1').ask({ to: '::1', port: 8080 })).toBe('ECONNREFUSED');
    });

    it('keep established connections when the table is replaced', async () => {
      await at('outside').connect('lasting', '10.0.0.11', 8080);
      expect(await at('outside').say('lasting')).toBe('10.0.0.99');
      load('host1', ruleset({ ...inputOf(1), portMappings: [] }));
      expect(await at('outside').say('lasting')).toBe('10.0.0.99');
      expect(await at('outside').ask({ to: '10.0.0.11', port: 8080 })).toBe('ECONNREFUSED');
    });
  });

  const unguarded = (host: 1 | 2): NftTable => {
    const table = ruleset(inputOf(host));
    const open = (rules: readonly string[]): readonly string[] =>
      rules.filter((rule) => !rule.includes('drop'));
    return { ...table, chains: table.chains.map((chain) => ({ ...chain, rules: open(chain.rules) })) };
  };

  describe('accept_local', () => {
    /** Counts what of a claim arrives at the host itself, or is forwarded to a container. */
    const arrived = async (from: Name, gateway: string, claim: string, to: string): Promise<number> => {
      const [target, port] = [to.startsWith('9.0.2.') ? 'd' : 'host1', 7777] as const;
      nft(
        target,
        `add table inet seen; delete table inet seen
         table inet seen { chain input { type filter hook input priority 0
           ip saddr ${claim} udp dport ${port} counter
         }
         }`,
      );
      inside(from, `ip addr add ${claim}/32 dev eth0; ip route add ${to} via ${gateway} src ${claim}`);
      try {
        await at(from).ask({ to, port, protocol: 'udp', timeoutMs: 200 });
      } finally {
        inside(from, `ip route del ${to} via ${gateway}; ip addr del ${claim}/32 dev eth0`);
      }
      return Number(/packets (\d+)/.exec(inside(target, 'nft list table inet seen'))?.[1]);
    };

    beforeAll(() => {
      inside('host1', 'ip link add docker type bridge; ip addr add 9.0.1.254/25 dev docker');
      inside('host1', 'ip link set docker up; sysctl -qw net.ipv4.conf.all.rp_filter=0');
    });

    it.each([
      ["the host's address on the underlay", 'b', '9.0.1.1', '10.0.0.11', '9.0.1.1'],
      [
        "the host's address on the underlay, towards another host's container",
        'b',
        '9.0.1.1',
        '10.0.0.11',
        '9.0.2.3',
      ],
      ['the address of the tunnel', 'b', '9.0.1.1', '44.128.0.1', '10.0.0.11'],
      ['the address of the bridge, from another bridge', 'c', '12.0.1.1', '9.0.1.1', '10.0.0.11'],
      ['the broadcast address of the bridge', 'c', '12.0.1.1', '9.0.1.127', '10.0.0.11'],
      ["the address of Docker's bridge, whichever that is", 'b', '9.0.1.1', '9.0.1.254', '10.0.0.11'],
      ["the host's address on the underlay, from another host", 'd', '9.0.2.1', '10.0.0.11', '9.0.1.1'],
      ['the address of the bridge, from another host', 'd', '9.0.2.1', '9.0.1.1', '44.128.0.1'],
    ] as const)('lets no container speak as %s', async (_, from, gateway, claim, to) => {
      load('host1', unguarded(1));
      expect(await arrived(from, gateway, claim, to)).toBe(1);
      load('host1', ruleset(inputOf(1)));
      expect(await arrived(from, gateway, claim, to)).toBe(0);
    });
  });

  describe('route_localnet', () => {
    it('opens nothing: what listens on 127.0.0.1 stays out of reach for containers', async () => {
      inside(
        'intruder',
        `sysctl -qw net.ipv4.conf.eth0.route_localnet=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=0
         ip addr del 127.0.0.1/8 dev lo
         ip route add 127.0.0.1/32 via 9.0.1.1 dev eth0 src 9.0.1.5`,
      );
      const question = { to: '127.0.0.1', port: 9999, timeoutMs: 700 };
      load('host1', unguarded(1));
      expect(await at('intruder').ask(question)).toBe('9.0.1.5');
      load('host1', ruleset(inputOf(1)));
      expect(await at('intruder').ask(question)).toBe('timeout');
      expect(await at('intruder').ask({ ...question, protocol: 'udp' })).toBe('timeout');
    });

    it('lets no container speak as 127/8 either', async () => {
      inside(
        'intruder',
        'ip addr add 127.0.0.5/32 dev eth0; ip route replace 10.0.0.11 via 9.0.1.1 src 127.0.0.5',
      );
      await at('intruder').ask({ to: '10.0.0.11', port: 7777, protocol: 'udp', timeoutMs: 200 });
      const rules = inside('host1', 'nft list chain inet portolan sources');
      expect(Number(/ip saddr 127[^\n]* packets (\d+)/.exec(rules)?.[1])).toBe(1);
    });
  });

  describe('notrack', () => {
    it('keeps the outer packets of the tunnel out of connection tracking on both hosts', async () => {
      for (const host of ['host1', 'host2'] as const) inside(host, 'conntrack -F 2>/dev/null');
      expect(await at('a').ask({ to: '9.0.2.3', port: 80 })).toBe('9.0.1.3');
      for (const host of ['host1', 'host2'] as const) {
        const connections = inside(host, 'conntrack -L 2>/dev/null');
        expect(connections).toContain('src=9.0.1.3 dst=9.0.2.3');
        expect(connections).not.toContain('dport=64000');
      }
    });

    it('holds for an IPv6 underlay as well', async () => {
      load('host1', ruleset({ ...inputOf(1), underlay: ip('fd00::11') }));
      inside('host1', 'conntrack -F 2>/dev/null');
      await at('outside').ask({ to: 'fd00::11', port: 64_000, protocol: 'udp', timeoutMs: 200 });
      await at('host1').ask({ to: 'fd00::12', port: 64_000, protocol: 'udp', timeoutMs: 200 });
      await at('host1').ask({ to: 'fd00::12', port: 64_001, protocol: 'udp', timeoutMs: 200 });
      const connections = inside('host1', 'conntrack -L -f ipv6 2>/dev/null');
      expect(connections).toContain('dport=64001');
      expect(connections).not.toContain('dport=64000');
    });

    it('lets containers use the same port', async () => {
      expect(await at('a').ask({ to: '10.0.0.99', port: 64_000, protocol: 'udp' })).toBe('10.0.0.11');
      inside('host1', 'conntrack -F 2>/dev/null');
      await at('a').ask({ to: '9.0.2.3', port: 64_000, protocol: 'udp', timeoutMs: 200 });
      expect(inside('host1', 'conntrack -L 2>/dev/null')).toMatch(
        /src=9\.0\.1\.3 dst=9\.0\.2\.3 .*dport=64000/,
      );
    });
  });

  describe('the port of VXLAN', () => {
    const sendWrapped = (from: Name, to: string, host: 1 | 2): void =>
      sendVxlan(pathOf(from), to, forgedFrame(`70:b3:d5:80:00:0${host}`, `9.0.${host}.3`));
    /** Before any other rule, what comes out of the tunnel of a host. */
    const watch = (host: 1 | 2): void =>
      nft(
        `host${host}`,
        `add table inet seen; delete table inet seen
         table inet seen { chain unwrapped { type filter hook prerouting priority -400
           iifname vtep1024 ip saddr ${FORGED_SOURCE} counter
         }
         }`,
      );
    const unwrapped = (host: 1 | 2): number =>
      Number(/packets (\d+)/.exec(inside(`host${host}`, 'nft list table inet seen'))?.[1]);

    it('is for hosts: what comes to it from the underlay is unwrapped, by whatever device', () => {
      watch(1);
      sendWrapped('host2', '10.0.0.11', 1);
      expect(unwrapped(1)).toBe(1);
      load('host1', ruleset({ ...inputOf(1), underlayLink: 'eth1' }));
      sendWrapped('host2', '10.0.0.11', 1);
      expect(unwrapped(1)).toBe(2);
    });

    it.each([
      ["its own host's address", 'a', '10.0.0.11', 1],
      ['its gateway', 'a', '9.0.1.1', 1],
      ["its own host's VTEP", 'a', '44.128.0.1', 1],
      ['all on its bridge', 'a', '9.0.1.127', 1],
      ['all hosts there', 'a', '224.0.0.1', 1],
      ["another host's address, through the tunnel", 'a', '10.0.0.12', 2],
      ["another host's gateway", 'a', '9.0.2.1', 2],
      ["another host's VTEP", 'a', '44.128.0.2', 2],
      ["its own host's address, from the node-local bridge", 'l', '10.0.0.11', 1],
      ["another host's address, behind this host's", 'l', '10.0.0.12', 2],
      ["another host's VTEP, behind this host's", 'l', '44.128.0.2', 2],
      ["another host's second address", 'a', '10.0.0.112', 2],
    ] as const)('takes nothing from a container to %s', (_, from, to, host) => {
      inside('host2', 'ip addr replace 10.0.0.112/24 dev eth0');
      inside(from, 'ip route replace 224.0.0.1 dev eth0');
      watch(host);
      sendWrapped(from, to, host);
      expect(unwrapped(host)).toBe(0);
    });
  });

  describe('MSS', () => {
    const packets = (name: Name): number =>
      Number(/packets (\d+)/.exec(inside(name, 'nft list table inet seen'))?.[1]);
    /** Counts the SYNs and SYN-ACKs that arrive with exactly this size. */
    const countArriving = (name: Name, size: number): void =>
      nft(
        name,
        `add table inet seen; delete table inet seen
         table inet seen { chain input { type filter hook input priority 0
           tcp flags syn tcp option maxseg size ${size} counter
         }
         }`,
      );

    it.each([
      ['IPv4', '9.0.2.3', '9.0.1.3', 1410],
      ['IPv6', D6, A6, 1390],
    ])(
      "is lowered to what fits the tunnel, although the containers' devices hold more (%s)",
      async (_, to, from, size) => {
        for (const name of ['a', 'd'] as const) countArriving(name, size);
        expect(await at('a').ask({ to, port: 80 })).toBe(from);
        expect([packets('a'), packets('d')]).toEqual([1, 1]);
      },
    );

    it.each([
      ['IPv4', '10.0.0.99', '10.0.0.11', 1360],
      ['IPv6', 'fd00::99', A6, 1340],
    ])(
      'is lowered to what fits the way out of the overlay, in both directions (%s)',
      async (_, to, from, size) => {
        inside('host1', 'ip link set eth0 mtu 1400');
        try {
          for (const name of ['a', 'outside'] as const) countArriving(name, size);
          expect(await at('a').ask({ to, port: 80 })).toBe(from);
          expect([packets('a'), packets('outside')]).toEqual([1, 1]);
        } finally {
          inside('host1', 'ip link set eth0 mtu 1500');
        }
      },
    );
  });
});
