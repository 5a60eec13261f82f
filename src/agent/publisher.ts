/**
 * What this agent tells the others about itself: where it is, its place in each overlay, its endpoints.
 *
 * Publishing the same value again costs nothing; what is no longer true is withdrawn.
 */
import type { Endpoint } from '../model/endpoint.ts';
import type { NodeId } from '../model/names.ts';
import type { AgentOverlay } from '../model/overlay.ts';
import { keys, type NodeRecord, type OverlayRecord, type RecordValue } from '../model/record.ts';
import type { RecordExchange } from '../node/exchange.ts';

export interface Publisher {
  node(record: NodeRecord): Promise<void>;
  /** All overlays of the grant; those that are gone are withdrawn. */
  overlays(overlays: readonly AgentOverlay[], agentIp: string, grantEpoch: number): Promise<void>;
  /** All endpoints that `source` knows on this node; those that are gone are withdrawn. */
  endpoints(source: Endpoint['source'], endpoints: readonly Endpoint[]): Promise<void>;
}

export function createPublisher(
  components: { readonly exchange: RecordExchange },
  init: { readonly node: NodeId },
): Publisher {
  const { exchange } = components;
  const { node } = init;
  const replace = async (
    prefix: string,
    wanted: ReadonlyMap<string, RecordValue>,
    keep: (key: string) => boolean,
  ) => {
    const gone = [...exchange.records(prefix)].filter(
      (record) => record.value !== null && !wanted.has(record.key) && !keep(record.key),
    );
    await Promise.all([
      ...[...wanted].map(([key, value]) => exchange.publish(key, value)),
      ...gone.map((record) => exchange.withdraw(record.key)),
    ]);
  };
  const sourceOf = (key: string): unknown => {
    const value = exchange.get(key)?.value;
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value['source'] : undefined;
  };
  return {
    node: (record) => exchange.publish(keys.node(node), record),
    overlays: (overlays, agentIp, grantEpoch) => {
      const wanted = overlays.map((overlay) => toRecord(overlay, agentIp, grantEpoch));
      const byKey = new Map(wanted.map((record) => [keys.overlay(node, record.overlay), plain(record)]));
      return replace(`node/${node}/overlay/`, byKey, () => false);
    },
    endpoints: (source, endpoints) => {
      const byKey = new Map(
        endpoints.map((each) => [keys.endpoint(node, each.container, each.ifname), plain(each)]),
      );
      return replace(`node/${node}/endpoint/`, byKey, (key) => sourceOf(key) !== source);
    },
  };
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
