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
    patience.woke(300, 10_000);
    expect(patience.until).toBe(10_250);
    for (const now of [10_200, 10_400, 10_600, 10_800, 11_000]) patience.woke(300, now);
    expect(patience.until).toBe(11_000);
  });

  it('for as long as it has missed, at once or piece by piece', () => {
    const patience = new Patience();
    patience.woke(150, 10_000);
    expect(patience.until).toBe(10_150);
    patience.woke(60, 12_000);
    expect(patience.until).toBe(12_060);
    patience.woke(150, 12_300);
    expect(patience.until).toBe(12_510);
  });

  it('in the moment in which bad news comes, and not for ever if it comes again and again', () => {
    const patience = new Patience();
    patience.lost(10_000);
    patience.lost(10_010);
    expect(patience.until).toBe(10_025);
    patience.lost(10_030);
    expect(patience.until).toBe(10_055);
  });
});
