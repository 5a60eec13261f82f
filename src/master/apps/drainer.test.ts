import { expect, it } from 'vitest';
import { ManualClock } from '../../base/clock.ts';
import { memoryLog } from '../../base/log.ts';
import type { NodeId } from '../../model/names.ts';
import type { GossipRecord } from '../../model/record.ts';
import type { DrainingAgent } from './agent-asker.ts';
import { Drainer } from './drainer.ts';

it('waits for every agent of many without a warning of the process, and for none that is away', async () => {
  const agents = Array.from({ length: 30 }, (_, i): DrainingAgent => {
    return { node: `n${i}` as NodeId, name: `agent${i}`, address: `10.0.0.${i}`, apiPort: 5051 };
  });
  const withdrawn: GossipRecord = { key: 'node/n0/task/t', value: null, version: { epoch: 1, sequence: 2 } };
  const clock = new ManualClock();
  const warnings: string[] = [];
  const warned = ({ name }: Error): void => void warnings.push(name);
  process.on('warning', warned);
  const asked: string[] = [];
  const drainer = new Drainer({
    ...{ clock, log: memoryLog(), agents: () => agents },
    exchange: {
      get: () => withdrawn,
      subscribe: () => () => undefined,
      isReachable: (node) => node !== agents[7]?.node,
    },
    ask: ({ name }, { records }) => {
      asked.push(name);
      return Promise.resolve(records.map(() => true));
    },
  });
  try {
    const told: string[] = [];
    drainer.watch([{ taskId: 't', node: agents[0]!.node }], (task) => told.push(task));
    await expect.poll(() => (clock.advance(100), told)).toEqual(['t']);
    expect(asked.sort()).toEqual(
      agents
        .map(({ name }) => name)
        .filter((name) => name !== 'agent7')
        .sort(),
    );
    expect(warnings).toEqual([]);
  } finally {
    drainer.close();
    process.off('warning', warned);
  }
});
