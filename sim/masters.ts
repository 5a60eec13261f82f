/**
 * The masters of a simulated cluster: who holds which VTEP and block, decided by the shipped bookkeeping, told by
 * records.
 */
import { BlockPool } from '../src/ipam/blocks.ts';
import type { Grant } from '../src/ipam/grant.ts';
import { defaultNetwork } from '../src/model/config.ts';
import type { NodeId } from '../src/model/names.ts';
import { validateNetwork } from '../src/model/network-validation.ts';
import { agentNetworkConfig, networkConfig } from '../src/model/overlay.ts';
import { keys } from '../src/model/record.ts';
import type { Cluster } from './cluster.ts';
import type { Host } from './host.ts';

const OVERLAY = 'dcos';

export class Masters {
  readonly #cluster: Cluster;
  readonly #pool: BlockPool;
  readonly #grants = new Map<NodeId, Grant>();
  #epoch = 0;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
    this.#pool = new BlockPool(validateNetwork(networkConfig.parse(defaultNetwork)));
  }

  /** The node on `host` gets what it holds, or something new, and tells the others. */
  grant(host: Host): void {
    const allocation = this.#pool.allocate(agentNetworkConfig.parse({}), this.#grants.get(host.node));
    if (!allocation.ok) return this.#cluster.observer.violation('the masters have no VTEP left');
    const { grant } = allocation;
    this.#grants.set(host.node, grant);
    const subnet = grant.overlays.find(({ overlay }) => overlay === OVERLAY)?.subnet;
    this.#cluster.begin(
      host.publish(keys.overlay(host.node, OVERLAY), {
        overlay: OVERLAY,
        subnet: String(subnet),
        vtep_ip: String(grant.vtepIp),
        vtep_mac: String(grant.vtepMac),
        agent_ip: host.address,
        grant_epoch: ++this.#epoch,
      }),
    );
  }

  /** Its block is free for the next. */
  remove(node: NodeId): void {
    const grant = this.#grants.get(node);
    if (grant !== undefined) this.#pool.release(grant);
    this.#grants.delete(node);
    this.#cluster.observer.removed(node);
    this.#cluster.publishCluster(keys.removed(node), { node, grant_epoch: ++this.#epoch });
  }
}
