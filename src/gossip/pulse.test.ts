import { describe, expect, it } from 'vitest';
import { ASK_AFTER_MS, BEAT_MS, nextLateness, silenceMs } from './pulse.ts';

describe('silence', () => {
  it('of a punctual neighbour means something a little over a second after its last beat', () => {
    expect(silenceMs(0, 0, 0)).toBe(1_150);
    expect(ASK_AFTER_MS).toBeLessThan(silenceMs(0, 0, 2));
  });

  it('outlasts a packet that is lost twice in a row', () => {
    expect(silenceMs(0, 0, 0)).toBeGreaterThan(BEAT_MS + 600);
  });

  it('means something sooner when other neighbours of the peer say so', () => {
    expect(silenceMs(0, 0, 2)).toBe(950);
    expect(silenceMs(0, 0, 1)).toBe(1_150);
  });

  it('is given more time on a link that is often late, and by a node that is starved itself', () => {
    expect(silenceMs(600, 0, 0)).toBeGreaterThan(1_600);
    expect(silenceMs(1e9, 0, 0)).toBe(4_500);
    expect(silenceMs(0, 1, 0)).toBe(1_800);
  });

  it('is remembered by the latest of its ends, for some seconds', () => {
    let late = nextLateness(0, 1_500);
    expect(late).toBe(1_000);
    expect(nextLateness(late, 10)).toBe(1_000);
    for (let i = 0; i < 60; i++) late = nextLateness(late, BEAT_MS);
    expect(late).toBeLessThan(50);
  });
});
