import { describe, expect, it } from 'vitest';
import {
  ANSWER_MS,
  ASIDE_MS,
  ASK_AFTER_MS,
  ASK_ASIDE_AFTER_MS,
  BEAT_MS,
  MISSED_MS,
  nextBeatAt,
  nextLateness,
  silenceMs,
} from './pulse.ts';

const silence = (lateMs: number, strain: number, isConfirmed: boolean, isAside = false, nodes = 8): number =>
  silenceMs({ lateMs, strain, isConfirmed, isAside, nodes });

describe('silence', () => {
  it('of a punctual neighbour means something well after a beat of it was due', () => {
    expect(silence(0, 0, false)).toBe(BEAT_MS + 650);
    expect(ASK_AFTER_MS + ANSWER_MS).toBeLessThan(silence(0, 0, true));
  });

  it('outlasts a packet that is lost twice in a row, or once when others have noticed it', () => {
    expect(silence(0, 0, false)).toBeGreaterThan(BEAT_MS + 600);
    expect(silence(0, 0, true)).toBeGreaterThan(BEAT_MS + 200);
  });

  it('means something sooner when other neighbours of the peer say so', () => {
    expect(silence(0, 0, true)).toBe(BEAT_MS + 300);
  });

  it('is given more time on a link that is often late, and by a node that is starved itself', () => {
    expect(silence(600, 0, false)).toBeGreaterThan(BEAT_MS + 1_100);
    expect(silence(1e9, 0, false)).toBe(BEAT_MS + 4_000);
    expect(silence(0, 1, false)).toBe(BEAT_MS + 1_300);
  });

  it('is judged by a starved node like by any other once others have noticed it', () => {
    expect(silence(0, 3, true)).toBe(silence(0, 0, true));
    expect(silence(0, 3, true, true)).toBe(silence(0, 0, true, true));
  });

  it('of one that beats aside outlasts two datagrams lost, and then the question and its answer once each', () => {
    expect(silence(0, 0, false, true)).toBe(1_100);
    expect(silence(0, 0, false, true)).toBeGreaterThan(ASK_ASIDE_AFTER_MS + 400);
    expect(silence(0, 0, true, true)).toBeGreaterThanOrEqual(ASK_ASIDE_AFTER_MS + 400);
    expect(silence(0, 0, true, true)).toBeGreaterThan(2 * 1.05 * ASIDE_MS);
  });

  it('of one that beats aside is given more time where more nodes would be told of it, within limits', () => {
    const of = (nodes: number, isConfirmed: boolean): number => silence(0, 0, isConfirmed, true, nodes);
    expect([1, 10, 100, 1_000, 60_000].map((nodes) => of(nodes, false))).toEqual([
      1_100, 1_100, 1_190, 1_280, 1_280,
    ]);
    expect(of(1_000, true)).toBe(1_180);
  });

  it('of one that beats aside is asked about when one datagram is missing, not when it is late', () => {
    expect(MISSED_MS).toBeGreaterThan(1.05 * ASIDE_MS);
    expect(ASK_ASIDE_AFTER_MS).toBeGreaterThan(MISSED_MS + 50);
  });

  it('is remembered by the latest of its ends, for some seconds', () => {
    let late = nextLateness(0, BEAT_MS + 1_000);
    expect(late).toBe(1_000);
    expect(nextLateness(late, 10)).toBe(1_000);
    for (let i = 0; i < 60; i++) late = nextLateness(late, BEAT_MS);
    expect(late).toBeLessThan(50);
  });
});

describe('beats', () => {
  it('follow one another at nearly equal distances, and are not made up for after a gap', () => {
    expect(nextBeatAt(10_000, 10_001, 0)).toBe(10_000 + 0.475 * BEAT_MS);
    expect(nextBeatAt(10_000, 10_001, 0.5)).toBe(10_000 + BEAT_MS / 2);
    expect(nextBeatAt(10_000, 20_000, 0.5)).toBe(20_000 + BEAT_MS / 4);
  });
});
