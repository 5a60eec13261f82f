/**
 * What this agent tells the others about itself: where it is, its place in each overlay, its endpoints.
 *
 * Publishing the same value again costs nothing; what is no longer true is withdrawn.
 */
import type { Endpoint } from '../model/endpoint.ts';
import type { NodeId } from '../model/names.ts';
import type { AgentOverlay } from '../model/overlay.ts';
import {
  keys,
  type GossipRecord,
  type NodeRecord,
  type OverlayRecord,
  type RecordValue,
} from '../model/record.ts';
import type { RecordExchange } from '../node/record-exchange.ts';

export interface Publisher {
  node(record: NodeRecord): Promise<void>;
  /** All overlays of the grant; those that are gone are withdrawn. */
  overlays(overlays: readonly AgentOverlay[], agentIp: string, grantEpoch: number): Promise<void>;
  /** All endpoints that `source` knows on this node; those that are gone are withdrawn. One that did not change is the same object as before. */
  endpoints(source: Endpoint['source'], endpoints: readonly Endpoint[]): Promise<void>;
}

export function createPublisher(
  components: { readonly exchange: RecordExchange },
  init: { readonly node: NodeId },
): Publisher {
  const { exchange } = components;
  const { node } = init;
  const live = (prefix: string): readonly GossipRecord[] =>
    [...exchange.records(prefix)].filter((record) => record.value !== null);
  const sources = new Map<Endpoint['source'], PublishedEndpoints>();
  const published = (source: Endpoint['source']): PublishedEndpoints => {
    const known = sources.get(source);
    if (known !== undefined) return known;
    // An earlier life of the agent may have published what is gone by now.
    const former = live(`node/${node}/endpoint/`).filter((record) => sourceOf(record) === source);
    const fresh: PublishedEndpoints = new Map(former.map((record) => [record.key, undefined]));
    sources.set(source, fresh);
    return fresh;
  };
  return {
    node: (record) => exchange.publish(keys.node(node), record),
    overlays: async (overlays, agentIp, grantEpoch) => {
      const wanted = overlays.map((overlay) => toRecord(overlay, agentIp, grantEpoch));
      const byKey = new Map(wanted.map((record) => [keys.overlay(node, record.overlay), plain(record)]));
      const gone = live(`node/${node}/overlay/`).filter((record) => !byKey.has(record.key));
      await Promise.all([
        ...[...byKey].map(([key, value]) => exchange.publish(key, value)),
        ...gone.map((record) => exchange.withdraw(record.key)),
      ]);
    },
    endpoints: async (source, endpoints) => {
      const known = published(source);
      const wanted = new Map(
        endpoints.map((each) => [keys.endpoint(node, each.container, each.ifname), each]),
      );
      const fresh = [...wanted].filter(([key, each]) => known.get(key) !== each);
      const gone = [...known.keys()].filter((key) => !wanted.has(key));
      for (const [key, each] of fresh) known.set(key, each);
      for (const key of gone) known.delete(key);
      const withdrawn = gone.map((key): [string, null] => [key, null]);
      await exchange.publishAll(new Map<string, Endpoint | null>([...fresh, ...withdrawn]));
    },
  };
}

/** By key, the very value last published: containers come in crowds, and what did not change must cost nothing. */
type PublishedEndpoints = Map<string, Endpoint | undefined>;

function sourceOf({ value }: GossipRecord): unknown {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? value['source'] : undefined;
}

/** Without `undefined` members, as JSON has it. */
function plain(value: object): RecordValue {
  return JSON.parse(JSON.stringify(value)) as RecordValue;
}

function toRecord(overlay: AgentOverlay, agentIp: string, grantEpoch: number): OverlayRecord {
  const { vxlan } = overlay.backend;
  return {
    overlay: overlay.info.name,
    ...(overlay.info.subnet === undefined ? {} : { space: overlay.info.subnet }),
    ...(overlay.info.subnet6 === undefined ? {} : { space6: overlay.info.subnet6 }),
    ...(overlay.subnet === undefined ? {} : { subnet: overlay.subnet }),
    ...(overlay.subnet6 === undefined ? {} : { subnet6: overlay.subnet6 }),
    vtep_ip: vxlan.vtep_ip,
    ...(vxlan.vtep_ip6 === undefined ? {} : { vtep_ip6: vxlan.vtep_ip6 }),
    vtep_mac: vxlan.vtep_mac,
    agent_ip: agentIp,
    grant_epoch: grantEpoch,
  };
}
