import { describe, expect, it } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { silentLog } from '../base/log.ts';
import { createMetrics } from '../base/metrics.ts';
import { seededRandom } from '../base/random.ts';
import { newNodeId } from '../model/names.ts';
import { keys } from '../model/record.ts';
import { FakeExchange } from '../node/exchange-fake.ts';
import { AppliedKeeper } from './applied.ts';
import type { RoundReport } from './reconciler.ts';

type Report = Pick<RoundReport, 'done' | 'failures' | 'faults'>;
const whole: Report = { done: true, failures: [], faults: [] };
const broken: Report = { ...whole, faults: [{ reason: 'in the way' } as Report['faults'][number]] };

/** Rounds end when told to. */
function world(nodes = 3) {
  const exchange = new FakeExchange();
  const clock = new ManualClock();
  const node = newNodeId(seededRandom(7));
  const rounds: ((report: Report) => void)[] = [];
  const keeper = new AppliedKeeper(
    { exchange, clock, log: silentLog, metrics: createMetrics() },
    { node, settle: () => new Promise((resolve) => rounds.push(resolve)), nodes: () => nodes },
  );
  const round = async (report: Report): Promise<void> => {
    rounds.shift()?.(report);
    for (let i = 0; i < 10; i++) await Promise.resolve();
  };
  const told = () => exchange.get(keys.applied(node));
  return { exchange, clock, keeper, rounds, round, told };
}

describe('what an agent tells of its kernel', () => {
  it('is a revision that a round has brought about which began after it was known', async () => {
    const { exchange, clock, keeper, rounds, round, told } = world();
    exchange.put('cluster/network', 1, 4);
    keeper.start();
    expect(rounds).toHaveLength(1);
    clock.advance(20);
    exchange.put('cluster/removed/x', 1, 5);
    await round(whole);
    expect(told()?.value).toMatchObject({ revision: 4, took_ms: 20 });
    clock.advance(200);
    await round(whole);
    expect(told()?.value).toMatchObject({ revision: 5, took_ms: 200 });
    expect(rounds).toHaveLength(0);
  });

  it('waits for what a change asks for, and for its end no longer than that', async () => {
    const { exchange, clock, keeper, rounds, round, told } = world();
    exchange.put('cluster/network', 1, 4);
    keeper.start();
    await round({ ...whole, done: false });
    expect(rounds).toHaveLength(0);
    clock.advance(30);
    keeper.look();
    await round(whole);
    clock.advance(200);
    expect(told()?.value).toMatchObject({ revision: 4, took_ms: 30 });
    keeper.look();
    expect(rounds).toHaveLength(0);
  });

  it('stays what it was while the kernel refuses something, and says so', async () => {
    const { exchange, clock, keeper, rounds, round, told } = world();
    exchange.put('cluster/network', 1, 4);
    keeper.start();
    await round(whole);
    exchange.put('cluster/network', 2, 5);
    await round(broken);
    clock.advance(100);
    expect(told()?.value).toMatchObject({ revision: 4, failing: 1, because: 'in the way' });
    expect(rounds).toHaveLength(0);
    clock.advance(1_000);
    await round(whole);
    clock.advance(100);
    expect(told()?.value).toMatchObject({ revision: 5 });
    expect(told()?.value).not.toHaveProperty('failing');
  });

  it('follows as soon as a round of the reconciler finds nothing refused any more', async () => {
    const { exchange, clock, keeper, rounds, round, told } = world();
    exchange.put('cluster/network', 1, 4);
    keeper.start();
    for (let i = 0; i < 6; i++) {
      await round(broken);
      clock.advance(60_000);
    }
    await round(broken);
    expect(rounds).toHaveLength(0);
    keeper.roundEnded(broken);
    expect(rounds).toHaveLength(0);
    keeper.roundEnded(whole);
    await round(whole);
    clock.advance(100);
    expect(told()?.value).toMatchObject({ revision: 4 });
    expect(told()?.value).not.toHaveProperty('because');
  });

  it('is nothing any more when the kernel has lost it and does not take it back', async () => {
    const { exchange, clock, keeper, rounds, round, told } = world();
    exchange.put('cluster/network', 1, 4);
    keeper.start();
    await round(whole);
    clock.advance(1_000);
    const before = told();
    keeper.roundEnded(broken);
    clock.advance(1_000);
    await round(whole);
    expect(rounds).toHaveLength(0);
    clock.advance(1_000);
    expect(told()).toBe(before);
    keeper.roundEnded(broken);
    clock.advance(1_000);
    await round(broken);
    clock.advance(100);
    expect(told()?.value).toMatchObject({ revision: 0, failing: 1, because: 'in the way' });
    clock.advance(2_000);
    await round(whole);
    clock.advance(100);
    expect(told()?.value).toMatchObject({ revision: 4 });
  });

  it('is told when the others can have it too, as of when it came about', async () => {
    const { exchange, clock, keeper, round, told } = world(20);
    keeper.start();
    clock.advance(1_000);
    exchange.put('cluster/network', 1, 4);
    clock.advance(30);
    await round(whole);
    const at = clock.wallMs();
    clock.advance(69);
    expect(told()).toBeUndefined();
    clock.advance(1);
    expect(told()?.value).toMatchObject({ revision: 4, at, took_ms: 30 });
  });

  it('is told as seldom as the size of the cluster wants it', async () => {
    const { exchange, clock, keeper, round, told } = world(1_000);
    keeper.start();
    const revisions: unknown[] = [];
    exchange.subscribe('node/', (changes) => revisions.push(...changes.map(({ value }) => value)));
    for (let revision = 1; revision <= 30; revision++) {
      exchange.put('cluster/network', revision, revision);
      await round(whole);
      clock.advance(100);
    }
    expect(revisions).toMatchObject([{ revision: 2 }, { revision: 22 }]);
    clock.advance(2_000);
    expect(told()?.value).toMatchObject({ revision: 30 });
  });

  it('is nothing after it is closed', async () => {
    const { exchange, keeper, round, told } = world();
    exchange.put('cluster/network', 1, 4);
    keeper.start();
    keeper.close();
    await round(whole);
    expect(told()).toBeUndefined();
  });
});
