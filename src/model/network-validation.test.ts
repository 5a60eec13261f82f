import { describe, expect, test } from 'vitest';
import { PortolanError } from '../base/errors.ts';
import { prefix } from '../base/ip.ts';
import type { NetworkConfig } from './overlay.ts';
import { validateNetwork, type HostNetwork } from './network-validation.ts';

type Overlay = Partial<NetworkConfig['overlays'][number]>;
const overlay = (change: Overlay = {}) => ({
  name: 'dcos',
  subnet: '9.0.0.0/8',
  prefix: 24,
  enabled: true,
  ...change,
});
const config = (change: Partial<NetworkConfig> = {}): NetworkConfig => ({
  vtep_subnet: '44.128.0.0/20',
  vtep_subnet6: 'fd01:a::/64',
  vtep_mac_oui: '70:B3:D5:00:00:00',
  overlays: [overlay()],
  ...change,
});

function refusal(given: NetworkConfig, hosts: readonly HostNetwork[] = []): PortolanError {
  try {
    validateNetwork(given, hosts);
  } catch (error) {
    if (error instanceof PortolanError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

describe('validateNetwork', () => {
  test('gives the defaults as values', () => {
    const space = validateNetwork(
      config({
        overlays: [overlay(), { name: 'dcos6', subnet6: 'fd01:b::/64', prefix6: 80, enabled: false }],
      }),
    );
    expect(space.oui).toBe('70:b3:d5');
    expect(space.overlays.map(({ v4, v6, enabled }) => [String(v4?.space), v6?.length, enabled])).toEqual([
      ['9.0.0.0/8', undefined, true],
      ['undefined', 80, false],
    ]);
  });

  const overlays = (...list: Overlay[]) => ({ overlays: list.map((each) => overlay(each)) });
  test.each<[string, Partial<NetworkConfig>, string, RegExp]>([
    [
      'a VTEP network shorter than /8',
      { vtep_subnet: '44.0.0.0/7' },
      'network.vtep_subnet',
      /within 8 and 30/,
    ],
    [
      'an IPv6 VTEP network in the IPv4 field',
      { vtep_subnet: 'fd00::/64' },
      'network.vtep_subnet',
      /not an IPv4/,
    ],
    [
      'an OUI with a fourth byte',
      { vtep_mac_oui: '70:B3:D5:01:00:00' },
      'network.vtep_mac_oui',
      /last three/,
    ],
    ['an OUI of five bytes', { vtep_mac_oui: '70:B3:D5:00:00' }, 'network.vtep_mac_oui', /last three/],
    ['a multicast OUI', { vtep_mac_oui: '71:B3:D5:00:00:00' }, 'network.vtep_mac_oui', /multicast/],
    ['no overlay', { overlays: [] }, 'network.overlays', /no overlay/],
    ['a name twice', overlays({}, { subnet: '10.0.0.0/8' }), 'network.overlays[1].name', /another overlay/],
    [
      'a name of 14 characters',
      overlays({ name: 'abcdefghijklmn' }),
      'network.overlays[0].name',
      /13 characters/,
    ],
    ['the empty name', overlays({ name: '' }), 'network.overlays[0].name', /letters/],
    ['a name with a slash', overlays({ name: 'a/b' }), 'network.overlays[0].name', /letters/],
    [
      'a missing prefix',
      { overlays: [{ name: 'a', subnet: '9.0.0.0/8', enabled: true }] },
      'network.overlays[0].prefix',
      /missing/,
    ],
    ['a prefix shorter than the mask', overlays({ prefix: 7 }), 'network.overlays[0].prefix', /shorter/],
    [
      'a prefix without room for containers',
      overlays({ prefix: 30 }),
      'network.overlays[0].prefix',
      /no address/,
    ],
    [
      'a prefix without subnet',
      { overlays: [{ name: 'a', prefix: 24, enabled: true }] },
      'network.overlays[0].prefix',
      /without subnet/,
    ],
    ['neither subnet', { overlays: [{ name: 'a', enabled: true }] }, 'network.overlays[0].subnet', /neither/],
    ['a missing prefix6', overlays({ subnet6: 'fd01:b::/64' }), 'network.overlays[0].prefix6', /missing/],
    [
      'overlays that intersect',
      overlays({}, { name: 'b', subnet: '9.8.0.0/16' }),
      'network.overlays[1].subnet',
      /9\.0\.0\.0\/8/,
    ],
    [
      'IPv6 overlays that intersect',
      overlays(
        { subnet6: 'fd01::/48', prefix6: 80 },
        { name: 'b', subnet: '10.0.0.0/8', subnet6: 'fd01::/64', prefix6: 80 },
      ),
      'network.overlays[1].subnet6',
      /48/,
    ],
    [
      'an overlay within the VTEP network',
      overlays({ subnet: '44.128.8.0/21' }),
      'network.overlays[0].subnet',
      /network\.vtep_subnet/,
    ],
    [
      'an overlay within the IPv6 VTEP network',
      overlays({ subnet6: 'fd01:a::/72', prefix6: 80 }),
      'network.overlays[0].subnet6',
      /network\.vtep_subnet6/,
    ],
    ['a loopback overlay', overlays({ subnet: '127.0.0.0/8' }), 'network.overlays[0].subnet', /loopback/],
  ])('refuses %s', (_, change, field, message) => {
    const error = refusal(config(change));
    expect(error.code).toBe('invalid');
    expect(error.field).toBe(field);
    expect(error.message).toMatch(message);
    expect(error.remedy).not.toBe('');
  });

  test.each(['host', 'bridge', 'default', 'none', 'mesos-bridge'])(
    'refuses the reserved name "%s"',
    (name) => {
      expect(refusal(config({ overlays: [overlay({ name })] })).message).toMatch(/reserved/);
    },
  );

  test("refuses an overlay that intersects one of the host's networks, and names the interface", () => {
    const error = refusal(config(), [{ prefix: prefix('9.1.0.0/16'), source: 'eth0' }]);
    expect(error.field).toBe('network.overlays[0].subnet');
    expect(error.message).toContain('eth0');
  });

  test('accepts one block for the whole overlay and names of 13 characters', () => {
    expect(
      validateNetwork(config(overlays({ name: 'abcdefghijklm', prefix: 8 }))).overlays[0]?.v4?.length,
    ).toBe(8);
  });
});
