/** The orchestrator's state as the store has it. */
import { z } from 'zod';
import type { CoreState, Reservation, Wipe } from '../../apps/core.ts';
import type { StoredInstance } from '../../apps/instance.ts';
import { RunningDeployment } from '../../apps/running-deployment.ts';
import { appKeys } from '../../apps/store-keys.ts';
import type { NodeId } from '../../model/names.ts';
import { taskLaunch } from '../../model/task.ts';
import type { Store, StoreEntry } from '../../store/types.ts';
import { decodeStored } from '../stored.ts';
import { Trees } from './trees.ts';

const node = z.string().transform((text) => text as NodeId);
const volumes = z.array(z.object({ containerPath: z.string(), persistenceId: z.string() }));

const storedInstance = z.object({
  taskId: z.string(),
  instanceId: z.string(),
  app: z.string(),
  version: z.string(),
  config: z.string(),
  node,
  host: z.string(),
  agentIp: z.string(),
  region: z.string().optional(),
  zone: z.string().optional(),
  launch: taskLaunch,
  createdAt: z.string(),
  goal: z.enum(['Running', 'Stopped', 'Decommissioned']),
  inactive: z.literal(true).optional(),
  servicePorts: z.array(z.int()),
  volumes,
});
const action = z.object({
  action: z.enum(['StartApplication', 'StopApplication', 'ScaleApplication', 'RestartApplication']),
  app: z.string(),
});
const storedDeployment = z.object({
  id: z.string(),
  version: z.string(),
  originalVersion: z.string(),
  steps: z.array(z.object({ actions: z.array(action) })),
  at: z.int(),
  restart: z.array(z.string()),
});
const storedReservation = z.object({
  instanceId: z.string(),
  app: z.string(),
  node,
  volumes,
  attempts: z.int(),
});
const storedWipe = z.object({ instanceId: z.string(), node, volumes: z.array(z.string()) });
const storedFailure = z.looseObject({ appId: z.string() });

export interface Loaded {
  readonly trees: Trees;
  readonly state: CoreState;
  /** Of the key that tells one writer from two. */
  readonly writerRevision: number;
}

export async function loadApps(store: Store): Promise<Loaded> {
  const { entries } = await store.range(appKeys.prefix);
  const all = <T extends z.ZodType>(prefix: string, schema: T): z.output<T>[] =>
    entries.filter(({ key }) => key.startsWith(prefix)).map((entry) => decodeStored(schema, entry));
  const trees = new Trees(entries);
  const state: CoreState = {
    root: trees.current,
    deployments: all(appKeys.deployments, storedDeployment)
      .sort((a, b) => (a.version < b.version ? -1 : 1))
      .map(
        (each) => new RunningDeployment(each, trees.wanted(each.originalVersion), trees.wanted(each.version)),
      ),
    instances: all(appKeys.instances, storedInstance) as StoredInstance[],
    reservations: all(appKeys.reservations, storedReservation) satisfies Reservation[],
    wipes: all(appKeys.wipes, storedWipe) satisfies Wipe[],
    failures: new Map(all(appKeys.failures, storedFailure).map((each) => [each.appId, each])),
    drained: all(appKeys.drained, z.object({ node })).map((each) => each.node),
  };
  return { trees, state, writerRevision: revisionOf(entries, appKeys.writer) };
}

function revisionOf(entries: readonly StoreEntry[], key: string): number {
  return entries.find((entry) => entry.key === key)?.revision ?? 0;
}
