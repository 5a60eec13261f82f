/** Two hosts as the tracer's tests have them: each with a container, and a tunnel to the other. */
import { assert } from '../base/assert.ts';
import { interfaceAddress, ip, prefix } from '../base/ip.ts';
import { parseMac, type Mac } from '../base/mac.ts';
import { TABLE_HOSTS, TABLE_MAIN, type Link, type Route } from '../kernel/types.ts';
import type { TraceLeg, TraceLegRequest } from '../model/trace.ts';
import { NO_FILTERS } from './filter/rules.ts';
import type { HostState, Inside, LocalContainer } from './state.ts';

const mac = (text: string): Mac => parseMac(text) as Mac;

export function link(name: string, rest: Partial<Link> = {}): Link {
  return {
    name,
    index: 1,
    up: true,
    mtu: 1500,
    mac: undefined,
    alias: undefined,
    altNames: [],
    master: undefined,
    group: 0,
    details: { kind: 'other', name: '' },
    ...rest,
  };
}

export function route(destination: string, rest: Partial<Route>): Route {
  const base = { table: TABLE_MAIN, protocol: 225, metric: 0, gateway: undefined, onlink: false };
  return { destination: prefix(destination), link: undefined, ...base, ...rest };
}

export const VTEP_MAC = { 1: mac('70:b3:d5:80:00:01'), 2: mac('70:b3:d5:80:00:02') } as const;

export function inside(address: string, gateway: string, listening: readonly number[] = []): Inside {
  return {
    links: [link('lo'), link('eth0')],
    addresses: [{ link: 'eth0', address: interfaceAddress(address) }],
    routes: [
      route('0.0.0.0/0', { gateway: ip(gateway), link: 'eth0' }),
      route(String(interfaceAddress(address).prefix), { link: 'eth0', protocol: 2 }),
    ],
    listeners: listening.map((port) => ({ protocol: 'tcp', address: ip('0.0.0.0'), port })),
  };
}

/** Host `n` is 10.0.0.1n with block 9.0.n.0/24; its container cn is 9.0.n.2 and listens on TCP 80. */
export function host(n: 1 | 2): HostState {
  const other = n === 1 ? 2 : 1;
  const container: LocalContainer = {
    name: `c${n}`,
    addresses: [interfaceAddress(`9.0.${n}.2/25`)],
    hostLink: `pv${n}`,
    bridge: 'm-dcos',
    ports: [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }],
    inside: inside(`9.0.${n}.2/25`, `9.0.${n}.1`, [80]),
  };
  return {
    host: `agent${n}`,
    links: [
      link('lo'),
      link('eth0'),
      link('m-dcos', { details: { kind: 'bridge' }, alias: 'portolan:bridge/dcos' }),
      link(`pv${n}`, { master: 'm-dcos', details: { kind: 'veth' } }),
      link('vtep1024', {
        mac: VTEP_MAC[n],
        details: { kind: 'vxlan', vni: 1024, local: ip(`10.0.0.1${n}`), port: 64_000, learning: false },
      }),
    ],
    addresses: [
      { link: 'eth0', address: interfaceAddress(`10.0.0.1${n}/24`) },
      { link: 'm-dcos', address: interfaceAddress(`9.0.${n}.1/25`) },
      { link: 'vtep1024', address: interfaceAddress(`44.128.0.${n}/20`) },
    ],
    routes: [
      route('10.0.0.0/24', { link: 'eth0', protocol: 2 }),
      route('44.128.0.0/20', { link: 'vtep1024', protocol: 2 }),
      route(`9.0.${n}.0/25`, { link: 'm-dcos', protocol: 2 }),
      route(`9.0.${other}.0/24`, { gateway: ip(`44.128.0.${other}`), link: 'vtep1024', onlink: true }),
      route(`10.0.0.1${other}/32`, {
        gateway: ip(`44.128.0.${other}`),
        link: 'vtep1024',
        table: TABLE_HOSTS,
        onlink: true,
      }),
    ],
    rules: [
      { family: 4, priority: 32_766, from: undefined, to: undefined, table: TABLE_MAIN, protocol: 2 },
      {
        family: 4,
        priority: 100,
        from: prefix('9.0.0.0/8'),
        to: undefined,
        table: TABLE_HOSTS,
        protocol: 225,
      },
    ],
    neighbours: [
      { link: 'vtep1024', address: ip(`44.128.0.${other}`), mac: VTEP_MAC[other], permanent: true },
    ],
    fdb: [{ link: 'vtep1024', mac: VTEP_MAC[other], destination: ip(`10.0.0.1${other}`), permanent: true }],
    forwarding: { 4: true, 6: true },
    containers: [container],
    listeners: [{ protocol: 'tcp', address: ip('127.0.0.1'), port: 5432 }],
    filters: NO_FILTERS,
    bridgeFilters: { 4: false, 6: false },
    vip: (address, protocol, port) =>
      String(address) !== '11.1.1.1' || protocol !== 'tcp'
        ? undefined
        : port === 6666
          ? [
              { address: ip('9.0.2.9'), port: 80, weight: 0 },
              { address: ip('9.0.2.2'), port: 80, weight: 1 },
            ]
          : port === 7777
            ? [{ address: ip('9.0.2.2'), port: 80, weight: 0 }]
            : [],
  };
}

export const ask = (destination: string, port = 80): TraceLegRequest => ({
  packet: { source: '9.0.1.2', destination, protocol: 'tcp', port },
  answer: false,
});

/** Why it ends where it does. */
export function stop(leg: TraceLeg): string {
  const last = leg.hops.at(-1);
  assert(leg.end.kind === 'stopped' && last?.ok === false, 'a way that ends at its last hop');
  return last.reason ?? '';
}
