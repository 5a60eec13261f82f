import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ip } from '../base/ip.ts';
import { assignAddresses, lookup2, type VipRange } from './addresses.ts';

const v4: VipRange = { min: ip('11.0.0.0'), max: ip('11.255.255.254') };
const v6: VipRange = { min: ip('fd01:c::'), max: ip('fd01:c::ffff:ffff:ffff:ffff') };
/** Small, so that names collide. */
const tiny: VipRange = { min: ip('11.0.0.0'), max: ip('11.0.0.15') };

function addressOf(name: string, range: VipRange): string {
  return String(assignAddresses([name], range).get(name));
}

describe('assignAddresses', () => {
  it('gives the addresses that DC/OS gave', () => {
    expect(lookup2(Buffer.from('foo.bar')) % 254).toBe(37);
    expect(lookup2(Buffer.from('baz.qux')) % 254).toBe(39);
    expect(lookup2(Buffer.from('myservice.marathon'))).toBe(0x16d5_94d2);
    expect(addressOf('myservice.marathon', v4)).toBe('11.213.148.254');
    expect(addressOf('myservice.marathon', v6)).toBe('fd01:c::91a0:9bad:bd6f:5758');
    expect(addressOf('qux.ipv6', v6)).toBe('fd01:c::6d6d:9c64:fd19:f251');
  });

  const names = fc.uniqueArray(fc.stringMatching(/^[a-z]{1,14}$/), { maxLength: 20 });

  it('depends on the names, not on their order', () => {
    fc.assert(
      fc.property(names, fc.func(fc.nat()), (all, chance) => {
        const shuffled = all.toSorted((a, b) => chance(a) - chance(b));
        const byName = (a: readonly [string, unknown], b: readonly [string, unknown]): number =>
          a[0] < b[0] ? -1 : 1;
        const one = Array.from(assignAddresses(all, tiny), ([name, at]) => [name, String(at)] as const);
        const other = Array.from(
          assignAddresses(shuffled, tiny),
          ([name, at]) => [name, String(at)] as const,
        );
        expect(one.toSorted(byName)).toEqual(other.toSorted(byName));
      }),
    );
  });

  it('gives every name its own address inside the range, until all are taken', () => {
    fc.assert(
      fc.property(names, (all) => {
        const given = Array.from(assignAddresses(all, tiny).values(), String);
        expect(given.length).toBe(Math.min(all.length, 16));
        expect(new Set(given).size).toBe(given.length);
        for (const each of given) expect(ip(each).value - tiny.min.value).toBeLessThan(16n);
      }),
    );
  });

  it('leaves a name that collides with nobody where it is, whoever comes or goes', () => {
    const alone = addressOf('myservice.marathon', v4);
    const crowd = Array.from({ length: 1_000 }, (_, i) => `app${i}.marathon`);
    expect(String(assignAddresses([...crowd, 'myservice.marathon'], v4).get('myservice.marathon'))).toBe(
      alone,
    );
  });
});
