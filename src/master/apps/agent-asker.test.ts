import { setMaxListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import { realClock } from '../../base/clock.ts';
import { memoryLog } from '../../base/log.ts';
import type { NodeId } from '../../model/names.ts';
import { AgentAsker, MAX_ASKED, type AskedRecord, type DrainingAgent } from './agent-asker.ts';

const agent: DrainingAgent = { node: 'n1' as NodeId, name: 'agent1', address: '10.0.0.11', apiPort: 5051 };
const recordOf = (i: number): AskedRecord => ({ key: `node/n2/task/t${i}`, epoch: 1, sequence: i });
const never = new AbortController().signal;
setMaxListeners(0, never);
const FAR = Number.POSITIVE_INFINITY;

/** An agent that has applied what `has` names, or does not answer. */
class Bed {
  readonly log = memoryLog();
  /** How many records each question was about. */
  readonly questions: number[] = [];
  has: (record: AskedRecord) => boolean = () => true;
  failure: Error | undefined;
  isReachable = true;
  readonly asker = new AgentAsker(
    {
      clock: realClock,
      log: this.log,
      isReachable: () => this.isReachable,
      ask: (_, { records }) => {
        this.questions.push(records.length);
        if (this.failure !== undefined) return Promise.reject(this.failure);
        return Promise.resolve(records.map((record) => this.has(record)));
      },
    },
    agent,
  );

  wait(i: number, untilMs = FAR, signal = never): Promise<void> {
    return this.asker.applied(agent, recordOf(i), untilMs, signal);
  }
}

describe('an agent', () => {
  it('is asked once of all tasks that drain together', async () => {
    const bed = new Bed();
    await Promise.all(Array.from({ length: 500 }, (_, i) => bed.wait(i)));
    expect(bed.questions).toEqual([500]);
    await expect.poll(() => bed.asker.isIdle).toBe(true);
    await bed.wait(1);
    expect(bed.questions).toEqual([500, 1]);
  });

  it('is asked of no more at once than it takes', async () => {
    const bed = new Bed();
    await Promise.all(Array.from({ length: MAX_ASKED + 1 }, (_, i) => bed.wait(i)));
    expect(bed.questions).toEqual([MAX_ASKED, 1]);
  });

  it('is asked again of what it has not applied, and holds nothing else up', async () => {
    const bed = new Bed();
    let late = false;
    bed.has = ({ sequence }) => late || sequence !== 1;
    const slow = bed.wait(1);
    await Promise.all([bed.wait(0), bed.wait(2)]);
    await expect.poll(() => bed.questions.length).toBeGreaterThan(1);
    expect(bed.questions.slice(0, 2)).toEqual([3, 1]);
    late = true;
    await slow;
  });

  it('that is not reached is not waited for', async () => {
    const bed = new Bed();
    bed.failure = new Error('no answer');
    const waiting = bed.wait(0);
    await expect.poll(() => bed.questions.length).toBeGreaterThan(0);
    bed.isReachable = false;
    await waiting;
    expect(bed.log.lines).toEqual([]);
  });

  it('that never applies it is waited for until the time is over, and named', async () => {
    const bed = new Bed();
    bed.failure = new Error('no answer');
    await bed.wait(0, realClock.nowMs());
    expect(bed.log.lines).toMatchObject([
      { level: 'warn', fields: { agent: 'agent1', record: 'node/n2/task/t0', error: 'no answer' } },
    ]);
  });

  it('is not asked for those who do not wait any more', async () => {
    const bed = new Bed();
    bed.has = () => false;
    const abort = new AbortController();
    const waiting = bed.wait(0, FAR, abort.signal);
    await expect.poll(() => bed.questions.length).toBeGreaterThan(0);
    abort.abort();
    await waiting;
    await expect.poll(() => bed.asker.isIdle).toBe(true);
    const other = bed.wait(1);
    bed.asker.close();
    await other;
  });
});
