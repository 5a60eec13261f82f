import { describe, expect, it } from 'vitest';
import { interfaceAddress, ip, prefix } from '../base/ip.ts';
import { elementKey } from '../kernel/nft/types.ts';
import type { PortMapping } from './port-map.ts';
import { portElements, requiredSysctls, ruleset, TABLE_REF, type RulesetInput } from './ruleset.ts';

const overlay = {
  name: 'dcos',
  space: prefix('9.0.0.0/8'),
  space6: prefix('fd01:b::/64'),
  bridge: 'm-dcos',
  subnet: prefix('9.0.1.0/25'),
  subnet6: prefix('fd01:b::1:0:0:0/81'),
};
const input = (change: Partial<RulesetInput> = {}): RulesetInput => ({
  overlays: [overlay],
  vtep: 'vtep1024',
  vxlanPort: 64_000,
  underlay: ip('10.0.0.11'),
  underlayLink: 'eth0',
  mtu: 1450,
  portMappings: [],
  dns: { addresses: [], port: 53 },
  ...change,
});
const elementsOf = (given: RulesetInput, name: string): string[] | undefined =>
  ruleset(given)
    .sets.find((set) => set.name === name)
    ?.elements.map(elementKey);
const rulesOf = (given: RulesetInput): string[] => ruleset(given).chains.flatMap(({ rules }) => rules);

const mapping = (change: Partial<PortMapping> = {}): PortMapping => ({
  protocol: 6,
  hostPort: 8080,
  to: ip('9.0.1.3'),
  toPort: 80,
  ...change,
});

describe('ruleset', () => {
  it('is the table inet portolan', () => {
    expect(ruleset(input())).toMatchObject({ family: 'inet', name: 'portolan' });
    expect(TABLE_REF).toEqual({ family: 'inet', name: 'portolan' });
  });

  it('has the same rules for any number of mappings, and of overlays without a bridge here', () => {
    const portMappings = Array.from({ length: 500 }, (_, i) => mapping({ hostPort: 1000 + i }));
    const overlays = [overlay, { name: 'other', space: prefix('10.9.0.0/16') }];
    expect(rulesOf(input({ overlays, portMappings }))).toEqual(rulesOf(input()));
  });

  it('holds the spaces of all overlays, also of those without a bridge here, none within another', () => {
    const overlays = [
      overlay,
      { name: 'other', space: prefix('10.9.0.0/16') },
      { name: 'inner', space: prefix('9.4.0.0/16'), bridge: 'm-inner', subnet: prefix('9.4.1.0/25') },
    ];
    expect(elementsOf(input({ overlays }), 'overlays4')).toEqual(['9.0.0.0/8', '10.9.0.0/16']);
    expect(elementsOf(input({ overlays }), 'overlays6')).toEqual(['fd01:b::/64']);
    expect(elementsOf(input({ overlays }), 'bridges')).toEqual(['m-dcos', 'm-inner']);
    expect(elementsOf(input({ overlays }), 'acceptLocal')).toEqual(['m-dcos', 'm-inner', 'vtep1024']);
    expect(elementsOf(input({ overlays }), 'sameBridge4')).toEqual([
      '9.0.1.0/25 . 9.0.1.0/25',
      '9.4.1.0/25 . 9.4.1.0/25',
    ]);
  });

  it('maps a host port of every address, or of one, to a container', () => {
    const portMappings = [
      mapping(),
      mapping({ hostPort: 53, protocol: 17, hostAddress: ip('10.0.0.11') }),
      mapping({ hostPort: 81, hostAddress: ip('0.0.0.0') }),
      mapping({ to: ip('fd01:b::1:0:0:3') }),
      mapping({ to: ip('fd01:b::1:0:0:3'), hostAddress: ip('fd00::1') }),
    ];
    const given = input({ portMappings });
    expect(elementsOf(given, 'portMap4')).toEqual(['6 . 8080 : 9.0.1.3 . 80', '6 . 81 : 9.0.1.3 . 80']);
    expect(elementsOf(given, 'portMapOn4')).toEqual(['10.0.0.11 . 17 . 53 : 9.0.1.3 . 80']);
    expect(elementsOf(given, 'portMap6')).toEqual(['6 . 8080 : fd01:b::1:0:0:3 . 80']);
    expect(elementsOf(given, 'portMapOn6')).toEqual(['fd00::1 . 6 . 8080 : fd01:b::1:0:0:3 . 80']);
  });

  it("leaves untracked what leaves this host's end of the tunnels, or arrives there from the underlay", () => {
    const untracked = (underlay: string): string[] =>
      rulesOf(input({ underlay: ip(underlay) })).filter((rule) => rule.includes('notrack'));
    expect(untracked('10.0.0.11')).toEqual([
      'udp dport 64000 ip saddr 10.0.0.11 notrack accept',
      'iifname "eth0" ip daddr 10.0.0.11 notrack accept',
      'iifname != @inside ip daddr 10.0.0.11 notrack accept',
    ]);
    expect(untracked('fd00::11')).toEqual([
      'udp dport 64000 ip6 saddr fd00::11 notrack accept',
      'iifname "eth0" ip6 daddr fd00::11 notrack accept',
      'iifname != @inside ip6 daddr fd00::11 notrack accept',
    ]);
  });

  it('takes the tunnel and all bridges of overlays for the side of the containers', () => {
    const overlays = [overlay, { name: 'other', space: prefix('10.9.0.0/16') }];
    expect(elementsOf(input({ overlays }), 'inside')).toEqual(['d-dcos', 'd-other', 'm-dcos', 'vtep1024']);
  });

  it('looks no route up for the segments of containers that fit their own devices', () => {
    const clamp = ruleset(input({ mtu: 1400 })).chains.find(({ name }) => name === 'clamp');
    expect(clamp?.rules[0]).toBe(
      'ip saddr @overlays4 ip daddr @overlays4 tcp option maxseg size <= 1360 accept',
    );
    expect(clamp?.rules[3]).toBe(
      'ip6 saddr @overlays6 ip6 daddr @overlays6 tcp option maxseg size <= 1340 accept',
    );
  });

  it('refuses a mapping that cannot be, naming the field', () => {
    for (const [change, field] of [
      [{ protocol: 1 }, 'protocol'],
      [{ hostPort: 0 }, 'hostPort'],
      [{ toPort: 65_536 }, 'containerPort'],
      [{ hostAddress: ip('fd00::1') }, 'hostIP'],
    ] as const) {
      let thrown: unknown;
      try {
        ruleset(input({ portMappings: [mapping(change)] }));
      } catch (error) {
        thrown = error;
      }
      expect(thrown).toMatchObject({ code: 'invalid', field });
    }
  });
});

describe('requiredSysctls', () => {
  it('are route_localnet of each of our bridges', () => {
    expect(requiredSysctls(input())).toEqual([{ key: 'net/ipv4/conf/m-dcos/route_localnet', value: '1' }]);
  });
});

describe('portElements', () => {
  const addresses = [interfaceAddress('9.0.1.3/25'), interfaceAddress('fd01:b::1:0:0:3/81')];
  const texts = (ports: Parameters<typeof portElements>[0]['ports']): string[] =>
    portElements({ addresses, ports }).flatMap(({ set, elements }) =>
      elements.map((element) => `${set.name} ${elementKey(element)}`),
    );

  it('are one of each family for a port of every address', () => {
    expect(texts([{ hostPort: 53, containerPort: 5353, protocol: 'udp' }])).toEqual([
      'portMap4 17 . 53 : 9.0.1.3 . 5353',
      'portMap6 17 . 53 : fd01:b::1:0:0:3 . 5353',
    ]);
  });

  it('are of the family of the host address where one is given', () => {
    expect(texts([{ hostPort: 80, containerPort: 80, protocol: 'tcp', hostIP: 'fd00::11' }])).toEqual([
      'portMapOn6 fd00::11 . 6 . 80 : fd01:b::1:0:0:3 . 80',
    ]);
    expect(texts([{ hostPort: 80, containerPort: 80, protocol: 'tcp', hostIP: '0.0.0.0' }])).toEqual([
      'portMap4 6 . 80 : 9.0.1.3 . 80',
    ]);
  });
});
