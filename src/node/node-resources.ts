/** What a node offers to tasks. */
import type { NodeId } from '../model/names.ts';
import { resourcesKey, resourcesRecord, type ResourcesRecord } from '../model/task.ts';
import type { RecordExchange } from './record-exchange.ts';

/** As it last told; absent for a node that runs no tasks, and while nothing was heard of it. */
export function resourcesOf(
  { exchange }: { readonly exchange: Pick<RecordExchange, 'get'> },
  node: NodeId,
): { readonly resources?: ResourcesRecord } {
  const told = resourcesRecord.safeParse(exchange.get(resourcesKey(node))?.value);
  return told.success ? { resources: told.data } : {};
}
