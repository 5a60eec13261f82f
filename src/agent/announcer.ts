/**
 * When to publish: this node's place at once, its endpoints gathered for a moment, since containers come in crowds.
 */
import type { Clock, Timer } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { Endpoint } from '../model/endpoint.ts';
import type { AgentOverlay } from '../model/overlay.ts';
import type { NodeRecord } from '../model/record.ts';
import type { Publisher } from './publisher.ts';

/** Changes of endpoints within this time are published together. */
const GATHER_MS = 20;

export interface AnnouncerInit {
  nodeRecord(): NodeRecord;
  overlays(): readonly AgentOverlay[];
  /** `undefined` while nothing is granted. */
  grantEpoch(): number | undefined;
  attachments(): readonly Endpoint[];
}

export class Announcer {
  readonly #publisher: Publisher;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #init: AnnouncerInit;
  #timer: Timer | undefined;

  constructor(
    components: { readonly publisher: Publisher; readonly clock: Clock; readonly log: Log },
    init: AnnouncerInit,
  ) {
    this.#publisher = components.publisher;
    this.#clock = components.clock;
    this.#log = components.log;
    this.#init = init;
  }

  /** Resolves when it is on this node's disk; the others hear of it at the same time. */
  async place(): Promise<void> {
    const record = this.#init.nodeRecord();
    await this.#publisher.node(record);
    const epoch = this.#init.grantEpoch();
    if (epoch !== undefined) await this.#publisher.overlays(this.#init.overlays(), record.address, epoch);
  }

  placeSoon(): void {
    this.place().catch((error: unknown) => this.#log.error('Cannot publish this node', { error }));
  }

  /** The attachments have changed. */
  attachmentsSoon(): void {
    this.#timer ??= this.#clock.after(GATHER_MS, () => {
      this.#timer = undefined;
      this.#endpoints('cni', this.#init.attachments());
    });
  }

  dockerEndpoints(endpoints: readonly Endpoint[]): void {
    this.#endpoints('docker', endpoints);
  }

  close(): void {
    this.#timer?.cancel();
  }

  #endpoints(source: Endpoint['source'], endpoints: readonly Endpoint[]): void {
    this.#publisher
      .endpoints(source, endpoints)
      .catch((error: unknown) => this.#log.error('Cannot publish endpoints', { source, error }));
  }
}
