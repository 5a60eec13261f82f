import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatVipLabel, parseVipLabel, vipLabels } from './labels.ts';

describe('vipLabels', () => {
  it('reads names and addresses, in order of their index, each once', () => {
    const { vips, issues } = vipLabels({
      VIP_10: 'fd01::5:80',
      VIP_2: '1.2.3.4:80',
      vip_0: 'myservice:6666',
      VIP_1: '/myservice:6666',
      OTHER: 'x',
    });
    expect(vips.map(formatVipLabel)).toEqual(['myservice:6666', '1.2.3.4:80', '[fd01::5]:80']);
    expect(issues).toEqual([]);
  });

  it.each([
    ['myservice', 'has no port: write NAME:PORT or ADDRESS:PORT'],
    ['myservice:', '"" is not a port: write a number from 1 to 65535'],
    ['myservice:0', '"0" is not a port: write a number from 1 to 65535'],
    ['myservice:65536', '"65536" is not a port: write a number from 1 to 65535'],
    ['myservice:http', '"http" is not a port: write a number from 1 to 65535'],
    ['/:80', '"/" leaves nothing for a DNS name: use letters and digits'],
    [':80', '"" leaves nothing for a DNS name: use letters and digits'],
  ])('says what is wrong with %j, and reads the others', (value, problem) => {
    const { vips, issues } = vipLabels({ VIP_0: value, VIP_1: 'ok:1' });
    expect(issues).toEqual([{ label: 'VIP_0', value, problem }]);
    expect(vips.map(formatVipLabel)).toEqual(['ok:1']);
  });

  it('reads what more there is to say of a VIP, and names what it cannot read', () => {
    const read = vipLabels({
      VIP_0: 'a:1',
      VIP_0_AFFINITY: 'client',
      VIP_1: 'b:1',
      VIP_1_AFFINITY: 'cookie',
      VIP_2: 'c:1',
      VIP_2_PORT: '80/sctp',
      VIP_3: 'd:1',
      VIP_3_PORT: '80/udp',
      vip_4: 'e:1',
      VIP_4_affinity: 'client',
    });
    expect(read.vips.map((vip) => [formatVipLabel(vip), vip.affinity])).toEqual([
      ['a:1', 'client'],
      ['d:1', 'none'],
      ['e:1', 'client'],
    ]);
    expect(read.issues).toEqual([
      {
        label: 'VIP_1_AFFINITY',
        value: 'cookie',
        problem: 'is no kind of affinity: write "client" or "none"',
      },
      { label: 'VIP_2_PORT', value: '80/sctp', problem: 'is no port: write 8080, 8080/tcp or 53/udp' },
    ]);
  });

  it('reads back what it writes, and never throws', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        const vip = parseVipLabel(text);
        if (typeof vip !== 'string') expect(parseVipLabel(formatVipLabel(vip))).toEqual(vip);
      }),
    );
  });
});
