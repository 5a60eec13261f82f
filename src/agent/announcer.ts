/**
 * When to publish: this node's place at once, its endpoints gathered for a moment, since containers come in crowds.
 */
import type { Clock, Timer } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { Endpoint } from '../model/endpoint.ts';
import type { AgentOverlay } from '../model/overlay.ts';
import type { NodeRecord } from '../model/record.ts';
import type { Publisher } from './publisher.ts';

/** A change of endpoints is published after this; what changes meanwhile goes with it. */
const GATHER_MS = 5;
/** While containers come or go in a crowd, their endpoints are published together, this far apart. */
const CROWD_GATHER_MS = 100;
/** While an attachment is under way the others' work can wait, for no longer than this: a runtime waits for ours. */
const BUSY_GATHER_MS = 300;
const BUSY_LOOK_MS = 20;

export interface AnnouncerInit {
  nodeRecord(): NodeRecord;
  overlays(): readonly AgentOverlay[];
  /** `undefined` while nothing is granted. */
  grantEpoch(): number | undefined;
  attachments(): readonly Endpoint[];
  /** Runtimes are waiting for attachments to be made or unmade. */
  attachmentsUnderWay(): boolean;
  /** The cluster has removed this node. */
  removed(): boolean;
}

export class Announcer {
  readonly #publisher: Publisher;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #init: AnnouncerInit;
  readonly #before: (() => Promise<void>)[] = [];
  readonly #after: (() => void)[] = [];
  #timer: Timer | undefined;
  #publishedAt = Number.NEGATIVE_INFINITY;

  constructor(
    components: { readonly publisher: Publisher; readonly clock: Clock; readonly log: Log },
    init: AnnouncerInit,
  ) {
    this.#publisher = components.publisher;
    this.#clock = components.clock;
    this.#log = components.log;
    this.#init = init;
  }

  /** What others must know before they hear of this node's blocks. */
  beforeOverlays(tell: () => Promise<void>): void {
    this.#before.push(tell);
  }

  /** Called whenever endpoints are published. */
  afterEndpoints(tell: () => void): void {
    this.#after.push(tell);
  }

  /** Resolves when it is on this node's disk; the others hear of it at the same time. */
  async place(): Promise<void> {
    try {
      const record = this.#init.nodeRecord();
      await this.#publisher.node(record);
      const epoch = this.#init.grantEpoch();
      for (const tell of this.#before) await tell();
      if (epoch !== undefined) await this.#publisher.overlays(this.#init.overlays(), record.address, epoch);
    } catch (error) {
      // Nobody listens to a removed node; its session is about to end for that.
      if (!this.#init.removed()) throw error;
    }
  }

  placeSoon(): void {
    this.place().catch((error: unknown) => this.#log.error('Cannot publish this node', { error }));
  }

  /** The attachments have changed. */
  attachmentsSoon(): void {
    if (this.#timer !== undefined) return;
    const nowMs = this.#clock.nowMs();
    const dueMs = Math.max(nowMs + GATHER_MS, this.#publishedAt + CROWD_GATHER_MS);
    this.#publishAttachments(dueMs - nowMs, nowMs + BUSY_GATHER_MS);
  }

  /** After `delayMs`, or as soon after it as no attachment is under way, or at `latestMs`. */
  #publishAttachments(delayMs: number, latestMs: number): void {
    this.#timer = this.#clock.after(delayMs, () => {
      const nowMs = this.#clock.nowMs();
      if (nowMs < latestMs && this.#init.attachmentsUnderWay()) {
        this.#publishAttachments(Math.min(BUSY_LOOK_MS, latestMs - nowMs), latestMs);
        return;
      }
      this.#timer = undefined;
      this.#publishedAt = nowMs;
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
    this.#publisher.endpoints(source, endpoints).catch((error: unknown) => {
      if (!this.#init.removed()) this.#log.error('Cannot publish endpoints', { source, error });
    });
    for (const tell of this.#after) tell();
  }
}
