import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatVipLabel, parseVipLabel, vipLabels } from './labels.ts';
import { fragment, label } from './names.ts';

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

  it('reads back what it writes, and never throws', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        const vip = parseVipLabel(text);
        if (typeof vip !== 'string') expect(parseVipLabel(formatVipLabel(vip))).toEqual(vip);
      }),
    );
  });
});

describe('names', () => {
  it.each([
    ['/group/sub/app', 'groupsubapp'],
    ['api.hello-world', 'api.hello-world'],
    ['My_App', 'my-app'],
    ['..a..-b-', 'a.b'],
    ['x'.repeat(70), 'x'.repeat(63)],
  ])('%s becomes %s', (text, expected) => {
    expect(fragment(text)).toBe(expected);
  });

  it('makes one label of a task name', () => {
    expect(label('myapp.sub.outer')).toBe('myapp-sub-outer');
  });
});
