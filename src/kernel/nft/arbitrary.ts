/** Random sets, elements and tables for property tests here and on the real kernel. */
import fc from 'fast-check';
import { unreachable } from '../../base/assert.ts';
import { IpAddress, Prefix } from '../../base/ip.ts';
import { macFromBytes } from '../../base/mac.ts';
import {
  elementKey,
  type NftElement,
  type NftSet,
  type NftTable,
  type NftType,
  type NftValue,
} from './types.ts';

/** All but `slot`, which nft takes in keys of some families only. */
const types: readonly NftType[] = [
  'ipv4_addr',
  'ipv6_addr',
  'inet_proto',
  'inet_service',
  'mark',
  'classid',
  'ifname',
  'ether_addr',
];

const v4 = fc.bigInt({ min: 0n, max: (1n << 32n) - 1n }).map((value) => new IpAddress(4, value));
const v6 = fc.bigInt({ min: 0n, max: (1n << 128n) - 1n }).map((value) => new IpAddress(6, value));

export function arbitraryValue(type: NftType): fc.Arbitrary<NftValue> {
  switch (type) {
    case 'ipv4_addr':
      return v4;
    case 'ipv6_addr':
      return v6;
    case 'inet_proto':
      return fc.integer({ min: 0, max: 255 });
    case 'inet_service':
      return fc.integer({ min: 0, max: 65_535 });
    case 'mark':
    case 'classid':
    case 'slot':
      return fc.integer({ min: 0, max: 0xffff_ffff });
    case 'ifname':
      return fc.stringMatching(/^[a-z][a-z0-9-]{0,14}$/);
    case 'ether_addr':
      return fc.uint8Array({ minLength: 6, maxLength: 6 }).map((bytes) => macFromBytes(bytes));
    default:
      return unreachable(type);
  }
}

const arbitraryTypes = fc.array(fc.constantFrom(...types), { minLength: 1, maxLength: 3 });

type SetWithElements = NftSet & { readonly elements: readonly NftElement[] };

/** A set or map of any key, with elements of different keys. */
const plainSet = fc
  .record({
    key: arbitraryTypes,
    data: fc.option(arbitraryTypes, { nil: undefined }),
    name: fc.stringMatching(/^s_[A-Za-z0-9]{1,12}$/),
  })
  .chain(({ key, data, name }) => {
    const set: NftSet = { name, key, ...(data === undefined ? {} : { data }) };
    const element = fc
      .tuple(
        fc.tuple(...key.map(arbitraryValue)),
        data === undefined ? fc.constant(undefined) : fc.tuple(...data.map(arbitraryValue)),
      )
      .map(([k, d]): NftElement => ({ key: k, ...(d === undefined ? {} : { data: d }) }));
    return withElements(set, fc.uniqueArray(element, { maxLength: 12, selector: keyText }));
  });

/** An interval set of disjoint prefixes, alone or with a port behind. */
const intervalSet = fc
  .record({
    family: fc.constantFrom(4 as const, 6 as const),
    concatenated: fc.boolean(),
    name: fc.stringMatching(/^i_[A-Za-z0-9]{1,12}$/),
  })
  .chain(({ family, concatenated, name }) => {
    const address: NftType = family === 4 ? 'ipv4_addr' : 'ipv6_addr';
    const set: NftSet = { name, interval: true, key: concatenated ? [address, 'inet_service'] : [address] };
    const prefix = fc
      .tuple(family === 4 ? v4 : v6, fc.integer({ min: 0, max: family === 4 ? 32 : 128 }))
      .map(([at, length]) => new Prefix(at, length));
    const prefixes = fc.array(prefix, { maxLength: 12 }).map(disjoint);
    return withElements(
      set,
      prefixes.map((list) => list.map((each) => ({ key: concatenated ? [each, 80] : [each] }))),
    );
  });

function withElements(
  set: NftSet,
  elements: fc.Arbitrary<readonly NftElement[]>,
): fc.Arbitrary<SetWithElements> {
  return elements.map((some) => ({ ...set, elements: some }));
}

const keyText = ({ key }: NftElement): string => elementKey({ key });

function disjoint(prefixes: readonly Prefix[]): Prefix[] {
  const kept: Prefix[] = [];
  for (const each of prefixes) if (!kept.some((other) => other.overlaps(each))) kept.push(each);
  return kept;
}

export const arbitrarySet: fc.Arbitrary<SetWithElements> = fc.oneof(plainSet, intervalSet);

const rules = fc.subarray([
  'counter accept',
  'tcp dport { 80, 443 } counter drop',
  'meta mark set 0x5 return',
  'udp dport 64000 accept',
  'iifname "m-*" oifname != "vtep1024" accept',
]);

const chain = fc.record({
  name: fc.stringMatching(/^c_[A-Za-z0-9]{1,12}$/),
  base: fc.option(
    fc.record({
      type: fc.constant('filter' as const),
      hook: fc.constantFrom(...(['prerouting', 'input', 'forward', 'output', 'postrouting'] as const)),
      priority: fc.integer({ min: -400, max: 400 }),
      policy: fc.constantFrom('accept' as const, 'drop' as const),
    }),
    { nil: undefined },
  ),
  rules,
});

/** Tables of the families that Portolan uses. */
export const arbitraryTable: fc.Arbitrary<NftTable> = fc.record({
  family: fc.constantFrom('inet' as const, 'ip' as const, 'ip6' as const),
  name: fc.stringMatching(/^t_[A-Za-z0-9]{1,12}$/),
  sets: fc.uniqueArray(arbitrarySet, { maxLength: 4, selector: ({ name }) => name }),
  chains: fc
    .uniqueArray(chain, { maxLength: 4, selector: ({ name }) => name })
    .map((chains) => chains.map(({ base, ...rest }) => (base === undefined ? rest : { ...rest, base }))),
});
