import { afterEach, expect, it } from 'vitest';
import { holdSignals, type EndingSignal } from './held-signals.ts';

const before = process.listeners('SIGHUP');
afterEach(() => {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    for (const listener of process.listeners(signal))
      if (!before.includes(listener)) process.off(signal, listener);
});

it('a signal that comes before anybody can take it is taken later, and those after it at once', () => {
  const taken: EndingSignal[] = [];
  const takenBy = holdSignals();
  process.emit('SIGHUP', 'SIGHUP');
  expect(taken).toEqual([]);
  takenBy((signal) => taken.push(signal));
  expect(taken).toEqual(['SIGHUP']);
  process.emit('SIGHUP', 'SIGHUP');
  expect(taken).toEqual(['SIGHUP', 'SIGHUP']);
});
