/**
 * What this host's kernel should hold and who brings it there: overlay states, attachments, desired state, reconciler.
 */
import { prefix, type Prefix } from '../base/ip.ts';
import { FastPath } from '../kernel/fastpath/fastpath.ts';
import { SysctlMemory } from '../kernel/sysctl-memory.ts';
import type { KernelEvent } from '../kernel/types.ts';
import type { AgentConfig } from '../model/config.ts';
import { VTEP_NAME } from '../model/overlay.ts';
import { readBootId } from './attachments-boot.ts';
import { Attachments } from './attachments.ts';
import { DesiredStateCache } from './desired-state.ts';
import type { DockerNetworkStatus } from './docker-network.ts';
import { dnsListen, serversFor } from './dns-config.ts';
import type { Membership } from './membership.ts';
import { OverlayStates } from './overlay-states.ts';
import { FastPaths } from './fast-path.ts';
import { createReconciler, type Reconciler, type RoundReport } from './reconciler.ts';
import type { SessionComponents } from './session.ts';

export interface Dataplane {
  readonly states: OverlayStates;
  readonly attachments: Attachments;
  readonly reconciler: Reconciler;
  readonly fastPaths: FastPaths;
  /** Something the desired state depends on has changed. */
  refresh(reason: string): void;
}

export interface DataplaneInit {
  readonly config: AgentConfig;
  docker(): readonly DockerNetworkStatus[];
  /** Virtual addresses to be routed. */
  vips(): readonly Prefix[];
  onAttachments(): void;
  /** Somebody else changed something in this host's network. */
  onForeignEvent(event: KernelEvent): void;
  onRound(report: RoundReport): void;
}

export async function openDataplane(
  components: SessionComponents,
  membership: Membership,
  init: DataplaneInit,
): Promise<Dataplane> {
  const { kernel, journal, clock, random, log, metrics } = components;
  const { config } = init;
  const { grants, records, underlay, node } = membership;
  const localBridge = { localBridge: prefix(config.local_bridge) };
  const states = new OverlayStates({
    grant: () => grants.current(),
    health: () => reconciler.status().last?.overlays ?? new Map(),
    docker: () => init.docker(),
    underlay: () => underlay.current(),
    network: config.network_config,
    ...localBridge,
  });
  const attachments = new Attachments(
    { kernel, journal, clock, log, metrics },
    {
      bootId: await readBootId({ random }, config.run_dir),
      network: (overlay) => states.network(overlay),
      networks: () => states.cniNetworks(),
      dnsServers: (addresses) => serversFor(dnsListen(config), addresses),
      onChange: () => {
        desired.invalidate();
        fastPaths.refresh();
        init.onAttachments();
      },
      settled: () => reconciler.settle().then(() => undefined),
    },
  );
  const fastPaths = new FastPaths(
    { kernel, journal, clock, log, metrics, open: () => FastPath.open() },
    {
      enabled: config.fast_path,
      attachments: () => attachments.records(),
      tunnels: () => [VTEP_NAME],
    },
  );
  const desired = new DesiredStateCache(
    { clock },
    {
      node,
      network: config.network_config,
      dns: dnsListen(config),
      grant: () => grants.current(),
      records: () => records.overlays(),
      removed: () => records.removed(),
      underlay: () => underlay.current(),
      attachments: () => attachments.desired(),
      vips: () => init.vips(),
      ...localBridge,
    },
  );
  const reconciler = createReconciler(
    {
      kernel,
      clock,
      log: log.child('reconciler'),
      metrics,
      sysctls: new SysctlMemory({ namespace: kernel, journal }),
    },
    {
      desired: () => desired.current(),
      onForeignEvent: (event) => init.onForeignEvent(event),
      onRound: (report) => {
        if (report.steps > 0) fastPaths.refresh();
        init.onRound(report);
      },
    },
  );
  const refresh = (reason: string): void => {
    desired.invalidate();
    reconciler.trigger(reason);
  };
  return { states, attachments, reconciler, fastPaths, refresh };
}
