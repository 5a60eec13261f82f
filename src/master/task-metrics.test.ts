import { expect, it } from 'vitest';
import { createMetrics } from '../base/metrics.ts';
import type { KnownNode, RecordView } from '../node/record-view.ts';
import { fakeTask } from '../vip/fake.ts';
import { readTaskMetrics } from './task-metrics.ts';

it('tells of agents, frameworks and tasks as they are when somebody asks', async () => {
  const metrics = createMetrics();
  const nodes = [{ role: 'agent' }, { role: 'agent' }, { role: 'master' }] as KnownNode[];
  let tasks: ReturnType<RecordView['tasks']> = [];
  readTaskMetrics({ metrics, records: { nodes: () => nodes, tasks: () => tasks } });
  tasks = [fakeTask(1, {}), fakeTask(2, {}), fakeTask(3, {}, { task: { framework: 'other' } })];
  expect(await metrics.snapshot()).toMatchObject({
    mesos_listener_agents_total: 2,
    mesos_listener_tasks_total: 3,
    mesos_listener_frameworks_total: 2,
  });
});
