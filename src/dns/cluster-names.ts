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
  MESOS_TTL_SECONDS,
  NAME_SERVER,
  TTL_SECONDS,
} from './zones.ts';

export interface ClusterNode {
  readonly address: IpAddress;
  readonly reachable: boolean;
  /** Where its HTTP API answers. */
  readonly port: number;
}

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

function service(name: string, target: string, port: number, reachable = true): DnsRecord {
  return {
    name,
    ttl: MESOS_TTL_SECONDS,
    data: { type: 'SRV', target, port },
    preferred: reachable,
  };
}

/** Names that are the same on every host; `listen` is where this host's DNS answers. */
export function ownRecords(listen: readonly IpAddress[]): readonly DnsRecord[] {
  const own = listen.map((address) => ({ address }));
  const first = [4, 6].flatMap((family) => own.find(({ address }) => address.family === family) ?? []);
  return [
    ...apexRecords(),
    ...addresses(
      'localhost',
      TTL_SECONDS,
      LOOPBACK.map((address) => ({ address })),
    ),
    ...addresses('ready.spartan', TTL_SECONDS, [{ address: ip('127.0.0.1') }]),
    ...addresses(NAME_SERVER, TTL_SECONDS, first),
    ...addresses(MESOS_NAME_SERVER, MESOS_TTL_SECONDS, first),
  ];
}

/** The masters, the leading one first. */
export function masterRecords(masters: readonly ClusterNode[]): readonly DnsRecord[] {
  const leader = masters.find(({ reachable }) => reachable) ?? masters[0];
  if (leader === undefined) return [];
  const numbered = masters.flatMap((master, i) =>
    addresses(`master${i}.${MESOS}`, MESOS_TTL_SECONDS, [master]),
  );
  return [
    ...addresses(`leader.${MESOS}`, MESOS_TTL_SECONDS, [leader]),
    ...addresses(`master.${MESOS}`, MESOS_TTL_SECONDS, masters),
    ...numbered,
    ...addresses(`leader.${DCOS}`, TTL_SECONDS, [leader]),
    ...addresses(`master.${DCOS}`, TTL_SECONDS, masters),
    service(`_leader._tcp.${MESOS}`, `leader.${MESOS}`, leader.port),
    service(`_leader._udp.${MESOS}`, `leader.${MESOS}`, leader.port),
  ];
}

/** One agent among all of them. */
export function agentRecords(agent: ClusterNode): readonly DnsRecord[] {
  return [
    ...addresses(`slave.${MESOS}`, MESOS_TTL_SECONDS, [agent]),
    service(`_slave._tcp.${MESOS}`, `slave.${MESOS}`, agent.port, agent.reachable),
  ];
}

/** A framework's scheduler. Ours runs in the leading master. */
export function frameworkRecords(framework: string, scheduler: ClusterNode): readonly DnsRecord[] {
  const name = `${fragment(framework)}.${MESOS}`;
  if (fragment(framework) === '' || nameKey(`_framework._tcp.${name}`) === undefined) return [];
  return [
    ...addresses(name, MESOS_TTL_SECONDS, [{ address: scheduler.address }]),
    service(`_framework._tcp.${name}`, name, scheduler.port),
  ];
}

/** A named VIP, `myservice.marathon`, and its addresses. */
export function vipRecords(vip: {
  readonly name: string;
  readonly addresses: readonly IpAddress[];
}): readonly DnsRecord[] {
  const name = `${vip.name}.${L4LB}`;
  if (nameKey(name) === undefined) return [];
  return [
    ...addresses(
      name,
      TTL_SECONDS,
      vip.addresses.map((address) => ({ address })),
    ),
    ...vip.addresses.map((address) => ({
      name: reverseName(address),
      ttl: TTL_SECONDS,
      data: { type: 'PTR' as const, target: name },
      preferred: true,
    })),
  ];
}
