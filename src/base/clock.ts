/** Time, injected: the real one here, a virtual one in `sim/` and in tests. */

export interface Timer {
  /** Forgets the timer; harmless when it has fired. */
  cancel(): void;
}

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

/** A clock that moves only when told: for tests and simulation. */
export class ManualClock implements Clock {
  #now: number;
  #next = 0;
  readonly #timers = new Map<number, { readonly at: number; readonly action: () => void }>();

  constructor(startMs = 1_000_000) {
    this.#now = startMs;
  }

  wallMs(): number {
    return this.#now;
  }

  nowMs(): number {
    return this.#now;
  }

  after(delayMs: number, action: () => void): Timer {
    const id = this.#next++;
    this.#timers.set(id, { at: this.#now + Math.max(0, delayMs), action });
    return { cancel: () => this.#timers.delete(id) };
  }

  /** Moves time forward, firing due timers in order of time, then of creation. */
  advance(byMs: number): void {
    const end = this.#now + byMs;
    for (;;) {
      let due: [number, { at: number; action: () => void }] | undefined;
      for (const entry of this.#timers)
        if (entry[1].at <= end && (due === undefined || entry[1].at < due[1].at)) due = entry;
      if (due === undefined) break;
      this.#timers.delete(due[0]);
      this.#now = Math.max(this.#now, due[1].at);
      due[1].action();
    }
    this.#now = end;
  }
}
