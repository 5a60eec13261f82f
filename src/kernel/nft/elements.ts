/**
 * Elements of sets and maps, to and from what the kernel stores.
 *
 * Three layouts (nf_tables.h, nft's segtree.c and intervals.c):
 * plain sets hold one element per key; interval sets over one component hold two, the first address and, flagged
 * NFT_SET_ELEM_INTERVAL_END, the address after the last, which is left out when the interval ends the space; interval
 * sets over a concatenation (pipapo) hold one with the first values in KEY and the last ones in KEY_END.
 */
import { IpAddress, Prefix } from '../../base/ip.ts';
import { PortolanError } from '../../base/errors.ts';
import { assert } from '../../base/assert.ts';
import type { NftElement, NftSet, NftType, NftValue } from './types.ts';
import { boundsOf, decodeValues, encodeValues } from './values.ts';

/** One element as NFTA_LIST_ELEM carries it. */
export interface WireElement {
  readonly key: Uint8Array;
  readonly keyEnd?: Uint8Array;
  readonly data?: Uint8Array;
  readonly intervalEnd?: boolean;
}

/** Encodes in an order that the kernel accepts; `withData` is false for deletions, which go by key alone. */
export function encodeElements(
  set: NftSet,
  elements: readonly NftElement[],
  { withData = true }: { readonly withData?: boolean } = {},
): WireElement[] {
  const encode = layout(set);
  const wire: WireElement[] = [];
  for (const element of elements) {
    assert(
      !withData || (set.data === undefined) === (element.data === undefined),
      `${set.name} has data exactly when it is a map`,
    );
    const data =
      withData && set.data !== undefined ? { data: encodeValues(set.data, element.data ?? []) } : {};
    encode(element, data, wire);
  }
  return wire;
}

type Encode = (element: NftElement, data: { data?: Uint8Array }, wire: WireElement[]) => void;

function layout(set: NftSet): Encode {
  if (set.interval !== true)
    return (element, data, wire) => wire.push({ key: encodeValues(set.key, element.key), ...data });
  return set.key.length === 1 ? encodeInterval(set.key) : encodeRange(set.key);
}

const encodeInterval =
  (types: readonly NftType[]): Encode =>
  (element, data, wire) => {
    const [value] = element.key;
    assert(value instanceof IpAddress || value instanceof Prefix, 'intervals are prefixes or addresses');
    const [first, last] = boundsOf(value) as readonly [IpAddress, IpAddress];
    wire.push({ key: encodeValues(types, [first]), ...data });
    const after = last.plus(1);
    if (after !== undefined) wire.push({ key: encodeValues(types, [after]), intervalEnd: true });
  };

const encodeRange =
  (types: readonly NftType[]): Encode =>
  (element, data, wire) => {
    const bounds = element.key.map(boundsOf);
    wire.push({
      key: encodeValues(
        types,
        bounds.map(([first]) => first),
      ),
      keyEnd: encodeValues(
        types,
        bounds.map(([, last]) => last),
      ),
      ...data,
    });
  };

/**
 * Elements from a dump, in the kernel's order. Addresses of interval sets come back as prefixes, also single ones; an
 * interval that is no prefix, which only others can have added, comes back as the prefixes that make it up.
 */
export function decodeElements(set: NftSet, wire: readonly WireElement[]): NftElement[] {
  if (set.interval !== true)
    return wire.map(({ key, data }) => ({ key: decodeValues(set.key, key), ...decodeData(set, data) }));
  return set.key.length === 1
    ? decodeIntervals(set, wire)
    : wire.flatMap((element) => decodeRange(set, element));
}

function decodeData(set: NftSet, data: Uint8Array | undefined): { data?: NftValue[] } {
  if (set.data === undefined) return {};
  if (data === undefined) throw foreign(set, 'an element without data');
  return { data: decodeValues(set.data, data) };
}

/** Pairs starts with ends: at one address an end comes before a start, as neighbouring intervals share it. */
function decodeIntervals(set: NftSet, wire: readonly WireElement[]): NftElement[] {
  const marks = wire
    .map((element) => ({ element, at: addressOf(set, element.key) }))
    .toSorted((a, b) => compareMarks(a.at, b.at) || Number(isStart(a.element)) - Number(isStart(b.element)));
  const elements: NftElement[] = [];
  for (const [i, { element, at }] of marks.entries()) {
    if (!isStart(element)) continue;
    const next = marks[i + 1];
    const last = next === undefined ? lastOf(at) : next.at.plus(-1);
    assert(last !== undefined, 'an interval that ends after its start');
    const data = decodeData(set, element.data);
    for (const prefix of prefixesBetween(at, last)) elements.push({ key: [prefix], ...data });
  }
  return elements;
}

const isStart = (element: WireElement): boolean => element.intervalEnd !== true;
const compareMarks = (a: IpAddress, b: IpAddress): number =>
  a.value < b.value ? -1 : Number(a.value > b.value);
const lastOf = (address: IpAddress): IpAddress => new Prefix(address, 0).last;

function addressOf(set: NftSet, key: Uint8Array): IpAddress {
  const [value] = decodeValues(set.key, key);
  if (!(value instanceof IpAddress)) throw foreign(set, 'an interval of something else than addresses');
  return value;
}

function decodeRange(set: NftSet, { key, keyEnd, data }: WireElement): NftElement[] {
  const first = decodeValues(set.key, key);
  const last = decodeValues(set.key, keyEnd ?? key);
  const components = first.map((from, i) => componentBetween(set, from, last[i] ?? from));
  const value = decodeData(set, data);
  return product(components).map((values) => ({ key: values, ...value }));
}

function componentBetween(set: NftSet, first: NftValue, last: NftValue): NftValue[] {
  if (first instanceof IpAddress && last instanceof IpAddress) return prefixesBetween(first, last);
  if (first !== last) throw foreign(set, `the range ${String(first)}-${String(last)}`);
  return [first];
}

const product = (components: readonly NftValue[][]): NftValue[][] =>
  components.reduce<NftValue[][]>(
    (lists, values) => lists.flatMap((list) => values.map((value) => [...list, value])),
    [[]],
  );

/** The fewest prefixes that cover `first` to `last`, in order; at most twice the width of the family. */
export function prefixesBetween(first: IpAddress, last: IpAddress): Prefix[] {
  const width = first.family === 4 ? 32 : 128;
  const prefixes: Prefix[] = [];
  for (let at: IpAddress | undefined = first; at !== undefined && at.value <= last.value;) {
    let length = width;
    while (length > 0 && fits(at, length - 1, last)) length--;
    const prefix: Prefix = new Prefix(at, length);
    prefixes.push(prefix);
    at = prefix.last.plus(1);
  }
  return prefixes;
}

const fits = (start: IpAddress, length: number, last: IpAddress): boolean => {
  const prefix = new Prefix(start, length);
  return prefix.network.equals(start) && prefix.last.value <= last.value;
};

const foreign = (set: NftSet, what: string): PortolanError =>
  new PortolanError(
    'corrupt',
    `Reading nftables set "${set.name}": found ${what}, which Portolan never adds`,
    {
      remedy: 'the next reconciliation replaces the table',
    },
  );
