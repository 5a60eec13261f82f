import { describe, expect, it } from 'vitest';
import { ip, prefix } from '../base/ip.ts';
import { sourceRules, type GuardedOverlay } from './source-guard.ts';

const dcos: GuardedOverlay = {
  space: prefix('9.0.0.0/8'),
  bridge: 'm-dcos',
  subnet: prefix('9.0.1.0/25'),
  dockerSubnet: prefix('9.0.1.128/25'),
};
const rules = (overlays: readonly GuardedOverlay[], own = ['10.0.0.11']): readonly string[] =>
  sourceRules({ overlays, own: own.map(ip) });

describe('the rules about sources', () => {
  it('look up what is of no overlay, and drop what claims to be a gateway or a broadcast address', () => {
    expect(rules([dcos])).toEqual([
      '@nh,96,8 != 0x9 meta nfproto ipv4 jump sources',
      '@nh,96,32 0x9000101 meta nfproto ipv4 iifname @acceptLocal counter drop',
      '@nh,96,32 0x900017f meta nfproto ipv4 iifname @acceptLocal counter drop',
      '@nh,96,32 & 0xffffff80 == 0x9000180 meta nfproto ipv4 jump sources',
    ]);
  });

  it('look up what is of none of several overlays', () => {
    const other = { space: prefix('172.20.0.0/14'), bridge: 'm-other', subnet: prefix('172.20.1.0/25') };
    expect(rules([dcos, other])[0]).toBe(
      '@nh,96,8 != 0x9 @nh,96,32 & 0xfffc0000 != 0xac140000 meta nfproto ipv4 jump sources',
    );
  });

  it('look up every source where no overlay has addresses of its own', () => {
    const all = ['meta nfproto ipv4 jump sources'];
    expect(rules([])).toEqual(all);
    expect(rules([{ bridge: 'm-mesos-bridge', subnet: prefix('172.31.254.0/24') }])).toEqual(all);
    expect(rules([{ space: prefix('9.0.0.0/8') }])).toEqual(all);
  });

  it('look up what is of an overlay in whose space the host has another address', () => {
    expect(rules([dcos], ['10.0.0.11', '9.4.0.1'])).toEqual(['meta nfproto ipv4 jump sources']);
  });
});
