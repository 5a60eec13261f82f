import { describe, expect, it } from 'vitest';
import { testAgents, testApp, TestWorld } from './fake.ts';
import type { TaskState } from '../model/task.ts';
import { isHealthy } from './instance.ts';

describe('agents', () => {
  it('that are lost have their tasks replaced by the strategy of each app, and the surplus ends when they return', () => {
    const world = new TestWorld(testAgents(2));
    const slow = { inactiveAfterSeconds: 30, expungeAfterSeconds: 60 };
    world.deploy([
      testApp({ id: '/fast', instances: 2 }),
      testApp({ id: '/slow', instances: 2, unreachableStrategy: slow }),
      testApp({ id: '/stays', instances: 2, unreachableStrategy: 'disabled' }),
    ]);
    world.settle();
    const [lost] = world.agents;
    world.setReachable(lost!.node, false);
    const seconds = (count: number) => {
      for (let i = 0; i < count; i++) {
        world.clock.advance(1000);
        world.step({ kind: 'tick' });
        for (const { taskId } of world.tasks()) world.work(taskId);
      }
    };
    const running = (app: string) => world.core.instances(app).filter((each) => isHealthy(each)).length;
    seconds(8);
    expect([running('/fast'), running('/slow'), running('/stays')]).toEqual([1, 1, 1]);
    seconds(5);
    expect([running('/fast'), running('/slow'), running('/stays')]).toEqual([2, 1, 1]);
    seconds(30);
    expect([running('/fast'), running('/slow'), running('/stays')]).toEqual([2, 2, 1]);
    world.restart();
    world.setReachable(lost!.node, true);
    world.settle();
    for (const app of ['/fast', '/slow', '/stays']) expect(world.tasks(app)).toHaveLength(2);
  });

  it('that return with tasks that were given up end them, which is told once', () => {
    const world = new TestWorld(testAgents(2));
    world.deploy([testApp({ id: '/web' })]);
    world.settle();
    const [given] = world.tasks('/web');
    const record = world.hosted.get(given!.taskId)!.record;
    world.setReachable(given!.node, false);
    world.clock.advance(20_000);
    world.step({ kind: 'tick' });
    expect(world.core.instance(given!.taskId)).toBeUndefined();
    // Another master finds it as it is.
    world.restart();
    const tell = (state?: TaskState): void => {
      const told = state === undefined ? undefined : { ...record, state };
      world.step({ kind: 'records', tasks: new Map([[given!.taskId, told]]) });
    };
    const events = () =>
      world.events.filter(({ eventType }) => eventType === 'unknown_instance_terminated_event');
    for (const state of ['TASK_RUNNING', 'TASK_KILLING'] as const) tell(state);
    expect(events()).toEqual([]);
    for (const state of ['TASK_KILLED', 'TASK_KILLED', undefined] as const) tell(state);
    expect(events()).toEqual([
      expect.objectContaining({
        ...{ instanceId: given!.instanceId, runSpecId: '/web', condition: 'Killed' },
      }),
    ]);
    for (const state of ['TASK_RUNNING', undefined] as const) tell(state);
    expect(events().at(-1)).toMatchObject({ condition: 'Gone' });
  });

  it('tell of tasks that have ended, and of containers that are no tasks, and nobody makes anything of it', () => {
    const world = new TestWorld(testAgents(1));
    world.deploy([testApp({ id: '/web' })]);
    world.settle();
    const [task] = world.tasks('/web');
    const { record } = world.hosted.get(task!.taskId)!;
    world.deploy([], { remove: ['/web'] });
    world.settle();
    world.step({ kind: 'records', tasks: new Map([[task!.taskId, { ...record, state: 'TASK_KILLED' }]]) });
    world.step({ kind: 'records', tasks: new Map([[task!.taskId, undefined]]) });
    for (const told of [{ ...record, id: 'c0ffee' }, undefined])
      world.step({ kind: 'records', tasks: new Map([['c0ffee', told]]) });
    expect(world.events.filter(({ eventType }) => eventType === 'unknown_instance_terminated_event')).toEqual(
      [],
    );
  });

  it('that are removed take their tasks with them', () => {
    const world = new TestWorld(testAgents(2));
    world.deploy([testApp({ id: '/web', instances: 2 })]);
    world.settle();
    world.removeAgent(world.agents[0]!.node);
    world.settle();
    expect(world.tasks('/web').map(({ host }) => host)).toEqual(['agent2', 'agent2']);
    expect(world.events).toContainEqual(expect.objectContaining({ taskStatus: 'TASK_GONE_BY_OPERATOR' }));
  });

  it('that are drained get no tasks, and lose theirs one by one as an upgrade would take them', () => {
    const world = new TestWorld(testAgents(3));
    world.deploy([testApp({ id: '/web', instances: 3 })]);
    world.settle();
    const { node } = world.agents[0]!;
    world.step({ kind: 'drain-agent', node, drained: true });
    expect(world.tasks('/web')).toHaveLength(4);
    world.settle();
    world.restart();
    world.settle();
    const hosts = world.tasks('/web').map(({ host }) => host);
    expect(hosts).toHaveLength(3);
    expect(hosts).not.toContain('agent1');
    world.step({ kind: 'drain-agent', node, drained: false });
    world.deploy([testApp({ id: '/web', instances: 5 })]);
    world.settle();
    expect(world.tasks('/web').filter((each) => each.node === node)).not.toEqual([]);
  });

  it('that have no free address make tasks wait, until one comes free', () => {
    const world = new TestWorld(testAgents(2, () => ({ task_addresses: { dcos: { mesos: 1, docker: 9 } } })));
    world.deploy([testApp({ id: '/web', instances: 3 })]);
    expect(world.tasks('/web')).toHaveLength(2);
    const [waiting] = world.core.queue(world.clock.nowMs());
    expect(waiting).toMatchObject({
      count: 1,
      reasons: [
        { reason: 'InsufficientAddresses', message: 'agent1 has no free address in dcos' },
        { message: 'agent2 has no free address in dcos' },
      ],
    });
    world.agents = testAgents(2);
    world.step({ kind: 'agents', agents: world.agents, removed: new Set() });
    world.settle();
    expect(world.tasks('/web')).toHaveLength(3);
    expect(world.events.some((each) => 'taskStatus' in each && each.taskStatus === 'TASK_FAILED')).toBe(
      false,
    );
  });

  it('that have a block of a new overlay but have not told what is free in it get no tasks of it yet', () => {
    const world = new TestWorld(testAgents(2, (i) => (i === 0 ? {} : { task_addresses: {} })));
    world.deploy([testApp({ id: '/web', instances: 2, constraints: [['hostname', 'UNIQUE']] })]);
    world.settle();
    expect(world.tasks('/web').map(({ host }) => host)).toEqual(['agent1']);
    expect(world.core.queue(world.clock.nowMs())[0]?.reasons).toContainEqual(
      expect.objectContaining({
        reason: 'NetworkUnavailable',
        message: 'agent2 has not told yet how many addresses of network dcos are free',
      }),
    );
    world.agents = testAgents(2);
    world.step({ kind: 'agents', agents: world.agents, removed: new Set() });
    world.settle();
    expect(world.tasks('/web').map(({ host }) => host)).toEqual(['agent1', 'agent2']);
  });
});
