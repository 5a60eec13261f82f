/** Where the orchestrator's state is in the masters' store. */
import { createHash } from 'node:crypto';

/** Ids of apps are of any length, keys are not. */
export function shortHash(text: string): string {
  return createHash('sha256').update(text).digest('base64url').slice(0, 22);
}

export const appKeys = {
  prefix: 'apps/',
  /** Written with every change: tells one writer from two. */
  writer: 'apps/writer',
  /** `{version}` of the tree as last deployed. */
  current: 'apps/current',
  trees: 'apps/tree/',
  tree: (version: string) => `apps/tree/${version}`,
  definitions: 'apps/definition/',
  definition: (app: string, version: string) => `apps/definition/${shortHash(app)}/${version}`,
  deployments: 'apps/deployment/',
  deployment: (id: string) => `apps/deployment/${id}`,
  instances: 'apps/instance/',
  instance: (task: string) => `apps/instance/${shortHash(task)}`,
  reservations: 'apps/reservation/',
  reservation: (instance: string) => `apps/reservation/${shortHash(instance)}`,
  wipes: 'apps/wipe/',
  wipe: (instance: string) => `apps/wipe/${shortHash(instance)}`,
  failures: 'apps/failure/',
  failure: (app: string) => `apps/failure/${shortHash(app)}`,
  drained: 'apps/drained/',
  drainedNode: (node: string) => `apps/drained/${node}`,
} as const;
