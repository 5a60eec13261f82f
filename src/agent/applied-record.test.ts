import { describe, expect, it } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { FakeExchange } from '../node/exchange-fake.ts';
import { isRecordApplied } from './applied-record.ts';

const key = 'node/nx/endpoint/c1/eth0';

function world(faults: readonly never[] | readonly [never] = []) {
  const exchange = new FakeExchange();
  const clock = new ManualClock();
  let rounds = 0;
  const settle = () => {
    rounds++;
    return Promise.resolve({ done: true, failures: [], faults });
  };
  const ask = (sequence: number, timeoutMs = 1_000, signal?: AbortSignal) =>
    isRecordApplied(
      { exchange, clock, settle },
      { key, version: { epoch: 1, sequence }, timeoutMs, ...(signal === undefined ? {} : { signal }) },
    );
  return { exchange, clock, ask, rounds: () => rounds };
}

describe('isRecordApplied()', () => {
  it('waits for the version or a later one, and for a round that begins with it', async () => {
    const { exchange, ask, rounds } = world();
    exchange.put(key, 1);
    const answer = ask(3);
    exchange.put(key, 2);
    expect(rounds()).toBe(0);
    exchange.put(key, null);
    expect(await answer).toBe(true);
    expect(rounds()).toBe(1);
    expect(await ask(2, 0)).toBe(true);
  });

  it('says no when it is not heard of in time, or the caller is gone', async () => {
    const { clock, ask, rounds } = world();
    const gone = new AbortController();
    const answers = [ask(1), ask(1, 1e6, gone.signal), ask(1, 0)];
    clock.advance(1_000);
    gone.abort();
    expect(await Promise.all(answers)).toEqual([false, false, false]);
    expect(rounds()).toBe(0);
  });

  it('says no when the kernel is not as desired', async () => {
    const { exchange, ask } = world([{ reason: 'in the way' } as never]);
    exchange.put(key, 1);
    expect(await ask(1)).toBe(false);
  });
});
