/** What the tests of this folder share: a registry on a store in memory, and messages to it. */
import { ManualClock } from '../base/clock.ts';
import { memoryLog } from '../base/log.ts';
import { createMetrics } from '../base/metrics.ts';
import { seededRandom } from '../base/random.ts';
import { defaultNetwork } from '../model/config.ts';
import { newNodeId, type NodeId } from '../model/names.ts';
import type { NetworkConfig } from '../model/overlay.ts';
import { agentNetworkConfig } from '../model/overlay.ts';
import type { RegisterAgent } from '../model/registration.ts';
import type { RecordValue } from '../model/record.ts';
import { AppliedView } from '../node/applied-view.ts';
import { FakeExchange } from '../node/exchange-fake.ts';
import { FakeDisk, FakeStore } from '../store/fake.ts';
import { createMasterApi } from './api.ts';
import { createMasterMetrics } from './metrics.ts';
import { ensureClusterId } from './recovery.ts';
import { Registry } from './registry.ts';

const random = seededRandom(2);

export const node = (): NodeId => newNodeId(random);

export function registration(
  id: NodeId,
  address: string,
  change: Partial<RegisterAgent> = {},
): RegisterAgent {
  const name = `host-${address}`;
  const network_config = agentNetworkConfig.parse({});
  return { node: id, name, address, gossip_port: 62_501, api_port: 5051, network_config, ...change };
}

export async function openRegistry(init: { network?: NetworkConfig; disk?: FakeDisk } = {}) {
  const disk = init.disk ?? new FakeDisk();
  const log = memoryLog();
  const clock = new ManualClock();
  const store = new FakeStore({ log }, { disk });
  const daemon = createMetrics();
  const metrics = createMasterMetrics(daemon);
  const published = new Map<string, { value: RecordValue; revision: number }>();
  const told = new FakeExchange();
  const exchange = {
    publishCluster: (key: string, value: RecordValue, revision: number) => {
      published.set(key, { value, revision });
      return Promise.resolve();
    },
  };
  const cluster = await ensureClusterId({ store, random });
  const registry = await Registry.open(
    { store, exchange, clock, random, log, metrics },
    {
      cluster,
      network: init.network ?? defaultNetwork,
      hostNetworks: [],
      masters: ['10.0.0.1:5050'],
      contact: '10.0.0.1:62501',
    },
  );
  const applied = new AppliedView({ exchange: told, clock, metrics: daemon });
  const app = createMasterApi({
    registry,
    metrics,
    log,
    records: (prefix) => told.records(prefix),
    applied,
    exchange: told,
    isDrained: () => false,
    mustSpeakFor: () => undefined,
  });
  return { registry, store, disk, clock, log, metrics, published, cluster, app, told };
}

/** Until `condition` holds; the store in memory needs turns of the event loop, not time. */
export async function turnsUntil(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 1000 && !condition(); i++) await new Promise((resolve) => setImmediate(resolve));
  if (!condition()) throw new Error('the condition never held');
}
