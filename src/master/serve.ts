/**
 * The master's doors: its unix socket for root on its host, and one TCP port with plain HTTP for readers and TLS for
 * nodes.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Context, Hono } from 'hono';
import type { Clock } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { Random } from '../base/random.ts';
import { listenUnix, type HttpListener } from '../http/server.ts';
import { listenTls, type TlsServerComponents, type TlsServerInit } from '../http/tls-server.ts';
import type { MasterConfig } from '../model/config.ts';
import type { NodeId } from '../model/names.ts';
import { DNS_PORT } from '../model/dns.ts';
import { version } from '../base/version.ts';
import { addDnsRoutes, type DnsApiInit } from '../node/dns-api.ts';
import type { DnsNames } from '../node/dns-names.ts';
import type { RecordView } from '../node/record-view.ts';
import type { AppliedView } from '../node/applied-view.ts';
import { addVipRoutes, type VipApiComponents } from '../node/vip-api.ts';
import type { VipView } from '../node/vip-view.ts';
import type { Store } from '../store/types.ts';
import { createMasterApi } from './api.ts';
import { addAppsApi } from './apps/api.ts';
import type { AppOrchestrator } from './apps/orchestrator.ts';
import type { Front } from './front.ts';
import { addOverlayAgentApi } from './api-overlay-agent.ts';
import { addTrustApi } from './api-trust.ts';
import type { Authority } from './authority.ts';
import type { MasterExchange } from './master.ts';
import type { MasterMetrics } from './metrics.ts';
import type { Registry } from './registry.ts';
import { mustSpeakFor, type Door } from './senders.ts';
import { Tokens } from './tokens.ts';
import { vipHosts } from './vip-hosts.ts';

export interface ServeComponents {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: MasterMetrics;
  readonly exchange: MasterExchange;
  readonly registry: Registry;
  readonly authority: Authority;
  readonly applied: AppliedView;
  readonly names: DnsNames;
  readonly records: RecordView;
  readonly vips: VipView;
  readonly orchestrator: AppOrchestrator;
  readonly front: Front;
}

/** In the words of Mesos-DNS, which masters stand in for. */
function dnsApi({ names, records }: ServeComponents): DnsApiInit {
  return {
    names,
    records,
    dialect: 'mesos-dns',
    version: version(),
    config: () => ({ Domain: 'mesos', Port: DNS_PORT, TTL: names.ttls.mesos }),
  };
}

/** Resolves to the TCP port, when both listen. */
export async function serveMaster(
  components: ServeComponents,
  config: MasterConfig,
  onClose: (closer: () => Promise<void>) => void,
): Promise<number> {
  const { exchange, authority, orchestrator, front } = components;
  const tokens = new Tokens(components, { fingerprint: authority.fingerprint });
  const appFor = (door: Door): Hono => {
    const speakFor = (context: Context, node: NodeId): void => mustSpeakFor(door, context, node);
    const app = createMasterApi({
      ...components,
      records: (prefix) => exchange.records(prefix),
      isDrained: (node) => orchestrator.isDrained(node),
      mustSpeakFor: speakFor,
    });
    addAppsApi(app, { ...components, mustSpeakFor: speakFor });
    front.addTo(app);
    addTrustApi(app, { ...components, tokens }, door);
    addVipRoutes(app, vipApi(components));
    addDnsRoutes(app, dnsApi(components));
    addOverlayAgentApi(app, { socketPath: join(config.run_dir, 'agent.sock') });
    return app;
  };
  const tcp = await listenEverywhere(components, config, {
    plain: appFor('public'),
    secure: appFor('node'),
    credentials: exchange.credentials,
  });
  onClose(() => tcp.close());
  await mkdir(config.run_dir, { recursive: true, mode: 0o755 });
  const local = await listenUnix(appFor('local'), join(config.run_dir, 'api.sock'));
  onClose(() => local.close());
  return tcp.port ?? config.http_port;
}

/** With what the agents say of their kernels, where one VIP is looked at. */
function vipApi({ vips, registry }: ServeComponents): VipApiComponents {
  return {
    view: vips,
    more: async (listed, details) =>
      details === 'list' ? new Map() : vipHosts(listed, registry.ledger.nodes()),
  };
}

/** On the configured address, else on all: `::` takes IPv4 too, except where the host has IPv6 off. */
async function listenEverywhere(
  components: TlsServerComponents,
  config: MasterConfig,
  doors: Pick<TlsServerInit, 'plain' | 'secure' | 'credentials'>,
): Promise<HttpListener> {
  const init = { ...doors, port: config.http_port };
  if (config.address !== undefined) return listenTls(components, { ...init, host: config.address });
  try {
    return await listenTls(components, { ...init, host: '::' });
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    const cause = ((error as Error).cause as NodeJS.ErrnoException | undefined)?.code;
    if (code !== 'EAFNOSUPPORT' && cause !== 'EADDRNOTAVAIL') throw error;
    return listenTls(components, { ...init, host: '0.0.0.0' });
  }
}
