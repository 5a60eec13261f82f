import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isTerminal, type TaskState } from '../model/task.ts';
import { launchOf } from '../model/task-fake.ts';
import { stagedTask, TaskMachine, type SeenContainer, type TaskEffect, type TaskEvent } from './task-core.ts';

const running: SeenContainer = {
  runtimeId: 'c1',
  state: 'running',
  outOfMemory: false,
  networks: [{ mode: 'container', name: 'dcos', addresses: ['9.0.0.2'] }],
};
const ended = (exitCode: number): SeenContainer => ({ ...running, state: 'ended', exitCode });
const launch = launchOf('t1', { health_checks: [] });
const killed = { type: 'wanted', launch: { ...launch, goal: 'killed' } } as const;
const fresh = (): TaskMachine => new TaskMachine(stagedTask(launch, 0));
const words = (effects: readonly TaskEffect[]): readonly string[] =>
  effects.map((effect) => (effect.do === 'signal' ? effect.signal : effect.do));

/** Each event and what comes of it. */
function after(events: readonly TaskEvent[], machine = started()): readonly string[] {
  return events.map((event, i) => words(machine.step(event, 1000 * i)).join(' '));
}

function started(): TaskMachine {
  const machine = fresh();
  machine.begin(0);
  machine.step({ type: 'starting', runtimeId: 'c1' }, 1);
  machine.step({ type: 'started', container: running }, 2);
  return machine;
}

describe('a task', () => {
  it('is staged, started and runs, with the addresses it was given', () => {
    const machine = fresh();
    expect(machine.record.state).toBe('TASK_STAGING');
    expect(words(machine.begin(0))).toEqual(['tell', 'launch']);
    machine.step({ type: 'starting', runtimeId: 'c1' }, 1);
    expect(machine.record).toMatchObject({ state: 'TASK_STARTING', container: 'c1' });
    expect(words(machine.step({ type: 'started', container: running }, 2))).toEqual(['tell', 'watch']);
    expect(machine.record).toMatchObject({ state: 'TASK_RUNNING', networks: running.networks });
  });

  it.each([
    [ended(0), 'TASK_FINISHED', 'Command exited with status 0'],
    [ended(3), 'TASK_FAILED', 'Command exited with status 3'],
    [ended(127), 'TASK_FAILED', 'Command exited with status 127, as of a command that is not found'],
    [ended(139), 'TASK_FAILED', 'Command terminated with signal Segmentation fault'],
    [
      { ...ended(137), outOfMemory: true },
      'TASK_FAILED',
      'Memory limit exceeded: the task may use 64 MiB; Command terminated with signal Killed',
    ],
    [
      { ...running, state: 'lost' } as const,
      'TASK_FAILED',
      'The container was lost: its host went down, or its supervisor was killed with it',
    ],
    [undefined, 'TASK_FAILED', 'The container is gone: somebody removed it'],
  ])('says how it ended: %j', (container, state, message) => {
    const machine = started();
    expect(words(machine.step({ type: 'seen', container }, 5))).toEqual(['unwatch', 'tell', 'release']);
    expect(machine.record).toMatchObject({ state, message, draining: true });
  });

  it('says why it could not be started', () => {
    const machine = fresh();
    machine.begin(0);
    machine.step(
      {
        type: 'refused',
        state: 'TASK_FAILED',
        reason: 'REASON_CONTAINER_LAUNCH_FAILED',
        message: 'no such image',
      },
      1,
    );
    expect(machine.record).toMatchObject({ state: 'TASK_FAILED', message: 'no such image' });
  });

  it('leaves VIPs and names before it is ended: SIGTERM, the grace period, SIGKILL', () => {
    const machine = started();
    const draining = { type: 'wanted', launch: { ...launch, goal: 'draining' } } as const;
    expect(after([draining], machine)).toEqual(['tell']);
    expect(machine.record).toMatchObject({ state: 'TASK_RUNNING', draining: true });
    expect(after([killed, { type: 'grace-over' }], machine)).toEqual([
      'unwatch tell SIGTERM arm-grace',
      'SIGKILL',
    ]);
    after([{ type: 'seen', container: ended(137) }], machine);
    expect(machine.record).toMatchObject({
      state: 'TASK_KILLED',
      exit_code: 137,
      message: 'Killed; Command terminated with signal Killed',
    });
  });

  it('that is killed while it is being started is not started', () => {
    const machine = fresh();
    machine.begin(0);
    expect(words(machine.step(killed, 1))).toEqual(['tell', 'cancel']);
    machine.step({ type: 'refused', state: 'TASK_FAILED', reason: '', message: 'the task was killed' }, 2);
    expect(machine.record).toMatchObject({
      state: 'TASK_KILLED',
      message: 'Killed while it was being started',
    });
  });

  it('that is not listed any more is killed, then forgotten', () => {
    const events: TaskEvent[] = [
      { type: 'dropped' },
      { type: 'seen', container: ended(143) },
      { type: 'removed' },
    ];
    expect(after(events)).toEqual(['unwatch tell SIGTERM arm-grace', 'unwatch tell remove', 'forget']);
  });

  it('that has ended is told until it is not listed any more', () => {
    const machine = started();
    machine.step({ type: 'seen', container: ended(0) }, 5);
    expect(after([killed, { type: 'dropped' }, { type: 'removed' }], machine)).toEqual([
      '',
      'remove',
      'forget',
    ]);
    expect(machine.record.state).toBe('TASK_FINISHED');
  });
});

describe('health', () => {
  const check = { grace_s: 0, interval_s: 1, timeout_s: 1, delay_s: 0, max_failures: 2, protocol: 'TCP' };
  const checked = (): TaskMachine => {
    const wanted = launchOf('t1', { health_checks: [check] });
    const machine = new TaskMachine(stagedTask(wanted, 0));
    machine.begin(0);
    machine.step({ type: 'started', container: running }, 1);
    return machine;
  };
  const alive = { index: 0, alive: true, consecutive_failures: 0, last_success: 'a' };
  const dead = { index: 0, alive: false, consecutive_failures: 2, last_failure_cause: 'ECONNREFUSED' };

  it('is told when it changes, not with every answer', () => {
    const machine = checked();
    expect(machine.record).toMatchObject({ checked: true, health: [] });
    expect(machine.record.healthy).toBeUndefined();
    expect(
      after(
        [
          { type: 'health', health: alive, kill: false },
          { type: 'health', health: { ...alive, last_success: 'b' }, kill: false },
        ],
        machine,
      ),
    ).toEqual(['tell', '']);
    expect(machine.record).toMatchObject({ healthy: true, health: [{ last_success: 'b' }] });
  });

  it('that fails too often ends the task, which says so', () => {
    const machine = checked();
    const effects = after([{ type: 'health', health: dead, kill: true }], machine);
    expect(effects).toEqual(['tell unwatch tell SIGTERM arm-grace']);
    after([{ type: 'seen', container: ended(143) }], machine);
    expect(machine.record).toMatchObject({
      state: 'TASK_KILLED',
      healthy: false,
      message: 'Health check failed 2 times in a row: ECONNREFUSED',
    });
  });
});

describe('after a restart of the agent', () => {
  const again = (machine: TaskMachine): TaskMachine =>
    new TaskMachine(JSON.parse(JSON.stringify(machine.memory)) as TaskMachine['memory']);

  it('a task that runs goes on, one that ended meanwhile says how', () => {
    expect(after([{ type: 'recovered', container: running }], again(started()))).toEqual(['tell watch']);
    const machine = again(started());
    expect(after([{ type: 'recovered', container: ended(7) }], machine)).toEqual(['unwatch tell release']);
    expect(machine.record).toMatchObject({ state: 'TASK_FAILED', exit_code: 7 });
  });

  it('one that was being started is started anew, or goes on where it was whole', () => {
    const cut = fresh();
    cut.begin(0);
    expect(after([{ type: 'recovered', container: undefined }], again(cut))).toEqual(['tell launch']);
    const whole = again(cut);
    expect(after([{ type: 'recovered', container: running }], whole)).toEqual(['tell watch']);
    expect(whole.record.state).toBe('TASK_RUNNING');
  });

  it('one that was being killed is killed on', () => {
    const machine = started();
    machine.step(killed, 5);
    expect(after([{ type: 'recovered', container: running }], again(machine))).toEqual([
      'tell SIGTERM arm-grace',
    ]);
  });

  it('one that is not wanted any more and had not begun never begins', () => {
    const machine = new TaskMachine({ ...stagedTask(launch, 0), dropped: true });
    expect(after([{ type: 'recovered', container: undefined }], machine)).toEqual(['tell remove']);
  });
});

describe('whatever happens in whatever order', () => {
  const states: readonly TaskState[] = ['TASK_STAGING', 'TASK_STARTING', 'TASK_RUNNING', 'TASK_KILLING'];
  const rank = (state: TaskState): number => (isTerminal(state) ? states.length : states.indexOf(state));
  const events: fc.Arbitrary<TaskEvent> = fc.constantFrom<TaskEvent[]>(
    { type: 'wanted', launch: { ...launch, goal: 'draining' } },
    killed,
    { type: 'dropped' },
    { type: 'starting', runtimeId: 'c1' },
    { type: 'seen', container: running },
    { type: 'seen', container: ended(0) },
    { type: 'seen', container: undefined },
    { type: 'health', health: { index: 0, alive: false, consecutive_failures: 3 }, kill: true },
    { type: 'readiness', ready: true },
    { type: 'grace-over' },
  );

  it('states go forward only, a terminal one stays, and what is not wanted comes to an end', () => {
    fc.assert(
      fc.property(fc.array(events), fc.boolean(), fc.nat(20), (given, works, at) => {
        const machine = fresh();
        let launching = words(machine.begin(0)).includes('launch');
        let last = machine.record.state;
        const step = (event: TaskEvent): readonly TaskEffect[] => {
          const effects = machine.step(event, 1);
          const { state } = machine.record;
          expect(rank(state)).toBeGreaterThanOrEqual(rank(last));
          if (isTerminal(last)) expect(state).toBe(last);
          last = state;
          return effects;
        };
        const answer = (): void => {
          if (!launching) return;
          launching = false;
          step(
            works
              ? { type: 'started', container: running }
              : { type: 'refused', state: 'TASK_DROPPED', reason: 'r', message: 'm' },
          );
        };
        for (const [i, event] of given.entries()) {
          if (i === at) answer();
          step(event);
        }
        answer();
        step({ type: 'dropped' });
        step({ type: 'seen', container: ended(143) });
        expect(isTerminal(machine.record.state)).toBe(true);
        expect(words(step({ type: 'removed' }))).toEqual(['forget']);
      }),
    );
  });
});
