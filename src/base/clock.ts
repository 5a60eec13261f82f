/** Time, injected: the real one here, a virtual one in `sim/` and in tests. */
import { Timeline, type Timer } from './timeline.ts';

export type { Timer } from './timeline.ts';

export interface Clock {
  /** Wall time, ms since the epoch: for people only, never for ordering. */
  wallMs(): number;
  /** Monotonic time, ms with fraction. */
  nowMs(): number;
  /** Calls `action` once after `delayMs`. Does not keep the process alive by itself. */
  after(delayMs: number, action: () => void): Timer;
}

export const realClock: Clock = {
  wallMs: () => Date.now(),
  nowMs: () => performance.now(),
  after: (delayMs, action) => {
    const handle = setTimeout(action, delayMs);
    handle.unref();
    return { cancel: () => clearTimeout(handle) };
  },
};

/** Resolves after `delayMs`, or rejects with the signal's reason. Keeps the process alive while waiting. */
export function sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason as Error);
      return;
    }
    const onAbort = (): void => {
      clearTimeout(handle);
      reject(signal?.reason as Error);
    };
    const handle = setTimeout(() => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    }, delayMs);
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}

/** A clock that moves only when told: for tests. */
export class ManualClock implements Clock {
  readonly #timeline: Timeline;

  constructor(startMs = 1_000_000) {
    this.#timeline = new Timeline(startMs);
  }

  wallMs(): number {
    return this.#timeline.nowMs();
  }

  nowMs(): number {
    return this.#timeline.nowMs();
  }

  after(delayMs: number, action: () => void): Timer {
    return this.#timeline.after(delayMs, action);
  }

  /** Moves time forward, firing due timers in order of time, then of creation. */
  advance(byMs: number): void {
    this.#timeline.runUntil(this.#timeline.nowMs() + byMs);
  }
}
