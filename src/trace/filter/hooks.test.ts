import { describe, expect, it } from 'vitest';
import { interfaceAddress } from '../../base/ip.ts';
import type { TraceLeg } from '../../model/trace.ts';
import { ask, host, inside, stop } from '../fake.ts';
import type { HostState, LocalContainer } from '../state.ts';
import { walk } from '../walk.ts';
import { parseFilters } from './listing.ts';
import type { FilterTable } from './rules.ts';

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

  it('are asked inside the containers that can be looked into, and nothing of them goes out with the packet', () => {
    const within = (state: HostState, filters: HostState['filters']): HostState => ({
      ...state,
      containers: state.containers.map((each) =>
        each.inside === undefined ? each : { ...each, inside: { ...each.inside, filters } },
      ),
    });
    const leaving = walk(within(host(1), dropping('OUTPUT', '-o eth0 -p tcp --dport 80')), ask('9.0.2.2'));
    expect(leaving.hops.at(-1)).toMatchObject({
      what: 'c1: output oif eth0',
      reason: 'dropped by iptables-legacy table filter chain OUTPUT rule number 1',
      remedy: expect.stringMatching(/^inside c1, let it pass: iptables-legacy -I OUTPUT /) as string,
    });
    const arriving = arrival(within(host(2), dropping('INPUT', '-i eth0')));
    expect(arriving.hops.at(-1)).toMatchObject({ what: 'c2: input iif eth0', ok: false });
    expect(arrival(within(host(2), dropping('FORWARD', '-p tcp'))).end.kind).toBe('delivered');
    const text = '*mangle\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -j MARK --set-mark 7\nCOMMIT\n';
    const marks = parseFilters({ tables: [], saved: [], legacy: [{ family: 'ip', text }], unreadable: [] });
    const state = { ...within(host(1), marks), filters: dropping('FORWARD', '-m mark --mark 7') };
    expect(walk(state, ask('9.0.2.2')).end.kind).toBe('tunnel');
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
