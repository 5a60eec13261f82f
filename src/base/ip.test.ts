import fc from 'fast-check';
import oracle from 'ipaddr.js';
import { describe, expect, it } from 'vitest';
import {
  interfaceAddress,
  ip,
  IpAddress,
  parseInterfaceAddress,
  parseIp,
  parsePrefix,
  prefix,
} from './ip.ts';

const v4 = fc.bigInt({ min: 0n, max: (1n << 32n) - 1n }).map((value) => new IpAddress(4, value));
const v6 = fc.bigInt({ min: 0n, max: (1n << 128n) - 1n }).map((value) => new IpAddress(6, value));

describe('IpAddress', () => {
  it('prints and parses any address back to itself, as ipaddr.js does', () => {
    fc.assert(
      fc.property(fc.oneof(v4, v6), (address) => {
        const text = address.toString();
        expect(parseIp(text)?.equals(address)).toBe(true);
        expect(oracle.parse(text).toByteArray()).toEqual([...address.bytes()]);
        expect(IpAddress.fromBytes(address.bytes()).equals(address)).toBe(true);
      }),
    );
  });

  it('prints IPv6 as RFC 5952 says', () => {
    for (const [text, canonical] of [
      ['2001:DB8::0:1', '2001:db8::1'],
      ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
      ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
      ['0:0:0:0:0:0:0:0', '::'],
      ['::ffff:10.0.0.1', '::ffff:a00:1'],
    ] as const)
      expect(ip(text).toString()).toBe(canonical);
  });

  it('refuses everything that is not strictly an address', () => {
    for (const text of [
      '',
      '1.2.3',
      '1.2.3.4.5',
      '01.2.3.4',
      '256.0.0.1',
      '1.2.3.4 ',
      ':::',
      '1::2::3',
      '12345::',
      'fe80::1%eth0',
      '::1.2.3',
      '1:2:3:4:5:6:7:8::',
    ])
      expect(parseIp(text), text).toBeUndefined();
  });

  it('never throws on hostile text', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        parseIp(text);
        parseInterfaceAddress(text);
        parsePrefix(text);
      }),
    );
  });
});

describe('Prefix', () => {
  it('splits into subnets in address order', () => {
    const overlay = prefix('9.0.0.0/8');
    expect(String(overlay.subnet(24, 0))).toBe('9.0.0.0/24');
    expect(String(overlay.subnet(24, 256))).toBe('9.1.0.0/24');
    expect(overlay.subnetCount(24)).toBe(65_536n);
    expect(prefix('9.0.1.0/24').halves()?.map(String)).toEqual(['9.0.1.0/25', '9.0.1.128/25']);
    expect(String(prefix('fd02::/64').subnet(80, 1))).toBe('fd02::1:0:0:0/80');
    expect(prefix('10.0.0.1/32').halves()).toBeUndefined();
  });

  it('overlaps exactly when one contains the network of the other', () => {
    fc.assert(
      fc.property(v4, fc.integer({ min: 0, max: 32 }), v4, fc.integer({ min: 0, max: 32 }), (a, n, b, m) => {
        const x = parseInterfaceAddress(`${String(a)}/${n}`)?.prefix;
        const y = parseInterfaceAddress(`${String(b)}/${m}`)?.prefix;
        expect(x?.overlaps(y!)).toBe(x!.contains(y!.network) || y!.contains(x!.network));
        expect(x?.overlaps(y!)).toBe(y?.overlaps(x!));
      }),
    );
  });

  it('refuses host bits where a network is asked for', () => {
    expect(parsePrefix('9.0.0.1/24')).toBeUndefined();
    expect(parsePrefix('9.0.0.0/33')).toBeUndefined();
    expect(parsePrefix('9.0.0.0/024')).toBeUndefined();
    expect(String(interfaceAddress('44.128.0.1/20').prefix)).toBe('44.128.0.0/20');
  });
});
