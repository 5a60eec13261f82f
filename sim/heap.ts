/** What the records of a whole cluster take in one node's heap. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Cluster } from './cluster.ts';
import { protocols, type ProtocolName } from './protocol.ts';

/** Bytes of heap of one node that holds `nodes` times `recordsPerNode` records. */
export async function measureHeap(init: {
  readonly protocol: ProtocolName;
  readonly nodes: number;
  readonly recordsPerNode: number;
}): Promise<number> {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const cluster = new Cluster({
    ...init,
    seed: 1,
    delayMs: 1,
    packetLoss: 0,
    isPreloaded: true,
    isSharing: false,
    open: protocols[init.protocol],
  });
  collect();
  const before = process.memoryUsage();
  const [host] = cluster.hosts;
  cluster.begin(host?.start() ?? Promise.resolve());
  await cluster.run(100);
  collect();
  const after = process.memoryUsage();
  const bytes = after.heapUsed + after.external - before.heapUsed - before.external;
  if (host?.program?.digest().records !== init.nodes * init.recordsPerNode)
    throw new Error('the store does not hold what it was given');
  return bytes;
}
