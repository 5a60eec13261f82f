import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ip } from '../base/ip.ts';
import type { Mac } from '../base/mac.ts';
import { pack, unpack } from '../kernel/nft/packed.ts';
import { elementKey } from '../kernel/nft/types.ts';
import { ElementTable, type ElementComparison } from './elements.ts';
import { fakeTask } from './fake.ts';
import { renderVip } from './render.ts';
import {
  bridgedSet,
  countedSet,
  hairpinSet,
  servicesSet,
  serviceValue,
  shareOf,
  SHARES,
  slotsSet,
  vipBridgeRuleset,
  vipRuleset,
} from './ruleset.ts';
import { VipTable, type Vip } from './table.ts';

const VIP = 'tcp/myservice.marathon:6666';
const ranges = { range4: { min: ip('11.0.0.0'), max: ip('11.255.255.254') } };
const sets = [
  ...Array.from({ length: SHARES }, (_, share) => slotsSet('4', share)),
  ...[servicesSet('4'), countedSet('4'), hairpinSet('4'), bridgedSet('4')],
];
const mac = '02:50:09:00:01:01' as Mac;

function vipOf(
  count: number,
  over: (index: number) => Parameters<typeof fakeTask>[2] = () => ({}),
  affinity = 'none',
): Vip {
  const table = new VipTable(ranges);
  for (let index = 1; index <= count; index++) {
    const addresses = [`9.0.${Math.floor(index / 200)}.${(index % 200) + 2}`];
    const task = { networks: [{ mode: 'container' as const, addresses }] };
    const labels = { VIP_0: 'myservice:6666', VIP_0_AFFINITY: affinity };
    const view = fakeTask(1, labels, { task, ...over(index) });
    table.put(`t${index}`, { ...view, id: `t${index}` });
  }
  const vip = table.get(VIP);
  if (vip === undefined) throw new Error('no VIP');
  return vip;
}

function words(vip: Vip): string[] {
  return renderVip(vip, () => mac).map(({ set, key, data }) => {
    const type = sets.find(({ name }) => name === set);
    if (type === undefined) throw new Error(set);
    const element = unpack(type, key, data);
    // As the kernel's adapter lays it out.
    expect(pack(type, element)).toEqual([key, data]);
    return `${set} ${elementKey(element)}`;
  });
}

const at = '11.213.148.254 . 6 . 6666';
/** Where its slots are, while they are few. */
const share = shareOf(String.fromCharCode(11, 213, 148, 254, 6, 0, 0, 0, 6666 >>> 8, 6666 & 255, 0, 0), 1);
const slots4 = slotsSet('4', share).name;
const service = (slots: number): number => serviceValue(slots, false, share);

/** Numbers of backends, ports and affinities. */
function* cases(): Generator<[count: number, port: number, affinity: 'none' | 'client']> {
  for (const affinity of ['none', 'client'] as const)
    for (const count of [1, 2, 15, 16, 17, 33, 99, 100, 101, 150])
      for (const port of [80, 81, 82, 83, 84, 85]) yield [count, port, affinity];
}

describe('renderVip', () => {
  it('gives each backend a slot, the VIP their number, and counts', () => {
    expect(words(vipOf(2))).toEqual([
      `counted4 ${at}`,
      `services4 ${at} : ${service(2)}`,
      `${slots4} ${at} . 0 : 9.0.0.3 . 80`,
      `${slots4} ${at} . 1 : 9.0.0.4 . 80`,
    ]);
  });

  it('has no slot for those of weight 0 and none for the unreachable, unless all are', () => {
    const drained = {
      task: { healthy: false, networks: [{ mode: 'container' as const, addresses: ['9.0.9.9'] }] },
    };
    expect(words(vipOf(2, (index) => (index === 1 ? drained : {})))).toContain(
      `services4 ${at} : ${service(1)}`,
    );
    expect(words(vipOf(2, (index) => ({ reachable: index === 1 })))).toEqual([
      `counted4 ${at}`,
      `services4 ${at} : ${service(1)}`,
      `${slots4} ${at} . 0 : 9.0.0.3 . 80`,
    ]);
    expect(words(vipOf(2, () => ({ reachable: false })))).toContain(`services4 ${at} : ${service(2)}`);
    expect(words(vipOf(1, () => drained))).toEqual([`counted4 ${at}`]);
  });

  it('is sent by its service to the chain that draws from its slots, however many', () => {
    const chains = new Map(vipRuleset({ vips: [], overlays: [] }).chains.map((each) => [each.name, each]));
    const [, , targets = ''] = chains.get('pick4')?.rules ?? [];
    const chainOf = new Map(
      Array.from(targets.matchAll(/([0-9a-f]+):([0-9a-f]+) : jump ([^ ,]+)/g), (match) => [
        Number.parseInt(match[1] ?? '', 16) * 0x1_0000 + Number.parseInt(match[2] ?? '', 16),
        match[3] ?? '',
      ]),
    );
    const shares = new Set<string>();
    for (const [count, port, affinity] of cases()) {
      const elements = renderVip({ ...vipOf(count, () => ({}), affinity), port }, () => undefined);
      const data = elements.find(({ set }) => set === 'services4')?.data ?? '';
      const [rule] = chains.get(chainOf.get(Buffer.from(data, 'latin1').readUInt32LE()) ?? '')?.rules ?? [];
      const drawn = elements.filter(({ set }) => set.startsWith('slots4'));
      expect(rule).toContain(affinity === 'client' ? 'jhash' : 'numgen');
      expect(rule).toContain(` mod ${drawn.length} `);
      for (const { set } of drawn) expect(rule).toContain(` map @${set}`);
      if (count < 16) shares.add(drawn[0]?.set ?? '');
    }
    expect(shares.size).toBe(SHARES);
  });

  it('knows local backends, which may call themselves and whose bridge answers go by', () => {
    const vip = vipOf(1);
    const local = { ...vip, backends: vip.backends.map((each) => ({ ...each, local: true })) };
    expect(words(local).slice(3)).toEqual([
      'hairpin4 9.0.0.3 . 9.0.0.3',
      `bridged4 9.0.0.3 . 6 . 80 : ${mac}`,
    ]);
  });

  it('shares slots evenly where there are more backends than chains', () => {
    const shares = new Map<string, number>();
    for (const text of words(vipOf(150)).filter((each) => each.startsWith('slots4'))) {
      const target = text.split(' : ')[1] ?? '';
      shares.set(target, (shares.get(target) ?? 0) + 1);
    }
    expect(shares.size).toBe(150);
    expect(new Set(shares.values())).toEqual(new Set([13, 14]));
  });

  it('moves with affinity only the slots of a backend that goes', () => {
    const slots = (vip: Vip): Map<string, string> =>
      new Map(
        renderVip(vip, () => undefined)
          .filter(({ set }) => set.startsWith('slots4'))
          .map(({ key, data }) => [key, data]),
      );
    const before = slots(vipOf(5, () => ({}), 'client'));
    const vip = vipOf(5, () => ({}), 'client');
    const after = slots({ ...vip, backends: vip.backends.slice(1) });
    expect(before.size).toBe(256);
    const gone = before.get([...before.keys()].find((key) => before.get(key) !== after.get(key)) ?? '');
    for (const [key, data] of before) expect(after.get(key) === data || data === gone).toBe(true);
    expect(words(vip)).toContain(`services4 ${at} : ${serviceValue(256, true, share)}`);
  });
});

describe('the ruleset', () => {
  it('is the same whatever the VIPs, but for their ranges', () => {
    const { chains } = vipRuleset({ vips: [], overlays: [] });
    const rules = chains.flatMap((chain) => chain.rules).length;
    expect(rules).toBeLessThan(600);
    expect(vipBridgeRuleset().chains).toHaveLength(1);
    // Only these are left out by all packets of a connection but the first.
    const types = chains.flatMap(({ base }) => base?.type ?? []);
    expect(new Set(types)).toEqual(new Set(['nat']));
  });
});

/** Changes a kernel to what is wanted, in changes of a size. */
function correct(comparison: ElementComparison, kernel: Map<string, string>, size = 2): void {
  for (const change of comparison.additions(size)) {
    for (const key of change?.remove ?? []) {
      expect(comparison.found(key)).toBe(kernel.get(key));
      expect(kernel.delete(key)).toBe(true);
    }
    for (const [key, data] of change?.add ?? []) {
      expect(kernel.has(key)).toBe(false);
      kernel.set(key, data);
    }
    expect(change?.add.length).toBeLessThanOrEqual(size);
  }
  for (const { remove, add } of comparison.strays(size)) {
    expect(add).toEqual([]);
    expect(remove.length).toBeLessThanOrEqual(size);
    for (const key of remove) expect(kernel.delete(key)).toBe(true);
  }
}

describe('ElementTable', () => {
  const element = fc.record({
    table: fc.constant('inet' as const),
    set: fc.constantFrom('a', 'b'),
    key: fc.constantFrom('1', '2', '3'),
    data: fc.constantFrom('x', 'y'),
  });
  const change = fc.record({
    vip: fc.constantFrom('v', 'w'),
    elements: fc.uniqueArray(element, { selector: ({ set, key }) => `${set} ${key}`, maxLength: 5 }),
  });

  it('answers what brings a kernel from what was wanted to what is, and never a needless change', () => {
    fc.assert(
      fc.property(fc.array(change, { maxLength: 12 }), (changes) => {
        const table = new ElementTable();
        const kernel = { a: new Map<string, string>(), b: new Map<string, string>() };
        for (const { vip, elements } of changes) {
          for (const { set, remove, add } of table.replace(vip, elements).all()) {
            const held = kernel[set as 'a' | 'b'];
            for (const key of remove) expect(held.delete(key)).toBe(true);
            for (const [key, data] of add) {
              expect(held.has(key)).toBe(false);
              held.set(key, data);
            }
          }
          for (const set of ['a', 'b'] as const) {
            const comparison = table.compare('inet', set);
            for (const each of kernel[set]) expect(comparison.take(...each)).toBe(true);
            expect(comparison.differing).toBe(0);
            expect([...comparison.additions(2), ...comparison.strays(2)]).toEqual([]);
          }
          expect(table.size).toBe(kernel.a.size + kernel.b.size);
        }
      }),
    );
  });

  it('tells what makes any kernel hold what is wanted, whatever was read before', () => {
    const datum = fc.constantFrom('x', 'y');
    const held = fc
      .uniqueArray(fc.tuple(fc.constantFrom('1', '2', '3', '4'), datum), { selector: ([key]) => key })
      .map((elements) => new Map<string, string>(elements));
    fc.assert(
      fc.property(held, fc.array(held, { minLength: 1, maxLength: 3 }), (wanted, kernels) => {
        const table = new ElementTable();
        table.replace(
          'v',
          Array.from(wanted, ([key, data]) => ({ table: 'inet', set: 'a', key, data })),
        );
        const comparison = table.compare('inet', 'a');
        for (const kernel of kernels) {
          comparison.restart();
          for (const each of kernel) expect(comparison.take(...each)).toBe(true);
        }
        const kernel = new Map<string, string>(kernels.at(-1));
        const keys = new Set([...kernel.keys(), ...wanted.keys()]);
        const wrong = Array.from(keys).filter((key) => kernel.get(key) !== wanted.get(key));
        expect(comparison.differing).toBe(wrong.length);
        correct(comparison, kernel);
        expect(kernel).toEqual(wanted);
      }),
    );
  });

  it('takes no key twice in one reading, right or wrong', () => {
    const table = new ElementTable();
    table.replace('v', [{ table: 'inet', set: 'a', key: '1', data: 'x' }]);
    for (const [first, second] of [
      ['x', 'x'],
      ['x', 'y'],
      ['y', 'x'],
      ['y', 'y'],
    ] as const)
      for (const key of ['1', '2']) {
        const comparison = table.compare('inet', 'a');
        expect(comparison.take(key, first)).toBe(true);
        expect(comparison.take(key, second)).toBe(false);
        comparison.restart();
        expect(comparison.take(key, second)).toBe(true);
      }
  });
});
