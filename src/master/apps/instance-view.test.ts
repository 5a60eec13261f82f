import { expect, it } from 'vitest';
import { testAgents, testApp, TestWorld } from '../../apps/fake.ts';
import { InstanceViews } from './instance-view.ts';

it('the view of an instance is the same object until the instance is another', () => {
  const world = new TestWorld(testAgents(1));
  world.deploy([testApp({ id: '/web' })]);
  world.settle();
  const views = new InstanceViews();
  const now = () => views.of(world.core.instances('/web')[0]!);
  const first = now();
  expect(first).toMatchObject({ app: '/web', state: 'TASK_RUNNING', healthy: true });
  expect(now()).toBe(first);
  world.setReachable(first.node, false);
  expect(now()).toMatchObject({ healthy: false });
  world.setReachable(first.node, true);
  expect(now()).toEqual(first);
  const back = now();
  world.set(first.taskId, 'TASK_RUNNING', { started_at: '2026-01-01T00:00:00.000Z' });
  expect(now()).toMatchObject({ startedAt: '2026-01-01T00:00:00.000Z' });
  expect(now()).not.toBe(back);
  world.deploy([testApp({ id: '/web', cmd: 'other' })]);
  expect(views.of(world.core.instances('/web').at(-1)!)).toMatchObject({ condition: 'Provisioned' });
});
