/** Inputs for tests: clusters as fast-check arbitraries and as plain builders. */
import fc from 'fast-check';
import { interfaceAddress, ip, prefix } from '../base/ip.ts';
import type { Mac } from '../base/mac.ts';
import type { NodeId } from '../model/names.ts';
import { agentNetworkConfig } from '../model/overlay.ts';
import type { AgentOverlay } from '../model/overlay.ts';
import type { OverlayRecord } from '../model/record.ts';
import type { Attachment, CompileInput, NodeOverlayRecord } from './desired.ts';

export function nodeId(index: number): NodeId {
  const letters = index
    .toString(8)
    .padStart(25, '0')
    .replace(/[01]/g, (digit) => (digit === '0' ? 'a' : 'b'));
  return `n${letters}` as NodeId;
}

/** `44.128.0.<index>` and on, as the master would give it. */
export function vtepOf(index: number): { readonly ip: string; readonly ip6: string; readonly mac: Mac } {
  const at = prefix('44.128.0.0/16').at(index);
  const hex = (byte: number): string => byte.toString(16).padStart(2, '0');
  const mac = `70:b3:d5:80:${hex(index >> 8)}:${hex(index & 255)}` as Mac;
  return { ip: `${String(at)}/16`, ip6: `fd01:a::${index.toString(16)}/64`, mac };
}

export function recordOf(index: number, change: Partial<OverlayRecord> = {}): OverlayRecord {
  const { ip: vtepIp, ip6, mac } = vtepOf(index);
  return {
    overlay: 'dcos',
    space: '9.0.0.0/8',
    subnet: String(prefix('9.0.0.0/8').subnet(24, index)),
    vtep_ip: vtepIp,
    vtep_ip6: ip6,
    vtep_mac: mac,
    agent_ip: String(prefix('10.0.0.0/16').at(index + 10)),
    grant_epoch: index,
    ...change,
  };
}

/** The IPv6 overlay's record of the same node. */
export function recordOf6(index: number): OverlayRecord {
  const { space: _, subnet: _subnet, ...rest } = recordOf(index);
  return {
    ...rest,
    overlay: 'dcos6',
    space6: 'fd01:b::/64',
    subnet6: String(prefix('fd01:b::/64').subnet(80, index)),
  };
}

export function nodeRecords(indexes: readonly number[]): readonly NodeOverlayRecord[] {
  return indexes.flatMap((index) => [
    { node: nodeId(index), record: recordOf(index) },
    { node: nodeId(index), record: recordOf6(index) },
  ]);
}

export function grantOf(index: number): readonly AgentOverlay[] {
  const vtep = vtepOf(index);
  const backend = {
    vxlan: {
      vni: 1024,
      vtep_name: 'vtep1024',
      vtep_ip: vtep.ip,
      vtep_ip6: vtep.ip6,
      vtep_mac: vtep.mac,
    },
  };
  const subnet = prefix('9.0.0.0/8').subnet(24, index);
  const subnet6 = prefix('fd01:b::/64').subnet(80, index);
  const half = String(subnet.halves()?.[0]);
  const half6 = String(subnet6.halves()?.[0]);
  return [
    {
      info: { name: 'dcos', subnet: '9.0.0.0/8', prefix: 24, enabled: true },
      subnet: String(subnet),
      mesos_bridge: { name: 'm-dcos', ip: half },
      backend,
    },
    {
      info: { name: 'dcos6', subnet6: 'fd01:b::/64', prefix6: 80, enabled: true },
      subnet6: String(subnet6),
      mesos_bridge: { name: 'm-dcos6', ip6: half6 },
      backend,
    },
  ];
}

/** Node 1 with the given others in its cluster. */
export function inputWith(others: readonly number[], change: Partial<CompileInput> = {}): CompileInput {
  return {
    node: nodeId(1),
    grant: { overlays: grantOf(1), epoch: 1 },
    records: nodeRecords([1, ...others]),
    removed: new Set(),
    underlay: { address: ip('10.0.0.11'), link: 'eth0', mtu: 1500 },
    attachments: [],
    vips: [],
    network: agentNetworkConfig.parse({}),
    dns: { addresses: [], port: 53 },
    ...change,
  };
}

export function attachmentOf(index: number): Attachment {
  return {
    container: `c${index}`,
    ifname: 'eth0',
    overlay: 'dcos',
    hostLink: `pv${index}`,
    addresses: [interfaceAddress(`9.0.1.${(index % 120) + 2}/25`)],
    ports: [{ hostPort: 8000 + index, containerPort: 80, protocol: 'tcp' }],
  };
}

/** Clusters around node 1: who is in it and what runs here. */
export const clusters = fc
  .record({
    others: fc.uniqueArray(fc.integer({ min: 2, max: 12 }), { maxLength: 8 }),
    removed: fc.uniqueArray(fc.integer({ min: 2, max: 12 }), { maxLength: 3 }),
    attached: fc.uniqueArray(fc.integer({ min: 1, max: 5 }), { maxLength: 4 }),
    granted: fc.boolean(),
    bridges: fc.boolean(),
    ipv6: fc.boolean(),
    dns: fc.subarray(['198.51.100.1', '198.51.100.2', 'fd01:d::c633:6401']),
    mtu: fc.constantFrom(1500, 9000, 1300, 1450),
    vips: fc.subarray([prefix('11.0.0.0/8'), prefix('198.18.0.1/32'), prefix('fd01:c::/64')]),
  })
  .map(({ others, removed, attached, granted, bridges, ipv6, dns, mtu, vips }) =>
    inputWith(others, {
      ...(granted ? {} : { grant: undefined }),
      removed: new Set(removed.map(nodeId)),
      attachments: attached.map(attachmentOf),
      vips,
      underlay: { address: ip('10.0.0.11'), link: 'eth0', mtu },
      network: agentNetworkConfig.parse({ mesos_bridge: bridges, enable_ipv6: ipv6 }),
      dns: { addresses: dns.map(ip), port: 53 },
    }),
  );
