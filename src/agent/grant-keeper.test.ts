import { describe, expect, test } from 'vitest';
import { seededRandom } from '../base/random.ts';
import { newClusterId } from '../model/names.ts';
import type { UpdateAgentOverlays } from '../model/registration.ts';
import type { Journal } from '../store/types.ts';
import { GrantKeeper } from './grant-keeper.ts';

const cluster = newClusterId(seededRandom(3));
const update: UpdateAgentOverlays = {
  ...{ cluster, master: 'm1-0', grant_epoch: 4, contacts: ['10.0.0.1:62501'] },
  overlays: [
    {
      info: { name: 'dcos', subnet: '9.0.0.0/8', prefix: 24, enabled: true },
      subnet: '9.0.1.0/24',
      backend: {
        vxlan: {
          ...{ vni: 1024, vtep_name: 'vtep1024', vtep_ip: '44.128.0.1/20', vtep_mac: '70:b3:d5:80:00:01' },
        },
      },
    },
  ],
};

/** Tells which writes somebody waited for. */
function memoryJournal() {
  const held = new Map<string, unknown>();
  const durable: unknown[] = [];
  const take = (changes: Readonly<Record<string, unknown>>): void => {
    for (const [key, value] of Object.entries(changes)) held.set(key, value);
  };
  const journal: Journal = {
    get: (key) => held.get(key),
    entries: () => held,
    write: (changes) => {
      take(changes);
      durable.push(changes['grant']);
      return Promise.resolve();
    },
    writeLazily: take,
    close: () => Promise.resolve(),
  };
  return { journal, held, durable };
}

describe('a grant', () => {
  test('is on disk before it counts, and is the same object until it is another one', async () => {
    const { journal, durable } = memoryJournal();
    const keeper = new GrantKeeper({ journal });
    expect(await keeper.take(update)).toBe(true);
    expect(durable).toEqual([update]);
    const first = keeper.current();
    expect(first).toEqual({ epoch: 4, overlays: update.overlays });
    expect(await keeper.take({ ...update, grant_epoch: 5 })).toBe(true);
    expect(keeper.current()).toEqual({ epoch: 5, overlays: update.overlays });
    expect(durable).toHaveLength(2);
  });

  test('that another run of the master gives again is no news; its contacts are kept', async () => {
    const { journal, held, durable } = memoryJournal();
    const keeper = new GrantKeeper({ journal });
    await keeper.take(update);
    const first = keeper.current();
    const again = structuredClone({ ...update, master: 'm2-0', contacts: ['10.0.0.7:62501'] });
    expect(await keeper.take(again)).toBe(false);
    expect(keeper.current()).toBe(first);
    expect(durable).toHaveLength(1);
    expect(held.get('grant')).toEqual(again);
    expect(new GrantKeeper({ journal }).contacts()).toEqual(['10.0.0.7:62501']);
    expect(await new GrantKeeper({ journal }).take(update)).toBe(false);
  });

  test('of another cluster is refused', async () => {
    const { journal } = memoryJournal();
    const keeper = new GrantKeeper({ journal });
    await keeper.take(update);
    const other = newClusterId(seededRandom(4));
    await expect(keeper.take({ ...update, cluster: other })).rejects.toMatchObject({ code: 'forbidden' });
  });

  test('that was dropped is news when it is given again', async () => {
    const { journal } = memoryJournal();
    const keeper = new GrantKeeper({ journal });
    await keeper.take(update);
    await keeper.drop();
    expect(keeper.current()).toBeUndefined();
    expect(await keeper.take(update)).toBe(true);
    expect(keeper.current()).toMatchObject({ epoch: 4 });
  });
});
