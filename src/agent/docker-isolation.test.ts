import { describe, expect, test } from 'vitest';
import { silentLog } from '../base/log.ts';
import { createDockerIsolation } from './docker-isolation.ts';

const overlays = [{ name: 'dcos', dockerSubnets: [] }];
const dockerUser = { chain: { family: 'ip', table: 'filter', name: 'DOCKER-USER' } };

/** A kernel that lists what it is told and counts what it is asked. */
function fixture(listings: unknown[], legacy: string[] = []) {
  const state = { generation: 7, lists: 0, scripts: [] as string[] };
  const isolation = createDockerIsolation({
    nft: {
      generation: () => Promise.resolve(state.generation),
      list: () => {
        state.lists++;
        return Promise.resolve({ nftables: listings });
      },
      run: (script) => {
        state.generation++;
        state.scripts.push(script);
        return Promise.resolve();
      },
    },
    legacyTables: () => Promise.resolve(legacy),
    log: silentLog,
  });
  return { state, isolation };
}

describe('createDockerIsolation', () => {
  test('does not look again while nftables and the wish are the same', async () => {
    const { state, isolation } = fixture([]);
    await isolation.ensure(overlays, true);
    const { lists } = state;
    await isolation.ensure(overlays, true);
    expect(state.lists).toBe(lists);
    state.generation++;
    await isolation.ensure(overlays, true);
    expect(state.lists).toBeGreaterThan(lists);
    const after = state.lists;
    await isolation.ensure([], true);
    expect(state.lists).toBeGreaterThan(after);
  });

  test('gives up after some rounds when its rules do not stay', async () => {
    const { state, isolation } = fixture([dockerUser]);
    const report = await isolation.ensure(overlays, true);
    expect(report).toMatchObject({ changed: true, problem: expect.stringContaining('change faster') });
    expect(state.scripts.length).toBeLessThan(10);
  });

  test('says what to do when Docker uses the legacy tables', async () => {
    const { isolation } = fixture([], ['filter', 'nat']);
    const { problem } = await isolation.ensure(overlays, true);
    expect(problem).toContain('update-alternatives --set iptables');
  });
});
