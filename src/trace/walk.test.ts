import { describe, expect, it } from 'vitest';
import { interfaceAddress, ip, prefix } from '../base/ip.ts';
import type { Link } from '../kernel/types.ts';
import type { TraceLeg, TraceLegRequest } from '../model/trace.ts';
import { ask, host, inside, link, route, stop, VTEP_MAC } from './fake.ts';
import type { HostState, Inside } from './state.ts';
import { walk } from './walk.ts';

function steps({ hops }: TraceLeg): string[] {
  return hops.map(({ at, ok }) => (ok ? at : `!${at}`));
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

  it('goes by the policy rules of the container', () => {
    const rule = {
      family: 4,
      priority: 10,
      from: undefined,
      to: prefix('9.0.2.2/32'),
      table: 99,
      protocol: 3,
    } as const;
    const ruled = changeInside(host(1), (each) => ({
      ...each,
      rules: [rule],
      routes: [...each.routes, route('0.0.0.0/0', { gateway: ip('9.0.1.9'), link: 'eth0', table: 99 })],
    }));
    const leg = walk(ruled, ask('9.0.2.2'));
    expect(leg.hops.find(({ at }) => at === 'container')?.what).toContain('9.0.1.9');
    expect(stop(walk(ruled, ask('9.0.9.9')))).toContain('the container has no route to 9.0.9.9');
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

it('crosses a bridge without a route, whether the host forwards or not', () => {
  const state = host(1);
  const second = {
    name: 'd1',
    addresses: [interfaceAddress('9.0.1.3/25')],
    bridge: 'm-dcos',
    ports: [],
    inside: inside('9.0.1.3/25', '9.0.1.1', [80]),
  };
  const both = { ...state, containers: [...state.containers, second], forwarding: { 4: false, 6: false } };
  const leg = walk(both, ask('9.0.1.3'));
  expect(steps(leg)).toEqual(['container', 'bridge', 'bridge', 'container', 'listener']);
  expect(leg.end).toEqual({ kind: 'delivered', to: 'd1' });
});

it('does not claim that somebody has an address of the underlay that is no node of the cluster', () => {
  const request = ask('10.0.0.99');
  expect(walk(host(1), request).hops.at(-1)?.doubts).toEqual([
    expect.stringContaining('whether anybody there has the address 10.0.0.99'),
  ]);
  expect(walk(host(1), { ...request, answer: true }).hops.at(-1)).not.toHaveProperty('doubts');
});

it("finds the host's own listeners", () => {
  const packet = { source: '10.0.0.11', destination: '10.0.0.11', protocol: 'tcp', port: 5432 } as const;
  expect(stop(walk(host(1), { packet, answer: false }))).toContain('listens on 127.0.0.1:5432 only');
});

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
