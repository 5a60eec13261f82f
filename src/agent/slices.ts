/** Long pure work in slices, so that sockets are served meanwhile. */
import { setImmediate } from 'node:timers/promises';
import type { Clock } from '../base/clock.ts';

/** A turn of the event loop takes no longer for it than this. */
const TURN_MS = 3;

/** Lets timers and I/O run. */
export async function nextTurn(): Promise<void> {
  await setImmediate();
}

export async function inSlices<T>(
  { clock }: { readonly clock: Clock },
  work: Generator<undefined, T>,
): Promise<T> {
  // What went before and what comes after has its own share of a turn.
  await setImmediate();
  for (let since = clock.nowMs(); ;) {
    const step = work.next();
    if (step.done !== true && clock.nowMs() - since < TURN_MS) continue;
    await setImmediate();
    if (step.done === true) return step.value;
    since = clock.nowMs();
  }
}
