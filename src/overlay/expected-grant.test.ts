import { describe, expect, it } from 'vitest';
import type { Grant } from './desired.ts';
import { isGrantOf } from './expected-grant.ts';

const grantOf = (...names: readonly string[]): Pick<Grant, 'overlays'> => ({
  overlays: names.map((name) => ({
    info: { name, subnet: '9.0.0.0/8', prefix: 24, enabled: true },
    backend: {
      vxlan: { vni: 1024, vtep_name: 'vtep1024', vtep_ip: '44.128.0.1/20', vtep_mac: '70:b3:d5:80:00:01' },
    },
  })),
});
const network = (...overlays: readonly object[]): unknown => ({ vtep_subnet: '44.128.0.0/20', overlays });

describe('a grant', () => {
  it.each([
    ['has what the masters tell of', network({ name: 'a', enabled: true }, { name: 'b' }), ['a', 'b'], true],
    ['lacks an overlay that came', network({ name: 'a' }, { name: 'b' }), ['a'], false],
    ['holds one that went', network({ name: 'a' }), ['a', 'b'], false],
    ['holds one for another', network({ name: 'a' }, { name: 'c' }), ['a', 'b'], false],
    ['lacks only what is not enabled', network({ name: 'a' }, { name: 'b', enabled: false }), ['a'], true],
    ['is judged by nothing that cannot be read', { overlays: 5 }, ['a'], true],
    ['is judged by nothing before it is heard', undefined, ['a'], true],
  ] as const)('%s', (_, told, names, expected) => {
    expect(isGrantOf(told, grantOf(...names))).toBe(expected);
  });

  it('that is not there yet is waited for by the registration alone', () => {
    expect(isGrantOf(network({ name: 'a' }), undefined)).toBe(true);
  });
});
