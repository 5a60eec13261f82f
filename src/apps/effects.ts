/** What a step of the orchestrator asks of its shell: writes first, then all else. */
import type { AppEvent, AppEventBody } from '../model/deployment.ts';
import type { NodeId } from '../model/names.ts';

/** The moment of a step. */
export interface Now {
  /** Monotonic. */
  readonly ms: number;
  /** Wall time, RFC 3339, for people. */
  readonly iso: string;
}

export class Effects {
  readonly now: Now;
  /** To be stored, by key; `undefined` = to be deleted. All of one step or nothing. */
  readonly writes = new Map<string, unknown>();
  readonly events: AppEvent[] = [];
  /** Nodes whose list of launches is another now. */
  readonly nodes = new Set<NodeId>();
  /** Monotonic ms at which time alone may change something. */
  wakeAtMs: number | undefined;

  constructor(now: Now) {
    this.now = now;
  }

  emit(body: AppEventBody): void {
    this.events.push({ ...body, timestamp: this.now.iso });
  }

  wakeIn(ms: number): void {
    this.wakeAtMs = Math.min(this.wakeAtMs ?? Infinity, this.now.ms + ms);
  }
}
