import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isPortolanError } from '../base/errors.ts';
import { ip, prefix, type IpAddress, type Prefix } from '../base/ip.ts';
import { AddressPool } from './addresses.ts';

function poolOf(subnet: string): AddressPool {
  const network = prefix(subnet);
  return new AddressPool({ subnet: network, gateway: network.at(1) ?? network.network });
}

function allocateAll(pool: AddressPool): string[] {
  const given: string[] = [];
  while (!pool.exhausted) given.push(String(pool.allocate(`c${given.length}`)));
  return given;
}

/** Slow and obvious: scans the whole subnet for every question. */
class Oracle {
  readonly held = new Map<string, string>();
  readonly released: string[] = [];
  last: IpAddress | undefined;
  readonly subnet: Prefix;

  constructor(subnet: Prefix) {
    this.subnet = subnet;
  }

  hosts(): string[] {
    const end = Number(this.subnet.size) - (this.subnet.family === 4 ? 1 : 0);
    return Array.from({ length: Math.max(0, end - 2) }, (_, i) => String(this.subnet.at(i + 2)));
  }

  next(): string | undefined {
    const hosts = this.hosts();
    const start = this.last === undefined ? 0 : hosts.indexOf(String(this.last)) + 1;
    const order = [...hosts.slice(start), ...hosts.slice(0, start)];
    return order.find((host) => !this.held.has(host) && !this.released.includes(host)) ?? this.released[0];
  }

  hold(address: string, holder: string): void {
    this.held.set(address, holder);
    const at = this.released.indexOf(address);
    if (at >= 0) this.released.splice(at, 1);
  }
}

describe('addresses of a subnet', () => {
  test('network, gateway and broadcast are never given', () => {
    expect(allocateAll(poolOf('9.0.1.0/29'))).toEqual([
      '9.0.1.2',
      '9.0.1.3',
      '9.0.1.4',
      '9.0.1.5',
      '9.0.1.6',
    ]);
  });

  test('IPv6 has no broadcast address to spare', () => {
    expect(allocateAll(poolOf('fd01:b::/126'))).toEqual(['fd01:b::2', 'fd01:b::3']);
  });

  test('a subnet without room for hosts is exhausted from the start', () => {
    for (const subnet of ['9.0.1.0/30', '9.0.1.0/31', '9.0.1.1/32']) {
      const pool = poolOf(subnet);
      const room = subnet.endsWith('/30') ? 1 : 0;
      expect(allocateAll(pool)).toHaveLength(room);
      expect(() => pool.allocate('x')).toThrow(/All \d addresses of .* are in use/);
    }
  });

  test('a released address comes back last', () => {
    const pool = poolOf('9.0.1.0/29');
    const first = pool.allocate('a');
    expect(pool.release(first, 'a')).toBe(true);
    expect(allocateAll(pool)).toEqual(['9.0.1.3', '9.0.1.4', '9.0.1.5', '9.0.1.6', '9.0.1.2']);
  });

  test('only its holder releases an address, and only once', () => {
    const pool = poolOf('9.0.1.0/29');
    const address = pool.allocate('a');
    expect(pool.release(address, 'b')).toBe(false);
    expect(pool.release(address, 'a')).toBe(true);
    expect(pool.release(address, 'a')).toBe(false);
  });

  test('a requested address is given, or the error says why not', () => {
    const pool = poolOf('9.0.1.0/25');
    pool.reserve(ip('9.0.1.77'), 'web');
    expect(pool.holder(ip('9.0.1.77'))).toBe('web');
    const refusal = (address: string): string => {
      try {
        pool.reserve(ip(address), 'other');
      } catch (error) {
        if (isPortolanError(error)) return `${error.code}: ${error.message}`;
      }
      return 'given';
    };
    expect(refusal('9.0.1.77')).toBe('conflict: Address 9.0.1.77 is in use by container "web"');
    expect(refusal('9.0.1.200')).toBe('invalid: Address 9.0.1.200 is outside of 9.0.1.0/25');
    expect(refusal('fd01:b::7')).toBe('invalid: Address fd01:b::7 is outside of 9.0.1.0/25');
    expect(refusal('9.0.1.0')).toBe('invalid: Address 9.0.1.0 is the network address of 9.0.1.0/25');
    expect(refusal('9.0.1.1')).toBe('invalid: Address 9.0.1.1 is the gateway address of 9.0.1.0/25');
    expect(refusal('9.0.1.127')).toBe('invalid: Address 9.0.1.127 is the broadcast address of 9.0.1.0/25');
  });

  test('after a restart neither held nor lately released addresses are given', () => {
    const pool = poolOf('9.0.1.0/29');
    pool.restore(ip('9.0.1.4'), 'a');
    pool.restore(ip('8.0.0.1'), 'of-an-earlier-block');
    pool.restoreReleased(ip('9.0.1.3'));
    expect(allocateAll(pool)).toEqual(['9.0.1.5', '9.0.1.6', '9.0.1.2', '9.0.1.3']);
  });

  test('a /81 of IPv6 answers at once', () => {
    const pool = poolOf('fd01:b:0:0:1::/81');
    expect(String(pool.allocate('a'))).toBe('fd01:b::1:0:0:2');
    expect(pool.capacity).toBe(2n ** 47n - 2n);
  });

  test('it answers as the slow oracle does, whatever the history', () => {
    const step = fc.oneof(
      fc.constant({ do: 'allocate' as const, index: 0 }),
      fc.record({ do: fc.constant('release' as const), index: fc.nat(40) }),
      fc.record({ do: fc.constant('reserve' as const), index: fc.nat(40) }),
    );
    const subnets = fc.constantFrom('9.0.1.0/28', '9.0.1.64/29', 'fd01:b::/124', '9.0.1.0/30');
    fc.assert(
      fc.property(subnets, fc.array(step, { maxLength: 120 }), (subnet, steps) => {
        const pool = poolOf(subnet);
        const oracle = new Oracle(prefix(subnet));
        for (const [i, action] of steps.entries()) {
          const holder = `c${i}`;
          const hosts = oracle.hosts();
          if (action.do === 'allocate') {
            const expected = oracle.next();
            if (expected === undefined) {
              expect(() => pool.allocate(holder)).toThrow('in use');
              continue;
            }
            expect(String(pool.allocate(holder))).toBe(expected);
            oracle.hold(expected, holder);
            oracle.last = ip(expected);
          } else if (action.do === 'release') {
            const [address, of] = [...oracle.held][action.index % Math.max(1, oracle.held.size)] ?? [];
            if (address === undefined || of === undefined) continue;
            expect(pool.release(ip(address), of)).toBe(true);
            oracle.held.delete(address);
            oracle.released.push(address);
          } else {
            const address = hosts[action.index % Math.max(1, hosts.length)];
            if (address === undefined) continue;
            if (oracle.held.has(address)) {
              expect(() => pool.reserve(ip(address), holder)).toThrow('in use by container');
            } else {
              pool.reserve(ip(address), holder);
              oracle.hold(address, holder);
            }
          }
          expect(pool.held).toBe(oracle.held.size);
        }
      }),
      { numRuns: 300 },
    );
  });
});
