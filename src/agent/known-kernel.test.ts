import { expect, it } from 'vitest';
import { nothingDesired } from '../overlay/desired.ts';
import { takeInventory } from '../overlay/inventory.ts';
import { KnownKernel } from './known-kernel.ts';

const inventory = takeInventory(nothingDesired);

/** Looked at, and left as desired, at 1,000 ms. */
function known(): KnownKernel {
  const kernel = new KnownKernel({ sweepMs: 60_000 });
  kernel.is(inventory, kernel.look(1_000));
  return kernel;
}

it('is known for a little longer than until the next look is due, so that the look can wait for a pause', () => {
  const kernel = known();
  expect(kernel.untilLookMs(1_000)).toBe(60_000);
  expect(kernel.untilLookMs(51_000)).toBe(10_000);
  expect(kernel.untilLookMs(65_000)).toBe(0);
  expect(kernel.holds(65_000)).toBe(inventory);
  expect(kernel.holds(67_000)).toBeUndefined();
});

it('is known no longer when somebody wants a look, or has doubts, also during one', () => {
  const kernel = known();
  kernel.wantLook();
  expect(kernel.holds(1_000)).toBeUndefined();
  const doubts = kernel.look(2_000);
  kernel.doubt();
  kernel.is(inventory, doubts);
  expect(kernel.holds(2_000)).toBeUndefined();
  kernel.is(inventory, kernel.look(3_000));
  expect(kernel.holds(3_000)).toBe(inventory);
});
