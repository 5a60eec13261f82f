import { describe, expect, it } from 'vitest';
import { Patience } from './patience.ts';

describe('a node judges nobody', () => {
  it('while it looks for another neighbour, nor before the rows of that one are there', () => {
    const patience = new Patience();
    patience.started(10_000);
    expect(patience.until).toBe(11_000);
    patience.neighbours(1, 10_500);
    expect(patience.until).toBe(11_500);
    patience.neighbours(0, 50_000);
    expect(patience.until).toBe(51_000);
  });

  it('but does when it looked in vain, and when somebody is there after that', () => {
    const patience = new Patience();
    patience.started(0);
    patience.neighbours(1, 5_000);
    expect(patience.until).toBe(1_000);
  });

  it('before it has heard what piled up while it could not run, and not for ever if it often cannot', () => {
    const patience = new Patience();
    patience.woke(100, 10_000);
    expect(patience.until).toBe(0);
    patience.woke(300, 10_000);
    expect(patience.until).toBe(10_250);
    for (const now of [10_200, 10_400, 10_600, 10_800, 11_000]) patience.woke(300, now);
    expect(patience.until).toBe(11_000);
  });

  it('before that either when it misses time piece by piece', () => {
    const patience = new Patience();
    patience.woke(150, 10_000);
    patience.woke(150, 12_000);
    expect(patience.until).toBe(0);
    patience.woke(150, 12_300);
    expect(patience.until).toBe(12_550);
  });
});
