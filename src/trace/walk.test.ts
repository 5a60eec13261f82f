import { describe, expect, it } from 'vitest';
import { interfaceAddress, ip, prefix } from '../base/ip.ts';
import { parseMac, type Mac } from '../base/mac.ts';
import { TABLE_HOSTS, TABLE_MAIN, type Link, type Route } from '../kernel/types.ts';
import type { TraceLeg, TraceLegRequest } from '../model/trace.ts';
import { parseFilters } from './filter/listing.ts';
import { NO_FILTERS, type FilterTable } from './filter/rules.ts';
import type { HostState, Inside, LocalContainer } from './state.ts';
import { walk } from './walk.ts';

const mac = (text: string): Mac => parseMac(text) as Mac;

function link(name: string, rest: Partial<Link> = {}): Link {
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

function route(destination: string, rest: Partial<Route>): Route {
  const base = { table: TABLE_MAIN, protocol: 225, metric: 0, gateway: undefined, onlink: false };
  return { destination: prefix(destination), link: undefined, ...base, ...rest };
}

const VTEP_MAC = { 1: mac('70:b3:d5:80:00:01'), 2: mac('70:b3:d5:80:00:02') } as const;

function inside(address: string, gateway: string, listening: readonly number[] = []): Inside {
  return {
    links: [link('lo'), link('eth0')],
    addresses: [{ link: 'eth0', address: interfaceAddress(address) }],
    routes: [route('0.0.0.0/0', { gateway: ip(gateway), link: 'eth0' })],
    listeners: listening.map((port) => ({ protocol: 'tcp', address: ip('0.0.0.0'), port })),
  };
}

/** Host `n` is 10.0.0.1n with block 9.0.n.0/24; its container cn is 9.0.n.2 and listens on TCP 80. */
function host(n: 1 | 2): HostState {
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

const ask = (destination: string, port = 80): TraceLegRequest => ({
  packet: { source: '9.0.1.2', destination, protocol: 'tcp', port },
  answer: false,
});

function steps({ hops }: TraceLeg): string[] {
  return hops.map(({ at, ok }) => (ok ? at : `!${at}`));
}

function stop(leg: TraceLeg): string {
  expect(leg.end).toEqual({ kind: 'stopped' });
  const last = leg.hops.at(-1);
  expect(last?.ok).toBe(false);
  return last?.reason ?? '';
}

describe('a packet to a container on another host', () => {
  it('goes through the bridge, by the route, into the tunnel, and out of it to the listener', () => {
    const leg = walk(host(1), ask('9.0.2.2'));
    expect(steps(leg)).toEqual(['container', 'bridge', 'route', 'neighbour', 'tunnel', 'underlay']);
    expect(leg.end).toEqual({
      kind: 'tunnel',
      tunnel: {
        outerSource: '10.0.0.11',
        outerDestination: '10.0.0.12',
        innerMac: '70:b3:d5:80:00:02',
        vni: 1024,
        port: 64_000,
      },
    });
    if (leg.end.kind !== 'tunnel') return;
    const arrival = walk(host(2), { packet: leg.packet, tunnel: leg.end.tunnel, answer: false });
    expect(steps(arrival)).toEqual(['tunnel', 'route', 'bridge', 'container', 'listener']);
    expect(arrival.end).toEqual({ kind: 'delivered', to: 'c2' });
  });

  it.each<[string, (state: HostState) => HostState, string, string]>([
    [
      'no route',
      (s) => ({ ...s, routes: s.routes.filter(({ link: l }) => l !== 'vtep1024') }),
      'route',
      'no route to 9.0.2.2',
    ],
    [
      'no neighbour',
      (s) => ({ ...s, neighbours: [] }),
      'neighbour',
      'no neighbour entry for the VTEP 44.128.0.2',
    ],
    ['no forwarding entry', (s) => ({ ...s, fdb: [] }), 'tunnel', 'no entry for 70:b3:d5:80:00:02'],
    [
      'no underlay',
      (s) => ({ ...s, routes: s.routes.filter(({ link: l }) => l !== 'eth0') }),
      'underlay',
      "no route to the other host's address 10.0.0.12",
    ],
    ['no forwarding', (s) => ({ ...s, forwarding: { 4: false, 6: true } }), 'route', 'does not forward IPv4'],
    ['bridge down', (s) => changeLink(s, 'm-dcos', { up: false }), 'bridge', 'm-dcos is down'],
    [
      'veth out of its bridge',
      (s) => changeLink(s, 'pv1', { master: undefined }),
      'bridge',
      'not a port of m-dcos',
    ],
    [
      'veth gone',
      (s) => ({ ...s, links: s.links.filter(({ name }) => name !== 'pv1') }),
      'bridge',
      'is not there',
    ],
  ])('ends where there is %s', (_, damage, at, reason) => {
    const leg = walk(damage(host(1)), ask('9.0.2.2'));
    expect(stop(leg)).toContain(reason);
    expect(leg.hops.at(-1)).toMatchObject({ at, host: 'agent1', remedy: expect.any(String) as string });
  });

  it('ends inside the container where its address or interface is lost', () => {
    const lost = changeInside(host(1), (each) => ({ ...each, addresses: [] }));
    expect(stop(walk(lost, ask('9.0.2.2')))).toContain('has lost its address 9.0.1.2');
    const down = changeInside(host(1), (each) => ({ ...each, links: [link('eth0', { up: false })] }));
    expect(stop(walk(down, ask('9.0.2.2')))).toContain('interface eth0 is down');
    const routeless = changeInside(host(1), (each) => ({ ...each, routes: [] }));
    expect(stop(walk(routeless, ask('9.0.2.2')))).toContain('no route to 9.0.2.2');
  });
});

describe('a packet out of the tunnel', () => {
  const arriving = (change: object = {}): TraceLegRequest => ({
    ...ask('9.0.2.2'),
    tunnel: {
      outerSource: '10.0.0.11',
      outerDestination: '10.0.0.12',
      innerMac: VTEP_MAC[2],
      vni: 1024,
      port: 64_000,
      ...change,
    },
  });

  it('is not taken when it was meant for another address, device or MAC', () => {
    expect(stop(walk(host(2), arriving({ outerDestination: '10.0.0.99' })))).toContain('10.0.0.99');
    expect(stop(walk(host(2), arriving({ vni: 7 })))).toContain('no tunnel of VNI 7');
    expect(stop(walk(host(2), arriving({ innerMac: VTEP_MAC[1] })))).toContain(
      'vtep1024 has 70:b3:d5:80:00:02',
    );
  });

  it('ends at an address that nobody has, and at a port that nobody listens on', () => {
    const nobody = { ...arriving(), packet: ask('9.0.2.77').packet };
    expect(stop(walk(host(2), nobody))).toContain('no container on this host has the address 9.0.2.77');
    const closed = { ...arriving(), packet: ask('9.0.2.2', 81).packet };
    expect(stop(walk(host(2), closed))).toContain('nothing listens on tcp port 81 in c2');
  });

  it('says that a process listens on another address only', () => {
    const narrow = changeInside(host(2), (each) => ({
      ...each,
      listeners: [{ protocol: 'tcp', address: ip('127.0.0.1'), port: 80 }],
    }));
    expect(stop(walk(narrow, arriving()))).toContain('listens on 127.0.0.1:80 only');
  });

  it('needs no listener when it is an answer', () => {
    const answer = { ...arriving(), packet: ask('9.0.2.2', 81).packet, answer: true };
    expect(walk(host(2), answer).end).toEqual({ kind: 'delivered', to: 'c2' });
  });
});

describe('translations', () => {
  it('takes a VIP to a backend that takes new connections', () => {
    const leg = walk(host(1), ask('11.1.1.1', 6666));
    expect(steps(leg)).toContain('vip');
    expect(leg.packet).toMatchObject({ destination: '9.0.2.2', port: 80 });
  });

  it('refuses at a VIP without backends, or with none that takes new connections', () => {
    expect(stop(walk(host(1), ask('11.1.1.1', 1)))).toContain('no backend at this port');
    expect(stop(walk(host(1), ask('11.1.1.1', 7777)))).toContain('none of the VIP');
  });

  it('says of a VIP without a port that it has to be one of its ports', () => {
    const packet = { source: '9.0.1.2', destination: '11.1.1.1', protocol: 'icmp' } as const;
    expect(stop(walk(host(1), { packet, answer: false }))).toContain('answers at its ports only');
  });

  it('stays in the container that asks itself, by its address or its loopback', () => {
    expect(steps(walk(host(1), ask('9.0.1.2')))).toEqual(['container', 'listener']);
    const looped = changeInside(host(1), (each) => ({
      ...each,
      addresses: [...each.addresses, { link: 'lo', address: interfaceAddress('127.0.0.1/8') }],
    }));
    expect(walk(looped, ask('127.0.0.1')).end).toEqual({ kind: 'delivered', to: 'c1' });
    expect(stop(walk(looped, ask('127.0.0.1', 81)))).toContain('nothing listens on tcp port 81 in c1');
  });

  it("takes the host's port to a container", () => {
    const leg = walk(host(1), ask('10.0.0.11', 8080));
    expect(steps(leg)).toEqual([
      'container',
      'bridge',
      'host-port',
      'route',
      'bridge',
      'container',
      'listener',
    ]);
    expect(leg.end).toEqual({ kind: 'delivered', to: 'c1' });
  });
});

it("takes the tunnel to a remote host's own address, by the rule of table 42", () => {
  const leg = walk(host(1), ask('10.0.0.12', 22));
  expect(steps(leg)).toEqual([
    'container',
    'bridge',
    'policy-routing',
    'route',
    'neighbour',
    'tunnel',
    'underlay',
  ]);
});

it('leaves by the underlay to where no overlay is', () => {
  const state = host(1);
  const gateway = route('0.0.0.0/0', { gateway: ip('10.0.0.254'), link: 'eth0' });
  expect(walk({ ...state, routes: [...state.routes, gateway] }, ask('8.8.8.8')).end).toEqual({
    kind: 'left',
    link: 'eth0',
  });
});

it("finds the host's own listeners", () => {
  const packet = { source: '10.0.0.11', destination: '10.0.0.11', protocol: 'tcp', port: 5432 } as const;
  expect(stop(walk(host(1), { packet, answer: false }))).toContain('listens on 127.0.0.1:5432 only');
});

describe("other people's rules", () => {
  const dropping = (hook: string, condition: string): HostState['filters'] => {
    const text = `*filter\n:${hook} ACCEPT [0:0]\n-A ${hook} ${condition} -j DROP\nCOMMIT\n`;
    return parseFilters({ tables: [], saved: [], legacy: [{ family: 'ip', text }], unreadable: [] });
  };
  const arrival = (state: HostState): TraceLeg => {
    const leg = walk(host(1), ask('9.0.2.2'));
    if (leg.end.kind !== 'tunnel') throw new Error('it does not leave');
    return walk(state, { packet: leg.packet, tunnel: leg.end.tunnel, answer: false });
  };

  it('see the packet where it is forwarded, with the devices that it comes and leaves by', () => {
    const leg = walk({ ...host(1), filters: dropping('FORWARD', '-i m-dcos -o vtep1024') }, ask('9.0.2.2'));
    expect(stop(leg)).toBe('dropped by iptables-legacy table filter chain FORWARD rule number 1');
    expect(leg.hops.at(-1)).toMatchObject({
      at: 'firewall',
      what: 'forward iif m-dcos oif vtep1024',
      remedy: 'let it pass: iptables-legacy -I FORWARD -i m-dcos -o vtep1024 -j ACCEPT',
    });
  });

  it('see the tunnel where it leaves and where it comes in', () => {
    const out = walk(
      { ...host(1), filters: dropping('OUTPUT', '-o eth0 -p udp --dport 64000') },
      ask('9.0.2.2'),
    );
    expect(stop(out)).toContain('chain OUTPUT');
    const leg = arrival({ ...host(2), filters: dropping('INPUT', '-i eth0 -p udp -m udp --dport 64000') });
    expect(stop(leg)).toContain('chain INPUT');
    expect(leg.hops.at(-1)?.remedy).toContain('-I INPUT -p udp --dport 64000 -j ACCEPT');
    const inner = arrival({
      ...host(2),
      filters: dropping('FORWARD', '-i vtep1024 -o m-dcos -p tcp --dport 80'),
    });
    expect(stop(inner)).toContain('chain FORWARD');
  });

  it('see what is for the host, and what the host sends', () => {
    const packet = { source: '9.0.1.2', destination: '10.0.0.11', protocol: 'tcp', port: 22 } as const;
    const filters = dropping('INPUT', '-i m-dcos -p tcp --dport 22');
    expect(stop(walk({ ...host(1), filters }, { packet, answer: false }))).toContain('chain INPUT');
    const own = { source: '10.0.0.11', destination: '9.0.2.2', protocol: 'tcp', port: 80 } as const;
    const leg = walk(
      { ...host(1), filters: dropping('OUTPUT', '-o vtep1024') },
      { packet: own, answer: false },
    );
    expect(stop(leg)).toContain('chain OUTPUT');
  });

  it('see a VIP before it is translated where they come first, and its backend after that', () => {
    const raw = dropping('PREROUTING', '-d 11.1.1.1').tables.map((table) => ({
      ...table,
      chains: early(table.chains),
    }));
    expect(
      stop(walk({ ...host(1), filters: { tables: raw, unreadable: [] } }, ask('11.1.1.1', 6666))),
    ).toContain('PREROUTING');
    const late = walk(
      { ...host(1), filters: dropping('FORWARD', '-d 9.0.2.2 -p tcp --dport 80') },
      ask('11.1.1.1', 6666),
    );
    expect(stop(late)).toContain('chain FORWARD');
  });

  it('see what only crosses a bridge where the kernel shows it to them', () => {
    const second: LocalContainer = {
      name: 'd1',
      addresses: [interfaceAddress('9.0.1.3/25')],
      bridge: 'm-dcos',
      ports: [],
      inside: inside('9.0.1.3/25', '9.0.1.1', [80]),
    };
    const state = host(1);
    const both = {
      ...state,
      containers: [...state.containers, second],
      filters: dropping('FORWARD', '-i m-dcos -o m-dcos'),
    };
    expect(walk(both, ask('9.0.1.3')).end.kind).toBe('delivered');
    expect(stop(walk({ ...both, bridgeFilters: { 4: true, 6: false } }, ask('9.0.1.3')))).toContain(
      'chain FORWARD',
    );
  });

  it('leave a doubt where they cannot be evaluated or read', () => {
    const filters = { ...dropping('FORWARD', '-m string --string x'), unreadable: ['nobody can read them'] };
    const leg = walk({ ...host(1), filters }, ask('9.0.2.2'));
    expect(leg.end.kind).toBe('tunnel');
    expect(leg.hops.flatMap(({ doubts = [] }) => doubts)).toEqual([
      'nobody can read them',
      'may be dropped by iptables-legacy table filter chain FORWARD rule number 1 (cannot be evaluated: -m string)',
    ]);
  });
});

/** As in the table `raw`. */
function early(chains: FilterTable['chains']): FilterTable['chains'] {
  return new Map(
    Array.from(chains, ([name, chain]) => [
      name,
      chain.base === undefined ? chain : { ...chain, base: { ...chain.base, priority: -300 } },
    ]),
  );
}

function changeLink(state: HostState, name: string, change: Partial<Link>): HostState {
  return { ...state, links: state.links.map((each) => (each.name === name ? { ...each, ...change } : each)) };
}

function changeInside(state: HostState, change: (inside: Inside) => Inside): HostState {
  return {
    ...state,
    containers: state.containers.map((each) =>
      each.inside === undefined ? each : { ...each, inside: change(each.inside) },
    ),
  };
}
