/** What the simulated nodes have to say: records of the shapes and sizes that agents publish. */
import { recordText, RecordStore } from '../src/gossip/records.ts';
import type { ClusterId, NodeId } from '../src/model/names.ts';
import { keys, type GossipRecord, type RecordValue } from '../src/model/record.ts';
import { hostAddress, PORT } from './address.ts';
import { simulatedSignature } from './signatures.ts';

const RECORD = 'record/';

/** The node's own record, then endpoints of containers. */
export function ownRecords(
  node: NodeId,
  index: number,
  count: number,
): readonly (readonly [string, RecordValue])[] {
  const address = hostAddress(index);
  const records: (readonly [string, RecordValue])[] = [
    [keys.node(node), { name: `host-${index}`, address, gossip_port: PORT, api_port: 5051, role: 'agent' }],
  ];
  for (let i = 1; i < count; i++)
    records.push([
      keys.endpoint(node, `web-${index}-${i}`, 'eth0'),
      {
        container: `web-${index}-${i}`,
        network: 'dcos',
        addresses: [`9.${index >> 8}.${index & 255}.${i}`],
        ports: [{ name: 'http', protocol: 'tcp', container_port: 8080, host_port: 31_000 + i }],
        labels: { VIP_0: `/web-${i}:80` },
      },
    ]);
  return records;
}

/** The journal of a node that knew all of `records` before. */
export function baseOf(
  cluster: ClusterId,
  records: readonly (readonly (readonly [string, RecordValue])[])[],
): ReadonlyMap<string, unknown> {
  const base = new Map<string, unknown>([
    ['gossip/cluster', cluster],
    ['gossip/epoch', 1],
  ]);
  for (const own of records)
    for (const [i, [key, value]] of own.entries()) {
      const record = { key, version: { epoch: 1, sequence: i + 1 }, value };
      const signature = simulatedSignature(recordText(record) ?? '');
      base.set(RECORD + key, { version: record.version, value, signature });
    }
  return base;
}

/** The same as the record store that a node makes of it. */
export function storeOf(base: Iterable<readonly [string, unknown]>): RecordStore {
  const store = new RecordStore();
  for (const [key, stored] of base)
    if (key.startsWith(RECORD))
      store.put({ key: key.slice(RECORD.length), ...(stored as Omit<GossipRecord, 'key'>) });
  return store;
}
