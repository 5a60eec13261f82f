/**
 * The overlays of the grant as others see them: with their state, as networks for CNI, as networks for Docker.
 *
 * An overlay is STATUS_OK when everything of it is in the kernel and Docker, where it answers, offers it. Docker that is
 * absent fails nothing: the overlay is whole for all other runtimes.
 */
import type { Prefix } from '../base/ip.ts';
import {
  LOCAL_BRIDGE,
  type AgentNetworkConfig,
  type AgentOverlay,
  type OverlayState,
} from '../model/overlay.ts';
import type { Grant } from '../overlay/desired.ts';
import { IPV6_MTU_MIN, mtus } from '../overlay/mtu.ts';
import { localBridgeView, networkView, type NetworkView } from './attachments-network.ts';
import type { OverlayHealth } from './blame.ts';
import { dockerNetworkWish, type DockerNetworkWish } from './docker-network-plan.ts';
import type { DockerNetworkStatus } from './docker-network.ts';
import type { Underlay } from './underlay.ts';

export interface OverlayStatesInit {
  grant(): Grant | undefined;
  /** Of the last round of the reconciler. */
  health(): ReadonlyMap<string, OverlayHealth>;
  docker(): readonly DockerNetworkStatus[];
  underlay(): Underlay;
  readonly network: AgentNetworkConfig;
  /** Of the node-local bridge network; absent = this host has none. */
  readonly localBridge?: Prefix;
}

export class OverlayStates {
  readonly #init: OverlayStatesInit;

  constructor(init: OverlayStatesInit) {
    this.#init = init;
  }

  overlays(): readonly AgentOverlay[] {
    return this.#granted().map((overlay) => ({ ...overlay, state: this.#state(overlay.info.name) }));
  }

  /** Those that containers of other nodes may send to. */
  usable(): readonly AgentOverlay[] {
    const health = this.#init.health();
    return this.#granted().filter((overlay) => health.get(overlay.info.name)?.ok === true);
  }

  /** Names of the overlays that runtimes may attach containers to through CNI. */
  cniNetworks(): readonly string[] {
    return [...this.#granted().map((overlay) => overlay.info.name), LOCAL_BRIDGE].filter(
      (name) => this.network(name) !== undefined,
    );
  }

  network(name: string): NetworkView | undefined {
    if (!this.#init.network.mesos_bridge) return undefined;
    const view = this.#view(name);
    if (view === undefined) return undefined;
    const health = this.#init.health().get(name);
    if (health?.ok === true) return view;
    return {
      ...view,
      notReady: { reason: health?.error ?? 'it is being configured', limited: health !== undefined },
    };
  }

  #view(name: string): NetworkView | undefined {
    const local = name === LOCAL_BRIDGE ? this.#init.localBridge : undefined;
    // The local bridge stands beside the overlays: without any, nothing of ours is in the kernel.
    const overlay = this.#granted().find((each) => local !== undefined || each.info.name === name);
    if (overlay === undefined) return undefined;
    const { container } = this.#mtus(overlay);
    if (local !== undefined) return localBridgeView(local, { mtu: container });
    return networkView(overlay, { mtu: container, ipv6: this.#ipv6(container) });
  }

  dockerWishes(): readonly DockerNetworkWish[] {
    if (!this.#init.network.docker_bridge) return [];
    return this.#granted().flatMap((overlay) => {
      const { container } = this.#mtus(overlay);
      return dockerNetworkWish(overlay, { mtu: container, enableIpv6: this.#ipv6(container) }) ?? [];
    });
  }

  #granted(): readonly AgentOverlay[] {
    return this.#init.grant()?.overlays ?? [];
  }

  #mtus(overlay: AgentOverlay): ReturnType<typeof mtus> {
    const underlay = this.#init.underlay();
    return mtus({
      underlay: underlay.mtu,
      family: underlay.address.family,
      configured: this.#init.network.overlay_mtu,
      vtep: overlay.backend.vxlan.vtep_mtu,
    });
  }

  #ipv6(containerMtu: number): boolean {
    return this.#init.network.enable_ipv6 && containerMtu >= IPV6_MTU_MIN;
  }

  #state(name: string): OverlayState {
    const health = this.#init.health().get(name);
    if (health === undefined) return { status: 'STATUS_CONFIGURING' };
    const docker = this.#init.docker().find((network) => network.name === name && network.state === 'failed');
    const reasons = [health.error, docker?.message].filter((reason) => reason !== undefined);
    return reasons.length === 0
      ? { status: 'STATUS_OK' }
      : { status: 'STATUS_FAILED', error: reasons.join('; ') };
  }
}
