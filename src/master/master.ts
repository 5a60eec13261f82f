/**
 * The master: hands out blocks and VTEPs, and holds what operators declare.
 *
 * Purpose: wires store, record exchange, registry and HTTP; has no rules of its own.
 * Invariants: it listens only when the registry has recovered, so no grant is decided on half of what is known;
 * whatever was opened is closed again, in reverse, also when a later step of the start fails.
 * Review notes: nothing on the packet path or in an agent's start depends on this process. A configuration that does
 * not fit the stored grants ends the start with one error that names overlay, nodes and remedy.
 */
import { join } from 'node:path';
import { ip, parsePrefix } from '../base/ip.ts';
import type { Clock } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { Metrics } from '../base/metrics.ts';
import type { Random } from '../base/random.ts';
import { defaultTtls } from '../dns/zones.ts';
import type { MasterConfig } from '../model/config.ts';
import { DNS_ADDRESSES } from '../model/dns.ts';
import type { ClusterId, NodeId } from '../model/names.ts';
import { validateNetwork, type HostNetwork } from '../model/network-validation.ts';
import { AppliedView, type AppliedExchange } from '../node/applied-view.ts';
import { DnsNames } from '../node/dns-names.ts';
import type { RecordExchange } from '../node/record-exchange.ts';
import { readMemberMetrics } from '../node/member-metrics.ts';
import { RecordView } from '../node/record-view.ts';
import { hostAddresses, overlaySpaces } from '../node/vip-reserved.ts';
import { VipView } from '../node/vip-view.ts';
import { drain } from '../overlay/slice.ts';
import { openEmbeddedStore } from '../store/embedded.ts';
import type { Credentials } from '../trust/credentials.ts';
import type { RecordSignatures } from '../trust/record-signatures.ts';
import { askApplied } from './apps/ask-applied.ts';
import { AppOrchestrator } from './apps/orchestrator.ts';
import { Authority } from './authority.ts';
import { hostPort } from './contacts.ts';
import { Front } from './front.ts';
import { findHostNetworks, findUnderlayAddress } from './host-networks.ts';
import { createMasterMetrics } from './metrics.ts';
import { readTaskMetrics } from './task-metrics.ts';
import { ensureClusterId } from './recovery.ts';
import { Registry } from './registry.ts';
import { serveMaster } from './serve.ts';

export type MasterExchange = AppliedExchange &
  Pick<RecordExchange, 'publishCluster' | 'addContacts' | 'members' | 'peers' | 'stats' | 'close'> & {
    /** What this master shows to other nodes, as of now. */
    readonly credentials: () => Credentials;
  };

export interface MasterComponents {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Joins the record exchange of `cluster`; listens on `address` (`undefined`: on all) and `port`. */
  readonly openExchange: (init: {
    readonly cluster: ClusterId;
    readonly address: string | undefined;
    readonly port: number;
    /** Certifies a node of this process as a master. */
    readonly credentialsOf: (node: NodeId) => () => Credentials;
    readonly authenticator: RecordSignatures;
  }) => Promise<MasterExchange>;
  /** Absent: looked up on this host. */
  readonly hostNetworks?: readonly HostNetwork[];
}

export interface Master {
  readonly cluster: ClusterId;
  /** The TCP port really bound. */
  readonly port: number;
  close(): Promise<void>;
}

export async function startMaster(components: MasterComponents, config: MasterConfig): Promise<Master> {
  const closers: (() => Promise<void>)[] = [];
  const close = async (): Promise<void> => {
    for (const closer of closers.splice(0).reverse()) await closer();
  };
  try {
    const started = await start(components, config, (closer) => closers.push(closer));
    return { ...started, close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function start(
  components: MasterComponents,
  config: MasterConfig,
  onClose: (closer: () => Promise<void>) => void,
): Promise<Omit<Master, 'close'>> {
  const { clock, random, log } = components;
  const hostNetworks = components.hostNetworks ?? (await findHostNetworks());
  validateNetwork(config.network, hostNetworks);
  const store = await openEmbeddedStore({ log }, { dir: join(config.state_dir, 'store') });
  onClose(() => store.close());
  const cluster = await ensureClusterId({ store, random });
  const address = config.address ?? findUnderlayAddress();
  const authority = await Authority.open(
    { store, clock, random, log },
    { cluster, certificateLifeMs: config.certificate_seconds * 1000 },
  );
  const exchange = await components.openExchange({
    cluster,
    credentialsOf: (node) => authority.ownCredentials(node),
    authenticator: authority.records({ acceptsUnsigned: config.accept_unsigned_records }),
    address: config.address,
    port: config.gossip_port,
  });
  onClose(() => exchange.close());
  const metrics = createMasterMetrics(components.metrics);
  const registry = await Registry.open(
    { store, exchange, clock, random, log, metrics },
    {
      cluster,
      network: config.network,
      hostNetworks,
      masters: config.masters ?? (address === undefined ? [] : [hostPort(address, config.http_port)]),
      ...(address === undefined ? {} : { contact: hostPort(address, config.gossip_port) }),
    },
  );
  onClose(() => Promise.resolve(registry.close()));
  const nodes = registry.ledger.nodes();
  exchange.addContacts(nodes.map((node) => hostPort(node.address, node.gossip_port)));
  const applied = new AppliedView({ exchange, clock, metrics: components.metrics });
  onClose(() => Promise.resolve(applied.close()));
  readMemberMetrics({ metrics: components.metrics, exchange, applied });
  const { records, vips, names } = openViews({ ...components, exchange }, config, cluster, onClose);
  readTaskMetrics({ metrics: components.metrics, records });
  const orchestrator = await AppOrchestrator.open(
    { store, exchange, view: records, clock, random, log: log.child('apps'), askApplied },
    {
      agentLostMs: config.apps.agent_lost_seconds * 1000,
      drainGraceMs: config.apps.drain_grace_seconds * 1000,
      maxDeployments: config.apps.max_running_deployments,
    },
  );
  onClose(() => Promise.resolve(orchestrator.close()));
  let port = config.http_port;
  const front = new Front(
    {
      ...{ orchestrator, view: records, clock, log },
      isReachable: (node) => exchange.isReachable(node),
      isDrained: (node) => orchestrator.isDrained(node),
    },
    { cluster, address: address ?? '127.0.0.1', port: () => port, overlays: registry.network.overlays },
  );
  onClose(() => Promise.resolve(front.close()));
  const served = {
    ...components,
    metrics,
    store,
    exchange,
    registry,
    authority,
    applied,
    vips,
    names,
    records,
    orchestrator,
    front,
  };
  port = await serveMaster(served, config, onClose);
  log.info('The master serves', { cluster, address, port, nodes: nodes.length });
  return { cluster, port };
}

/** What records say, as others ask for it: tasks, VIPs, and the names that agents answer. */
function openViews(
  components: MasterComponents & { readonly exchange: MasterExchange },
  { vips: config }: MasterConfig,
  cluster: ClusterId,
  onClose: (closer: () => Promise<void>) => void,
): { readonly records: RecordView; readonly vips: VipView; readonly names: DnsNames } {
  const { exchange, log } = components;
  const records = new RecordView({ exchange, log }, { onChange: () => reserve() });
  onClose(() => Promise.resolve(records.close()));
  const vips = new VipView({ records, log }, { config });
  onClose(() => Promise.resolve(vips.close()));
  const reserve = (): void => vips.reserve([...overlaySpaces(records), ...hostAddresses(records)]);
  drain(vips.load());
  reserve();
  const names = new DnsNames(
    { ...components, records },
    {
      listen: DNS_ADDRESSES.map(ip),
      ttls: defaultTtls,
      vipRanges: [config.range, config.range6].flatMap((text) => parsePrefix(text ?? '') ?? []),
      cluster: () => cluster,
    },
  );
  onClose(() => Promise.resolve(names.close()));
  names.follow(vips);
  return { records, vips, names };
}
