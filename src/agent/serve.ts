/** The agent's doors: the CNI plug-in's socket, the API on its own socket and on TCP. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Hono } from 'hono';
import { CniError, cniCodes } from '../cni/errors.ts';
import { createApp, listenTcp, listenUnix } from '../http/server.ts';
import type { AgentConfig } from '../model/config.ts';
import { packageRoot } from '../base/package-root.ts';
import { version } from '../base/version.ts';
import { addAppliedRoutes } from '../node/applied-api.ts';
import { addVipRoutes, type VipApiComponents } from '../node/vip-api.ts';
import { addAgentRoutes } from './api.ts';
import type { Attachments } from './attachments.ts';
import type { CniVerbs } from './cni-answer.ts';
import { addDnsRoutes, type DnsApiInit } from '../node/dns-api.ts';
import { installPlugin } from './cni-config.ts';
import { serveCni } from './cni-server.ts';
import { addContainerRoutes } from './containers-api.ts';
import { openContainers } from './containers.ts';
import { dnsListen, serversFor } from './dns-config.ts';
import { addDnsQueryRoute } from './dns-query-api.ts';
import type { GrantKeeper } from './grant-keeper.ts';
import { serveLocalApi } from './local-api.ts';
import { agentView } from './session-view.ts';
import type { OnClose, Parts, SessionComponents } from './session.ts';
import { openTasks } from './tasks/open.ts';
import { addLocalTaskRoutes, addTaskRoutes } from './tasks/tasks-api.ts';
import type { Tasks } from './tasks/tasks.ts';
import { VipMetrics } from './vip-metrics.ts';
import type { Vips } from './vips.ts';
import { addTraceRoutes, createTracer } from './trace/api.ts';
import { listenHost } from './underlay.ts';

/** Where set-up builds the plug-in; its shell form where there was no compiler. */
const builtPlugin = join(packageRoot, 'dist', 'portolan-cni');
const shellPlugin = join(packageRoot, 'src', 'cni', 'portolan-cni.sh');

export async function serveAgent(
  components: SessionComponents,
  config: AgentConfig,
  parts: Parts,
  onClose: OnClose,
): Promise<Tasks> {
  const { log, metrics, clock } = components;
  await installPlugin(existsSync(builtPlugin) ? builtPlugin : shellPlugin, config.cni_bin_dir);
  const verbs = verbsOnceGranted(parts.attachments, parts.grants);
  const cni = await serveCni({ verbs, clock, log, metrics }, join(config.run_dir, 'cni.sock'));
  onClose(() => cni.close());
  return serveApis(components, config, parts, onClose);
}

/** The same API on both; containers only on the socket: whoever may start one is root. */
async function serveApis(
  components: SessionComponents,
  config: AgentConfig,
  parts: Parts,
  onClose: OnClose,
): Promise<Tasks> {
  const { log, metrics, clock, random } = components;
  const view = agentView(parts, { clock });
  const tracer = createTracer(components.kernel, parts);
  const counted = new VipMetrics({ ...parts, metrics }, { node: parts.node });
  const expose = async (): Promise<string> => {
    await counted.refresh();
    return metrics.expose();
  };
  const addVips = (made: Hono): void => addVipRoutes(made, vipApi(parts.vips));
  const containers = await openContainers(
    { log: log.child('containers'), clock, random },
    {
      stateDir: config.state_dir,
      runDir: config.run_dir,
      cniDir: config.cni_dir,
      overlays: () => parts.states.cniNetworks(),
      dnsServers: (addresses) => serversFor(dnsListen(config), addresses),
      attached: (interfaceOf) => parts.attachments.has(interfaceOf),
    },
  );
  onClose(() => containers.close());
  const tasks = await openTasks(components, { config, parts, containers }, onClose);
  const app = (): Hono => {
    const made = createApp({ log });
    addVips(made);
    addAgentRoutes(made, { metrics: { expose }, view });
    addAppliedRoutes(made, parts);
    addTraceRoutes(made, tracer);
    addTaskRoutes(made, { tasks });
    addDnsRoutes(made, dnsApi(config, parts));
    addDnsQueryRoute(made, { dns: parts.dns, clock });
    return made;
  };
  const local = app();
  addContainerRoutes(local, { containers });
  addLocalTaskRoutes(local, { tasks });
  local.post('/v1/leave', async (context) => context.json(await parts.leave()));
  const socket = await listenUnix(local, join(config.run_dir, 'agent.sock'));
  onClose(() => socket.close());
  const host = listenHost(config.address, parts.underlay.current());
  const tcp = await listenTcp(app(), { host, port: config.http_port });
  onClose(() => tcp.close());
  await serveLocalApi({ log }, { app: app(), port: config.local_port }, onClose);
  return tasks;
}

function dnsApi(config: AgentConfig, { dns, records }: Parts): DnsApiInit {
  return {
    names: dns.names,
    records,
    dialect: 'dcos-dns',
    version: version(),
    config: () => config.dns,
  };
}

/** With what this host's kernel has. */
function vipApi(vips: Vips): VipApiComponents {
  return {
    view: vips.view,
    more: async (listed) => {
      const connections = await vips.connections();
      const { applied, problem } = vips.status();
      const host = { applied: applied && problem === undefined, ...(problem && { host_problem: problem }) };
      return new Map(listed.map(({ id }) => [id, { connections: connections.get(id) ?? 0, ...host }]));
    },
    status: () => vips.status(),
  };
}

/** Before the first grant a runtime is told to come back, not that its network does not exist. */
function verbsOnceGranted(attachments: Attachments, grants: GrantKeeper): CniVerbs {
  const ready = (): void => {
    if (grants.current() !== undefined) return;
    throw new CniError(cniCodes.tryAgainLater, 'This host has no address block yet: no master has answered');
  };
  return {
    add: async (each) => {
      ready();
      return attachments.add(each);
    },
    del: (each) => attachments.del(each),
    check: (each) => attachments.check(each),
    gc: (each) => attachments.gc(each),
    status: async (network) => {
      ready();
      await attachments.status(network);
    },
  };
}
