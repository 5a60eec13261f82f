import { expect, it } from 'vitest';
import { ManualClock } from '../../base/clock.ts';
import { silentLog } from '../../base/log.ts';
import { agentConfig } from '../../model/config.ts';
import type { ResourcesRecord } from '../../model/task.ts';
import { FakeContainerizer } from '../../runtime/containerizer-fake.ts';
import { Resources } from './resources.ts';
import type { TaskPublisher } from './task-publisher.ts';

const REFRESH_MS = 2_000;

it('tells of addresses for tasks two seconds after they changed, and asks the host itself every ten', async () => {
  const clock = new ManualClock();
  const told: ResourcesRecord[] = [];
  let [asked, free] = [0, 250];
  const containerizer = new FakeContainerizer();
  const problem = containerizer.problem.bind(containerizer);
  containerizer.problem = () => {
    asked++;
    return problem();
  };
  const publisher = { resources: (record: ResourcesRecord) => void told.push(record) };
  const resources = new Resources(
    { clock, log: silentLog, publisher: publisher as TaskPublisher, containerizers: [containerizer] },
    {
      config: agentConfig.parse({ state_dir: '/' }),
      taskAddresses: () => ({ dcos: { mesos: free, docker: 1 } }),
    },
  );
  const pass = async (times: number): Promise<void> => {
    for (let i = 0; i < times; i++) {
      clock.advance(REFRESH_MS);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  };
  await resources.start();
  free = 249;
  resources.addressesChanged();
  await pass(1);
  expect(told.map(({ task_addresses }) => task_addresses['dcos']?.mesos)).toEqual([250, 249]);
  expect(asked).toBe(1);
  containerizer.trouble = 'it is gone';
  await pass(5);
  expect(asked).toBe(2);
  expect(told.at(-1)?.runtimes).toEqual([]);
  free = 248;
  await resources.refresh();
  expect(told.at(-1)?.task_addresses['dcos']?.mesos).toBe(248);
  resources.close();
});
