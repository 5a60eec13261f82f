/** The containers of the cluster, from the records that agents publish. */
import { endpoint, type Endpoint } from '../model/endpoint.ts';
import { recordNode, type GossipRecord } from '../model/record.ts';
import type { Registry } from './registry.ts';

export interface EndpointView extends Endpoint {
  readonly node: string;
  readonly host: string;
}

export function endpointViews(components: {
  readonly registry: Registry;
  readonly records: (prefix: string) => Iterable<GossipRecord>;
}): readonly EndpointView[] {
  const { registry, records } = components;
  const views: EndpointView[] = [];
  for (const { key, value } of records('node/')) {
    const node = recordNode(key);
    if (node === undefined || !key.startsWith(`node/${node}/endpoint/`)) continue;
    // Tombstones, and records of a node that speaks another version, are no endpoints.
    const parsed = endpoint.safeParse(value);
    const host = registry.ledger.node(node)?.name ?? node;
    if (parsed.success) views.push({ ...parsed.data, node, host });
  }
  return views.sort((a, b) => a.host.localeCompare(b.host) || a.container.localeCompare(b.container));
}
