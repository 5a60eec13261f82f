/**
 * Names of the cluster itself: masters, agents, frameworks, VIPs, and those that every host answers the same.
 */
import { ip, type IpAddress } from '../base/ip.ts';
import { fragment } from '../model/dns-name.ts';
import { nameKey } from './name.ts';
import { addressData, type DnsRecord } from './record.ts';
import { reverseName } from './reverse.ts';
import {
  apexRecords,
  DCOS,
  L4LB,
  MESOS,
  MESOS_NAME_SERVER,
  NAME_SERVER,
  defaultTtls,
  type TimesToLive,
} from './zones.ts';

export interface ClusterNode {
  readonly address: IpAddress;
  readonly reachable: boolean;
  /** Where its HTTP API answers. */
  readonly port: number;
}

/** By name of the zone, then by the first label: the name that is meant. */
export type CustomZones = ReadonlyMap<string, ReadonlyMap<string, string>>;

const LOOPBACK = [ip('127.0.0.1'), ip('::1')];

function addresses(
  name: string,
  ttl: number,
  each: readonly { readonly address: IpAddress; readonly reachable?: boolean }[],
): DnsRecord[] {
  return each.map(({ address, reachable = true }) => ({
    name,
    ttl,
    data: addressData(address),
    preferred: reachable,
  }));
}

function service(
  name: string,
  target: string,
  to: { readonly port: number; readonly ttl: number; readonly reachable?: boolean },
): DnsRecord {
  const { port, ttl, reachable = true } = to;
  return {
    name,
    ttl,
    data: { type: 'SRV', target, port },
    preferred: reachable,
  };
}

/** Names that are the same on every host; `listen` is where this host's DNS answers. */
export function ownRecords(
  listen: readonly IpAddress[],
  ttls: TimesToLive = defaultTtls,
): readonly DnsRecord[] {
  const own = listen.map((address) => ({ address }));
  const first = [4, 6].flatMap((family) => own.find(({ address }) => address.family === family) ?? []);
  return [
    ...apexRecords(ttls),
    ...addresses(
      'localhost',
      ttls.own,
      LOOPBACK.map((address) => ({ address })),
    ),
    ...addresses('ready.spartan', ttls.own, [{ address: ip('127.0.0.1') }]),
    ...addresses(NAME_SERVER, ttls.own, first),
    ...addresses(MESOS_NAME_SERVER, ttls.mesos, first),
  ];
}

/** Zones that the operator has made: other words for names. */
export function customRecords(zones: CustomZones, ttls = defaultTtls): readonly DnsRecord[] {
  return Array.from(zones, ([zone, words]) => [
    ...apexRecords(ttls, [zone]),
    ...Array.from(words, ([word, target]) => ({
      name: `${word}.${zone}`,
      ttl: ttls.own,
      data: { type: 'CNAME' as const, target },
      preferred: true,
    })),
  ]).flat();
}

/** As many as DC/OS named. */
const ZK_MAX = 5;

/**
 * The masters, in their order. `zk-1.zk` and so on were the hosts of ZooKeeper, which are the masters: what DC/OS ran
 * asked for them to find the leader.
 */
export function masterRecords(masters: readonly ClusterNode[], ttls = defaultTtls): readonly DnsRecord[] {
  const leader = masters.find(({ reachable }) => reachable) ?? masters[0];
  if (leader === undefined) return [];
  const numbered = masters.flatMap((master, i) => addresses(`master${i}.${MESOS}`, ttls.mesos, [master]));
  return [
    ...addresses(`leader.${MESOS}`, ttls.mesos, [leader]),
    ...addresses(`master.${MESOS}`, ttls.mesos, masters),
    ...numbered,
    ...masters.slice(0, ZK_MAX).flatMap((master, i) => addresses(`zk-${i + 1}.zk`, ttls.own, [master])),
    ...addresses(`leader.${DCOS}`, ttls.own, [leader]),
    ...addresses(`master.${DCOS}`, ttls.own, masters),
    service(`_leader._tcp.${MESOS}`, `leader.${MESOS}`, { port: leader.port, ttl: ttls.mesos }),
    service(`_leader._udp.${MESOS}`, `leader.${MESOS}`, { port: leader.port, ttl: ttls.mesos }),
  ];
}

/** One agent among all of them. */
export function agentRecords(agent: ClusterNode, ttls = defaultTtls): readonly DnsRecord[] {
  return [
    ...addresses(`slave.${MESOS}`, ttls.mesos, [agent]),
    service(`_slave._tcp.${MESOS}`, `slave.${MESOS}`, {
      port: agent.port,
      ttl: ttls.mesos,
      reachable: agent.reachable,
    }),
  ];
}

/** A framework's scheduler. Ours runs in the leading master. */
export function frameworkRecords(
  framework: string,
  scheduler: ClusterNode,
  ttls = defaultTtls,
): readonly DnsRecord[] {
  const name = `${fragment(framework)}.${MESOS}`;
  if (fragment(framework) === '' || nameKey(`_framework._tcp.${name}`) === undefined) return [];
  return [
    ...addresses(name, ttls.mesos, [{ address: scheduler.address }]),
    service(`_framework._tcp.${name}`, name, { port: scheduler.port, ttl: ttls.mesos }),
  ];
}

/** A named VIP, `myservice.marathon`, and its addresses. */
export function vipRecords(
  vip: { readonly name: string; readonly addresses: readonly IpAddress[] },
  ttls = defaultTtls,
): readonly DnsRecord[] {
  const name = `${vip.name}.${L4LB}`;
  if (nameKey(name) === undefined) return [];
  return [
    ...addresses(
      name,
      ttls.own,
      vip.addresses.map((address) => ({ address })),
    ),
    ...vip.addresses.map((address) => ({
      name: reverseName(address),
      ttl: ttls.own,
      data: { type: 'PTR' as const, target: name },
      preferred: true,
    })),
  ];
}
