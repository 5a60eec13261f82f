/** A rolling upgrade under load: nobody who calls an app notices it, by VIP or by the addresses of its tasks. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { INSTANCES, RollingApp, type Told } from '../../bench/support/rolling.ts';
import { TestLab } from '../support/lab.ts';

const lab = new TestLab('rol');
/** More than can be sent while the upgrade lasts: the callers are ended by its end. */
const MANY = 1_000_000;

beforeAll(() => lab.up({ hosts: 3 }));
afterAll(() => lab.down());

it(`upgrades ${INSTANCES} instances without a failed request`, async () => {
  const app = new RollingApp(lab.tools);
  await app.start(['agent1', 'agent2']);
  const callers = [app.call('agent1', 'name', MANY), app.call('agent2', 'vip', MANY)];
  try {
    await app.upgrade();
  } finally {
    for (const caller of callers) caller.end();
  }
  for (const told of await Promise.all(callers.map((caller) => caller.told))) {
    expect(told).toMatchObject({ failed: 0, errors: {} } satisfies Partial<Told>);
    // From before its beginning until its end.
    expect(Object.keys(told.versions)).toEqual(['0', '1']);
    expect(told.requests).toBeGreaterThan(1_000);
  }
});
