import { describe, expect, it } from 'vitest';
import { judgeClock, judgeMasters, judgeNodes, judgePort } from './doctor-judge.ts';

describe('the doctor', () => {
  it('warns of a clock that is off, by how much and against whom', () => {
    expect(judgeClock([{ of: 'a:1', skewMs: 900 }])).toMatchObject({ verdict: 'ok' });
    const off = [
      { of: 'a:1', skewMs: 3_000 },
      { of: 'b:1', skewMs: -61_400 },
    ];
    expect(judgeClock(off)).toMatchObject({ verdict: 'warning', found: '61.4 s ahead of b:1' });
    expect(judgeClock(off.slice(0, 1))).toMatchObject({ verdict: 'warning', found: '3.0 s behind a:1' });
    expect(judgeClock([])).toMatchObject({ verdict: 'warning', found: 'nobody to compare with' });
  });

  it('tells a port of ours from one that somebody else has', () => {
    const port = { name: 'vxlan', protocol: 'udp', port: 64_000 } as const;
    for (const state of ['free', 'ours'] as const)
      expect(judgePort({ ...port, state })).toMatchObject({ verdict: 'ok' });
    expect(judgePort({ ...port, state: 'taken' })).toMatchObject({
      verdict: 'failed',
      found: 'another program has UDP 64000',
    });
    expect(judgePort({ ...port, state: 'silent' })).toMatchObject({ verdict: 'failed' });
  });

  it('names masters that do not answer', () => {
    const answers = new Map([
      ['10.0.0.1:5050', true],
      ['10.0.0.2:5050', false],
    ]);
    expect(judgeMasters(answers)).toMatchObject({
      verdict: 'warning',
      found: '10.0.0.2:5050 does not answer',
    });
    expect(judgeMasters(new Map())).toMatchObject({ verdict: 'warning' });
  });

  it('names nodes that are unreachable from here or for others', () => {
    expect(judgeNodes([{ name: 'a', state: 'alive', unreachable_for: [] }])).toMatchObject({ verdict: 'ok' });
    const nodes = [
      { name: 'a', state: 'alive', unreachable_for: ['c'] },
      { name: 'b', state: 'unreachable', unreachable_for: ['a'] },
      { name: 'c', state: 'alive', unreachable_for: [] },
    ];
    expect(judgeNodes(nodes)).toMatchObject({ verdict: 'warning', found: 'unreachable: a (for c), b' });
  });
});
