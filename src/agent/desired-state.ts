/**
 * The desired kernel state, compiled once per change.
 *
 * The reconciler asks in every round; it is given the same object until something the state depends on has changed.
 */
import type { NodeId } from '../model/names.ts';
import type { AgentNetworkConfig } from '../model/overlay.ts';
import { compile } from '../overlay/compile.ts';
import type { Attachment, DesiredState, Grant, NodeOverlayRecord } from '../overlay/desired.ts';
import { RecordParser } from '../overlay/record-parser.ts';
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
}

export class DesiredStateCache {
  readonly #init: DesiredStateInit;
  readonly #parser = new RecordParser();
  #compiled: DesiredState | undefined;

  constructor(init: DesiredStateInit) {
    this.#init = init;
  }

  /** Something it depends on has changed. */
  invalidate(): void {
    this.#compiled = undefined;
  }

  current(): DesiredState | undefined {
    const underlay = this.#init.underlay();
    if (underlay === undefined) return undefined;
    const { node, network } = this.#init;
    this.#compiled ??= compile(
      {
        node,
        grant: this.#init.grant(),
        records: this.#init.records(),
        removed: this.#init.removed(),
        underlay,
        attachments: this.#init.attachments(),
        network,
      },
      this.#parser,
    );
    return this.#compiled;
  }
}
