import { describe, expect, it } from 'vitest';
import { seededRandom } from '../base/random.ts';
import { newNodeId } from '../model/names.ts';
import { appliedSummary, judgeApplied, type AgentApplied } from './applied.ts';

const random = seededRandom(5);
const known = { revision: 7, set: 'seven' };

function agent(name: string, revision: number | undefined, change: Partial<AgentApplied> = {}): AgentApplied {
  const applied =
    revision === undefined
      ? {}
      : { applied: { revision, set: revision === 7 ? 'seven' : 'other', at: 1, took_ms: 3 } };
  return { node: newNodeId(random), name, reachable: true, ...applied, ...change };
}

const reasons = (status: ReturnType<typeof judgeApplied>) =>
  status.missing.map(({ name, reason, message }) => [name, reason, message]);

describe('judgeApplied()', () => {
  it('is done when every agent has the revision or a later one, and names the slowest', () => {
    const status = judgeApplied(6, known, [
      agent('a', 7, { afterMs: 40 }),
      agent('b', 6),
      agent('c', 7, { afterMs: 310 }),
    ]);
    expect(status).toMatchObject({ done: true, agents: 3, applied: 3, missing: [] });
    expect(appliedSummary(status)).toBe('revision 6 applied on 3/3, slowest 310 ms (c)');
  });

  it('names who is behind, who refuses and who tells nothing, and is not done', () => {
    const refusing = { revision: 6, set: 'six', at: 1, took_ms: 3, failing: 2 };
    const bereft = { revision: 0, set: '', at: 1, took_ms: 0, failing: 1, because: 'device m-x exists' };
    const status = judgeApplied(7, known, [
      agent('a', 7),
      agent('b', 5),
      agent('c', undefined, { applied: refusing }),
      agent('d', undefined),
      agent('e', undefined, { applied: bereft }),
    ]);
    expect(status).toMatchObject({ done: false, applied: 1, agents: 5 });
    expect(reasons(status)).toEqual([
      ['b', 'behind', 'behind, at revision 5'],
      ['c', 'refused', 'at revision 6: its kernel refuses 2 objects'],
      ['d', 'silent', 'tells no revision'],
      ['e', 'refused', 'its kernel refuses 1 object: device m-x exists'],
    ]);
  });

  it('names unreachable agents and does not wait for them', () => {
    const status = judgeApplied(7, known, [
      agent('a', 7),
      agent('b', 5, { reachable: false }),
      agent('c', undefined, { reachable: false }),
      agent('d', 7, { reachable: false }),
    ]);
    expect(status).toMatchObject({ done: true, applied: 2, agents: 4, reachable: 1 });
    expect(reasons(status)).toEqual([
      ['b', 'unreachable', 'unreachable, last at revision 5'],
      ['c', 'unreachable', 'unreachable, none known'],
    ]);
  });

  it('does not believe an agent that is at the newest revision with other records', () => {
    const other = { revision: 7, set: 'six and eight', at: 1, took_ms: 3 };
    expect(reasons(judgeApplied(7, known, [agent('a', undefined, { applied: other })]))).toEqual([
      ['a', 'differs', 'at revision 7, but with other records'],
    ]);
  });

  it('is not done while nobody has heard of the revision', () => {
    expect(judgeApplied(9, known, [agent('a', 7)])).toMatchObject({ done: false, revision: 9, newest: 7 });
  });
});
