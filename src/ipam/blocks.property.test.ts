import fc from 'fast-check';
import { expect, test } from 'vitest';
import { compareIp } from '../base/ip.ts';
import { validateNetwork } from '../model/network-validation.ts';
import { BlockPool, type Wishes } from './blocks.ts';
import type { Grant } from './grant.ts';

const network = validateNetwork({
  vtep_subnet: '44.128.0.0/28',
  vtep_subnet6: 'fd01:a::/124',
  vtep_mac_oui: '70:B3:D5:00:00:00',
  overlays: [
    { name: 'wide', subnet: '9.0.0.0/16', prefix: 24, enabled: true },
    { name: 'tight', subnet: '10.0.0.0/21', prefix: 24, subnet6: 'fd02::/76', prefix6: 80, enabled: true },
    { name: 'tight6', subnet: '11.0.0.0/20', prefix: 24, subnet6: 'fd03::/78', prefix6: 80, enabled: true },
  ],
});

/** Every address text a grant holds. */
function parts(grant: Grant): readonly string[] {
  return [
    String(grant.vtepIp),
    grant.vtepMac,
    ...(grant.vtepIp6 === undefined ? [] : [String(grant.vtepIp6)]),
    ...grant.overlays.flatMap(({ subnet, subnet6 }) =>
      [subnet, subnet6].flatMap((each) => each ?? []).map(String),
    ),
  ];
}

/** What is lowest and free, found by looking at every piece: the oracle. */
function lowestFree(space: 'wide' | 'tight' | 'tight6', grants: Iterable<Grant>): string | undefined {
  const held = new Set([...grants].flatMap(parts));
  const overlay = network.overlays.find(({ name }) => name === space);
  for (let i = 0n; overlay?.v4 !== undefined && i < overlay.v4.space.subnetCount(overlay.v4.length); i++) {
    const piece = String(overlay.v4.space.subnet(overlay.v4.length, i));
    if (!held.has(piece)) return piece;
  }
  return undefined;
}

const operation = fc.record({
  verb: fc.constantFrom('register', 'register', 'register', 'remove', 'restart'),
  node: fc.nat(20),
  wishes: fc.record<Wishes>({
    allocate_subnet: fc.constantFrom(true, true, true, false),
    mesos_bridge: fc.boolean(),
    docker_bridge: fc.boolean(),
  }),
});

/** Runs one history and checks the invariants after every step. */
function run(history: readonly (typeof operation extends fc.Arbitrary<infer T> ? T : never)[]): number {
  let pool = new BlockPool(network);
  const held = new Map<number, Grant>();
  for (const { verb, node, wishes } of history) {
    const before = held.get(node);
    if (verb === 'register') {
      const expected = before === undefined ? lowestFree('wide', held.values()) : undefined;
      const allocation = pool.allocate(wishes, before);
      if (allocation.ok) held.set(node, allocation.grant);
      else expect(held.size).toBe(14);
      if (allocation.ok && expected !== undefined && wishes.allocate_subnet)
        expect(String(allocation.grant.overlays[0]?.subnet)).toBe(expected);
    } else if (verb === 'remove' && before !== undefined) {
      pool.release(before);
      held.delete(node);
    } else if (verb === 'restart') {
      pool = new BlockPool(network);
      for (const grant of held.values()) expect(pool.reserve(grant)).toEqual([]);
    }
    check([...held.values()], pool);
  }
  for (const grant of held.values()) pool.release(grant);
  expect(
    [pool.usage(), ...network.overlays.map(({ name }) => pool.usage(name))].map((each) => each.held),
  ).toEqual([0, 0, 0, 0]);
  return history.length;
}

function check(grants: readonly Grant[], pool: BlockPool): void {
  const all = grants.flatMap(parts);
  expect(new Set(all).size).toBe(all.length);
  for (const { vtepIp } of grants) {
    expect(compareIp(vtepIp.address, network.vtep.network)).toBe(1);
    expect(compareIp(vtepIp.address, network.vtep.last)).toBe(-1);
  }
  expect(pool.usage().held).toBe(grants.length);
  expect(pool.usage('wide').held).toBe(
    grants.filter((each) => each.overlays[0]?.subnet !== undefined).length,
  );
}

test('no history of 12,000 steps gives one address to two nodes, a network or broadcast VTEP, or loses a block', () => {
  let steps = 0;
  fc.assert(
    fc.property(fc.array(operation, { minLength: 100, maxLength: 140 }), (history) => {
      steps += run(history);
    }),
    { numRuns: 120 },
  );
  expect(steps).toBeGreaterThanOrEqual(12_000);
});
