import { describe, expect, it } from 'vitest';
import { ip, prefix } from '../base/ip.ts';
import type { Mac } from '../base/mac.ts';
import { agentNetworkConfig } from '../model/overlay.ts';
import { attachmentOf, grantOf, inputWith, nodeId, nodeRecords, recordOf } from './arbitrary.ts';
import { compile, RULE_PRIORITY, WITHIN_PRIORITY } from './compile.ts';
import type { CompileInput, DesiredState } from './desired.ts';
import { bridgeMac } from './marks.ts';
import { mtus } from './mtu.ts';
import { fdbWords, neighbourWords, routeWords, ruleWords } from './words.ts';

const compileWith = (others: readonly number[], change: Partial<CompileInput> = {}): DesiredState =>
  compile(inputWith(others, change));
const linkOf = ({ links }: DesiredState, name: string): DesiredState['links'][number] | undefined =>
  links.find((link) => link.name === name);
const network = (change: object): CompileInput['network'] => agentNetworkConfig.parse(change);
const sysctlsOf = ({ sysctls }: DesiredState): Readonly<Record<string, string>> =>
  Object.fromEntries(sysctls.map(({ key, value }) => [key, value]));
const elementsOf = ({ table }: DesiredState, name: string): readonly string[] =>
  (table?.sets.find((set) => set.name === name)?.elements ?? []).map(({ key }) =>
    key.map(String).join(' . '),
  );

describe('the DNS server', () => {
  const dns = { addresses: ['198.51.100.1', '198.51.100.2', 'fd01:d::c633:6401'].map(ip), port: 53 };

  it('is reached on a device of its own, and its packets are not tracked', () => {
    const { links, addresses, table } = compileWith([], { dns });
    expect(links.find(({ name }) => name === 'p-dns')).toMatchObject({ alias: 'portolan:dns' });
    expect(addresses.filter(({ link }) => link === 'p-dns').map(({ address }) => String(address))).toEqual([
      '198.51.100.1/32',
      '198.51.100.2/32',
      'fd01:d::c633:6401/128',
    ]);
    const rules = (name: string) => table?.chains.find((chain) => chain.name === name)?.rules;
    for (const name of ['raw-prerouting', 'raw-output'])
      expect(rules(name)).toContain('th dport 53 jump dns-queries');
    expect(rules('raw-output')).toContain('th sport 53 jump dns-answers');
    expect(rules('dns-queries')).toEqual([
      'ip daddr { 198.51.100.1, 198.51.100.2 } notrack',
      'ip6 daddr { fd01:d::c633:6401 } notrack',
    ]);
    expect(rules('dns-answers')).toContain('ip saddr { 198.51.100.1, 198.51.100.2 } notrack');
  });

  it('leaves nothing behind where it is switched off', () => {
    const { links, table } = compileWith([]);
    expect(links.map(({ name }) => name)).not.toContain('p-dns');
    expect(JSON.stringify(table?.chains)).not.toContain('th dport 53 ');
  });
});

describe('compile for this node', () => {
  it('wants the VTEP of the reference: VNI 1024, UDP 64000, no learning, the granted MAC and addresses', () => {
    const state = compileWith([]);
    expect(linkOf(state, 'vtep1024')).toMatchObject({
      link: { kind: 'vxlan', vni: 1024, port: 64_000, learning: false, local: ip('10.0.0.11') },
      mac: '70:b3:d5:80:00:01',
      mtu: 1450,
    });
    const own = state.addresses
      .filter(({ link }) => link === 'vtep1024')
      .map(({ address }) => String(address));
    expect(own).toEqual(['44.128.0.1/16', 'fd01:a::1/64']);
  });

  it('gives each bridge the first host of its half and a MAC that follows from it', () => {
    const state = compileWith([]);
    const own = state.addresses.filter(({ link }) => link === 'm-dcos').map(({ address }) => String(address));
    expect(own).toEqual(['9.0.1.1/25']);
    expect(linkOf(state, 'm-dcos')?.mac).toBe('02:50:09:00:01:01');
    expect(bridgeMac(ip('fd01:b::1'))).not.toBe(bridgeMac(ip('fd01:b::1:0:0:1')));
  });

  it('wants no bridge where the grant has none or the agent is told so, but the VTEP all the same', () => {
    const gateway = grantOf(1).map(({ mesos_bridge: _, subnet: _s, subnet6: _s6, ...rest }) => rest);
    for (const state of [
      compileWith([2], { grant: { overlays: gateway, epoch: 1 } }),
      compileWith([2], { network: network({ mesos_bridge: false }) }),
    ]) {
      expect(state.links.map(({ name }) => name)).toEqual(['vtep1024']);
      expect(state.routes).toHaveLength(3);
    }
  });

  it('wants the local bridge beside those of overlays, outside their spaces, and hides what is on it', () => {
    const state = compileWith([2], { localBridge: prefix('172.31.254.0/24') });
    expect(linkOf(state, 'm-mesos-bridge')).toMatchObject({ alias: 'portolan:bridge/mesos-bridge' });
    expect(state.addresses.map(({ address }) => String(address))).toContain('172.31.254.1/24');
    expect(elementsOf(state, 'local4')).toEqual(['172.31.254.0/24']);
    expect(elementsOf(state, 'overlays4')).not.toContain('172.31.254.0/24');
    expect(state.faults).toEqual([]);
  });

  it('wants no local bridge that overlaps an overlay or holds the host, and says so', () => {
    for (const [subnet, what] of [
      ['9.7.0.0/24', 'overlay 9.0.0.0/8'],
      ['10.0.0.0/24', "this host's own address"],
    ] as const) {
      const state = compileWith([2], { localBridge: prefix(subnet) });
      expect(linkOf(state, 'm-mesos-bridge')).toBeUndefined();
      expect(state.faults.find(({ overlay }) => overlay === 'mesos-bridge')?.reason).toContain(what);
    }
  });

  it('wants nothing without a grant, but knows whose veths there are', () => {
    const state = compileWith([2], { grant: undefined, attachments: [attachmentOf(1)] });
    expect(state).toMatchObject({ links: [], routes: [], rules: [], table: undefined });
    expect(state.ports.map(({ name }) => name)).toEqual(['pv1']);
  });

  it('switches forwarding on, and keeps router advertisements on the underlay working', () => {
    expect(sysctlsOf(compileWith([]))).toMatchObject({
      'net/ipv4/ip_forward': '1',
      'net/ipv6/conf/all/forwarding': '1',
      'net/ipv6/conf/eth0/accept_ra': '2',
      'net/ipv6/conf/vtep1024/disable_ipv6': '0',
      'net/ipv4/conf/vtep1024/rp_filter': '0',
      'net/ipv4/conf/vtep1024/accept_local': '1',
      'net/ipv4/conf/m-dcos/accept_local': '1',
      'net/ethtool/vtep1024/gro': '0',
      'net/ipv4/conf/m-dcos/route_localnet': '1',
    });
    const keys = Object.keys(sysctlsOf(compileWith([], { network: network({ enable_ipv6: false }) })));
    expect(keys.filter((key) => key.includes('ipv6'))).toEqual([]);
  });

  it('takes the IPv6 address of the VTEP from any overlay that names it', () => {
    const [first, second] = grantOf(1);
    const { vtep_ip6: _, ...old } = first!.backend.vxlan;
    const overlays = [{ ...first!, backend: { vxlan: old } }, second!];
    const state = compileWith([], { grant: { overlays, epoch: 1 } });
    expect(state.addresses.map(({ address }) => String(address))).toContain('fd01:a::1/64');
  });

  it('puts containers and their ports into the table', () => {
    const state = compileWith([], { attachments: [attachmentOf(1), attachmentOf(2)] });
    expect(elementsOf(state, 'portMap4')).toEqual(['6 . 8001', '6 . 8002']);
    expect(elementsOf(state, 'overlays4')).toEqual(['9.0.0.0/8']);
    expect(elementsOf(state, 'bridges')).toEqual(['m-dcos', 'm-dcos6']);
    expect(state.ports.map(({ bridge }) => bridge)).toEqual(['m-dcos', 'm-dcos']);
  });

  it('maps a host address only to container addresses of its family, and a taken host port once', () => {
    const one = attachmentOf(1);
    const ports = [{ hostPort: 80, containerPort: 80, protocol: 'tcp' as const, hostIP: 'fd00::1' }];
    expect(elementsOf(compileWith([], { attachments: [{ ...one, ports }] }), 'portMapOn6')).toEqual([]);
    const twice = compileWith([], { attachments: [one, { ...attachmentOf(2), ports: one.ports }] });
    expect(twice.table?.sets.find(({ name }) => name === 'portMap4')?.elements[0]?.data?.map(String)).toEqual(
      ['9.0.1.3', '80'],
    );
  });
});

describe('compile for remote nodes', () => {
  it('wants a neighbour, an FDB entry, a route for each block and the host in table 42, no more', () => {
    const state = compileWith([2]);
    expect(state.neighbours.map(neighbourWords)).toEqual([
      '44.128.0.2 dev vtep1024 lladdr 70:b3:d5:80:00:02 PERMANENT',
      'fd01:a::2 dev vtep1024 lladdr 70:b3:d5:80:00:02 PERMANENT',
    ]);
    expect(state.fdb.map(fdbWords)).toEqual(['70:b3:d5:80:00:02 dev vtep1024 dst 10.0.0.12 self permanent']);
    expect(state.routes.map(routeWords)).toEqual([
      '9.0.2.0/24 via 44.128.0.2 dev vtep1024 proto 225 metric 8388611 onlink',
      'fd01:b:0:0:2::/80 via fd01:a::2 dev vtep1024 proto 225 metric 8388611 onlink',
      '10.0.0.12/32 via 44.128.0.2 dev vtep1024 table 42 proto 225 metric 8388611 onlink',
    ]);
    expect(state.rules.map(ruleWords)).toEqual([
      `${WITHIN_PRIORITY}: from 9.0.0.0/8 to 9.0.0.0/8 lookup 254 proto 225`,
      `${RULE_PRIORITY}: from 9.0.0.0/8 lookup 42 proto 225`,
    ]);
  });

  it('does not depend on the order of the records', () => {
    const input = inputWith([2, 3, 4]);
    expect(compile({ ...input, records: [...input.records].reverse() })).toEqual(compile(input));
  });

  it('ignores removed nodes, its own records and those of an earlier identity at its own address', () => {
    const earlier = { node: nodeId(8), record: recordOf(8, { agent_ip: '10.0.0.11' }) };
    const records = [...nodeRecords([1, 2]), earlier];
    const state = compileWith([], { records, removed: new Set([nodeId(2)]) });
    expect(state.fdb).toEqual([]);
    expect(state.routes).toEqual([]);
    expect(state.voided).toEqual([{ node: nodeId(8), reason: "its address 10.0.0.11 is this node's own" }]);
  });

  it('routes a block to the newer grant, and gives a VTEP to it with all blocks behind it', () => {
    const sameBlock = { node: nodeId(7), record: recordOf(7, { subnet: '9.0.2.0/24', grant_epoch: 1 }) };
    const both = compileWith([], { records: [...nodeRecords([2]), sameBlock] });
    expect(both.routes.filter(({ destination }) => String(destination) === '9.0.2.0/24')).toHaveLength(1);
    expect(both.voided).toEqual([
      { node: nodeId(7), reason: `subnet 9.0.2.0/24 is held by ${nodeId(2)} with a newer grant` },
    ]);
    const sameVtep = { node: nodeId(7), record: recordOf(7, { vtep_ip: '44.128.0.2/16', grant_epoch: 9 }) };
    const taken = compileWith([], { records: [...nodeRecords([2]), sameVtep] });
    expect(taken.fdb.map(({ destination }) => String(destination))).toEqual(['10.0.0.17']);
    expect(taken.voided.map(({ node }) => node)).toEqual([nodeId(2)]);
  });

  it('says so when a newer grant claims what this node holds, and keeps local containers connected', () => {
    const claim = { node: nodeId(7), record: recordOf(7, { subnet: '9.0.1.0/24', grant_epoch: 9 }) };
    const state = compileWith([], { records: [claim] });
    expect(state.faults).toEqual([
      {
        overlay: 'dcos',
        reason: `subnet 9.0.1.0/24 of this node is also held by node ${nodeId(7)} with a newer grant: register with the master again`,
      },
    ]);
    expect(linkOf(state, 'm-dcos')).toBeDefined();
  });

  it('never lets a record take over more than its overlay', () => {
    const everything = { node: nodeId(7), record: recordOf(7, { subnet: '0.0.0.0/0' }) };
    const underlay = { node: nodeId(8), record: recordOf(8, { space: '10.0.0.0/8', subnet: '10.0.0.0/24' }) };
    const state = compileWith([], { records: [everything, underlay] });
    expect(state.routes.map(({ table }) => table)).toEqual([42, 42]);
    expect(state.rules.map(({ from }) => String(from))).toEqual(['9.0.0.0/8', '9.0.0.0/8']);
    expect(state.voided.map(({ reason }) => reason)).toEqual([
      "subnet 10.0.0.0/24 contains this node's address 10.0.0.11",
      'subnet 0.0.0.0/0 lies outside overlay "dcos"',
    ]);
  });

  it('refuses records that do not parse, without harm to others', () => {
    const bad = [
      recordOf(7, { vtep_ip: 'fd01:a::7/64' }),
      recordOf(8, { vtep_mac: 'none' as Mac }),
      recordOf(9, { agent_ip: 'fd00::9' }),
    ].map((record, i) => ({ node: nodeId(7 + i), record }));
    const state = compileWith([], { records: [...nodeRecords([2]), ...bad] });
    expect(state.fdb).toHaveLength(1);
    expect(state.voided).toHaveLength(3);
  });

  it('does without IPv6 where it is switched off, and says where the MTU does not carry it', () => {
    const off = compileWith([2], { network: network({ enable_ipv6: false }) });
    expect(off.neighbours).toHaveLength(1);
    expect(off.links.map(({ name }) => name)).toEqual(['vtep1024', 'm-dcos']);
    expect(off.faults).toEqual([]);
    const narrow = compileWith([2], { underlay: { address: ip('10.0.0.11'), link: 'eth0', mtu: 1300 } });
    expect(narrow.faults.map(({ overlay }) => overlay)).toEqual(['dcos6']);
    expect(narrow.addresses.every(({ address }) => address.address.family === 4)).toBe(true);
  });

  it('knows the spaces of overlays that this node has no block in', () => {
    const other = recordOf(5, { overlay: 'other', space: '12.0.0.0/8', subnet: '12.0.5.0/24' });
    const state = compileWith([], { records: [{ node: nodeId(5), record: other }] });
    const within = state.rules.filter(({ priority }) => priority === WITHIN_PRIORITY);
    const others = state.rules.filter(({ priority }) => priority === RULE_PRIORITY);
    for (const rules of [within, others])
      expect(rules.map(({ from }) => String(from))).toEqual(['9.0.0.0/8', '12.0.0.0/8']);
    expect(within.every(({ from, to }) => from === to)).toBe(true);
    expect(elementsOf(state, 'overlays4')).toEqual(['9.0.0.0/8', '12.0.0.0/8']);
  });

  it('reports an overlay whose space contains this host', () => {
    const state = compileWith([], { underlay: { address: ip('9.1.2.3'), link: 'eth0', mtu: 1500 } });
    expect(state.faults.map(({ reason }) => reason)).toEqual([
      "overlay 9.0.0.0/8 contains this host's own address 9.1.2.3: give the overlay another space",
    ]);
  });
});

describe('mtus', () => {
  it('takes the true overhead off the underlay and never exceeds it', () => {
    const underlay = { underlay: 1500, family: 4, configured: undefined, vtep: undefined } as const;
    expect(mtus(underlay)).toEqual({ vtep: 1450, container: 1450 });
    expect(mtus({ ...underlay, family: 6 })).toEqual({ vtep: 1430, container: 1430 });
    expect(mtus({ ...underlay, configured: 1420 })).toEqual({ vtep: 1450, container: 1420 });
    expect(mtus({ ...underlay, configured: 9000, vtep: 1500 })).toEqual({ vtep: 1450, container: 1450 });
    expect(mtus({ ...underlay, underlay: 9000, vtep: 1500 })).toEqual({ vtep: 1500, container: 1500 });
  });
});
