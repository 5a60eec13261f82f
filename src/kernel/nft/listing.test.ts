import { describe, expect, it } from 'vitest';
import { fingerprintOf } from './listing.ts';

const listing = (change: {
  handle?: number;
  packets?: number;
  ports?: readonly number[];
  elem?: readonly string[];
  swapped?: boolean;
  verdict?: string;
}): unknown => {
  const { handle = 1, packets = 0, ports = [1, 2], elem, swapped = false, verdict = 'accept' } = change;
  const declarations = [
    { set: { family: 'inet', name: 's', table: 't', type: 'ipv4_addr', handle, ...(elem ? { elem } : {}) } },
    { chain: { family: 'inet', table: 't', name: 'c', handle } },
  ];
  const match = { match: { op: '==', left: { payload: {} }, right: { set: ports } } };
  return {
    nftables: [
      { metainfo: { version: '1.0.6' } },
      { table: { family: 'inet', name: 't', handle } },
      ...(swapped ? declarations.toReversed() : declarations),
      {
        rule: {
          chain: 'c',
          handle,
          expr: [match, { counter: { packets, bytes: packets } }, { [verdict]: null }],
        },
      },
    ],
  };
};

describe('fingerprintOf', () => {
  it('is the same whatever the handles, counters, elements of named sets and order of declarations', () => {
    const wanted = fingerprintOf(listing({}));
    for (const other of [{ handle: 7 }, { packets: 9 }, { elem: ['9.0.0.1'] }, { swapped: true }])
      expect(fingerprintOf(listing(other))).toBe(wanted);
  });

  it('changes with a rule and with the elements of its anonymous sets', () => {
    const wanted = fingerprintOf(listing({}));
    expect(fingerprintOf(listing({ verdict: 'drop' }))).not.toBe(wanted);
    expect(fingerprintOf(listing({ ports: [1, 3] }))).not.toBe(wanted);
  });

  it('refuses what is no listing of nft', () => {
    for (const other of [undefined, null, [], {}, { nftables: 1 }, { nftables: ['x'] }])
      expect(() => fingerprintOf(other)).toThrow('not the JSON of libnftables');
  });
});
