/** A sleep that can be cut short, for one loop. A wake during work is kept: the next wait returns at once. */
import type { Clock } from '../base/clock.ts';

export interface Waker {
  readonly closed: boolean;
  wake(): void;
  /** Resolves after `delayMs`, at a wake, or when closed, whichever is first. One wait at a time. */
  wait(delayMs: number): Promise<'woken' | 'elapsed'>;
  /** Resolves after `delayMs` or when closed; a wake meanwhile is kept for the next wait. */
  rest(delayMs: number): Promise<void>;
  /** Ends the present wait and all later ones at once. */
  close(): void;
}

export function createWaker(clock: Clock): Waker {
  let pending = false;
  let closed = false;
  let cut: (() => void) | undefined;
  let endRest: (() => void) | undefined;
  const wake = (): void => {
    pending = true;
    cut?.();
  };
  return {
    get closed() {
      return closed;
    },
    wake,
    wait: (delayMs) =>
      new Promise((resolve) => {
        const finish = (result: 'woken' | 'elapsed'): void => {
          timer.cancel();
          cut = undefined;
          pending = false;
          resolve(result);
        };
        const timer = clock.after(delayMs, () => finish('elapsed'));
        cut = () => finish('woken');
        if (pending || closed) finish('woken');
      }),
    rest: (delayMs) =>
      new Promise((resolve) => {
        const timer = clock.after(delayMs, resolve);
        endRest = () => {
          timer.cancel();
          resolve();
        };
        if (closed) endRest();
      }),
    close: () => {
      closed = true;
      endRest?.();
      wake();
    },
  };
}
