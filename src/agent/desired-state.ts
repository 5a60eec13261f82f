/**
 * The desired kernel state, compiled once per change.
 *
 * The reconciler asks in every round; it is given the same object until something the state depends on has changed.
 * Thousands of nodes are compiled in slices: what changes meanwhile is in the next state, and the round that a change
 * asks for asks again.
 */
import type { Clock } from '../base/clock.ts';
import type { Prefix } from '../base/ip.ts';
import type { NodeId } from '../model/names.ts';
import type { AgentNetworkConfig } from '../model/overlay.ts';
import { CompileMemory } from '../overlay/compile-memory.ts';
import { compileSliced } from '../overlay/compile.ts';
import type { Attachment, CompileInput, DesiredState, Grant, NodeOverlayRecord } from '../overlay/desired.ts';
import type { DnsListen } from '../overlay/dns-interface.ts';
import { inSlices } from './slices.ts';
import type { Underlay } from './underlay.ts';

export interface DesiredStateInit {
  readonly node: NodeId;
  readonly network: AgentNetworkConfig;
  grant(): Grant | undefined;
  records(): readonly NodeOverlayRecord[];
  removed(): ReadonlySet<NodeId>;
  /** `undefined` until it is found: nothing is written to the kernel before. */
  underlay(): Underlay | undefined;
  attachments(): readonly Attachment[];
  vips(): readonly Prefix[];
  readonly localBridge?: Prefix;
  readonly dns: DnsListen;
}

export class DesiredStateCache {
  readonly #clock: Clock;
  readonly #init: DesiredStateInit;
  readonly #memory = new CompileMemory();
  #compiled: DesiredState | undefined;
  #changes = 0;

  constructor(components: { readonly clock: Clock }, init: DesiredStateInit) {
    this.#clock = components.clock;
    this.#init = init;
  }

  /** Something it depends on has changed. */
  invalidate(): void {
    this.#changes++;
    this.#compiled = undefined;
  }

  async current(): Promise<DesiredState | undefined> {
    const underlay = this.#init.underlay();
    if (underlay === undefined) return undefined;
    if (this.#compiled !== undefined) return this.#compiled;
    const changes = this.#changes;
    const state = await inSlices({ clock: this.#clock }, compileSliced(this.#input(underlay), this.#memory));
    if (changes === this.#changes) this.#compiled = state;
    return state;
  }

  #input(underlay: Underlay): CompileInput {
    const { node, network, localBridge, dns } = this.#init;
    return {
      ...(localBridge === undefined ? {} : { localBridge }),
      node,
      grant: this.#init.grant(),
      records: this.#init.records(),
      removed: this.#init.removed(),
      underlay,
      attachments: this.#init.attachments(),
      vips: this.#init.vips(),
      network,
      dns,
    };
  }
}
