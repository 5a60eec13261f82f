import { expect, it } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import type { AgentOverlay } from '../model/overlay.ts';
import { keys } from '../model/record.ts';
import { FakeExchange } from '../node/exchange-fake.ts';
import { GrantWatch } from './grant-watch.ts';

const network = (...names: readonly string[]) => ({
  overlays: names.map((name) => ({ name, enabled: true })),
});

function world(...granted: readonly string[]) {
  const clock = new ManualClock();
  const exchange = new FakeExchange();
  const asked: number[] = [];
  const state = { confirmedAt: -Infinity, granted, current: 0 };
  const watch = new GrantWatch(
    { clock, exchange },
    {
      grant: () => ({ overlays: state.granted.map((name) => ({ info: { name } }) as AgentOverlay) }),
      registration: { askSoon: (withinMs) => asked.push(withinMs), confirmedAt: () => state.confirmedAt },
      nodes: () => 32,
      onCurrent: () => state.current++,
    },
  );
  return { clock, exchange, asked, state, watch };
}

it('asks soon for an overlay that came, until which its block is missing', () => {
  const { exchange, asked, state, watch } = world('a');
  exchange.put(keys.network, network('a'), 1);
  expect([asked, watch.isCurrent()]).toEqual([[], true]);
  exchange.put(keys.network, network('a', 'b'), 2);
  expect([asked, watch.isCurrent()]).toEqual([[64], false]);
  state.granted = ['a', 'b'];
  expect(watch.isCurrent()).toBe(true);
});

it('takes the word of a master that was asked later, where there is no block left, and of none that was asked before', () => {
  const { clock, exchange, state, watch } = world('a');
  state.confirmedAt = clock.nowMs() - 100;
  exchange.put(keys.network, network('a', 'full'), 1);
  expect(watch.isCurrent()).toBe(false);
  state.confirmedAt = clock.nowMs() + 20;
  expect(watch.isCurrent()).toBe(true);
  clock.advance(5_000);
  exchange.put(keys.network, network('a', 'full', 'c'), 2);
  expect(watch.isCurrent()).toBe(false);
});

it('says once that it is current again, to who had found that it was not', () => {
  const { clock, exchange, state, watch } = world('a');
  watch.confirmed();
  exchange.put(keys.network, network('a', 'b'), 1);
  watch.confirmed();
  expect(state.current).toBe(0);
  clock.advance(20);
  state.confirmedAt = clock.nowMs();
  watch.confirmed();
  watch.confirmed();
  expect(state.current).toBe(1);
});
